#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A commit publishes nothing that is known to be damaged, and what the guest
# writes over damage, be it the same bytes again, is stored and heals it: a fold
# must not take a chunk for stored because the map it comes from names it.

. "$(dirname "$0")/common.sh"
requires python3

cd "$scratch"
random_image a 8M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
"$HIVEFS" clone -q web@latest side

# one bit of what lies at 1 MiB
dd if=a bs=64 skip=16384 count=1 status=none | damage_bytes repo/segments
expect_exit 4 "$HIVEFS" verify

refused 4 'disk0: offset [0-9]+: chunk .* quarantine' "$HIVEFS" commit side
[ "$(points)" = 1 ] || fail "there is a point of it"

# elsewhere in the same window: the window is folded, the damage is not hidden
mount_repo
random_bytes 4096 2 | dd of="$mnt/clones/side/disk0.img" bs=4K seek=700 \
	conv=notrunc status=none
unmount_repo
expect_exit 4 "$HIVEFS" commit side
[ "$(points)" = 1 ] || fail "there is a point of what is damaged"

mount_repo
dd if=a of="$mnt/clones/side/disk0.img" bs=1M conv=notrunc status=none
unmount_repo
"$HIVEFS" commit -q side
"$HIVEFS" verify -q
"$HIVEFS" restore -q web@latest b
same a b
"$HIVEFS" restore -q web@latest~1 c
same a c
