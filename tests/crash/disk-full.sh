#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# disk-full - guards a repository whose file system has no space left: each
# verb says so in one sentence or works, points that were made stay whole, rm
# works at 0 bytes free, and backups go on once there is space.

. "$(dirname "$0")/../lib.sh"
requires jq mkfs.ext4
[ "$(id -u)" = 0 ] || skip "only root mounts file systems"

disk=$scratch/disk
image=$scratch/image
HIVEFS_REPO=$disk/repo

# one_sentence: the last command's messages, notes of what it does aside
one_sentence() {
	[ "$(grep -c '^hivefs: ' "$scratch/stderr")" = 1 ] &&
		[ "$(wc -l <"$scratch/stderr")" = 1 ] || {
		cat "$scratch/stderr" >&2
		fail "that is not one sentence"
	}
}

points() {
	"$HIVEFS" points --json | jq -r 'select(.type == "point").alias'
}

# leave KIB: fills the file system but for so much
leave() {
	local free
	rm -f "$disk/filler"
	free=$(($(stat -f -c '%a * %S' "$disk") / 1024 - $1))
	[ $free -le 0 ] || fallocate -l ${free}K "$disk/filler" ||
		dd if=/dev/zero of="$disk/filler" bs=64K status=none || true
}

# Whatever is hit by it: data, a new segment, the index, the publication.
fill_step() {
	local before status=0
	before=$(points)
	leave "$1"
	"$HIVEFS" backup web "$image" >"$scratch/stdout" \
		2>"$scratch/stderr" || status=$?
	case $status in
	13) one_sentence && expect_said 'space' ;;
	0) ;;
	*) cat "$scratch/stderr" && fail "backup with $1 KiB left: $status" ;;
	esac
	[ $status = 0 ] || [ "$(points)" = "$before" ] ||
		fail "a backup that failed changed the points"
	expect_exit 0 "$HIVEFS" verify
}

try() {
	local kib first
	"$HIVEFS" init
	random_image "$scratch/first" 8M first
	"$HIVEFS" backup web "$scratch/first"
	first=$(points)
	mount_repo -o cache=8M
	for kib in 0 4 8 16 32 64 128 256 512 1024 2048 3000 4096 6000; do
		random_image "$image" 4M "$1 $kib"
		fill_step $kib
		same "$mnt"/web/2*Z/disk0.img "$scratch/first"
	done

	leave 0
	[ "$(stat -f -c %a "$disk")" = 0 ] || dd if=/dev/zero bs=512 \
		of="$disk/rest" status=none 2>/dev/null || true
	expect_exit 13 "$HIVEFS" backup web "$image"
	one_sentence
	"$HIVEFS" restore "$first" - | cmp - "$scratch/first"
	"$HIVEFS" status
	"$HIVEFS" rm --last "$(points | tail -n 1)" "$first"
	! points | grep -q "$first" || fail "rm did nothing"
	expect_exit 0 "$HIVEFS" verify

	rm -f "$disk/filler" "$disk/rest"
	"$HIVEFS" backup web "$image"
	"$HIVEFS" restore web@latest - | cmp - "$image"
	expect_exit 0 "$HIVEFS" verify
	unmount_repo
	"$HIVEFS" repair --index
	expect_exit 0 "$HIVEFS" verify
	umount "$disk"
}

mkdir "$disk"
at_exit unmount "$disk"

requires_that mount -t tmpfs -o size=160M tmpfs "$disk"
try tmpfs

truncate -s 192M "$scratch/ext4"
mkfs.ext4 -q "$scratch/ext4"
requires_that mount -o loop "$scratch/ext4" "$disk"
try ext4
