#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Two hosts have the repository mounted. While one owns a clone, however long it
# is stopped, the other one and the verbs are refused and told which host it is;
# a mount point of that host is not taken for one of this. Killed in its sleep,
# it is followed by the other one: all that was acknowledged is there, and what
# was on its way never comes.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires unshare hostname python3
requires_that unshare --uts true

program=$HIVEFS
# on_host NAME: what is mounted next is on a host of that name
on_host() {
	cat >"$scratch/$1" <<-END
		#!/bin/sh
		exec unshare --uts sh -c 'hostname $1 && exec "\$@"' $1 \\
			"$program" "\$@"
	END
	chmod +x "$scratch/$1"
	HIVEFS=$scratch/$1
}

random_image "$scratch/a.img" 9M
back_up "$scratch/a.img"
on_host first
mount_clone
on_host second
mount_again
HIVEFS=$program
view2=$mnt2${view#"$mnt"}
name=web@$(basename "$point")

refused() {
	expect_exit 1 dd if=/dev/zero of="$view2" bs=512 count=0 conv=notrunc
	expect_said "Device or resource busy"
}

hold "$view"
put 5000 100000 1
refused
grep "clone web@.* first, process $daemon, .*${mnt##*/}\$" \
	"$scratch/daemon.log" >/dev/null ||
	fail "does not name the host: $(cat "$scratch/daemon.log")"
expect_exit 0 "$HIVEFS" clones
expect_said "^web@.* first, process $daemon, $mnt\$"
for verb in commit discard; do
	expect_exit 11 "$HIVEFS" $verb "$name"
	expect_said "in use by .*first, process $daemon, $mnt"
done

# asleep it is the owner still, and wakes up as that
kill -STOP "$daemon"
refused
expect_exit 11 "$HIVEFS" commit "$name"
same "$oracle" "$view2"
kill -CONT "$daemon"
put 8000000 100000 2 conv=notrunc,fsync

# what is asked of it in its sleep is lost with it
kill -STOP "$daemon"
dd if=/dev/zero of="$view" bs=1M count=1 conv=notrunc,fsync \
	>"$scratch/dd" 2>&1 &
writer=$!
sleep 0.5
kill -0 $writer || fail "a write was acknowledged by nobody"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
! wait $writer || fail "a write that nobody took succeeded"
view=$view2
put 6000000 5000 3
same_disk
hold "$view2"
let_go2=$holder

# and what was first comes second
fusermount3 -u -z "$mnt"
on_host first
mount_clone
HIVEFS=$program
view2=$view
refused
expect_exit 11 "$HIVEFS" commit "$name"
expect_said "in use by .*second, process $daemon2, $mnt2"
same "$oracle" "$view"
kill "$let_go2"
wait "$let_go2" 2>/dev/null || true
put 100 100 4
same_disk
same "$scratch/a.img" "$point/ro/disk0.img"
unmount_repo
unmount_again
