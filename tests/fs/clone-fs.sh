#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A file system lives in a view: made, mounted by way of a loop device, filled,
# trimmed, checked, and found again in the next mount. Holes that are punched
# are holes: SEEK_HOLE and the number of blocks are those of a plain file.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires mkfs.ext4 mkfs.xfs xfs_repair losetup qemu-img jq fallocate python3
requires_that losetup -f

truncate -s 320M "$scratch/a.img"
back_up "$scratch/a.img"
mount_clone

map() {
	qemu-img map --output=json -f raw "$1" | jq -c '.[] | [.start, .length, .data]'
}
for op in -p:0:1M -z:3M:64K -p:5000:100000 -p:9M:12K -n:0:20M -z:319M:1M; do
	IFS=: read -r how off len <<<"$op"
	put $((1 << 20)) 1000000 1
	put 9440000 9000 2
	for file in "$view" "$oracle"; do
		fallocate "$how" -o "$off" -l "$len" "$file"
	done
done
same_disk
cp --sparse=always "$oracle" "$scratch/b.img"
fallocate -d "$scratch/b.img"
for how in hold let_go; do # while it is open, and when it is not
	$how "$view"
	diff <(map "$scratch/b.img") <(map "$view") || fail "other holes"
	[ "$(stat -c %b "$view")" = "$(stat -c %b "$scratch/b.img")" ] ||
		fail "blocks: $(stat -c %b "$view" "$scratch/b.img")"
done
expect_exit 1 fallocate -l 400M "$view"
expect_exit 1 fallocate -z -o 319M -l 2M "$view"
expect_exit 1 fallocate -c -o 1M -l 1M "$view"

# the loop device goes a moment later than the file system
umount_fs() {
	local n
	umount "$scratch/fs"
	for ((n = 0; n < 100; n++)); do
		[ -n "$(losetup -j "$view")" ] || return 0
		sleep 0.1
	done
	fail "the loop device stays"
}

at_exit unmount "$scratch/fs"
mkdir "$scratch/fs"
for kind in ext4 xfs; do
	"mkfs.$kind" -q "$([ $kind = ext4 ] && echo -F || echo -f)" "$view"
	mount -o loop "$view" "$scratch/fs"
	random_image "$scratch/fs/one" 30M 1
	cp "$HIVEFS" "$scratch/fs/two"
	sync -f "$scratch/fs"
	rm "$scratch/fs/one"
	fstrim "$scratch/fs"
	random_image "$scratch/fs/three" 5M 3
	umount_fs
	unmount_repo
	mount_clone
	if [ $kind = ext4 ]; then
		e2fsck -f -n "$view" >/dev/null
	else
		xfs_repair -n -f "$view" >/dev/null 2>&1
	fi
	mount -o loop "$view" "$scratch/fs"
	same "$HIVEFS" "$scratch/fs/two"
	random_image "$scratch/b.img" 5M 3
	same "$scratch/b.img" "$scratch/fs/three"
	umount_fs
done
[ "$(stat -c %b "$view")" -lt $((120 << 11)) ] || fail "trimming left blocks"
same "$scratch/a.img" "$point/ro/disk0.img"

# what makes a file system trims the disk first: holes are not written down
truncate -s 1T "$scratch/huge.img"
"$HIVEFS" backup huge "$scratch/huge.img"
huge=$(readlink -f "$mnt/huge/latest/disk0.img")
hold "$huge"
timeout 20 fallocate -p -l 1T "$huge"
[ "$(sed -n 's/^hivefs_overlay_bytes //p' "$mnt/.hivefs/metrics")" -lt 100000 ] ||
	fail "$(grep overlay "$mnt/.hivefs/metrics")"
let_go
unmount_repo
