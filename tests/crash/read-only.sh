#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# read-only - guards that a repository on a read-only file system can be read
# with every verb that reads, and that the others say why they cannot work.

. "$(dirname "$0")/../lib.sh"
requires jq
[ "$(id -u)" = 0 ] || skip "only root mounts file systems"

disk=$scratch/disk
image=$scratch/image
HIVEFS_REPO=$disk/repo
mkdir "$disk"
at_exit unmount "$disk"
requires_that mount -t tmpfs -o size=256M tmpfs "$disk"
needs_files

backup() {
	"$HIVEFS" backup "$@" "$image" --json | jq -r .alias
}

"$HIVEFS" init
random_image "$image" 8M
a=$(backup web)
cp "$image" "$scratch/first"
change_image "$image"
b=$(backup web)

reads() {
	[ "$("$HIVEFS" points --json | tail -n 1 | jq .points)" = 2 ]
	"$HIVEFS" status
	"$HIVEFS" show "$a"
	"$HIVEFS" diff "$a" "$b" >"$scratch/diff"
	"$HIVEFS" backup web "$image" --dry-run
	"$HIVEFS" restore "$a" - | cmp - "$scratch/first"
	"$HIVEFS" verify
	mount_repo
	"$HIVEFS" restore web@latest "$scratch/latest" --overwrite
	same "$mnt"/web/latest/disk0.img "$scratch/latest"
	unmount_repo
}

# refuses VERB...: one sentence that says what is the matter
refuses() {
	expect_exit 1 "$HIVEFS" "$@"
	expect_said '[Rr]ead-only'
	[ "$(wc -l <"$scratch/stderr")" = 1 ] || {
		cat "$scratch/stderr" >&2
		fail "$1: that is not one sentence"
	}
}

mount -o remount,ro "$disk"
reads
refuses backup web "$image"
refuses rm "$a"
refuses repair --index
HIVEFS_REPO=$disk/other refuses init

# a copy that never was writable where it is now
mount -o remount,rw "$disk"
rm "$HIVEFS_REPO"/lock "$HIVEFS_REPO"/index/lock.mdb
mount -o remount,ro "$disk"
reads

mount -o remount,rw "$disk"
"$HIVEFS" backup web "$image"
"$HIVEFS" verify
