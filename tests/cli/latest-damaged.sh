#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Where a machine's newest point is damaged, nobody who asks for `latest` is
# given an older one: it is refused with exit code 4, and older points are still
# there by their times.

. "$(dirname "$0")/common.sh"
requires jq python3

cd "$scratch"
random_image a 1M
"$HIVEFS" init -q
"$HIVEFS" backup -q web old=a
sleep 1.1
"$HIVEFS" backup -q web damaged=a
"$HIVEFS" backup -q db a
older=$("$HIVEFS" points web --json |
	jq -r 'select(.disks[0].name == "old").address')

damage_point damaged

for words in 'show web@latest' 'restore web@latest out' 'rm web@latest' \
	'rm web@latest~0 --last' 'diff web@latest db@latest'; do
	# shellcheck disable=SC2086 # several words are meant
	expect_exit 4 "$HIVEFS" $words
	expect_said 'web@latest.*: a newer point is damaged'
done
[ ! -e out ] || fail "an older point was restored"
expect_exit 4 "$HIVEFS" points web
expect_said '^hivefs: point web@20.*Z, alias [0-9a-f]{8}: is damaged'
"$HIVEFS" restore -q "$older" out 2>said
same a out
"$HIVEFS" restore -q db@latest out2
same a out2

# one that is newer than the damaged one is what it was
sleep 1.1
"$HIVEFS" backup -q web new=a 2>said
"$HIVEFS" show web@latest | grep -q '^new ' || fail "the newest"
expect_exit 4 "$HIVEFS" show web@latest~1
