#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What cannot be mounted: each with its exit code and one sentence, from the
# foreground as from the parent of a daemon, and nothing is left mounted.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"

mkdir "$scratch/dir" "$scratch/dir/empty" "$scratch/m"
echo >"$scratch/file"
HIVEFS_REPO=$scratch/dir/repo
"$HIVEFS" init

# refused CODE PATTERN WORD...
refused() {
	local code=$1 pattern=$2
	shift 2
	for mode in "" -f; do
		# shellcheck disable=SC2086
		expect_exit "$code" timeout 20 "$HIVEFS" "$@" $mode
		expect_said "$pattern"
		[ "$(wc -l <"$scratch/stderr")" = 1 ] || {
			cat "$scratch/stderr"
			fail "not one sentence: $*"
		}
	done
	! grep "$scratch" /proc/self/mounts || fail "something is mounted: $*"
}

refused 2 "No such file" "$scratch/nowhere"
refused 2 "not a directory" "$scratch/file"
refused 2 "the repository itself" "$HIVEFS_REPO"
mkdir "$HIVEFS_REPO/inside"
refused 2 "inside the repository" "$HIVEFS_REPO/inside"
refused 2 "above the repository" "$scratch/dir"
ln -s dir "$scratch/link"
refused 2 "above the repository" "$scratch/link/../link/"
refused 2 "above the repository" "file://$HIVEFS_REPO" "$scratch/dir"
refused 2 "unknown mount option 'nonsense'" "$scratch/m" -o ro,nonsense
refused 2 "'img2': neither a format of formats=" "$scratch/m" -o formats=img,img2
refused 2 "cache=1K: not a size" "$scratch/m" -o cache=1K
refused 2 "cache=much: not a size" "$scratch/m" -o cache=much
refused 2 "uid=me: not a number" "$scratch/m" -o uid=me
refused 2 "umask=888: not octal" "$scratch/m" -o umask=888
refused 2 "unknown option '-x'" "$scratch/m" -x
refused 2 "one word too many" "$HIVEFS_REPO" "$scratch/m" more
refused 2 "two repositories" -r "$HIVEFS_REPO" "$HIVEFS_REPO" "$scratch/m"
refused 2 "where to mount" mount
if command -v setpriv >/dev/null && [ "$(id -u)" = 0 ]; then
	expect_exit 1 setpriv --bounding-set -sys_admin "$HIVEFS" "$scratch/m"
	expect_said "give the container the capability SYS_ADMIN"
fi
refused 10 "repo" "$scratch/nowhere" "$scratch/m"
refused 10 "repo" "$scratch/dir/empty" "$scratch/m"
refused 10 "repo" -r "$scratch/file" "$scratch/m"

# half a repository: its creation was interrupted
cp -r "$HIVEFS_REPO" "$scratch/half"
find "$scratch/half" -type f -exec truncate -s 0 {} +
for mode in "" -f; do
	got=0
	# shellcheck disable=SC2086
	timeout 20 "$HIVEFS" "$scratch/half" "$scratch/m" $mode || got=$?
	[ $got != 0 ] && [ $got -lt 124 ] || fail "half a repository: exit $got"
done

mount_repo
expect_exit 11 "$HIVEFS" "$mnt"
expect_said "mounted there already"
ls "$mnt/.hivefs/metrics" >/dev/null || fail "the first mount has gone"
unmount_repo
