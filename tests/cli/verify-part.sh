#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards verifying a part at a time: samples take the part that was verified
# longest ago, so that so many of them read everything and find what is damaged;
# what was verified lately can be left out; a time that is up ends it early and
# the next one goes on; so it does after one that was stopped; what the newest
# point needs can come first.

. "$(dirname "$0")/common.sh"
requires jq python3
[ -n "${CLOCK-}" ] || skip "no \$CLOCK"

cd "$scratch"
random_image a 48M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
chunks=$("$HIVEFS" status --json | jq 'select(.type == "summary").chunks')
bytes=$("$HIVEFS" status --json | jq 'select(.type == "summary").chunk_bytes')
on_server || cp -a repo whole

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
[ "$(summary .parts)" = 256 ] && [ "$(summary .chunks)" = "$chunks" ] &&
	# a server's count of bytes has more in it
	{ on_server || [ "$(summary .bytes)" = "$bytes" ]; } ||
	fail "$(summary .)"
json_of "$HIVEFS" verify --json
[ "$(summary .parts)" = 256 ] || fail "all"
json_of "$HIVEFS" verify --report-only --sample 1% --json
[ "$(summary .parts)" = 3 ] || fail "rounds down"

# the newest first: what it needs, and of older ones what they need besides
cp a b
change_image b 5
"$HIVEFS" backup -q web b
all=$("$HIVEFS" status --json | jq 'select(.type == "summary").chunks')
json_of "$HIVEFS" verify --newest-first --json
[ "$(summary '"\(.newest_points) \(.chunks)"')" = "2 $all" ] ||
	fail "$(summary .)"
[ "$(summary .parts)" = 0 ] || fail "notes times of parts"
json_of "$HIVEFS" verify --newest-first --sample 25% --json
[ "$(summary ".chunks > 0 and .chunks < $all / 2")" = true ] ||
	fail "$(summary .)"
refused 2 'reads no chunks' "$HIVEFS" verify --metadata --newest-first
"$HIVEFS" rm -q web@latest
json_of "$HIVEFS" verify --newest-first --json
[ "$(summary '"\(.newest_points) \(.chunks)"')" = "1 $chunks" ] ||
	fail "$(summary .)"

if on_server; then
	exit # damage would be done to files
fi

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
cp -a repo damaged
expect_exit 4 "$HIVEFS" verify --newest-first --json
cp stdout json
[ "$(summary '"\(.damaged) \(.quarantined)"')" = "1 1" ] || fail "$(summary .)"
rm -r repo
mv damaged repo
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

# stopped in the middle: the next one goes on behind it
random_image big 320M 5
"$HIVEFS" backup -q big big
all=$("$HIVEFS" status --json | jq 'select(.type == "summary").chunks')
for ((n = 0; n < 10; n++)); do
	export CLOCK_SHIFT=$(((10 + n) * 86400))
	code=0
	LD_PRELOAD=$CLOCK "$HIVEFS" verify -q --max-duration 1h \
		--threads 1 2>stderr &
	pid=$!
	# bytes that it has read
	until [ "$(sed -n 's/^rchar: //p' /proc/$pid/io 2>/dev/null ||
		echo 999999999)" -gt 100000000 ]; do
		sleep 0.01
	done
	kill -INT $pid 2>/dev/null || true
	wait $pid || code=$?
	[ $code != 0 ] || continue
	[ $code = 130 ] || fail "exit $code: $(cat stderr)"
	json_of env LD_PRELOAD="$CLOCK" "$HIVEFS" verify --older-than 12h --json
	[ "$(summary ".parts > 0 and .parts < 256 and .chunks > 0 and
		.chunks < $all")" = true ] || fail "goes not on: $(summary .)"
	json_of env LD_PRELOAD="$CLOCK" "$HIVEFS" verify --older-than 12h --json
	[ "$(summary .parts)" = 0 ] || fail "not all of it"
	break
done
[ $n -lt 10 ] || fail "none was stopped in time"
