#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every verb does what it is for, and says so as JSON too: compact lines, the
# last one a summary.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
random_image a 12M
cp a b
change_image b 7

json_of "$HIVEFS" init --compression 3 --json
[ "$(summary .compression)" = 3 ] || fail "compression"
json_of "$HIVEFS" backup web a --json
[ "$(summary '.size == .data or .new == .size')" = true ] || fail "sizes"
sleep 1 # a point is named by its second
expect_exit 0 "$HIVEFS" backup web b
expect_said '^web@20[0-9T:-]*Z: new point, alias [0-9a-f]{8}$'
json_of "$HIVEFS" backup two --no-check --json root=a data=b
[ "$(summary '.disks | map(.name) | join(" ")')" = "root data" ] ||
	fail "names of disks"
[ "$(summary '.new == 0 and .deduplicated == .size')" = true ] ||
	fail "all of it was there already"

json_of "$HIVEFS" points --json
[ "$(summary .points)" = 3 ] || fail "points"
[ "$("$HIVEFS" points web | wc -l)" = 3 ] || fail "points web"
# also of points made faster than one a second, whose time is ahead
jq -e -s 'map(select(.type == "point")) | all(.end >= .time)' json >/dev/null ||
	fail "one ended before it began: $(cat json)"
json_of "$HIVEFS" points two web --json
[ "$(summary .machines)" = 2 ] || fail "machines"

json_of "$HIVEFS" show two/data@latest --json
[ "$(jq -r 'select(.type == "point") | .disks[].name' json)" = data ] ||
	fail "show one disk"
expect_exit 0 "$HIVEFS" show web@latest
expect_said '^consistency +crash$'

json_of "$HIVEFS" diff web@latest~1 web@latest --json
[ "$(summary '.extents > 0 and .changed < 12000000')" = true ] || fail "diff"
json_of "$HIVEFS" diff web/disk0@latest two/data@latest --json
[ "$(summary .extents)" = 0 ] || fail "the same bytes differ"
json_of "$HIVEFS" diff two@latest two@latest --json

json_of "$HIVEFS" restore web@latest~1 out --json
same a out
json_of "$HIVEFS" verify --json
[ "$(summary '.damaged == 0 and .points == 3')" = true ] || fail "verify"
json_of "$HIVEFS" verify --metadata --json
if [ -w /dev/fuse ]; then
	mount_point m
	json_of "$HIVEFS" mount "$m" -o ro --json
	[ "$(summary '"\(.verb) \(.read_only) \(.mountpoint)"')" = "mount true $m" ] ||
		fail "mount: $(<json)"
	expect_exit 11 "$HIVEFS" --json "$m"
	jq -e '.type == "error" and .code == 11' stderr >/dev/null ||
		fail "of a mount that is there: $(<stderr)"
	unmount "$m"
fi
json_of "$HIVEFS" status --json
[ "$(summary '.points == 3 and .machines == 2 and .ratio > 3')" = true ] ||
	fail "status"
[[ $HIVEFS_REPO == *://* ]] || json_of "$HIVEFS" repair --index --json
json_of "$HIVEFS" rm web@latest~1 web@latest --last --dry-run --json
[ "$(summary .removed) $(points)" = "2 3" ] || fail "rm --dry-run"
json_of "$HIVEFS" rm web@latest~1 --json
[ "$(points)" = 2 ] || fail "rm"
"$HIVEFS" init -q one
"$HIVEFS" -r one backup -q web a
expect_exit 0 "$HIVEFS" -r one verify
expect_said '^1 point, 1 disk, 0 clones, [0-9]+ maps, [0-9]+ chunks \('
truncate -s 512 small
"$HIVEFS" init -q tiny
"$HIVEFS" -r tiny backup -q web small
"$HIVEFS" -r tiny clone -q web@latest copy
expect_exit 0 "$HIVEFS" -r tiny verify
expect_said '^1 point, 1 disk, 1 clone, [0-9]+ maps?, 0 chunks \('
json_of "$HIVEFS" version --json
json_of "$HIVEFS" help --json
json_of "$HIVEFS" completion fish --json

# what is done quietly is done
[ -z "$("$HIVEFS" -r "$HIVEFS_REPO" backup -q web a 2>&1)" ] || fail "-q"
[ "$(points)" = 3 ] || fail "backup -q"
