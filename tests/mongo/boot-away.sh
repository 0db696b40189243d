#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The server is gone for seconds while a guest boots from a view and writes to it:
# it answers nobody, or, where that may be, it is killed with -9 and started again.
# The guest comes up and goes on, what it had synced is there afterwards for
# another mount, its file system is sound, and the point is what it was.
#
# FerretDB looks chunks up by reading all of them, far too slow to boot from: there
# the disk is read before, in order. It is not without HIVEFS_TEST_ALL=1.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$top/tests/fs/common.sh"
# shellcheck source=tests/mongo/killable.sh
. "$top/tests/mongo/killable.sh"
! is_killable || [ "${HIVEFS_TEST_ALL-}" = 1 ] || skip "HIVEFS_TEST_ALL is not 1"
requires qemu-system-x86_64 grub-mkimage mke2fs e2fsck debugfs sfdisk

disk=$scratch/disk.img
fs="$disk?offset=1048576"
"$top/tools/demo-disk.sh" --small "$disk" 128M
back_up "$disk"
export BOOT_CONSOLE=$scratch/console BOOT_TIMEOUT=240
guest=

come() {
	guest=
	: >"$BOOT_CONSOLE"
	# shellcheck disable=SC2016 # for the guest's shell
	"$top/tools/demo-boot.sh" --run 'i=0
while [ $i -lt 30 ]; do
	i=$((i + 1))
	busybox dd if=/dev/urandom of=/root/data$i bs=4k count=16 2>/dev/null
	busybox sync
	busybox echo "hivefs demo: synced $i"
	busybox sleep 0.1
done
busybox md5sum /root/data* >/root/sums
busybox sync
busybox echo "hivefs demo: done"' "$view" cache=none >"$scratch/said" 2>&1 &
	guest=$!
	at_exit gone $guest
}

gone() {
	kill "$1" 2>/dev/null || true
}

# at_that TEXT: once the guest says so
at_that() {
	until grep -a -q -F -e "$1" "$BOOT_CONSOLE"; do
		kill -0 $guest 2>/dev/null || fail "$1: $(cat "$scratch/said")"
		sleep 0.05
	done
}

is_done() {
	grep -a -q 'demo: done' "$BOOT_CONSOLE"
}

# It needs what the mount does not have, so it cannot get to its end meanwhile. On
# a host that is slow with us alone it may have been there before.
waits() {
	! is_done || return 0
	sleep "$1"
	! is_done || fail "it did without a server"
	kill -0 $guest 2>/dev/null || fail "$(cat "$scratch/said")"
}

stopped() {
	at_that "$1"
	stop_server
	waits 3
	go_on_server
}

killed() {
	at_that "$1"
	kill_server
	waits 2
	start_server
}

# what HOW-AND-WHEN...: one boot from a mount that has read nothing yet
boot() {
	local what
	mount_clone
	! is_killable || same "$oracle" "$view"
	come
	for what; do
		"${what%%:*}" "${what#*:}"
	done
	wait $guest || fail "it does not come up: $(cat "$scratch/said")"
	grep -q 'demo: done' "$scratch/said" || fail "not at its end"
	unmount_repo
	mount_clone
	same "$oracle" "$point/ro/disk0.img"
	cp --sparse=always "$view" "$disk"
	check_files
	attribute set "$point" discard
	unmount_repo
}

check_files() {
	local sum name
	e2fsck -f -n "$fs" >"$scratch/e2fsck" 2>&1 || fail "$(cat "$scratch/e2fsck")"
	debugfs -R 'cat /root/sums' "$fs" >"$scratch/sums" 2>/dev/null
	[ "$(wc -l <"$scratch/sums")" = 30 ] || fail "not all of its files"
	while read -r sum name; do
		debugfs -R "cat $name" "$fs" 2>/dev/null >"$scratch/file"
		[ "$(md5sum <"$scratch/file")" = "$sum  -" ] || fail "$name: other bytes"
	done <"$scratch/sums"
}

if is_killable; then
	boot killed:Booting killed:'synced 3' killed:'synced 10'
else
	boot stopped:Booting stopped:'synced 3'
fi
"$HIVEFS" verify -q
