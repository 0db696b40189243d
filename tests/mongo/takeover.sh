#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Two hosts, and the server no longer answers the first, which writes to a clone:
# the second one is refused, and gets it with -o takeover. What was acknowledged
# is there; the first one's late write fails and is nowhere, also when its
# server answers again.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$top/tests/fs/common.sh"
# shellcheck source=tests/mongo/proxy.sh
. "$top/tests/mongo/proxy.sh"
requires unshare hostname python3
requires_that unshare --uts --pid --fork true

program=$HIVEFS
# on_host NAME: what is mounted next is on a host of that name, as far as can be
# told: one whose processes are not seen from here
on_host() {
	cat >"$scratch/$1" <<-END
		#!/bin/sh
		exec unshare --uts --pid --fork --kill-child sh -c 'hostname $1 && exec "\$@"' $1 \\
			"$program" "\$@"
	END
	chmod +x "$scratch/$1"
	HIVEFS=$scratch/$1
}

random_image "$scratch/a.img" 9M
back_up "$scratch/a.img"
proxy 100000000 0 before
go_on() {
	kill -CONT "$1" 2>/dev/null || true
}
at_exit go_on "$proxy"
on_host first
mount_clone
view1=$view
put 5000 100000 1 conv=notrunc,fsync
hold "$view"
first=$holder
kill -STOP "$proxy"

HIVEFS_REPO=$direct
on_host second
mount_again
view2=$mnt2${view#"$mnt"}
HIVEFS=$program
expect_exit 1 dd if=/dev/zero of="$view2" bs=512 count=0 conv=notrunc
expect_said "Device or resource busy"
same "$oracle" "$view2"
unmount_again

# what the first one writes now does not get anywhere
dd if=/dev/zero of="$view1" bs=1M count=1 conv=notrunc,fsync \
	>"$scratch/dd" 2>&1 &
writer=$!
on_host second
mount_again -o takeover
HIVEFS=$program
view=$mnt2${view1#"$mnt"}
put 6000000 5000 3 conv=notrunc,fsync
same_disk
kill -0 $writer || fail "a write was acknowledged by nobody"

kill -CONT "$proxy"
! wait $writer || fail "a write of a clone that was taken over succeeded"
kill "$first"
wait "$first" 2>/dev/null || true
same_disk
put 100 100 4 conv=notrunc,fsync
unmount_again
unmount "$mnt"
wait "$daemon" || true
proxy_end
mount_clone
same_disk
same "$scratch/a.img" "$point/ro/disk0.img"
unmount_repo
"$HIVEFS" verify -q
