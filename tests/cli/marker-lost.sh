#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The file that makes a directory a repository is lost or damaged: every verb
# says so and what to do, repair makes the very same one again. What is no
# repository, or is of a newer format, is left alone.

. "$(dirname "$0")/common.sh"
needs_files

cd "$scratch"
random_image a 1M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
cp repo/hivefs marker

# try CODE PATTERN: what is said of it as it is, then repair
try() {
	refused "$1" "$2" "$HIVEFS" points
	refused "$1" "$2" "$HIVEFS" verify
	refused "$1" "$2" "$HIVEFS" backup web a
	expect_exit 0 "$HIVEFS" repair --index
	expect_said '^hivefs: .*/hivefs: was (missing|damaged), and is made anew'
	same marker repo/hivefs
	"$HIVEFS" restore -q --overwrite web@latest out
	same a out
}

rm repo/hivefs
refused 1 'segments .*without its marker: hivefs repair --index' \
	"$HIVEFS" init
try 4 'hivefs: is missing, but not the segments: hivefs repair --index'
for edit in 's/^format 1/format x/' 's/^salt ./salt -/' 's/^uuid/uiud/' \
	's/^\(sum .*\)./\1/' '3,$d' '/^format/d'; do
	sed -i "$edit" repo/hivefs
	try 4 'hivefs: is damaged: hivefs repair --index makes a new one'
done
: >repo/hivefs
try 10 "its file 'hivefs' is something else"
sed -i 's/^format 1/format 3/' repo/hivefs # a flipped bit: the sum is wrong
try 15 'is of format 3'

# with the first segment's header damaged, too, another one's tells
sed -i 's/^HIVEFSEG/HIVEFSEX/' repo/segments/00000001.seg
rm repo/hivefs
expect_exit 0 "$HIVEFS" repair --index
same marker repo/hivefs

# truly newer: its sum is right
printf 'hivefs repository\nformat 2\nsum a642b5e9bd53a33b\n' >repo/hivefs
cp repo/hivefs newer
refused 15 'needs a newer hivefs' "$HIVEFS" repair --index
same newer repo/hivefs

# segments of two repositories are nobody's
"$HIVEFS" init -q other
"$HIVEFS" -r other backup -q web a
cp other/segments/00000002.seg repo/segments/
rm repo/hivefs
refused 4 'holds segments of two repositories' "$HIVEFS" repair --index

# and what is no repository is not made one
mkdir -p none/segments
refused 10 'not a hivefs repository' "$HIVEFS" -r none repair --index
[ ! -e none/hivefs ] || fail "made a repository"
mkdir bare
refused 10 'not a hivefs repository' "$HIVEFS" -r bare repair --index
[ -z "$(ls bare)" ] || fail "left something behind"
