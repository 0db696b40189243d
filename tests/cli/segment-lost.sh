#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards a backup that is made after a segment was lost and before anybody has
# run verify: it takes nothing over that was in it, neither from its parent nor
# from what the index says to exist, so that the point it publishes is whole, and
# the older ones are again.

. "$(dirname "$0")/common.sh"
requires jq
needs_files

cd "$scratch"
random_image a 8M
cp a b
change_image b 3
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
"$HIVEFS" backup -q web b
cp -a repo whole

check() {
	"$HIVEFS" restore -q --overwrite web@latest out
	same b out
	"$HIVEFS" restore -q --overwrite web@latest~1 out
	same b out
	"$HIVEFS" backup -q web a
	"$HIVEFS" restore -q --overwrite web@latest~3 out
	same a out
	expect_exit 0 "$HIVEFS" verify --json
	cp stdout json
	[ "$(summary '.damaged == 0 and .healed > 0')" = true ] ||
		fail "$1: $(summary .)"
}

# the journal has the points; of the others, one of chunks and one of maps
cd whole/segments
mapfile -t names < <(grep -L disks ./*.seg | xargs ls -S)
cd "$scratch"
for lost in "${names[0]#./}" "${names[-1]#./}"; do
	for how in gone short; do
		rm -rf repo
		cp -a whole repo
		if [ $how = gone ]; then
			rm "repo/segments/$lost"
		else
			truncate -s -20 "repo/segments/$lost"
		fi
		expect_exit 0 "$HIVEFS" backup --dry-run web b
		expect_exit 3 "$HIVEFS" backup web b
		expect_said "$lost: (is missing|has lost its end)"
		expect_said 'is in the quarantine now'
		expect_exit 0 "$HIVEFS" backup web b
		"$HIVEFS" rm -q web@latest
		check "$lost is $how"
	done
done
