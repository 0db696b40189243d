#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Verify looks at what clones reach, too: a chunk that only a clone's map names,
# and what is in a stream. It names the clone, and the clone can be dropped.

. "$(dirname "$0")/common.sh"
requires jq python3

cd "$scratch"
random_image a 4M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
"$HIVEFS" clone -q web@latest folded
"$HIVEFS" clone -q web@latest streamed
mount_repo
random_bytes 65536 2 | dd of="$mnt/clones/folded/disk0.img" bs=64K seek=3 \
	conv=notrunc status=none
# what comes behind a sync tells that the record before it was whole
for seed in 3 4; do
	random_bytes 65536 $seed | dd of="$mnt/clones/streamed/disk0.img" \
		bs=64K seek=$seed conv=notrunc,fsync status=none
done
unmount_repo
"$HIVEFS" commit -q folded
"$HIVEFS" rm -q web@latest
json_of "$HIVEFS" verify --json
[ "$(summary '.clones == 2 and .points == 1 and .damaged == 0')" = true ] ||
	fail "verify"

# flip FOLDER SEED: one bit where these random bytes are stored
flip() {
	random_bytes 5000 "$2" | tail -c 64 | damage_bytes "repo/$1"
}

flip segments 2
expect_exit 4 "$HIVEFS" verify
expect_said '^clone folded: disk disk0: offset [0-9]+, length [0-9]+: chunk '
expect_exit 4 "$HIVEFS" verify --json
[ "$(jq -r 'select(.type == "damage") | "\(.clone) \(.disk) \(.what)
	\(.offset <= 201550 and .offset + .length > 201550)"' "$scratch/stdout" |
	tr -s '\n\t' ' ')" = "folded disk0 chunk true " ] || fail "damage: $(<stdout)"
"$HIVEFS" discard -q folded

flip streams 3
expect_exit 4 "$HIVEFS" verify
expect_said '^clone streamed: disk disk0: offset 0, length 4194304: stream dam'
expect_exit 4 "$HIVEFS" clones
expect_said '^streamed .* damaged  -$'
refused 4 'stream' "$HIVEFS" commit streamed
expect_exit 0 "$HIVEFS" discard streamed
"$HIVEFS" verify -q --metadata
json_of "$HIVEFS" clones --json
[ "$(summary .clones)" = 0 ] || fail "it is still there"
