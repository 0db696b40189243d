#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# gc - guards the protocol of garbage collection (I5): searches its model,
# gc.pml, to the end without an error, and each variant of it that lacks a rule
# loses data.
#
#   gc.sh [-DNAME=VALUE]...    one larger search: -DFOLDS=2, -DW=2, -DX=2, -DC=2

. "$(dirname "$0")/../lib.sh"
requires spin gcc

model=$(cd "$(dirname "$0")" && pwd)/gc.pml
cd "$scratch"

# search FLAG...: what pan says
search() {
	spin -a "$@" "$model" >spin.log || {
		cat spin.log >&2
		fail "spin $*"
	}
	# what spin makes is not written for our warnings
	gcc -w -O1 -DSAFETY -DCOLLAPSE -DMEMLIM="${MODEL_MIB-4096}" \
		-o pan pan.c
	# -E: whoever sleeps for good is no error
	timeout 600 ./pan -E -m1000000 >pan.log
	grep -E 'errors:|states, stored' pan.log
}

holds() {
	local found
	found=$(search "$@")
	echo "the model $*: $found"
	# "Search not completed" and a depth that was too small are errors, too
	! grep -qE 'not completed|too small|out of memory' pan.log ||
		fail "the search did not come to its end: $*"
	[[ $found == *"errors: 0"* ]] || {
		cat pan.log >&2
		fail "an error: $*"
	}
}

# loses VARIANT FLAG...
loses() {
	local found
	grep -q "^ \*   $1 " "$model" || fail "$1: is not explained"
	found=$(search -D"$1" "${@:2}")
	echo "$1: $found"
	[[ $found == *"errors: 1"* ]] || fail "$1: loses nothing"
}

if [ $# -gt 0 ]; then
	holds "$@"
	exit 0
fi
holds -DD=0
holds -DW=0
holds -DW=0 -DFOLDS=2
holds -DX=2 -DD=0
holds -DCYCLES=1
loses LOOK_AFTER
loses OLD_FENCE
loses FOLD_RETRY -DBEGIN_EMPTY
loses FOLD_SAME_ID -DBEGIN_EMPTY -DFOLDS=2 -DW=0
loses FOLD_READ_AFTER -DBEGIN_EMPTY
loses NO_INCARNATION -DD=0 -DC=2 -DCYCLES=1
loses RETIRE_AFTER -DBEGIN_EMPTY -DFOLDS=2
loses RETIRED_ONCE -DBEGIN_EMPTY -DFOLDS=2
loses TRUST_MAP -DX=2 -DD=0
