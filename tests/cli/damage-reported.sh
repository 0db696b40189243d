#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A flipped bit in any segment: verify lists what it touches and exits 4, a
# restore of it exits 4 and never gives other bytes, the rest stays readable.

. "$(dirname "$0")/common.sh"
requires jq python3
needs_files

cd "$scratch"
random_image a 8M
random_image b 8M 2
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
"$HIVEFS" backup -q db b
cp -a repo whole

# flip NEEDLE-FILE OFFSET: one bit of where these 4 KiB are stored
flip() {
	python3 - "$@" <<-'PY'
		import glob, sys
		need = open(sys.argv[1], 'rb').read()[int(sys.argv[2]):][:4096]
		for name in glob.glob('repo/**', recursive=True):
		    try: data = open(name, 'rb').read()
		    except IsADirectoryError: continue
		    at = data.find(need)
		    if at < 0 or 'index' in name or 'mdb' in name: continue
		    with open(name, 'r+b') as f:
		        f.seek(at + 100)
		        f.write(bytes([data[at + 100] ^ 1]))
		    sys.exit(0)
		sys.exit('not found')
	PY
}

for off in 0 1048576 8384512; do
	rm -rf repo
	cp -a whole repo
	flip a $off
	expect_exit 4 "$HIVEFS" verify --json
	jq -e -s --argjson off $off 'map(select(.type == "damage")) |
		length == 1 and all(.machine == "web" and .disk == "disk0" and
		.offset <= $off and .offset + .length > $off)' stdout \
		>/dev/null || {
		cat stdout >&2
		fail "$off: not what was damaged"
	}
	expect_exit 4 "$HIVEFS" verify
	expect_said '^web/disk0@.*: offset [0-9]+, length [0-9]+: chunk '
	rm -f out out.partial
	expect_exit 4 "$HIVEFS" restore web@latest out
	[ ! -e out ] || fail "a damaged restore got its name"
	expect_exit 4 "$HIVEFS" restore web@latest - --threads 1
	cmp -n "$(stat -c %s stdout)" a stdout || fail "other bytes"
	"$HIVEFS" restore -q --overwrite db@latest other
	same b other
done

# a segment that is gone: what was in it is damage, of a disk that is named
rm -rf repo out.partial
cp -a whole repo
biggest=$(find repo/segments -name '*.seg' -size +4M | head -n 1)
rm "$biggest"
expect_exit 4 "$HIVEFS" repair --index
expect_exit 4 "$HIVEFS" verify
for point in web db; do
	code=0
	"$HIVEFS" restore --overwrite $point@latest out 2>stderr || code=$?
	[ $code = 0 ] || [ $code = 4 ] || fail "$point: exit $code"
	[ $code = 0 ] || grep -q "^hivefs: $point/disk0@.*Z: bytes [0-9]* to" \
		stderr || fail "$point: says no disk"
	codes+=$code
	rm -f out out.partial
done
[[ $codes = *4* ]] || fail "nothing was missing"
