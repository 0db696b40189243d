#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A point whose document is damaged cannot be in a rebuilt index: repair says
# which one it was and where it lay, wherever in its record the damage is, also
# in the very last record. Of what stands, and of writes that were not finished,
# it says nothing.

. "$(dirname "$0")/common.sh"
requires jq python3
needs_files

cd "$scratch"
random_image a 1M
"$HIVEFS" init -q
"$HIVEFS" backup -q web old=a
"$HIVEFS" backup -q db damaged=a
"$HIVEFS" backup -q web new=a
"$HIVEFS" clone -q web@latest~1 named >/dev/null
cp -a repo whole

# damage TEXT PLACE [find]: one bit of the last (first) record that holds TEXT;
# prints where it begins
damage() {
	python3 - "$@" <<-'PY'
		import glob, struct, sys
		text, place = b'\0' + sys.argv[1].encode() + b'\0', sys.argv[2]
		how = sys.argv[3] if len(sys.argv) > 3 else 'rfind'
		magic = struct.pack('<Q', 0x9dc1f4e2b7a85e1f)
		name, data = next((n, d) for n in
		    sorted(glob.glob('repo/segments/*.seg'), reverse=True)
		    for d in [bytearray(open(n, 'rb').read())] if text in d)
		found = getattr(data, how)(text)
		at = data.rfind(magic, 0, found)
		data[{'body': found + 2, 'header': at + 20,
		      'key': at + 60}[place]] ^= 4
		open(name, 'wb').write(data)
		print(name[len('repo/'):], at)
	PY
}

fresh() {
	rm -rf repo
	cp -a whole repo
}

for place in body header key; do
	for point in db/damaged web/new; do
		fresh
		read -r file off <<<"$(damage "${point#*/}" $place)"
		want=$("$HIVEFS" -r whole points "${point%/*}" --json | jq -r \
			"select(.disks and .disks[0].name == \"${point#*/}\") |
			[.machine, .time, .alias] | @tsv")
		read -r machine time alias <<<"$want"
		expect_exit 4 "$HIVEFS" repair --index
		expect_said "^$machine@$time, alias $alias: its document in points is lost: $file, offset $off\$"
		[ "$(grep -c 'is lost' stdout)" = 1 ] || fail "other ones, too"
		[ "$(points)" = 2 ] || fail "not the others"

		fresh
		damage "${point#*/}" $place
		expect_exit 4 "$HIVEFS" repair --index --json
		jq -e -s --arg alias "$alias" --argjson off "$off" '(.[0] |
			.type == "lost" and .collection == "points" and
			.alias == $alias and .offset == $off) and
			(last | .type == "summary" and .lost == 1)' stdout \
			>/dev/null || fail "JSON: $(cat stdout)"
	done
done

# without an index the record's own header tells, as far as it is whole
fresh
damage damaged body
rm -r repo/index
expect_exit 4 "$HIVEFS" repair --index
expect_said '^db@20.*Z, alias [0-9a-f]{8}: its document in points is lost'

# a machine or a clone goes by its name
fresh
damage named body
expect_exit 4 "$HIVEFS" repair --index
expect_said '^clones: [0-9a-f]*: its document is lost: segments/'

# what was superseded or removed, and the torn end of a write, are no loss
fresh
"$HIVEFS" discard -q named
damage named body find
expect_exit 4 "$HIVEFS" repair --index # it is damage all the same
! grep 'clones.* is lost' stdout || fail "a clone that was discarded"
fresh
last=$(find repo/segments -name '*.seg' | sort | tail -n 1)
head -c 400 "$last" | tail -c 300 >>"$last"
expect_exit 0 "$HIVEFS" repair --index
