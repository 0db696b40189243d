#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# disk-full - guards a repository whose file system has no space left: backup
# says so in one sentence wherever it is hit, the points made before stay whole
# and can be read, and backups go on once there is space.

. "$(dirname "$0")/../lib.sh"
requires jq mkfs.ext4
[ "$(id -u)" = 0 ] || skip "only root mounts file systems"

disk=$scratch/disk
image=$scratch/image
HIVEFS_REPO=$disk/repo
mkdir "$disk"
at_exit unmount "$disk"

points() {
	"$HIVEFS" points --json | jq -r 'select(.type == "point").alias'
}

# leave KIB: fills the file system but for so much
leave() {
	local free
	rm -f "$disk/filler"
	free=$(($(stat -f -c '%a * %S' "$disk") / 1024 - $1))
	[ $free -le 0 ] || fallocate -l ${free}K "$disk/filler" 2>/dev/null ||
		dd if=/dev/zero of="$disk/filler" bs=64K status=none \
			2>/dev/null || true
}

# Whatever is hit by it: data, a new segment, the index, the publication.
fill_step() {
	local before status=0
	before=$(points)
	leave "$1"
	"$HIVEFS" backup web "$image" >"$scratch/stdout" \
		2>"$scratch/stderr" || status=$?
	if [ $status != 0 ]; then
		cat "$scratch/stderr"
		[ $status = 13 ] || fail "backup with $1 KiB left: $status"
		[ "$(wc -l <"$scratch/stderr")" = 1 ] ||
			fail "that is not one sentence"
		expect_said 'No space left'
		[ "$(points)" = "$before" ] || fail "the points changed"
		full=$((full + 1))
	fi
	expect_exit 0 "$HIVEFS" verify
}

try() {
	local kib first full=0 view
	"$HIVEFS" init
	random_image "$scratch/first" 8M first
	"$HIVEFS" backup -q web "$scratch/first"
	first=$(points)
	mount_repo -o cache=16M
	view=$mnt/web/$(readlink "$mnt/web/latest")/disk0.img
	for kib in 0 2 4 8 16 32 64 128 256 512 1024 2048 3000 4096 4200 4500; do
		random_image "$image" 4M "$1 $kib"
		fill_step $kib
		dd if="$view" bs=1M iflag=direct status=none |
			cmp - "$scratch/first"
	done
	[ $full -ge 8 ] || fail "only $full times there was too little space"
	"$HIVEFS" restore -q "$first" - | cmp - "$scratch/first"
	"$HIVEFS" status

	rm "$disk/filler"
	"$HIVEFS" backup -q web "$image"
	"$HIVEFS" restore -q web@latest - | cmp - "$image"
	unmount_repo
	"$HIVEFS" repair --index
	expect_exit 0 "$HIVEFS" verify
	umount "$disk"
}

requires_that mount -t tmpfs -o size=160M tmpfs "$disk"
try tmpfs

truncate -s 192M "$scratch/ext4"
mkfs.ext4 -q -m 0 "$scratch/ext4"
requires_that mount -o loop "$scratch/ext4" "$disk"
needs_files
try ext4
