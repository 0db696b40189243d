#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A copy that is killed with -9 at any moment leaves a repository that verifies,
# without the point; the next one brings what is missing and nothing twice, also
# when a gc has given the dead one up in between, and again when that next one
# dies, too. The point that then takes the place survives a rebuilt index.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
random_image a 12M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
all=$("$HIVEFS" status --json | jq 'select(.type == "summary").chunks')

chunks_there() {
	"$HIVEFS" status -r there --json |
		jq 'select(.type == "summary").chunks'
}

# killed: once more is there than there was
killed() {
	local pid n begin
	begin=$(chunks_there)
	"$HIVEFS" copy -q --to there --limit 3M --threads 2 &
	pid=$!
	disown $pid
	for ((n = 0; n < 600; n++)); do
		[ "$(chunks_there)" = "$begin" ] || break
		sleep 0.02
	done
	kill -9 $pid 2>/dev/null || fail "it was done before it was killed"
	while kill -0 $pid 2>/dev/null; do sleep 0.02; done
	HIVEFS_REPO=there expect_none
}

expect_none() {
	[ "$(points)" = 0 ] || fail "a point that is not whole"
	expect_exit 0 "$HIVEFS" verify
}

# copied: the rest of it
copied() {
	local before
	before=$(chunks_there)
	json_of "$HIVEFS" copy --to there --json
	[ "$(summary .copied)" = 1 ] || fail "$(summary .)"
	[ "$(summary .chunks)" = $((all - before)) ] ||
		fail "$before of $all were there, sent $(summary .chunks)"
	[ "$(chunks_there)" = "$all" ] || fail "chunks are there twice"
	"$HIVEFS" verify -q -r there
	"$HIVEFS" restore -q -r there web@latest out --overwrite
	same a out
}

# resumed, and no gc knows of it
"$HIVEFS" init -q -r there
killed
n=$(chunks_there)
[ "$n" -gt 0 ] || fail "nothing was there"
killed
[ "$(chunks_there)" -gt "$n" ] || fail "it began anew"
copied

# given up, twice: the place is fenced, what it brought is collected
rm -rf there
"$HIVEFS" init -q -r there
for round in 1 2; do
	killed
	"$HIVEFS" gc -r there >stdout 2>stderr
	grep -q 'a copy that died is given up' stderr ||
		fail "$round: not given up: $(<stderr)"
	[ "$(chunks_there)" = 0 ] || fail "$round: left over"
	HIVEFS_REPO=there expect_none
done
copied
"$HIVEFS" gc -q -r there
[ "$(chunks_there)" = "$all" ] || fail "gc took what the point needs"
expect_exit 0 "$HIVEFS" repair -r there --index
[ "$(HIVEFS_REPO=there points)" = 1 ] || fail "lost with the index"
"$HIVEFS" verify -q -r there
"$HIVEFS" rm -q -r there web@latest --last
"$HIVEFS" gc -q -r there
"$HIVEFS" repair -q -r there --index
[ "$(HIVEFS_REPO=there points)" = 0 ] || fail "it came back with the index"
json_of "$HIVEFS" copy --to there --json
[ "$(summary '"\(.copied) \(.removed)"')" = "0 1" ] || fail "$(summary .)"

# asked to stop
"$HIVEFS" init -q -r stopped
"$HIVEFS" copy -q --to stopped --limit 1M 2>stderr &
pid=$!
sleep 0.5
kill -INT $pid
code=0
wait $pid || code=$?
[ $code = 130 ] || fail "interrupted: exit $code"
grep -q 'copy: interrupted' stderr || fail "$(<stderr)"
