#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A view of a clone is a file like any other: fsx.py does everything to it that
# the kernel has, on a plain file first, to know that it is right itself. The
# second half is on what a fold has left, after a commit and in another mount.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires python3

fsx() {
	python3 "$(dirname "$0")/fsx.py" "$@" || fail "fsx: $*"
}

sparse_image "$scratch/a.img" 9M
truncate -s +1536 "$scratch/a.img" # not a whole page
cp "$scratch/a.img" "$scratch/b.img"
fsx "$scratch/b.img" --steps 1000 --seed 1
back_up "$scratch/a.img"
mount_clone
fsx --fixed "$view" --steps 6000 --seed 1
"$HIVEFS" commit "web@$(basename "$point")"
fsx --fixed "$view" --steps 2000 --seed 2
cp "$view" "$scratch/now"
kill_mount
mount_clone
same "$scratch/now" "$view"
fsx --fixed "$view" --steps 2000 --seed 3
same "$scratch/a.img" "$point/ro/disk0.img"
unmount_repo
