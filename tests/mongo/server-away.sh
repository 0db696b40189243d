#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards what is said of servers that cannot be worked with.
. "$(dirname "$0")/../cli/common.sh"
# shellcheck source=tests/mongo/proxy.sh
. "$top/tests/mongo/proxy.sh"

# said after some seconds, in one line, and then how it ended
expect_exit 1 "$HIVEFS" status \
	-r 'mongodb://u:secret@127.0.0.1:1/x?serverSelectionTimeoutMS=6000'
expect_said '^hivefs: warning: mongodb://127.0.0.1:1/x: no server answers; waiting for 6 s'
expect_said '^hivefs: mongodb://127.0.0.1:1/x: open: no server answers: '
[ "$(wc -l <"$scratch/stderr")" = 2 ] || fail "$(cat "$scratch/stderr")"
! grep secret "$scratch/stderr" || fail "says the password"
