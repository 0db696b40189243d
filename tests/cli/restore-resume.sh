#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A restore that was killed leaves NAME.partial, never NAME; --resume finishes
# it and writes only what is not there yet.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
random_image a 64M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a

# part of it is there, part is wrong, part is missing
head -c 40M a >out.partial
change_image out.partial 3
refused 1 'out.partial: .*--resume' "$HIVEFS" restore web@latest out
refused 1 'out.partial: .*--resume' \
	"$HIVEFS" restore --overwrite web@latest out
json_of "$HIVEFS" restore --resume --json web@latest out
same a out
[ "$(summary '.written < 30000000 and .written >= 24 * 1048576')" = true ] ||
	fail "written: $(summary .written)"
[ ! -e out.partial ] || fail "it is still there"

# equal already: nothing is written; --resume alone overwrites nothing
json_of "$HIVEFS" restore --resume --overwrite --json web@latest out
[ "$(summary .written)" = 0 ] || fail "written though equal"
refused 1 'out: .*--overwrite' "$HIVEFS" restore --resume web@latest out

# killed at any moment, over a file that was there
for delay in 0.01 0.03 0.06 0.1; do
	random_image over 64M 9
	"$HIVEFS" restore -q --overwrite --threads 1 web@latest over &
	pid=$!
	sleep $delay
	kill -9 $pid 2>/dev/null || true
	wait $pid 2>/dev/null || true
	if [ -e over.partial ]; then
		[ ! -e over ] || fail "both are there"
		"$HIVEFS" restore -q --resume web@latest over
	elif ! cmp -s a over; then
		"$HIVEFS" restore -q --overwrite web@latest over
	fi
	same a over
done

# two at once do not mix: one waits for nobody and says so
head -c 1M a >held.partial
"$HIVEFS" restore -q --resume --threads 1 web@latest held 2>first &
one=0
"$HIVEFS" restore -q --resume web@latest held 2>second || one=$?
two=0
wait $! || two=$?
[ $one = 0 ] || [ $two = 0 ] || fail "neither got it"
[ $((one + two)) = 0 ] || grep -E 'in use|--overwrite' first second >said ||
	fail "said no reason"
same a held
