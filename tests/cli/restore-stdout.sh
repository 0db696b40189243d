#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# `restore ADDRESS -` writes the disk to standard output and nothing else.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
sparse_image a 24M
truncate -s 40000512 a # its last window and page are short
"$HIVEFS" init -q
"$HIVEFS" backup -q web a

"$HIVEFS" restore web@latest - 2>said | cmp - a
grep -q 'restored to standard output' said || fail "nothing was said"
"$HIVEFS" restore --json web@latest - 2>said >out
same a out
jq -e '.type == "summary" and .written == .size' said >/dev/null ||
	fail "its summary"
for threads in 1 3; do
	"$HIVEFS" restore -q --threads $threads web/disk0@latest - >out 2>said
	same a out
	[ ! -s said ] || fail "said with -q"
done

# a reader that goes away, a disk that is full
"$HIVEFS" restore web@latest - 2>said | head -c 1M >/dev/null || true
grep -q 'standard output: write: Broken pipe' said || fail "broken pipe"
expect_exit 13 sh -c "'$HIVEFS' restore web@latest - >/dev/full"
expect_exit 13 sh -c "'$HIVEFS' points >/dev/full"
expect_exit 13 sh -c "'$HIVEFS' points --help >/dev/full"

# closed streams: no file of the repository gets their numbers
expect_exit 1 sh -c "'$HIVEFS' restore web@latest - <&- >&-"
expect_said 'standard output: write: '
[ ! -s repo/lock ] || fail "the disk went into a file of the repository"
"$HIVEFS" backup -q web a <&- >&- 2>&-
"$HIVEFS" verify -q
