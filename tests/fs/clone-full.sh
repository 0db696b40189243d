#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A repository whose file system is full: a writer is told ENOSPC at its write
# or sync, nothing that was acknowledged is lost, what is there can be read, and
# writing goes on when there is room again, in the same open file.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires python3 mkfs.ext4 losetup
requires_that losetup -f

truncate -s 160M "$scratch/small"
mkfs.ext4 -q -F -m 0 "$scratch/small"
mkdir "$scratch/full"
mount -o loop "$scratch/small" "$scratch/full"
at_exit unmount "$scratch/full"
HIVEFS_REPO=$scratch/full/repo

sparse_image "$scratch/a.img" 128M
back_up "$scratch/a.img"
mount_clone
fallocate -l 40M "$scratch/full/ballast"

# writes until it is full, goes on when the other says so; keeps the oracle
python3 - "$view" "$oracle" "$scratch/full/ballast" <<'END'
import errno, os, random, sys
view, oracle, ballast = sys.argv[1:]
fd = os.open(view, os.O_RDWR)
out = os.open(oracle, os.O_RDWR)
random.seed(5)
def step(size):
    off = random.randrange((128 << 20) - size)
    data = random.randbytes(size)
    n = os.pwrite(fd, data, off)
    os.pwrite(out, data[:n], off)
    assert n == size, n
refused = synced = 0
for i in range(4000):
    try:
        step(random.choice([512, 4096, 20000, 300000]))
        if i % 10 == 0:
            os.fsync(fd)
            synced += 1
    except OSError as e:
        assert e.errno == errno.ENOSPC, e
        refused += 1
        if refused == 20:
            os.unlink(ballast)
        if refused == 60:
            break
else:
    sys.exit('never full')
os.fsync(fd)
print(i, 'writes,', synced, 'synced')
END
same_disk
kill_mount
mount_clone
same_disk
same "$scratch/a.img" "$point/ro/disk0.img"
! grep -i damage "$scratch/daemon.log" || fail "the log speaks of damage"
unmount_repo
