#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards healing (I9): verify moves what is damaged or missing to the quarantine,
# and the next backup of the same bytes, also of a disk that did not change,
# stores it anew, so that every point that used it is whole again. A backup after
# that never relies on what is not there.

. "$(dirname "$0")/common.sh"
requires jq python3
needs_files

cd "$scratch"
random_image a 24M
cp a changed
change_image changed 3
"$HIVEFS" init -q
"$HIVEFS" backup -q web changed
"$HIVEFS" backup -q web a
"$HIVEFS" backup -q twin a
cp -a repo whole

both() {
	"$HIVEFS" restore -q --overwrite web@latest out
	same a out
	"$HIVEFS" restore -q --overwrite "web@latest~$1" out
	same changed out
	"$HIVEFS" restore -q --overwrite twin@latest out
	same a out
}

# found WHAT-KIND: verify says so once with what it moved, and again without
found() {
	expect_exit 4 "$HIVEFS" verify --json
	cp stdout json
	[ "$(summary '.damaged > 0 and .quarantined == .damaged')" = true ] ||
		fail "$1: not moved: $(summary .)"
	# what was damaged is called so, though it is set aside now
	jq -r 'select(.type == "damage").why' stdout | sort -u >why
	expect_exit 4 "$HIVEFS" verify --json
	cp stdout json
	jq -r 'select(.type == "damage").why' stdout | sort -u | cmp - why ||
		fail "$1: it was $(cat why)"
	[ "$(summary '.damaged > 0 and .quarantined == 0')" = true ] ||
		fail "$1: moved twice: $(summary .)"
	json_of "$HIVEFS" status --json
	[ "$(summary '.quarantined > 0')" = true ] || fail "status hides it"
	expect_exit 0 "$HIVEFS" status
	expect_said '^damaged +[0-9]+ of the chunks and maps; hivefs verify'
}

healed() {
	expect_exit 0 "$HIVEFS" verify --json
	cp stdout json
	[ "$(summary '.damaged == 0 and .healed > 0')" = true ] ||
		fail "$1: not healed: $(summary .)"
	expect_exit 0 "$HIVEFS" verify --json
	cp stdout json
	[ "$(summary '.healed')" = 0 ] || fail "$1: healed twice"
}

# some bytes of every segment, chunks' and maps', that lie in no header
flip() {
	python3 - "$1" <<-'PY'
		import glob, os, random, sys
		random.seed(int(sys.argv[1]))
		for name in sorted(glob.glob('repo/segments/*.seg')):
		    size = os.path.getsize(name)
		    with open(name, 'r+b') as f:
		        if b'disks' in f.read(1 << 20):
		            continue    # the journal: points are not healed
		        for _ in range(3):
		            at = random.randrange(4096 + 100, size - 16)
		            f.seek(at)
		            byte = f.read(1)[0]
		            f.seek(at)
		            f.write(bytes([byte ^ 1 << random.randrange(8)]))
	PY
}

for seed in 1 2 3; do
	rm -rf repo
	cp -a whole repo
	flip $seed
	# one that only reports leaves all as it is
	expect_exit 4 "$HIVEFS" verify --report-only --json
	cp stdout json
	[ "$(summary .quarantined)" = 0 ] || fail "reported and moved"
	expect_exit 4 "$HIVEFS" repair --plan --json
	cp stdout json
	[ "$(summary '.action + " \(.quarantined)"')" = "quarantine 0" ] ||
		fail "the plan: $(summary .)"
	if [ $seed = 1 ]; then
		expect_exit 4 "$HIVEFS" repair --apply --json
		cp stdout json
		[ "$(summary '.damaged > 0 and .quarantined == .damaged')" = \
			true ] || fail "not applied: $(summary .)"
	else
		found "bits $seed"
		rm -f lost.partial
		expect_exit 4 "$HIVEFS" restore web@latest lost
		expect_said '^hivefs: (chunk|map) [0-9a-f]+…: was damaged and is set aside'
	fi
	"$HIVEFS" backup -q web a 2>stderr || fail "$(cat stderr)"
	"$HIVEFS" backup -q web changed 2>stderr || fail "$(cat stderr)"
	"$HIVEFS" restore -q --overwrite web@latest out
	same changed out
	"$HIVEFS" restore -q --overwrite web@latest~1 out
	same a out
	healed "bits $seed"
	"$HIVEFS" restore -q --overwrite twin@latest out
	same a out
done

# every segment of chunks or maps in its turn is gone, index rebuilt or not
n=0
for lost in whole/segments/*.seg; do
	! grep -q disks "$lost" || continue
	n=$((n + 1))
	for index in kept rebuilt; do
		rm -rf repo
		cp -a whole repo
		rm "repo/segments/${lost##*/}"
		[ $index = kept ] ||
			expect_exit 4 "$HIVEFS" repair --index
		found "$lost, index $index"
		"$HIVEFS" backup -q web changed 2>/dev/null
		"$HIVEFS" restore -q --overwrite web@latest out
		same changed out
		"$HIVEFS" backup -q web a 2>/dev/null
		"$HIVEFS" restore -q --overwrite web@latest out
		same a out
		healed "$lost, index $index"
		both 1
	done
done
expect_exit 0 "$HIVEFS" repair --plan
expect_said '^no damage'
[ $n -ge 2 ] || fail "only $n segments hold chunks or maps"
