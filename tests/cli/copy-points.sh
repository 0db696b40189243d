#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Points copied from one repository to a second and on to a third are the same
# points there: address, alias, disks, tags, bookmarks, hold. Only what is
# missing goes over, and the numbers that are said are those of a backup of the
# same bytes. What was removed there stays removed; what is of another machine
# of the same name is refused.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
there=$scratch/there
onwards=$scratch/onwards
if [ -n "${HIVEFS_TEST_MONGODB-}" ]; then
	onwards=${HIVEFS_REPO/hivefs_test_/hivefs_test_2_}
	[ -z "${MONGO_DROP-}" ] || at_exit "$MONGO_DROP" "$onwards"
fi

# what POINTS-JSON says but its summary
list() {
	"$HIVEFS" points -r "$1" --json | grep '^{"type":"point"' || true
}

alike() {
	list "$1" >left
	list "$2" >right
	cmp left right >&2 || fail "the points of $1 and $2 differ"
}

marks() {
	"$HIVEFS" show -r "$1" "$2" --json | jq -c 'select(.type == "point") |
		[.tags, .bookmarks, .hold_until]'
}

# numbers FILTER
numbers() {
	summary "\"\(.copied) \(.there) \(.removed) \(.damaged) \(.refused)\""
}

sparse_image a 32M
random_image b 5M 2
"$HIVEFS" init -q
"$HIVEFS" init -q -r "$there"
"$HIVEFS" init -q -r "$onwards"
"$HIVEFS" copy -q --to "$there"
"$HIVEFS" backup -q web a
change_image a 2
sleep 1.1
"$HIVEFS" backup -q web a
"$HIVEFS" backup -q db sys=b more=a
"$HIVEFS" tag -q web@latest gold fine
"$HIVEFS" bookmark -q web@latest~1 first
"$HIVEFS" hold -q db@latest --until 30d

json_of "$HIVEFS" copy --to "$there" --dry-run --json
would=$(summary '[.copied, .chunks, .maps, .bytes]')
[ -z "$(list "$there")" ] || fail "a dry run copied"
json_of "$HIVEFS" copy --to "$there" --json
[ "$(summary '[.copied, .chunks, .maps, .bytes]')" = "$would" ] ||
	fail "it said $would, and did $(summary .)"
[ "$(numbers)" = "3 0 0 0 0" ] || fail "$(summary .)"
chunks=$("$HIVEFS" status --json | jq 'select(.type == "summary").chunks')
[ "$(summary .chunks)" = "$chunks" ] || fail "not each chunk once: $(summary .)"
alike "$HIVEFS_REPO" "$there"
"$HIVEFS" verify -q -r "$there"
"$HIVEFS" restore -q -r "$there" web@latest out
same a out
for point in web@latest web@#first db@latest; do
	[ "$(marks "$HIVEFS_REPO" $point)" = "$(marks "$there" $point)" ] ||
		fail "$point: its marks: $(marks "$there" $point)"
done
expect_exit 14 "$HIVEFS" rm -r "$there" db@latest --last

# again: nothing; then a point: what its backup stored, and not more
json_of "$HIVEFS" copy --to "$there" --json
[ "$(numbers) $(summary '.chunks + .maps + .stored + .labels')" = \
	"0 3 0 0 0 0" ] || fail "$(summary .)"
change_image a 3
sleep 1.1
json_of "$HIVEFS" backup web a --json
stored=$(summary '.disks[0] | [.chunks, .maps, .new, .stored]' 2>/dev/null)
json_of "$HIVEFS" copy --to "$there" --json
[ "$(numbers)" = "1 3 0 0 0" ] || fail "$(summary .)"
[ "$(summary '[.chunks, .maps, .bytes, .stored]')" = "$stored" ] ||
	fail "a backup stored $stored, the copy sent $(summary .)"

