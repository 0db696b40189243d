#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Clones by their verbs alone, without a mount: made, listed, committed,
# discarded; what is refused is refused with its reason.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
sparse_image a 9M
random_image b 3M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a data=b
base=$("$HIVEFS" points --json | jq -r 'select(.type == "point").address')

expect_exit 0 "$HIVEFS" clones
expect_said '^no clones$'
expect_exit 0 "$HIVEFS" clone web@latest try
expect_said "^try: new clone of $base$"
json_of "$HIVEFS" clone web@latest try.2 --json
[ "$(summary '.clone + " " + .address')" = "try.2 $base" ] || fail "clone"

refused 1 "try: there is a clone of this name" "$HIVEFS" clone web@latest try
refused 2 "not a clone's name" "$HIVEFS" clone web@latest a/b
refused 2 "names one disk" "$HIVEFS" clone web/data@latest new
refused 1 "there is no machine" "$HIVEFS" clone nobody@latest new
refused 1 "no clone of this name" "$HIVEFS" commit nothing
refused 1 "no clone of this name" "$HIVEFS" discard nothing
refused 1 "has no clone of its own" "$HIVEFS" commit web@latest
refused 1 "has no clone of its own" "$HIVEFS" discard web@latest
refused 2 "names one disk" "$HIVEFS" discard web/data@latest

json_of "$HIVEFS" clones --json
[ "$(summary .clones)" = 2 ] || fail "clones"
[ "$(jq -r 'select(.type == "clone") | [.clone, .name, .machine, .owner,
	.unfolded, (.disks | map(.name) | join(","))] | @csv' json | sort |
	tr -d '"' | xargs)" = \
	"try,try,web,,0,disk0,data try.2,try.2,web,,0,disk0,data" ] ||
	fail "what is listed"
json_of "$HIVEFS" show web@latest --json
[ "$(jq -r 'select(.type == "point") | "\(.own_clone) \(.clones | sort |
	join(","))"' json)" = "false try,try.2" ] || fail "show"
json_of "$HIVEFS" status --json
[ "$(summary .clones)" = 2 ] || fail "status"
json_of "$HIVEFS" verify --json
[ "$(summary '.clones == 2 and .damaged == 0')" = true ] || fail "verify"

# a named clone does not need its point
json_of "$HIVEFS" commit try --json
[ "$(summary '.new == 0 and .clone == "try" and .verb == "commit"')" = true ] ||
	fail "commit"
committed=$(summary .alias)
json_of "$HIVEFS" diff "$base" "$committed" --json
[ "$(summary .extents)" = 0 ] || fail "nothing was written, but it differs"
expect_exit 0 "$HIVEFS" rm "$base"
"$HIVEFS" restore -q try all
same a all/disk0.img
same b all/data.img
"$HIVEFS" restore -q try/data b.2
same b b.2
"$HIVEFS" restore -q "web/data@$committed" b.3
same b b.3
refused 2 "no such disk" "$HIVEFS" restore try/other c
expect_exit 0 "$HIVEFS" clones
expect_said "^try  .*, removed  "

json_of "$HIVEFS" discard try --dry-run --json
[ "$(summary '.dry_run and .unfolded == 0')" = true ] || fail "dry run"
json_of "$HIVEFS" clones --json
[ "$(summary .clones)" = 2 ] || fail "a dry run discards"
expect_exit 0 "$HIVEFS" discard try
expect_said '^try: discarded: '
json_of "$HIVEFS" discard try.2 --json
json_of "$HIVEFS" clones --json
[ "$(summary .clones)" = 0 ] || fail "discarded, but listed"
[ -z "$(ls "$scratch/repo/streams" 2>/dev/null)" ] || fail "streams are left"

# the name is free again
expect_exit 0 "$HIVEFS" clone web@latest try
on_server || "$HIVEFS" repair -q --index
json_of "$HIVEFS" clones --json
[ "$(summary .clones)" = 1 ] || fail "after repair"
"$HIVEFS" verify -q
