#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A machine boots from the .img of a recovery point in the mount: the old point
# shows the old files after a later backup, the latest one the new ones, with
# the page cache and with direct I/O. What the guest checks of its files at
# boot (demo-disk.sh) says that it read the right bytes.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires qemu-system-x86_64 grub-mkimage mke2fs debugfs sfdisk qemu-img

# expect_boot VIEW GENERATION [OPTIONS]
expect_boot() {
	local said
	said=$("$top/tools/demo-boot.sh" "$1" ${3+"$3"})
	echo "${1#"$mnt"} ${3-}: $said"
	[[ $said == *"/etc/generation says $2, "* ]] || fail "not generation $2"
}

disk=$scratch/disk.img
"$top/tools/demo-disk.sh" "$disk"
"$HIVEFS" init
"$HIVEFS" backup web "$disk"
"$top/tools/demo-disk.sh" --next "$disk"
sleep 1 # a point is named by its second
"$HIVEFS" backup web "$disk"

mount_repo
points=("$mnt"/web/2*)
[ ${#points[@]} = 2 ] || fail "not two points: ${points[*]}"
old=${points[0]}/disk0.img
latest=$mnt/web/latest/disk0.img

expect_boot "$old" 1
expect_boot "$latest" 2
# a container's system call filter may forbid io_uring
if qemu-img bench -q -c 1 -i io_uring -f raw "$disk" &>/dev/null; then
	expect_boot "$old" 1 cache=none,aio=io_uring
else
	expect_boot "$old" 1 cache=none
fi

same "$disk" "$latest"
unmount_repo
