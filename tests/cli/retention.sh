#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards tags, bookmarks, holds and prune on the command line: a held point
# stays whatever is tried, a bookmark is an address and moves, prune says what it
# keeps and why, uses what was saved, never takes the last point, one with a
# clone of its own or one on hold, and stops at a clock that jumped.

. "$(dirname "$0")/common.sh"
requires jq
[ -n "${CLOCK-}" ] || skip "no \$CLOCK"

cd "$scratch"
random_image a 1M
"$HIVEFS" init -q

# at SECONDS-FROM-NOW CMD...
at() {
	CLOCK_SHIFT=$1 LD_PRELOAD=$CLOCK "${@:2}"
}
day=86400

for ((n = -20; n <= 0; n++)); do
	at $((n * day)) "$HIVEFS" backup -q web a
done
"$HIVEFS" backup -q db a
[ "$("$HIVEFS" points web --json | grep -c '"point"')" = 21 ] || fail "points"

# tags and bookmarks
"$HIVEFS" tag -q web@latest~15 gold old
"$HIVEFS" untag -q web@latest~15 old
"$HIVEFS" bookmark -q web@latest~12 here
json_of "$HIVEFS" show --json web@#here
"$HIVEFS" show web@latest~12 | grep -qx 'bookmarks    #here' || fail "show"
[ "$(jq -r 'select(.bookmarks) | .bookmarks[0]' json)" = here ] || fail show
"$HIVEFS" bookmark -q web@latest~11 here
[ "$("$HIVEFS" points --json | grep -c '"bookmarks":\["here"\]')" = 1 ] ||
	fail "the bookmark is there twice"
refused 1 'no point has this bookmark' "$HIVEFS" show web@#nowhere
refused 2 'no name for a tag' "$HIVEFS" tag web@latest 'a b'
expect_exit 0 "$HIVEFS" show web@latest~15
expect_said '^tags +gold$'

# holds
"$HIVEFS" hold -q --until 30d web@latest~18
refused 14 'is on hold until' "$HIVEFS" rm web@latest~18
refused 14 'a hold is not shortened' "$HIVEFS" hold --until 1d web@latest~18
refused 2 'is past' "$HIVEFS" hold --until 2020-01-01 web@latest
refused 2 'say until when' "$HIVEFS" hold web@latest
# a clock that jumps does not end it
refused 14 'clock is right' at $((40 * day)) "$HIVEFS" rm web@latest~18

# a clone of its own
"$HIVEFS" points web --json | jq -r 'select(.type == "point") | .alias' >aliases
if [ -w /dev/fuse ]; then
	mount_repo
	own=$(sed -n 5p aliases)
	name=$("$HIVEFS" show "$own" --json | jq -r 'select(.time) | .time' |
		head -n 1 | tr -d :)
	echo written | dd of="$mnt/web/$name/disk0.img" conv=notrunc status=none
	unmount_repo
	refused 14 'was written to' "$HIVEFS" rm "$own"
fi

refused 2 'there is no policy' "$HIVEFS" prune
refused 2 'is no span' "$HIVEFS" prune --keep-within 3x
policy=(--keep-daily 3 --keep-tag 'gold,silver')
json_of "$HIVEFS" prune web --dry-run --json "${policy[@]}"
jq -r 'select(.type == "point" and .keep) | .why' json >why
want=6
[ -z "${own-}" ] || want=7
[ "$(wc -l <why)" = $want ] || fail "keeps $(cat why)"
for reason in 'on hold' 'tag gold' bookmark 'the newest, daily'; do
	grep -q "$reason" why || fail "no '$reason' among $(cat why)"
done
[ "$(points)" = 22 ] || fail "a dry run removed points"
expect_exit 0 "$HIVEFS" prune web --dry-run --explain "${policy[@]}"
expect_said '^web: keep daily 3, tags gold silver$'
expect_said '^web@.*: kept: on hold$'
expect_said '^web@.*: would be removed$'

refused 14 'clock is right' at $((40 * day)) "$HIVEFS" prune "${policy[@]}"
json_of "$HIVEFS" prune --json --save "${policy[@]}"
[ "$(summary '.kept')" = $((want + 1)) ] || fail "keeps $(summary .)"
[ "$(points)" = $((want + 1)) ] || fail "points are left"

# what was saved, and a machine's own
"$HIVEFS" prune --save --keep-last 1 db | grep -qx \
	'db: policy saved: keep last 1' || fail "saved, and says nothing"
json_of "$HIVEFS" prune --json
[ "$(summary '.removed')" = 0 ] || fail "prunes what it had kept"
"$HIVEFS" backup -q db a
"$HIVEFS" backup -q db a
json_of "$HIVEFS" prune --json
[ "$(summary '.removed')" = 2 ] || fail "the policy of db: $(summary .)"
"$HIVEFS" gc -q
"$HIVEFS" verify -q
"$HIVEFS" restore -q web@#here out
same a out
# the end of the hold, by a clock that is right
at $((40 * day)) "$HIVEFS" rm -q --clock-is-right "$(sed -n 3p aliases)"
