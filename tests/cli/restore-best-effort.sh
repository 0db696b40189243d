#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards a restore of what is left: everything that can be read is restored,
# exactly, what cannot be is zeroes and is listed with its place, to a file, a
# device's like and a pipe; chunks, leaves and nodes of maps.

. "$(dirname "$0")/common.sh"
requires jq python3
needs_files

cd "$scratch"
random_image a 40M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
refused 2 'needs --best-effort' "$HIVEFS" restore web@latest out \
	--damage-map map
"$HIVEFS" restore -q web@latest out --best-effort --damage-map map
[ -f map ] && [ ! -s map ] || fail "a map of no damage is empty"
same a out
cp -a repo whole

# as_said OUT MAP: OUT is a, but for zeroes where MAP says
as_said() {
	python3 - a "$@" <<-'PY'
		import json, sys
		want = bytearray(open(sys.argv[1], 'rb').read())
		for line in open(sys.argv[3]):
		    r = json.loads(line)
		    assert r['type'] == 'damaged' and r['disk'] == 'disk0', r
		    end = r['offset'] + r['length']
		    assert 0 <= r['offset'] < end <= len(want), r
		    want[r['offset']:end] = bytes(r['length'])
		if open(sys.argv[2], 'rb').read() != want:
		    sys.exit('not what the map says')
	PY
}

# damage WHAT: flips bits in chunks, or in all maps of a kind
damage() {
	python3 - "$1" <<-'PY'
		import glob, random, sys
		random.seed(7)
		n = 0
		for name in sorted(glob.glob('repo/segments/*.seg')):
		    with open(name, 'r+b') as f:
		        data = f.read()
		        if b'disks' in data:
		            continue
		        maps = data.count(b'map\0')
		        if sys.argv[1] == 'chunks':
		            places = [random.randrange(4096, len(data))
		                      for _ in range(3)] if len(data) > 10**6 else []
		        elif len(data) > 10**6:
		            continue
		        else:
		            kind = b'\x4c\x01' if sys.argv[1] == 'leaves' else b'\x4e'
		            at, places = data.find(b'map\0', 4096), []
		            while at >= 0:
		                body = data[at + 9:at + 9 + len(kind)]
		                if body == kind and (kind == b'\x4e' or
		                                     n + len(places) < 2):
		                    places.append(at + 30)
		                at = data.find(b'map\0', at + 1)
		        for at in places:
		            f.seek(at)
		            f.write(bytes([data[at] ^ 16]))
		            n += 1
		assert n, 'nothing to damage'
	PY
}

for what in chunks leaves nodes; do
	rm -rf repo
	cp -a whole repo
	damage $what
	rm -f out
	expect_exit 4 "$HIVEFS" restore web@latest out
	[ ! -e out ] || fail "$what: it is not complete, but has the name"
	[ $what != chunks ] || expect_said 'out.partial: .*; --resume --best-eff'
	rm -f out.partial
	expect_exit 4 "$HIVEFS" restore web@latest out --best-effort \
		--damage-map map
	expect_said '^disk0: damaged: offset [0-9]+, length [0-9]+ '
	expect_said 'could not be read, and are zeroes now$'
	[ -s map ] || fail "$what: no map"
	as_said out map
	# over other bytes, comparing
	random_image out 41M 5
	expect_exit 4 "$HIVEFS" restore web@latest out --overwrite --resume \
		--best-effort --json
	grep '"damaged","disk"' stdout >map
	truncate -s 40M out
	as_said out map
	expect_exit 4 "$HIVEFS" restore web@latest - --best-effort \
		--damage-map map
	as_said stdout map
	lost=$(jq -s 'map(.length) | add' map)
	case $what in
	chunks) [ "$lost" -le $((30 * 131072)) ] || fail "$lost for few chunks" ;;
	leaves) [ "$lost" = $((8 << 20)) ] || fail "$lost for two windows" ;;
	nodes) [ "$lost" = $((40 << 20)) ] || fail "$lost for the root" ;;
	esac
done
