#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A disk of which hundreds of chunks are damaged makes no flood of messages: the
# first ones are there, and how many were left out. What verify finds is its
# result, and all there.

. "$(dirname "$0")/common.sh"
requires python3
needs_files

cd "$scratch"
random_image a 48M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
python3 - <<'PY'
import glob
for name in glob.glob('repo/segments/*.seg'):
    data = bytearray(open(name, 'rb').read())
    if len(data) > 1 << 20:
        for at in range(8192, len(data), 16384):
            data[at] ^= 1
        open(name, 'wb').write(data)
PY

few() {
	n=$(wc -l <stderr)
	[ "$n" -le 30 ] || fail "$n messages of $*"
	[ "$n" -ge 2 ] || fail "no message of $*"
}

expect_exit 4 "$HIVEFS" restore web@latest out
few restore
expect_said '^hivefs: web/disk0@.*: bytes [0-9]* to [0-9]*: read: damaged'
"$HIVEFS" restore web@latest - 2>stderr >/dev/null || true
few "restore -"
expect_exit 4 "$HIVEFS" verify
few verify
grep -q '^hivefs: damaged documents: [0-9]* more messages were left out$' \
	stderr || fail "does not say how many more: $(cat stderr)"
[ "$(grep -c '^web/disk0@.* damaged$' stdout)" -gt 200 ] || fail "results"
expect_exit 4 "$HIVEFS" verify --json
few "verify --json"
grep -q '"message":"missing documents: [0-9]* more messages' stderr ||
	fail "JSON does not say how many more"
