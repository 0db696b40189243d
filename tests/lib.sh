# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# lib - what the shell tests share. A test begins with
#
#   . "$(dirname "$0")/../lib.sh"
#
# and has then: $HIVEFS the program, $scratch an empty directory that goes away,
# $HIVEFS_REPO a repository URL in it (not yet initialised), or where
# $HIVEFS_TEST_MONGODB names a server, of a database of its own there. Exit 77 =
# skipped.
#
#   requires CMD...             skip unless all these programs are here
#   requires_that CMD ARG...    skip unless this command succeeds
#   on_server                   is the repository in MongoDB?
#   needs_files                 skip if so: this test looks into the embedded
#                               store's files, or has repositories on disk
#   at_exit CMD ARG...          runs at the end, the last registered first
#   fail WORD...                ends the test, failed
#   expect_exit CODE CMD...     fails unless CMD exits so; its output is in
#                               $scratch/stdout and $scratch/stderr
#   expect_said PATTERN         that output has a line that matches (grep -E)
#   mount_point VAR             VAR=new directory, unmounted at the end
#   mount_repo [OPTION]...      mounts $HIVEFS_REPO at $mnt
#   unmount_repo                and back; fails unless the daemon ended well
#   when_free CMD ARG...        again while it says that something is busy
#   random_image FILE SIZE [SEED]       data everywhere, the same for a seed
#   sparse_image FILE SIZE [SEED]       holes, zeroes and data, in turns
#   change_image FILE [SEED]            overwrites some 4 KiB blocks
#   damage_bytes DIRECTORY      a bit where a file in it, or a document of the
#                               server, has the bytes of stdin
#   damage_point NAME           a bit of the point with a disk of that name
#   same FILE FILE              fails unless equal, says where they differ

set -Eeuo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
HIVEFS=${HIVEFS:-$top/build/hivefs}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/hivefs-test.XXXXXX")
export HIVEFS HIVEFS_REPO="$scratch/repo"
# one that the test itself did not set must not reach it
unset HIVEFS_DEBUG XDG_DATA_HOME

exit_commands=()
mnt=
daemon=

fail() {
	echo "FAIL: $*" >&2
	exit 1
}

skip() {
	echo "SKIP: $*" >&2
	exit 77
}

at_exit() {
	exit_commands+=("$(printf '%q ' "$@")")
}

