#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards that damage to documents in a server is found, named, and healed by the
# next backup, that restores give no wrong bytes, and that gc removes nothing
# while a map cannot be read.
. "$(dirname "$0")/../cli/common.sh"
requires jq
on_server || skip "there is no server"
[ -n "${MONGO_DROP-}" ] || skip "no \$MONGO_DROP"

cd "$scratch"
random_image a 24M
random_image b 24M 2
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
"$HIVEFS" backup -q db b

"$MONGO_DROP" "$HIVEFS_REPO" chunks 7
expect_exit 4 "$HIVEFS" verify --report-only
expect_said '^hivefs: chunk [0-9a-f]{64}: fails its checksum'
expect_said '^web/disk0@.*: offset [0-9]+, length [0-9]+: chunk [0-9a-f]+ damaged'
expect_exit 4 "$HIVEFS" restore web@latest out
rm out.partial
expect_exit 4 "$HIVEFS" restore --best-effort web@latest out
differ=$(cmp -l a out | wc -l) || true
[ "$differ" -gt 0 ] && [ "$differ" -le 131072 ] || fail "$differ other bytes"
expect_exit 4 "$HIVEFS" verify
"$HIVEFS" backup -q web a
expect_exit 0 "$HIVEFS" verify
"$HIVEFS" restore -q --overwrite web@latest~1 out
same a out

"$HIVEFS" backup -q web b
"$HIVEFS" rm -q web@latest~2 web@latest~1
count() {
	"$HIVEFS" status --json | jq 'select(.type == "summary").chunks'
}
before=$(count)
for ((n = 0; ; n++)); do
	"$MONGO_DROP" "$HIVEFS_REPO" maps $n 2>/dev/null || break
done
expect_exit 4 "$HIVEFS" gc
expect_said 'nothing was removed'
[ "$(count)" = "$before" ] || fail "it removed"
expect_exit 4 "$HIVEFS" verify
"$HIVEFS" backup -q web b 2>/dev/null
"$HIVEFS" gc -q
"$HIVEFS" verify -q
[ "$(count)" -lt "$before" ] || fail "healed, but nothing goes"
"$HIVEFS" restore -q --overwrite db@latest out
same b out
