#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards garbage collection against kill -9 at any moment: everything that is
# live is whole, and the next collection finishes what was begun. Then the
# repository holds nothing that is not needed.

. "$(dirname "$0")/../lib.sh"
requires jq

cd "$scratch"
steps=${CRASH_STEPS-40}
for i in 1 2 3 4; do
	random_image "d$i" 12M "$i"
done
"$HIVEFS" init -q
"$HIVEFS" backup -q keep d1
"$HIVEFS" backup -q other d2
"$HIVEFS" backup -q other d3

# how long one takes that has something to do
measure() {
	"$HIVEFS" backup -q gone d4
	"$HIVEFS" rm -q --last gone@latest
	local begin=$EPOCHREALTIME
	"$HIVEFS" gc -q
	local end=$EPOCHREALTIME
	echo $(((${end/./} - ${begin/./}) / 1000 + 5))
}
ms=$(measure)

whole() {
	"$HIVEFS" verify -q
	"$HIVEFS" restore -q --overwrite keep@latest out
	same d1 out
	"$HIVEFS" restore -q --overwrite other@latest out
	same "d$1" out
}

killed=0
for ((n = 0; n < steps; n++)); do
	this=$((n % 2 + 2))
	"$HIVEFS" backup -q gone d4
	"$HIVEFS" backup -q other "d$this"
	"$HIVEFS" rm -q --last gone@latest
	"$HIVEFS" rm -q other@latest~1
	"$HIVEFS" gc -q &
	pid=$!
	printf -v pause '0.%03d' $((ms * n / steps))
	sleep "$pause"
	if kill -9 $pid 2>/dev/null; then killed=$((killed + 1)); fi
	wait $pid 2>/dev/null || true
	if ((n % 4 == 0)); then
		whole $this
	fi
	if ((n % 7 == 0)); then
		on_server || "$HIVEFS" repair -q --index
		whole $this
	fi
done
echo "$killed of $steps were killed, within $ms ms"
[ $killed -gt $((steps / 4)) ] || fail "hardly any was killed"
"$HIVEFS" gc -q
"$HIVEFS" gc --dry-run --json |
	jq -e '.chunks_removed == 0 and .maps_removed == 0' >/dev/null ||
	fail "something is left"
whole $this
if on_server; then
	exit # what a server takes on its disk is its own affair
fi
# one disk twice over, and what the last rounds share
used=$(du -sm repo | cut -f1)
[ "$used" -lt 80 ] || fail "$used MiB for 24 MiB of data"
