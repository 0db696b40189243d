#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# hivefs doctor on a server: what is as it should be, and what it says of an
# index too many, a user who may only read or nothing at all, a password that is
# wrong, and a server that does not answer. It leaves nothing behind.

. "$(dirname "$0")/../cli/common.sh"
# shellcheck source=tests/mongo/proxy.sh
. "$top/tests/mongo/proxy.sh"
requires python3 jq

# said RESULT CHECK PATTERN
said() {
	jq -r 'select(.type == "check") | "\(.result) \(.check): \(.message)"' \
		"$scratch/stdout" >"$scratch/lines"
	grep -qE -e "^$1 $2: .*$3" "$scratch/lines" || {
		cat "$scratch/lines" "$scratch/stderr" >&2
		fail "does not say: $1 $2: $3"
	}
}

doctor() {
	local code=$1
	expect_exit "$code" "$HIVEFS" doctor --store --json
	[ "$(jq -s 'last.type == "summary"' "$scratch/stdout")" = true ] ||
		fail "no summary"
}

doctor 10
said failed repository 'hivefs init'
"$HIVEFS" init -q
doctor 0
for check in kind version permissions indexes collections rate repository \
	'round trip' durable 'unique keys' conditional order listings clock \
	others leftovers; do
	said ok "$check" .
done
said ok permissions hivefsMaintain
said ok others '0 at work'
random_image "$scratch/a" 1M
"$HIVEFS" backup -q web "$scratch/a"
doctor 0

"$MONGO_COMMAND" "$HIVEFS_REPO" '{"createIndexes": "chunks",
	"indexes": [{"key": {"n": 1}, "name": "by_length"}]}'
doctor 3
said warning indexes 'chunks has 1 index .*drop it'
"$MONGO_COMMAND" "$HIVEFS_REPO" '{"dropIndexes": "chunks", "index": "by_length"}'
doctor 0

# a role that may read, and one that may not
proxy 1 1 readonly
doctor 0
said ok permissions 'list, verify and restore, as with the role hivefsRestore'
proxy_end
proxy 1 1 denied
doctor 1
said failed permissions 'the user has no permission.*give the user a role'
proxy_end
# the version of a document that is not ours to change is refused
proxy 1 0 readonly
doctor 0
proxy_end

good=$HIVEFS_REPO
HIVEFS_REPO=${good/mongodb:\/\//mongodb://nobody:secret-word@}
doctor 1
said failed server 'does not accept the user or the password; correct it'
! grep -q secret-word "$scratch/stdout" "$scratch/stderr" || fail "a password"
HIVEFS_REPO="mongodb://127.0.0.1:9/x?serverSelectionTimeoutMS=300"
doctor 1
said failed server 'no server answers'
HIVEFS_REPO=mongodb://127.0.0.1:99999/x
doctor 2
said failed server 'no valid URI|Invalid'
