#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# backup-kill - guards that a backup killed with -9 at any moment leaves a
# repository that opens and verifies, with every acknowledged point as it was
# and its own there whole or not at all, and that the next backup just works.

. "$(dirname "$0")/../lib.sh"
requires jq sha256sum

steps=${CRASH_STEPS:-40}
image=$scratch/image
declare -A sums # of the image, by alias
killed=0
whole=0

sum() {
	sha256sum <"$1" | cut -c -64
}

backup() {
	"$HIVEFS" backup "$@" "$image" --json | jq -r 'select(.type ==
		"summary").alias'
}

points() {
	"$HIVEFS" points --json | jq -r 'select(.type == "point").alias'
}

compare() {
	[ "$("$HIVEFS" restore -q "$1" - | sum /dev/stdin)" = "${sums[$1]}" ] ||
		fail "point $1 is not what was backed up"
}

new_image() {
	sparse_image "$image" 12M "$1"
	random_bytes 5000000 "more $1" | dd of="$image" bs=1M seek=5 \
		conv=notrunc status=none
}

# kill_one MACHINE MICROSECONDS
kill_one() {
	local alias pid status=0
	"$HIVEFS" backup "$1" "$image" >"$scratch/stdout" 2>&1 &
	pid=$!
	sleep "$(printf '%d.%06d' $(($2 / 1000000)) $(($2 % 1000000)))"
	kill -9 $pid 2>/dev/null || true
	wait $pid 2>/dev/null || status=$?
	[ $status = 0 ] || [ $status = 137 ] || fail "the backup ended: $status"
	# the sweep goes from the beginning to the end that a backup has now
	if [ $status = 0 ]; then
		took=$(($2 < took ? $2 : took))
	else
		killed=$((killed + 1))
	fi
	for alias in $(points); do
		[ -z "${sums[$alias]-}" ] || continue
		sums[$alias]=$(sum "$image")
		compare "$alias"
		[ $status = 0 ] || whole=$((whole + 1))
	done
	[ "$(points | wc -l)" = ${#sums[@]} ] || fail "a point is missing"
	expect_exit 0 "$HIVEFS" verify
}

"$HIVEFS" init
new_image 0
begun=$(date +%s%N)
alias=$(backup web)
took=$((($(date +%s%N) - begun) / 1000))
sums[$alias]=$(sum "$image")

for ((step = 1; step <= steps; step++)); do
	new_image "$step"
	# every other one is a machine's first
	machine=web
	[ $((step % 2)) = 0 ] || machine=new$step
	[ $((step % 8)) != 0 ] || took=$((took * 5 / 4))
	kill_one $machine $((took * (step * 7 % 16 + 1) / 16))
	alias=$(backup $machine)
	sums[$alias]=$(sum "$image")
	compare "$alias"
done

for alias in "${!sums[@]}"; do
	compare "$alias"
done
echo "$killed of $steps killed, $whole of them after their point was there"
[ $killed -ge $((steps / 4)) ] || fail "too few were killed to mean anything"
