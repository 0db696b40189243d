#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards that a server that is far away is asked for much at a time, and for
# several things at once: what a disk is read with are few requests, on their
# way together.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/mongo/proxy.sh
. "$top/tests/mongo/proxy.sh"

random_image "$scratch/a" 64M 1
"$HIVEFS" init -q
"$HIVEFS" backup -q web "$scratch/a"
windows=16 chunks=1000

# few WHAT MOST: no more requests, and at least as many at once as it takes to
# hide the way to the server
few() {
	echo "$1: $n_messages requests, $n_waiting at once"
	[ "$n_messages" -le "$2" ] || fail "$1: too many requests"
	[ "$n_waiting" -ge 4 ] || fail "$1: one after the other"
}

far() {
	proxy 100000000 0 before 10
}

# a map and the chunks of each window, and what finds them
far
"$HIVEFS" restore -q web@latest - | cmp - "$scratch/a"
proxy_end
few "restore to a pipe" $((3 * windows + 20))

far
"$HIVEFS" restore -q web@latest "$scratch/b"
proxy_end
same "$scratch/a" "$scratch/b"
few "restore to a file" $((3 * windows + 20))

far
mount_repo
view=("$mnt"/web/2*/disk0.img)
cmp "${view[0]}" "$scratch/a"
unmount_repo
proxy_end
# by the MiB, and more than that where the kernel asks before we do
few "read in order" $((chunks / 4))

far
"$HIVEFS" verify -q
proxy_end
echo "verify: $n_messages requests"
[ "$n_messages" -le 60 ] || fail "verify: too many requests"
