#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Repositories of earlier versions: their points, and what was written to their
# clones, are what they were, and go on from there.
#
# tests/data/repository-1.tar.zst: made by the first version that had clones.
# Two points of web; the newer one's own clone has writes and holes that no fold
# has seen.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires zstd
needs_files

disk=33322c90a7e4287fbcfe74e7703c9ec67c3cb8396b065551e44194d36d7ed4f1
clone=2c944b0219af49308dabefd978e45a0480b38bf5ebceae05c4b49ba8edb055a8

is() {
	[ "$(sha256sum <"$2")" = "$1  -" ] || fail "$2 is another"
}

rm -rf "$HIVEFS_REPO"
mkdir "$HIVEFS_REPO"
zstd -dc "$top/tests/data/repository-1.tar.zst" | tar -xC "$HIVEFS_REPO"
"$HIVEFS" verify
[ "$("$HIVEFS" points --json | grep -c '"type":"point"')" = 2 ] ||
	fail "$("$HIVEFS" points)"
mount_clone
view=$(readlink -f "$mnt/web/latest")/disk0.img
is $disk "${view%/*}/ro/disk0.img"
is $clone "$view"
cp "$view" "$oracle"
[ "$(stat -c %b "$view")" -lt 500 ] || fail "$(stat -c %b "$view") blocks"

hold "$view"
is $clone "$view"
put 70000 9000 1
let_go
kill_mount
mount_repo
view=$(readlink -f "$mnt/web/latest")/disk0.img
same_disk
"$HIVEFS" commit web@latest
same "$oracle" "$mnt/web/latest/ro/disk0.img"
is $disk "${view%/*}/ro/disk0.img"
unmount_repo
"$HIVEFS" repair --index
"$HIVEFS" verify
