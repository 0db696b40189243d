#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A point whose document is damaged can be removed, by its time or its alias,
# and is not complained about afterwards; but never as `latest`, which might
# have meant another one.

. "$(dirname "$0")/common.sh"
requires jq python3
needs_files

cd "$scratch"
random_image a 1M
"$HIVEFS" init -q
"$HIVEFS" backup -q web old=a
"$HIVEFS" backup -q web damaged=a
"$HIVEFS" backup -q db lonely=a
cp -a repo whole
old=$("$HIVEFS" points --json |
	jq -r 'select(.disks and .disks[0].name == "old").address')

# damage NAME: the point with a disk of that name; sets $time and $alias
damage() {
	read -r time alias < <("$HIVEFS" -r whole points --json | jq -r \
		"select(.disks and .disks[0].name == \"$1\") |
		[.time, .alias] | @tsv")
	damage_point "$1"
}

for how in 'web@$time' '$alias' 'web@$alias' '${alias:0:5}'; do
	rm -rf repo
	cp -a whole repo
	damage damaged
	eval "address=$how"
	expect_exit 4 "$HIVEFS" points
	expect_exit 4 "$HIVEFS" rm web@latest
	# both say what to do
	for verb in gc verify; do
		expect_exit 4 "$HIVEFS" $verb
		expect_said "^hivefs: point web@$time, alias $alias: .*hivefs rm $alias gives it up"
	done
	expect_exit 0 "$HIVEFS" rm --dry-run "$address"
	expect_exit 4 "$HIVEFS" points
	expect_exit 0 "$HIVEFS" rm "$address"
	expect_said "^web@$time: removed"
	expect_exit 0 "$HIVEFS" points
	[ ! -s stderr ] || fail "still complains: $(cat stderr)"
	[ "$(points)" = 2 ] || fail "another one went"
	expect_exit 0 "$HIVEFS" show web@latest
	expect_said '^old '
	expect_exit 0 "$HIVEFS" verify
	expect_exit 0 "$HIVEFS" gc
	expect_exit 1 "$HIVEFS" rm "$address"
done

# the last one that can be read stays; the last one of all needs --last
rm -rf repo
cp -a whole repo
damage damaged
expect_exit 2 "$HIVEFS" rm "$old"
damage lonely
expect_exit 2 "$HIVEFS" rm "$alias"
expect_said "db: would have no point left"
expect_exit 0 "$HIVEFS" rm --last --json "$alias"
jq -e -s --arg time "$time" '.[0].address == "db@" + $time and
	last.removed == 1' stdout >/dev/null || fail "$(cat stdout)"
