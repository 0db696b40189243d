#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# others - runs the tests of another suite on a server, on whatever
# $HIVEFS_TEST_MONGODB names, one after the other, and says of each how it went.
#
#   others.sh cli|fs|crash
#
# With HIVEFS_TEST_ALL=1 it is all of them, else those that tell most for their
# time. Those that look into the embedded store's files skip themselves, by
# needs_files of lib.sh.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
suite=$1
# shellcheck disable=SC2034 # by its name
{
	cli=(backup-together clone-lost clone-verbs copy-points gc-frees
		gc-who-died input-refused restore-file retention verbs-work
		verify-part)
	fs=(clone-commit clone-full clone-named clone-open clone-race clone-takeover
		clone-write live-points read-equal tree-shape)
	crash=(backup-kill gc-kill)
}

declare -n tests=$suite
export CRASH_STEPS=${CRASH_STEPS:-8}
if [ "${HIVEFS_TEST_ALL-}" = 1 ]; then
	tests=() CRASH_STEPS=40
	for test in "$here/../$suite"/*.sh; do
		test=$(basename "$test" .sh)
		[ "$test" = common ] || tests+=("$test")
	done
fi

out=$(mktemp)
trap 'rm -f "$out"' EXIT
passed=0 failed=0 skipped=0
for test in "${tests[@]}"; do
	SECONDS=0 status=0
	timeout 900 bash "$here/../$suite/$test.sh" >"$out" 2>&1 || status=$?
	case $status in
	0) how=passed passed=$((passed + 1)) ;;
	77) how=skipped skipped=$((skipped + 1)) ;;
	*) how="FAILED with $status" failed=$((failed + 1)) ;;
	esac
	echo "$suite/$test: $how, $SECONDS s"
	case $status in
	0) ;;
	77) tail -n 1 "$out" ;;
	*) cat "$out" ;;
	esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
[ $passed -gt 0 ] || exit 77
