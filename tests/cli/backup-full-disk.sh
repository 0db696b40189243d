#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A repository on a disk that is full, or read-only: exit code 13, no point, and
# all that was there is still there and whole; a point can still be removed.

. "$(dirname "$0")/common.sh"
requires mkfs.ext4 losetup
needs_files
[ "$(id -u)" = 0 ] || skip "needs root"

cd "$scratch"
truncate -s 160M disk
mkfs.ext4 -qF disk
mkdir small
mount -o loop disk small 2>/dev/null || skip "no loop device"
at_exit umount "$scratch/small"
export HIVEFS_REPO=$scratch/small/repo
random_image a 24M
random_image big 200M 2

"$HIVEFS" init -q
"$HIVEFS" backup -q web a
sleep 1
for _ in 1 2; do
	expect_exit 13 "$HIVEFS" backup big big
	[ "$(wc -l <stderr)" = 1 ] || fail "not one sentence: $(<stderr)"
	[ "$(points)" = 1 ] || fail "a point of what did not fit"
	"$HIVEFS" verify -q
done
"$HIVEFS" restore -q web@latest out
same a out
avail=$(df --output=avail -k small | tail -1)
[ "$avail" -lt 12000 ] || head -c $((avail - 8000))K /dev/zero >small/fill
refused 13 'small/out: has room for' "$HIVEFS" restore web@latest small/out
[ -z "$(ls small/out* 2>/dev/null)" ] || fail "written though too small"
: >small/out # of what is there already it is not known what it will take
expect_exit 13 "$HIVEFS" restore web@latest small/out
[ ! -e small/out ] || fail "incomplete under its name"
rm -f small/out.partial small/fill
"$HIVEFS" rm -q web@latest --last
[ "$(points)" = 0 ] || fail "not removed"

mount -o remount,ro small
expect_exit 1 "$HIVEFS" backup web a
expect_said 'read-only'
expect_exit 0 "$HIVEFS" status
expect_exit 0 "$HIVEFS" verify
