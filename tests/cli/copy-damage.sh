#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Where a repository is damaged, what is whole is copied, the damaged points are
# named (exit code 4) and are not to be seen in the other one; healed, they are
# copied. What the other one has, though damaged here, is not needed; what was
# found damaged there is brought anew.

. "$(dirname "$0")/common.sh"
requires jq python3
needs_files

cd "$scratch"
# flip REPO FILE OFFSET: a bit of where these bytes are stored
flip() {
	python3 - "$@" <<-'PY'
		import glob, sys
		need = open(sys.argv[2], 'rb').read()[int(sys.argv[3]):][:4096]
		for name in glob.glob(sys.argv[1] + '/segments/*.seg'):
		    data = open(name, 'rb').read()
		    at = data.find(need)
		    if at < 0: continue
		    with open(name, 'r+b') as f:
		        f.seek(at + 100)
		        f.write(bytes([data[at + 100] ^ 1]))
		    sys.exit(0)
		sys.exit('not found')
	PY
}

random_image a 8M
random_image b 8M 2
random_image c 1M 3
"$HIVEFS" init -q
"$HIVEFS" init -q -r there
"$HIVEFS" backup -q db a
"$HIVEFS" backup -q mail c
"$HIVEFS" backup -q web b
flip repo b 1048576
for _ in 1 2; do
	expect_exit 4 "$HIVEFS" copy --to there --json
	expect_said '"message":"web@.*: is damaged and was not copied'
	jq -e -s 'map(select(.type == "point" and .outcome == "damaged")) |
		length == 1 and (.[0].address | startswith("web@"))' stdout \
		>/dev/null || fail "not named: $(<stdout)"
	[ "$(HIVEFS_REPO=there points)" = 2 ] || fail "not all that is whole"
	"$HIVEFS" verify -q -r there
done
"$HIVEFS" verify -q >stdout 2>&1 && fail "no damage was found"
"$HIVEFS" backup -q web b
"$HIVEFS" copy -q --to there
[ "$(HIVEFS_REPO=there points)" = 4 ] || fail "healed and not copied"

# chunks that are there are not read here: a point that shares them
flip repo a 4194304
sleep 1.1
cp a larger
random_image end 4K 5
cat end >>larger
"$HIVEFS" backup -q --in-use db larger
json_of "$HIVEFS" copy --to there --json
[ "$(summary .copied)" = 1 ] || fail "$(summary .)"
"$HIVEFS" verify -q -r there
"$HIVEFS" restore -q -r there db@latest out
same larger out

# damage there, of what a neighbour has: not taken over from it
"$HIVEFS" verify >/dev/null 2>&1 && fail "no damage was found"
"$HIVEFS" backup -q db larger
flip there c 524288
expect_exit 4 "$HIVEFS" verify -r there
sleep 1.1
"$HIVEFS" backup -q mail c
json_of "$HIVEFS" copy mail --to there --json
[ "$(summary '"\(.copied) \(.chunks)"')" = "1 1" ] || fail "$(summary .)"
"$HIVEFS" verify -q -r there

# a segment there that is lost, and nobody has noticed: not relied on either
lost=$(grep -L disks there/segments/*.seg | xargs ls -S | head -n 1)
rm "$lost"
sleep 1.1
"$HIVEFS" backup -q db larger
expect_exit 3 "$HIVEFS" copy db@latest --to there
expect_said 'warning: .*/there: [0-9]+ documents were lost there'
"$HIVEFS" restore -q -r there db@latest out --overwrite
same larger out

# a point that cannot be read
random_image d 1M 4
"$HIVEFS" backup -q last unreadable=d
damage_point unreadable
expect_exit 4 "$HIVEFS" copy --to there
expect_said 'last@.*: is damaged and was not copied'