run_exit_commands() {
	local status=$? i
	trap - EXIT ERR
	set +e
	for ((i = ${#exit_commands[@]} - 1; i >= 0; i--)); do
		(eval "${exit_commands[i]}") || {
			echo "FAIL: at exit: ${exit_commands[i]}" >&2
			[ $status != 0 ] || status=1
		}
	done
	rm -rf --one-file-system "$scratch"
	exit $status
}
trap run_exit_commands EXIT

# a_database URI: the same with a database that nobody else has
a_database() {
	local options=${1#"${1%%\?*}"} server=${1%%\?*}
	server=${server%/}
	printf '%s/hivefs_test_%s%s\n' "$server" "${scratch##*.}" \
		"${options:-?serverSelectionTimeoutMS=3000}"
}

if [ -n "${HIVEFS_TEST_MONGODB-}" ]; then
	HIVEFS_REPO=$(a_database "$HIVEFS_TEST_MONGODB")
	[ -z "${MONGO_DROP-}" ] || at_exit "$MONGO_DROP" "$HIVEFS_REPO"
fi
trap 'exit 130' INT TERM
trap 'echo "FAIL: line $LINENO: $BASH_COMMAND" >&2' ERR

requires() {
	local program
	for program; do
		command -v "$program" >/dev/null || skip "$program is missing"
	done
}

requires_that() {
	"$@" >/dev/null 2>&1 || skip "$* failed"
}

on_server() {
	[ -n "${HIVEFS_TEST_MONGODB-}" ]
}

needs_files() {
	! on_server || skip "it is about the embedded store's files"
}

expect_exit() {
	local want=$1 got=0
	shift
	"$@" >"$scratch/stdout" 2>"$scratch/stderr" || got=$?
	[ "$got" = "$want" ] || {
		cat "$scratch/stdout" "$scratch/stderr" >&2
		fail "exit $got, not $want: $*"
	}
}

expect_said() {
	cat "$scratch/stdout" "$scratch/stderr" | grep -E -e "$1" >/dev/null || {
		cat "$scratch/stdout" "$scratch/stderr" >&2
		fail "no such line: $1"
	}
}

mount_point() {
	requires_that test -w /dev/fuse
	local -n ret=$1
	ret=$(mktemp -d "$scratch/mnt.XXXXXX")
	at_exit unmount "$ret"
}

# mountpoint(1) does not see a mount whose daemon has died.
unmount() {
	! grep -q -F " $1 " /proc/self/mountinfo ||
		fusermount3 -q -u "$1" || umount -l "$1"
}

# In the foreground, so that its exit code and a sanitizer's report are seen.
mount_repo() {
	mount_point mnt
	"$HIVEFS" "$mnt" -f "$@" 2>"$scratch/daemon.log" &
	daemon=$!
	at_exit daemon_gone "$daemon" "$mnt"
	local n
	for ((n = 0; n < 300; n++)); do
		! mountpoint -q "$mnt" || return 0
		kill -0 $daemon 2>/dev/null || break
		sleep 0.1
	done
	cat "$scratch/daemon.log" >&2
	fail "the mount does not come up"
}

# Until it is not busy: another test's `boot` may look whether the mount is of
# its repository.
when_free() {
	local n
	for ((n = 0; n < 100; n++)); do
		! "$@" 2>"$scratch/busy" || return 0
		grep -q -i busy "$scratch/busy" || break
		sleep 0.1
	done
	cat "$scratch/busy" >&2
	return 1
}

unmount_repo() {
	local status=0
	when_free fusermount3 -u "$mnt"
	wait "$daemon" || status=$?
	[ $status = 0 ] || {
		cat "$scratch/daemon.log" >&2
		fail "the mount ended with $status"
	}
}

# A daemon still there well after the unmount is one that hangs.
daemon_gone() {
	local n
	unmount "$2"
	for ((n = 0; n < 600; n++)); do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -9 "$1"
	return 1
}

bytes() {
	numfmt --from=iec "$1"
}

# AES-CTR of zeroes: seeded, and fast enough for gigabytes.
random_bytes() {
	openssl enc -aes-128-ctr -nosalt -pass "pass:$2" -pbkdf2 -iter 1 \
		-in /dev/zero 2>/dev/null | head -c "$1" || true
}

random_image() {
	random_bytes "$(bytes "$2")" "${3-1}" >"$1"
}

sparse_image() {
	local size mib i
	size=$(bytes "$2")
	rm -f "$1"
	truncate -s "$size" "$1"
	mib=$((size >> 20))
	for ((i = 0; i < mib; i += 4)); do
		random_bytes $((1 << 20)) "${3-1}-$i" |
			dd of="$1" bs=1M seek=$i conv=notrunc status=none
		[ $((i + 1)) -ge $mib ] || dd if=/dev/zero of="$1" bs=1M \
			seek=$((i + 1)) count=1 conv=notrunc status=none
	done
}

change_image() {
	local pages page i
	pages=$(($(stat -c %s "$1") >> 12))
	RANDOM=$((${2-1}))
	for ((i = 0; i < 16; i++)); do
		# not within the pipeline: a subshell draws numbers of its own
		page=$(((RANDOM << 15 | RANDOM) % pages))
		random_bytes 4096 "${2-1}-$i" | dd of="$1" bs=4096 conv=notrunc \
			seek=$page status=none
	done
}

damage_bytes() {
	cat >"$scratch/needle"
	if on_server; then
		"${MONGO_DROP:?}" "$HIVEFS_REPO" bytes "$scratch/needle" ||
			fail "nothing to damage"
		return
	fi
	python3 "$top/tests/flip.py" "$1" "$scratch/needle" >"$scratch/flipped" ||
		fail "nothing to damage in $1"
}

damage_point() {
	printf '\0%s\0' "$1" | damage_bytes "$HIVEFS_REPO/segments"
}

same() {
	cmp "$1" "$2" >&2 || fail "$1 and $2 differ"
}
