#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards garbage collection (I5): what no point and no clone needs goes, and the
# repository shrinks on disk; what is needed stays, also when the index is built
# anew afterwards; a backup that died leaves nothing; nothing goes when something
# that says what is needed cannot be read.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
random_image a 48M
cp a b
change_image b 3
random_image c 48M 4
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
"$HIVEFS" backup -q web b
"$HIVEFS" backup -q db c
"$HIVEFS" clone -q db@latest kept >/dev/null
# what the repository takes, in KiB; of a server, its documents
taken() {
	if on_server; then
		"$HIVEFS" status --json | jq 'select(.type == "summary") |
			.chunk_bytes / 1024 | floor'
	else
		du -sk repo | cut -f1
	fi
}
full=$(taken)

gc() {
	json_of "$HIVEFS" gc --json "$@"
}

# of segments that are mostly alive nothing is moved, and that is said
if ! on_server; then
	cp -a repo mostly
	"$HIVEFS" -r mostly rm -q web@latest
	expect_exit 0 "$HIVEFS" -r mostly gc
	expect_said 'stays on disk: it lies in segments that are more than half$'
	json_of "$HIVEFS" -r mostly gc --json
	[ "$(summary '.disk_dead > 1048576')" = true ] || fail "$(summary .)"
	rm -r mostly
fi

# nothing was removed yet
gc --dry-run
[ "$(summary '.chunks_removed + .maps_removed')" = 0 ] || fail "all is in use"
gc
[ "$(summary '.chunks_removed + .maps_removed')" = 0 ] || fail "all was in use"

# of two points that share nearly all, one; of a clone's point, the point
"$HIVEFS" rm -q web@latest~1
"$HIVEFS" rm -q --last db@latest
gc --dry-run
few=$(summary '.chunks_removed')
[ "$few" -gt 0 ] && [ "$few" -lt 100 ] || fail "$few would be removed"
gc
[ "$(summary '.chunks_removed')" = "$few" ] || fail "not what it said"
[ "$(summary '.points_buried')" = 2 ] || fail "tombstones"
"$HIVEFS" restore -q kept out
same c out
"$HIVEFS" discard -q kept
gc
[ "$(summary '.chunk_bytes_removed >= 48 * 1048576')" = true ] &&
	{ on_server || [ "$(summary '.disk_freed > 0')" = true ]; } || fail "$(summary .)"
now=$(taken)
[ "$now" -lt "$full" ] || fail "did not shrink from $full KiB"
# no segment is less than half alive
"$HIVEFS" status --json | jq -e '.disk_dead < .chunk_bytes + 4194304' >/dev/null ||
	fail "$("$HIVEFS" status | grep 'on disk')"
[ ! -e repo/streams ] || [ -z "$(ls repo/streams)" ] || fail "a stream is left"
"$HIVEFS" verify -q
"$HIVEFS" restore -q --overwrite web@latest out
same b out

# the index from what is left: the same points, and what was removed stays so
"$HIVEFS" points --json | grep '"point"' >points
on_server || { rm -r repo/index && "$HIVEFS" repair -q --index; }
"$HIVEFS" points --json | grep '"point"' | cmp - points
"$HIVEFS" verify -q
"$HIVEFS" restore -q --overwrite web@latest out
same b out
gc
gc --dry-run
[ "$(summary '.chunks_removed + .maps_removed')" = 0 ] || fail "left over"

# a backup that is killed is not waited for
random_image big 96M 7
for ((n = 0; n < 20; n++)); do
	"$HIVEFS" backup -q big big &
	pid=$!
	sleep "0.$((15 + 2 * n))"
	kill -9 $pid 2>/dev/null || true
	wait $pid 2>/dev/null || true
	[ "$(points)" = 1 ] || "$HIVEFS" rm -q --last big@latest
	gc
	[ "$(summary .writers_given_up)" = 0 ] || break
done
[ $n -lt 20 ] || fail "no backup was killed in time"
gc --dry-run
[ "$(summary '.chunks_removed + .maps_removed')" = 0 ] || fail "its rest is left"
"$HIVEFS" verify -q

if on_server; then
	exit # tests/mongo/damage.sh damages documents there
fi

# a map that cannot be read: refused with the point's name, until it is gone
"$HIVEFS" backup -q other c
"$HIVEFS" rm -q web@latest --last
for segment in repo/segments/*.seg; do
	[ "$(stat -c %s "$segment")" -lt 1000000 ] || continue
	! grep -q disks "$segment" || continue
	python3 - "$segment" <<-'PY'
		import sys
		with open(sys.argv[1], 'r+b') as f:
		    data = f.read()
		    at = data.find(b'map\0', 4096)
		    while at >= 0:
		        f.seek(at + 20)
		        f.write(bytes([data[at + 20] ^ 1]))
		        at = data.find(b'map\0', at + 1)
	PY
done
before=$("$HIVEFS" status --json | jq .chunks)
expect_exit 4 "$HIVEFS" gc
expect_said '^hivefs: other@.*Z: its map [0-9a-f]+… is damaged$'
expect_said 'nothing was removed'
[ "$("$HIVEFS" status --json | jq .chunks)" = "$before" ] || fail "it removed"
expect_exit 4 "$HIVEFS" verify -q
"$HIVEFS" backup -q other c 2>/dev/null
gc
[ "$(summary '.chunks_removed')" -gt 0 ] || fail "healed, but nothing goes"
"$HIVEFS" verify -q
"$HIVEFS" restore -q --overwrite other@latest~1 out
same c out
