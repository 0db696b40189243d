#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# disk-full-rm - guards that points can be removed when there is no byte left,
# and that whatever one rm gave back is not what the next one lacks.

. "$(dirname "$0")/../lib.sh"
requires jq mkfs.ext4
[ "$(id -u)" = 0 ] || skip "only root mounts file systems"

disk=$scratch/disk
image=$scratch/image
HIVEFS_REPO=$disk/repo
n_points=60
mkdir "$disk"
at_exit unmount "$disk"

# blocks of every size, until none is left
fill() {
	local size
	for size in 1M 64K 4K 512; do
		dd if=/dev/zero of="$disk/filler-$1-$size" bs=$size \
			status=none 2>/dev/null || true
	done
}

try() {
	local aliases i
	"$HIVEFS" init
	random_image "$image" 1M
	for ((i = 0; i < n_points; i++)); do
		"$HIVEFS" backup -q web "$image"
	done
	mapfile -t aliases < <("$HIVEFS" points --json |
		jq -r 'select(.type == "point").alias')
	for ((i = 0; i < n_points - 1; i++)); do
		fill "$i"
		expect_exit 0 "$HIVEFS" rm "${aliases[i]}"
	done
	expect_exit 0 "$HIVEFS" verify
	[ "$("$HIVEFS" points --json | tail -n 1 | jq .points)" = 1 ] ||
		fail "rm did nothing"
	"$HIVEFS" restore -q web@latest - | cmp - "$image"
	rm "$disk"/filler*
	"$HIVEFS" backup web "$image"
	"$HIVEFS" verify
	umount "$disk"
}

truncate -s 128M "$scratch/ext4"
mkfs.ext4 -q -m 0 "$scratch/ext4"
requires_that mount -o loop "$scratch/ext4" "$disk"
try

requires_that mount -t tmpfs -o size=112M tmpfs "$disk"
needs_files
try
