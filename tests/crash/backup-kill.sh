#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# backup-kill - guards that a backup killed with -9 at any moment leaves a
# repository that opens and verifies, with every acknowledged point as it was
# and its own there whole or not at all, and that the next backup just works.

. "$(dirname "$0")/../lib.sh"
requires jq sha256sum

steps=${CRASH_STEPS:-48}
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
	[ "$("$HIVEFS" restore "$1" - | sum /dev/stdin)" = "${sums[$1]}" ] ||
		fail "point $1 is not what was backed up"
}

new_image() {
	sparse_image "$image" 24M "$1"
	random_bytes 6000000 "more $1" | dd of="$image" bs=1M seek=5 \
		conv=notrunc status=none
}

# kill_one MACHINE DELAY
kill_one() {
	local alias pid status=0
	"$HIVEFS" backup "$1" "$image" >"$scratch/stdout" 2>&1 &
	pid=$!
	sleep "$2"
	kill -9 $pid 2>/dev/null || true
	wait $pid 2>/dev/null || status=$?
	[ $status = 0 ] || [ $status = 137 ] || fail "the backup ended: $status"
	[ $status = 0 ] || killed=$((killed + 1))
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
	delay=$((took * step * 5 / steps / 4))
	# every other one is a machine's first
	machine=web
	[ $((step % 2)) = 0 ] || machine=new$step
	kill_one $machine "$(printf '%d.%06d' $((delay / 1000000)) \
		$((delay % 1000000)))"
	alias=$(backup $machine)
	sums[$alias]=$(sum "$image")
	compare "$alias"
done

for alias in "${!sums[@]}"; do
	compare "$alias"
done
echo "$killed of $steps killed, $whole of them after their point was there"
[ $killed -ge $((steps / 4)) ] || fail "too few were killed to mean anything"
