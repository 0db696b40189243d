#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Copies, two at once, while points of both repositories are made and removed and
# garbage is collected: each point is there once and whole, and nothing that
# either one needs has gone.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
rounds=${COPY_ROUNDS:-4}
random_image a 24M
"$HIVEFS" init -q
"$HIVEFS" init -q -r there
"$HIVEFS" backup -q web a

# busy REPO SEED: the same bytes come and go, as another machine
busy() {
	local i image=image$2
	cp a "$image"
	for ((i = 1; i <= rounds; i++)); do
		"$HIVEFS" backup -q -r "$1" "own$2" "$image"
		change_image "$image" "$2$i"
		[ $i = 1 ] || "$HIVEFS" rm -q -r "$1" "own$2@latest~1"
		"$HIVEFS" gc -q -r "$1" 2>/dev/null
	done
}

pids=()
busy "$HIVEFS_REPO" 2 &
pids+=($!)
busy there 3 &
pids+=($!)
for ((i = 1; i <= rounds; i++)); do
	sleep 1.1
	change_image a "$i"
	"$HIVEFS" backup -q web a
	cp a "web$i"
	"$HIVEFS" copy -q web --to there &
	one=$!
	"$HIVEFS" copy -q --from "$HIVEFS_REPO" -r there || fail "$i: exit $?"
	wait $one || fail "$i: the other one: exit $?"
done
for pid in "${pids[@]}"; do
	wait "$pid" || fail "somebody else failed"
done

"$HIVEFS" copy -q --to there
"$HIVEFS" gc -q
"$HIVEFS" gc -q -r there
"$HIVEFS" verify -q
"$HIVEFS" verify -q -r there
[ "$("$HIVEFS" points -r there web --json | grep -c '^{"type":"point"')" = \
	$((rounds + 1)) ] || fail "points are missing, or there twice"
for ((i = 1; i <= rounds; i++)); do
	"$HIVEFS" restore -q -r there "web@latest~$((rounds - i))" out --overwrite
	same "web$i" out
done
