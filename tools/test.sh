#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test - everything that must hold before a change goes in, with its set-up.
#
#   tools/test.sh            all stages
#   tools/test.sh --quick    the gcc build and its tests only
#
# Every test of a stage's suite and every other check counts as one; the last
# line, "N passed, N failed", adds them up; what was skipped stands before it.
# The stages use build/, build-asan/ and build-tsan/.

set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

# The unit tests of what threads share, run once more under TSan, and two of a
# mount.
tsan_tests=(test-src test-source test-store test-store-embedded test-ingest
	test-cache test-disk test-prefetch test-view test-foreign test-live
	test-live-threads)
tsan_mounts=(clone-write clone-race)
layers=(src repo formats fs tools)

quick=no
case ${1-} in
'') ;;
--quick) quick=yes ;;
*)
	echo "usage: test.sh [--quick]" >&2
	exit 2
	;;
esac

passed=0
failed=0
skipped=0
failures=()
log=$(mktemp)
reports=$(mktemp -d)
trap 'rm -rf "$log" "$reports"' EXIT
trap 'exit 130' INT TERM

stage() {
	printf '\n== %s\n' "$1"
	SECONDS=0
}

lost() {
	failed=$((failed + 1))
	failures+=("$1")
}

# check NAME CMD...: one check; its output only when it fails
check() {
	local name=$1
	shift
	if "$@" >"$log" 2>&1; then
		passed=$((passed + 1))
		echo "ok      $name (${SECONDS} s)"
	else
		lost "$name"
		tail -n 300 "$log"
		echo "FAILED  $name"
		return 1
	fi
}

# suite NAME BUILD [ARG...]: meson's tests, each counted by its result. One more
# at a time than there are processors, for they wait a lot: for disks and guests.
suite() {
	local name=$1 json=$2/meson-logs/testlog.json result test
	rm -f "$json"
	"${as_is[@]}" meson test -C "$2" --no-rebuild --no-stdsplit --print-errorlogs \
		--num-processes $(($(nproc) + 1)) "${@:3}" || true
	[ -s "$json" ] || {
		lost "$name: no test ran"
		return
	}
	while read -r result test; do
		case $result in
		OK | EXPECTEDFAIL) passed=$((passed + 1)) ;;
		SKIP) skipped=$((skipped + 1)) ;;
		*) lost "$name: $test ($result)" ;;
		esac
	done < <(jq -r '"\(.result) \(.name)"' "$json")
	echo "        $name took ${SECONDS} s"
}

# configured BUILD ARG...: also right when the arguments here have changed;
# $targets, or all there is
configured() {
	local these=()
	read -ra these <<<"${targets-}"
	if [ -e "$1/build.ninja" ]; then
		meson configure "$1" "${@:2}"
	else
		meson setup "$1" "${@:2}"
	fi && ninja -C "$1" "${these[@]}"
}

# no_reports: a daemon has no stderr, so sanitizers write to files
no_reports() {
	[ -z "$(ls -A "$reports")" ] || {
		head -n 100 "$reports"/*
		return 1
	}
}

# A sanitizer's shadow memory needs the addresses that randomisation may take.
as_is=()
randomisation_off() {
	if setarch "$(uname -m)" -R true 2>/dev/null; then
		as_is=(setarch "$(uname -m)" -R)
	fi
}

sources() {
	find "${layers[@]}" tests -name '*.[ch]' | sort
}

# It does not follow the cleanup attribute (leaks: ASan) nor that an output is
# set when 0 is returned (gcc and clang warn of the others), and breaks off at
# macros with __auto_type. It takes the .n of a compound literal for a variable n
# (gcc's -Wsequence-point looks for the true ones).
cppcheck_all() {
	cppcheck --quiet --error-exitcode=1 -j 2 --std=c11 --inline-suppr \
		--enable=warning,performance,portability \
		--suppress=memleak --suppress=resourceLeak \
		--suppress=uninitvar --suppress=internalAstError \
		--suppress=unknownEvaluationOrder \
		--suppress=missingIncludeSystem -I . "${layers[@]}"
}

# What is asked of it, and why no more: .clang-tidy. Tests are not worth the time.
tidy_all() {
	local dirs
	dirs=$(printf '|%s' "${layers[@]}")
	run-clang-tidy -quiet -j 2 -p build-asan "$PWD/(${dirs:1})/.*\.c\$"
}

stage "set-up"
tools/setup.sh --no-build test

stage "layers"
check "one-way layers" tests/layers.sh || true

stage "gcc"
if CC=gcc check "build with gcc" configured build; then
	suite gcc build --timeout-multiplier 2
fi

if [ $quick = no ]; then
	randomisation_off

	stage "clang, address and undefined behaviour sanitizers"
	# 99: none of our exit codes, so no test takes a report for an answer
	export ASAN_OPTIONS=detect_leaks=1:exitcode=99:log_path=$reports/asan
	export ASAN_OPTIONS=$ASAN_OPTIONS:suppressions=$PWD/tests/asan.supp
	export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:exitcode=99
	export UBSAN_OPTIONS=$UBSAN_OPTIONS:log_path=$reports/ubsan
	if CC=clang check "build with ASan and UBSan" configured build-asan \
		-Db_sanitize=address,undefined -Db_lundef=false; then
		# kills and full disks test what the gcc build has tested by
		# now, and a guest that boots keeps QEMU busy, not hivefs
		mapfile -t names < <(meson test -C build-asan --list \
			--suite unit --suite cli --suite fs 2>/dev/null |
			sed -n 's/.* \/ //p' | grep -vE '^boot-(formats|img|uefi|verb|write)$')
		suite asan build-asan --timeout-multiplier 5 "${names[@]}"
		check "no sanitizer report" no_reports || true
	fi

	stage "thread sanitizer"
	unset ASAN_OPTIONS UBSAN_OPTIONS
	export TSAN_OPTIONS=halt_on_error=1:exitcode=99
	present=()
	for test in "${tsan_tests[@]}"; do
		[ ! -e "tests/unit/$test.c" ] || present+=("$test")
	done
	if CC=clang targets="${present[*]/#/tests/unit/} hivefs tests/fs/copy_points" \
		check "build with TSan" configured build-tsan \
		-Db_sanitize=thread -Db_lundef=false; then
		suite tsan build-tsan --timeout-multiplier 10 "${present[@]}" \
			"${tsan_mounts[@]}"
	fi

	stage "static analysis"
	check "cppcheck" cppcheck_all || true
	[ ! -e build-asan/compile_commands.json ] ||
		check "clang-tidy" tidy_all || true
	mapfile -t files < <(sources)
	check "clang-format" clang-format --dry-run --Werror "${files[@]}" ||
		true
	check "shellcheck" shellcheck -S warning .ci/run tools/*.sh tests/*.sh \
		tests/*/*.sh || true
fi

printf '\n'
[ $failed = 0 ] || printf 'failed: %s\n' "${failures[@]}"
[ $skipped = 0 ] || echo "$skipped skipped: this machine lacks what they need"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
