#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# init-kill - guards that an init killed with -9 at any moment leaves either a
# repository or what the next init makes one of.

. "$(dirname "$0")/../lib.sh"

steps=$((${CRASH_STEPS:-40} * 2))
random_image "$scratch/image" 64K
killed=0

remove() {
	if on_server; then
		"$MONGO_DROP" "$HIVEFS_REPO"
	else
		rm -rf "$HIVEFS_REPO"
	fi
}

# a server's first one takes longer than those that follow
"$HIVEFS" init -q
remove
begun=$(date +%s%N)
"$HIVEFS" init -q
took=$((($(date +%s%N) - begun) / 1000))

for ((step = 0; step < steps; step++)); do
	remove
	"$HIVEFS" init -q &
	delay=$((took * step / steps + took / 8))
	sleep "$(printf '%d.%06d' $((delay / 1000000)) $((delay % 1000000)))"
	kill -9 $! 2>/dev/null || true
	if wait $! 2>/dev/null; then
		# how long one takes changes on a busy machine
		took=$((took * 15 / 16))
	else
		took=$((took * 33 / 32))
		killed=$((killed + 1))
	fi
	"$HIVEFS" status >"$scratch/status" 2>&1 || "$HIVEFS" init -q ||
		fail "what is there is no repository and cannot become one"
	expect_exit 1 "$HIVEFS" init
	expect_said 'already'
	"$HIVEFS" backup -q web "$scratch/image"
	"$HIVEFS" restore -q web@latest - | cmp - "$scratch/image"
done
echo "$killed of $steps killed"
[ $killed -ge $((steps / 8)) ] || fail "too few were killed to mean anything"
