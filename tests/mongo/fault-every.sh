#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards that backups, a clone that is written to, its fold and commit, prune, rm,
# gc and copies to and fro come to the same end whichever message of theirs meets
# a fault: nothing that was acknowledged is lost, nothing is there twice. With
# HIVEFS_TEST_EVERY=1 every message meets every fault; else some, one each.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/mongo/proxy.sh
. "$top/tests/mongo/proxy.sh"
requires python3 jq fusermount3
requires_that test -w /dev/fuse

random_image "$scratch/a" 6M 1
cp "$scratch/a" "$scratch/b"
change_image "$scratch/b" 5
random_image "$scratch/c" 2M 9
"$HIVEFS" init -q -r "$scratch/elsewhere"
"$HIVEFS" backup -q -r "$scratch/elsewhere" db "$scratch/c"

# What is written to the clone, with a sync after each piece.
cp "$scratch/a" "$scratch/side"
pieces=(100:5000 1234567:70000 3000000:4096)
put() {
	local piece
	for piece in "${pieces[@]}"; do
		random_bytes "${piece#*:}" "$piece" | dd of="$1" bs=1M \
			seek="${piece%:*}" oflag=seek_bytes iflag=fullblock \
			conv=notrunc,fsync status=none
	done
}
put "$scratch/side"

# The work; each step says the same thing whatever happens below it.
work() {
	"$HIVEFS" backup -q web "$scratch/a"
	"$HIVEFS" clone -q web@latest side
	mount_repo
	put "$mnt/clones/side/disk0.img"
	unmount_repo
	"$HIVEFS" backup -q web "$scratch/b"
	"$HIVEFS" commit -q side
	"$HIVEFS" prune -q --keep-last 2
	"$HIVEFS" rm -q web@latest~1
	"$HIVEFS" gc -q
	"$HIVEFS" copy -q --from "$scratch/elsewhere"
	rm -rf "$scratch/there"
	"$HIVEFS" init -q -r "$scratch/there"
	"$HIVEFS" copy -q --to "$scratch/there"
	[ "$("$HIVEFS" points -r "$scratch/there" --json | grep -c '"point"')" = 2 ]
}

# What there is in the end, by itself, without the proxy.
outcome() {
	"$HIVEFS" verify -q
	"$HIVEFS" restore -q web@latest - | cmp - "$scratch/side"
	"$HIVEFS" restore -q db@latest - | cmp - "$scratch/c"
	"$HIVEFS" verify -q -r "$scratch/there"
	"$HIVEFS" status --json | jq -c \
		'select(.type == "summary") | [.points, .clones, .chunks, .maps]'
}

# run FIRST FAULT
run() {
	direct=${first/hivefs_test/hivefs_test_$1_$2}
	HIVEFS_REPO=$direct
	"$HIVEFS" init -q
	proxy "$1" 0 "$2"
	work || fail "message $1, $2: exit $?"
	proxy_end
	got=$(outcome) || fail "message $1, $2: not whole"
	[ -z "${MONGO_DROP-}" ] || "$MONGO_DROP" "$direct"
}

first=$direct
run 1000000 before
want=$got
total=$n_messages
echo "$total messages, $want"
faults=(before after primary closing concern)
every=${HIVEFS_TEST_EVERY:-$((total / 12))}
n=0
for ((i = 0; 1 + i * every <= total; i++)); do
	k=$((1 + i * every))
	now=("${faults[@]:i % 5:1}")
	[ "${HIVEFS_TEST_EVERY-}" != 1 ] || now=("${faults[@]}")
	for fault in "${now[@]}"; do
		run $k "$fault"
		[ "$got" = "$want" ] ||
			fail "message $k, $fault: $got, not $want"
		n=$((n + n_faults))
	done
done
echo "$n faults"
