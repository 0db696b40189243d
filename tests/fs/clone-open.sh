#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One mount at a time writes to a clone: another one is told EBUSY when it opens
# the file, and reads it all the same, also while the first is stopped. When the
# first has let go or is killed, the other takes over. A clone that nobody wrote
# to goes when it is closed.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires python3

random_image "$scratch/a.img" 9M
back_up "$scratch/a.img"
mount_clone
mount_again
view2=$mnt2${view#"$mnt"}

# Opening it for writing in the other mount
refused() {
	expect_exit 1 dd if=/dev/zero of="$view2" bs=512 count=0 conv=notrunc
	expect_said "Device or resource busy"
}

for ((n = 0; n < 3; n++)); do
	hold "$view"
	[ -e "$point/clone.json" ] || fail "is not forked"
	refused
	let_go
	# the kernel says so a moment after it was closed
	for ((i = 0; i < 100; i++)); do
		[ -e "$point/clone.json" ] || break
		sleep 0.05
	done
	[ ! -e "$point/clone.json" ] || fail "nothing was written to it"
done

put 5000 10000 1
hold "$view"
put 8000000 100000 2
refused
same "$oracle" "$view2"
kill -STOP "$daemon"
refused
same "$oracle" "$view2"
kill -CONT "$daemon"
grep "clone web@.* process $daemon, .*${mnt##*/}\$" "$scratch/daemon.log" \
	>/dev/null ||
	fail "the log does not name who has it: $(cat "$scratch/daemon.log")"
put 3000 30000 3
[ "$(attribute get "$point" status | grep -c '"open": true')" = 1 ] ||
	fail "status"

# let go of: at once, though the release may be on its way
let_go
view=$view2 put 6000000 512 4
same "$oracle" "$view2"

hold "$view"
put 4096 4096 5
kill -9 "$daemon"
wait "$daemon" || true
view=$view2
put 5000000 5000 6
same_disk
let_go
fusermount3 -u -z "$mnt"
unmount_again
