#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# File names may hold anything but a zero: what clears a screen, moves its cursor
# or looks like a line of ours reaches neither messages nor tables as it is.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
evil=$'a\e[2J\x07\nhivefs: all is well\x7f\xc2\x9b1m'

# clean: nothing that a terminal would obey in what the last command said
clean() {
	! LC_ALL=C grep -aP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' \
		"$scratch/stdout" "$scratch/stderr" ||
		fail "control characters: $*"
	! grep -q '^hivefs: all is well' stdout stderr ||
		fail "a file name became a message: $*"
}

"$HIVEFS" init -q
refused 1 'a\\x1b\[2J\\x07\\x0ahivefs: all is well\\x7f\\x9b1m: ' \
	"$HIVEFS" backup web "$evil"
clean a source
refused 10 '\\x1b' "$HIVEFS" -r "$evil" points
clean a repository
for words in 'points' 'show' 'restore web@latest' 'clone web@latest'; do
	# shellcheck disable=SC2086 # several words are meant
	"$HIVEFS" $words "$evil" >stdout 2>stderr || true
	clean "$words"
done
"$HIVEFS" "$evil" >stdout 2>stderr || true
clean a mount point
rm -f "$evil"

random_image "$evil" 1M
for verb in backup 'backup --dry-run'; do
	# shellcheck disable=SC2086 # several words are meant
	expect_exit 0 "$HIVEFS" $verb web "$evil"
	clean "$verb"
done
for words in points 'show web@latest' status verify; do
	# shellcheck disable=SC2086 # several words are meant
	expect_exit 0 "$HIVEFS" $words
	clean "$words"
done
expect_exit 0 "$HIVEFS" show web@latest --json
jq -e -s --arg evil "$evil" 'map(select(.disks))[0].disks[0].source |
	endswith($evil)' stdout >/dev/null || fail "JSON keeps the name as it is"
expect_exit 0 "$HIVEFS" restore web@latest "$evil.restored"
clean restore
same "$evil" "$evil.restored"
expect_exit 1 "$HIVEFS" restore web@latest "$evil"
clean "restore refused"
