#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a backup could not read is lost in its clones, too, until it is written
# to; points made of them tell how much is left of it, and where.

. "$(dirname "$0")/common.sh"
requires nbdkit jq

cd "$scratch"
random_image a 9M
serve_bad "$scratch/a" 8388608
"$HIVEFS" init -q
expect_exit 3 "$HIVEFS" backup --skip-errors web "$uri"
serve_end
"$HIVEFS" clone -q web@latest try

json_of "$HIVEFS" commit try --json
[ "$(summary .lost)" = 65536 ] || fail "lost, in a commit: $(<json)"
expect_exit 3 "$HIVEFS" restore try out
expect_said 'lost: offset 8388608, length 65536'
cp a want
dd if=/dev/zero of=want bs=64K seek=128 count=1 conv=notrunc status=none
same want out

mount_repo
view=$mnt/clones/try/disk0.img
expect_exit 1 dd if="$view" of=/dev/null bs=4K skip=2048 count=1
expect_exit 1 dd if=/dev/zero of="$view" bs=512 seek=16384 count=1 conv=notrunc \
	oflag=direct
dd if=a of="$view" bs=4K skip=2048 seek=2048 count=5 conv=notrunc status=none
dd if=a of="$view" bs=4K skip=9 seek=9 count=1 conv=notrunc status=none
dd if=a of=want bs=4K skip=2048 seek=2048 count=5 conv=notrunc status=none
unmount_repo

json_of "$HIVEFS" commit try --json
[ "$(summary .lost)" = 45056 ] || fail "lost, after a write: $(<json)"
expect_exit 0 "$HIVEFS" show web@latest
expect_said '^disk0: lost: offset 8409088, length 45056'
expect_exit 3 "$HIVEFS" restore web@latest out --overwrite
same want out
expect_exit 3 "$HIVEFS" restore try out --overwrite
same want out
"$HIVEFS" verify -q
