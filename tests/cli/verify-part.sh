#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards verifying a part at a time: samples take the part that was verified
# longest ago, so that so many of them read everything and find what is damaged;
# what was verified lately can be left out; a time that is up ends it early and
# the next one goes on.

. "$(dirname "$0")/common.sh"
requires jq python3
[ -n "${CLOCK-}" ] || skip "no \$CLOCK"

cd "$scratch"
random_image a 48M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
chunks=$("$HIVEFS" status --json | jq 'select(.type == "summary").chunks')
bytes=$("$HIVEFS" status --json | jq 'select(.type == "summary").chunk_bytes')
cp -a repo whole

refused 2 'is no percentage' "$HIVEFS" verify --sample 0
refused 2 'is no percentage' "$HIVEFS" verify --sample 5x
refused 2 'is no span' "$HIVEFS" verify --older-than soon
refused 2 'reads no chunks' "$HIVEFS" verify --metadata --sample 5%

# a quarter each day
sum=0
for day in 1 2 3 4; do
	export CLOCK_SHIFT=$((day * 86400))
	json_of env LD_PRELOAD="$CLOCK" "$HIVEFS" verify --sample 25% --json
	[ "$(summary .parts)" = 64 ] || fail "$(summary .parts) parts"
	n=$(summary .chunks)
	[ "$n" -gt 0 ] && [ "$n" -lt $((chunks / 2)) ] || fail "$n chunks"
	sum=$((sum + n))
done
[ $sum = "$chunks" ] || fail "$sum of $chunks chunks in four quarters"
json_of env LD_PRELOAD="$CLOCK" "$HIVEFS" verify --older-than 60h --json
[ "$(summary .parts)" = 64 ] || fail "not the oldest quarter alone"
json_of env LD_PRELOAD="$CLOCK" "$HIVEFS" verify --older-than 60h --json
[ "$(summary '.parts + .chunks')" = 0 ] || fail "nothing was left"
# there is time for all, and all of it counts
json_of "$HIVEFS" verify --max-duration 1h --json
[ "$(summary .parts)" = 256 ] && [ "$(summary .bytes)" = "$bytes" ] ||
	fail "$(summary .)"
json_of "$HIVEFS" verify --json
[ "$(summary .parts)" = 256 ] || fail "all"
json_of "$HIVEFS" verify --report-only --sample 1% --json
[ "$(summary .parts)" = 3 ] || fail "rounds down"

# damage is found by one of so many samples, and moved
rm -r repo
cp -a whole repo
python3 - <<'PY'
import glob, os
name = max(glob.glob('repo/segments/*.seg'), key=os.path.getsize)
with open(name, 'r+b') as f:
    f.seek(100000)
    byte = f.read(1)[0]
    f.seek(100000)
    f.write(bytes([byte ^ 1]))
PY
found=0
for day in 1 2 3 4 5; do
	code=0
	CLOCK_SHIFT=$((day * 86400)) LD_PRELOAD=$CLOCK \
		"$HIVEFS" verify --sample 20 --json >json 2>/dev/null || code=$?
	[ $code = 0 ] || {
		[ $code = 4 ] && [ "$(summary .quarantined)" -le 1 ] ||
			fail "exit $code: $(summary .)"
		found=$((found + $(summary .quarantined)))
	}
done
[ $found = 1 ] || fail "found $found times"
"$HIVEFS" backup -q web a
"$HIVEFS" verify -q
