#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Wrong usage is exit code 2 and one sentence that names what is wrong; with
# --json, the sentence is in a line of type error.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
truncate -s 1M a b x=y
"$HIVEFS" init -q
"$HIVEFS" backup -q web a

expect_exit 2 "$HIVEFS"
refused 2 "'bakcup': .* backup" "$HIVEFS" help bakcup
refused 2 "'bakcup': .* backup" "$HIVEFS" bakcup web a
refused 2 "'' is no machine" "$HIVEFS" show @latest
refused 2 "'nonsense': no such verb" "$HIVEFS" help nonsense
refused 2 'init takes' "$HIVEFS" init x y
refused 2 'two repositories' "$HIVEFS" init -r x y
refused 2 "compression: '0' is no number" "$HIVEFS" init z --compression 0
refused 2 "compression: '1x'" "$HIVEFS" init z --compression=1x
refused 2 'compression: LEVEL is missing' "$HIVEFS" init z --compression
refused 2 'MACHINE .* is needed' "$HIVEFS" backup web
refused 2 "format: no such option|--formt" "$HIVEFS" backup --formt raw web a
refused 2 '--dry: no such option' "$HIVEFS" backup --dry web a
refused 2 "'qed' is not raw" "$HIVEFS" backup --format qed web a
refused 2 '-x: no such option' "$HIVEFS" points -x
refused 2 '--json takes no value' "$HIVEFS" points --json=yes
refused 2 '-r: REPOSITORY is missing' "$HIVEFS" points -r
refused 2 "progress: 'json' is not auto or never" \
	"$HIVEFS" points --progress json
refused 2 "'clones': not a machine" "$HIVEFS" backup clones a
refused 2 "'-ab': not a machine" "$HIVEFS" backup -- -ab a
refused 2 "'ro': not a disk" "$HIVEFS" backup web ro=a
refused 2 "'a-flat': not a disk" "$HIVEFS" backup web a-flat=a
refused 2 "'disk0': two disks" "$HIVEFS" backup web disk0=a disk0=b
refused 2 "'disk1': two disks" "$HIVEFS" backup web disk1=a b
refused 2 "'d=': its source is missing" "$HIVEFS" backup web d=
refused 2 "'-': standard input is no source" "$HIVEFS" backup web d=-
refused 2 'say what' "$HIVEFS" repair
refused 2 'takes no operand' "$HIVEFS" status x
refused 2 'names one disk' "$HIVEFS" rm web/disk0@latest
refused 2 'no point left' "$HIVEFS" rm web@latest
refused 2 'is no address' "$HIVEFS" show web
"$HIVEFS" clone -q web@latest trial
refused 2 'trial: is a clone.* hivefs discard' "$HIVEFS" rm trial
"$HIVEFS" discard -q trial
refused 2 'no machine' "$HIVEFS" show 'we b@latest'
refused 2 'behind the @' "$HIVEFS" show web@yesterday
refused 2 "'csh'" "$HIVEFS" completion csh
mkdir mnt
# what other programs call a verb, and a word that is nothing at all
refused 2 "'list': neither a verb nor a directory, maybe points" "$HIVEFS" list
refused 2 "'umount': neither .* maybe umount\\(8\\)" "$HIVEFS" umount x
refused 2 "'nonsense': neither a verb nor a directory; see" "$HIVEFS" nonsense
expect_exit 2 "$HIVEFS" nonsense --json
jq -e '.type == "error" and .code == 2' stderr >/dev/null || fail "$(<stderr)"
refused 10 'repo2: not a hivefs repository' "$HIVEFS" repo2 "$scratch/mnt"
[ "$(points)" = 1 ] || fail "something was done all the same"

# a file of the whole name is a source; a word behind -- is no option
"$HIVEFS" backup -q name x=y
"$HIVEFS" show name@latest | grep -E '^disk0 .* x=y$' >x || fail "x=y"
mv b ./--json
"$HIVEFS" backup -q dash n=a -- --json
"$HIVEFS" show dash@latest | grep -E '^disk1 .* --json$' >x || fail "-- --json"

expect_exit 2 "$HIVEFS" backup --threads 0 web a --json
jq -e '.type == "error" and .code == 2 and (.message | test("threads"))' \
	stderr >/dev/null || fail "an error as JSON"
expect_exit 1 "$HIVEFS" show nobody@latest --json
jq -e '.type == "error" and .code == 1' stderr >/dev/null || fail "JSON"