# what is added to points that are there goes over, and a bookmark moves
"$HIVEFS" bookmark -q web@latest first
"$HIVEFS" tag -q web@latest~2 old
"$HIVEFS" hold -q db@latest --until 60d
json_of "$HIVEFS" copy --to "$there" --json
[ "$(numbers) $(summary .labels)" = "0 4 0 0 0 3" ] || fail "$(summary .)"
for point in web@latest web@latest~2 web@#first db@latest; do
	[ "$(marks "$HIVEFS_REPO" $point)" = "$(marks "$there" $point)" ] ||
		fail "$point: its marks: $(marks "$there" $point)"
done

# what was removed there is not copied again, before a gc and after it
gone=$(list "$there" | jq -r 'select(.machine == "web").address' | head -n 1)
"$HIVEFS" rm -q -r "$there" "$gone"
for _ in 1 2; do
	json_of "$HIVEFS" copy --to "$there" --json
	[ "$(numbers)" = "0 3 1 0 0" ] || fail "$(summary .)"
	grep -q '"outcome":"removed"' json || fail "does not say which"
	"$HIVEFS" gc -q -r "$there"
done
"$HIVEFS" verify -q -r "$there"

# on and back: backups go on there, as the same machine
sleep 1.1
change_image a 4
json_of "$HIVEFS" backup -r "$there" web a --json
[ "$(summary '.disks[0].stats.read // .disks[0].read')" -gt 0 ]
json_of "$HIVEFS" copy -r "$onwards" --from "$there" web --json
[ "$(numbers)" = "3 0 0 0 0" ] || fail "$(summary .)"
json_of "$HIVEFS" copy -r "$onwards" --from "$there" --json db@latest web
[ "$(numbers)" = "1 3 0 0 0" ] || fail "$(summary .)"
alike "$there" "$onwards"
printf '%s\n' "$onwards" >location
json_of "$HIVEFS" copy --from-file location --json
[ "$(numbers)" = "1 3 0 0 0" ] || fail "$(summary .)"
"$HIVEFS" restore -q web@latest out --overwrite
same a out
"$HIVEFS" verify -q
"$HIVEFS" verify -q -r "$onwards"

# a clone and what was written to it stay here
"$HIVEFS" clone -q web@latest branch
json_of "$HIVEFS" copy --to "$there" --json
[ -z "$("$HIVEFS" clones -r "$there" --json | grep '"type":"clone"')" ] ||
	fail "a clone was copied"

# another machine of the name; all others are copied
"$HIVEFS" init -q -r "$scratch/other"
"$HIVEFS" backup -q -r "$scratch/other" web b
expect_exit 1 "$HIVEFS" copy --to "$scratch/other" --json
expect_said 'web@.*: was not copied, since .*/other has another machine'
[ "$(grep -c '"outcome":"refused"' stdout)" = 4 ] || fail "$(<stdout)"
[ "$(list "$scratch/other" | wc -l)" = 2 ] || fail "db was not copied"

# the limit holds: it may be slower, not faster
"$HIVEFS" init -q -r "$scratch/slow"
json_of "$HIVEFS" copy db@latest --to "$scratch/slow" --limit 8M --json
[ "$(summary '.stored / .seconds < 9e6')" = true ] || fail "$(summary .)"

refused 2 'say --to or --from' "$HIVEFS" copy
refused 2 'say --to or --from' "$HIVEFS" copy --to "$there" --from "$onwards"
refused 2 'are the same one' "$HIVEFS" copy --to "$HIVEFS_REPO"
refused 2 'is no rate' "$HIVEFS" copy --to "$there" --limit fast
refused 2 'is no rate' "$HIVEFS" copy --to "$there" --limit 0
refused 2 'names one disk' "$HIVEFS" copy web/disk0@latest --to "$there"
refused 2 'is neither|no such|no address' "$HIVEFS" copy nobody --to "$there" ||
	true
refused 10 'no hivefs repository|not a hivefs|is no' \
	"$HIVEFS" copy --to "$scratch/nothing"
