#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A source that gives errors, shrinks, changes or vanishes while it is read
# makes no point. With --skip-errors what it cannot give is lost, listed, and
# never read as zeroes unless a restore says so.

. "$(dirname "$0")/common.sh"
requires nbdkit jq

cd "$scratch"
random_image a 24M
"$HIVEFS" init -q
"$HIVEFS" backup -q good a

serve --filter=error file a error-pread=EIO error-pread-rate=100%
expect_exit 1 "$HIVEFS" backup bad "$uri"
expect_said 'socket.*offset [0-9]+'
[ "$(points)" = 1 ] || fail "a point of a bad source"
serve_end

serve_bad "$scratch/a" 8388608
expect_exit 1 "$HIVEFS" backup bad "$uri"
expect_exit 3 "$HIVEFS" backup --skip-errors --json bad "$uri"
jq -e -s 'map(select(.type == "lost")) | map([.disk, .offset, .length]) ==
	[["disk0", 8388608, 65536]]' stdout >/dev/null || {
	cat stdout >&2
	fail "the lost range is not listed"
}
jq -e -s 'last | .lost == 65536' stdout >/dev/null || fail "its summary"
"$HIVEFS" show bad@latest | grep 'lost: offset 8388608, length 65536' >said ||
	fail "show does not list it"
expect_exit 3 "$HIVEFS" backup --skip-errors --dry-run bad "$uri"

expect_exit 3 "$HIVEFS" restore bad@latest out
expect_said 'lost: offset 8388608, length 65536'
cp a want
dd if=/dev/zero of=want bs=64K seek=128 count=1 conv=notrunc status=none
same want out
expect_exit 3 "$HIVEFS" restore bad@latest - --json
same want stdout
expect_exit 0 "$HIVEFS" verify
[ "$(points)" = 2 ] || fail "points"
serve_end

# gone in the middle; shrinks; changes
serve --filter=rate file a rate=40M
(sleep 0.3 && gone $server) &
expect_exit 1 "$HIVEFS" backup gone "$uri"
random_image b 200M
"$HIVEFS" backup -q shrinks --threads 1 b 2>said &
backup=$!
while [ "$(awk '/^rchar/ { print $2 }' /proc/$backup/io)" -lt 20000000 ]; do
	sleep 0.01
done
kill -STOP $backup
truncate -s 1M b
kill -CONT $backup
code=0
wait $backup || code=$?
[ $code = 1 ] || fail "shrank: exit $code: $(<said)"
grep 'b: ' said >/dev/null || fail "says nothing of b"
[ "$(points)" = 2 ] || fail "a point of what was not whole"
