#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# stream - guards the rules of streams: searches their model, stream.pml, to the
# end without an error, and each variant of it that lacks a rule finds one.
#
#   stream.sh [-DNAME=VALUE]...    a larger one: -DE=4 -DLOSSES=2

. "$(dirname "$0")/../lib.sh"
requires spin gcc

model=$(cd "$(dirname "$0")" && pwd)/stream.pml
cd "$scratch"

# search FLAG...: what pan says
search() {
	spin -a "$@" "$model" >spin.log || {
		cat spin.log >&2
		fail "spin $*"
	}
	# what spin makes is not written for our warnings
	gcc -w -O1 -DSAFETY -DCOLLAPSE -DMEMLIM=4096 -o pan pan.c
	# -E: an owner that sleeps for good is no error
	./pan -E -m1000000 >pan.log
	grep -E 'errors:|states, stored' pan.log
}

found=$(search "$@")
echo "the model: $found"
# "Search not completed" and a depth that was too small are errors, too
! grep -qE 'not completed|too small|out of memory' pan.log ||
	fail "the search did not come to its end"
[[ $found == *"errors: 0"* ]] || {
	cat pan.log >&2
	fail "an error"
}

for variant in NO_LOCK NO_SETTLE SYNC_AGAIN ACK_LATE NO_EPOCHS ROLL_FIRST \
	NO_NAMES TRIM_FIRST TRIM_LAST LATE_CLAIM; do
	grep -q "^ \*   $variant " "$model" || fail "$variant: is not explained"
	found=$(search -D$variant)
	echo "$variant: $found"
	[[ $found == *"errors: 1"* ]] || fail "$variant: is no error"
done
