#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Processes open a view for writing and close it again in two mounts, as fast as
# they can, so that its clone is made, dropped unwritten, and taken over time and
# again; one of them writes. What it wrote is there, in both mounts, and neither
# speaks of damage.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires python3

random_image "$scratch/a.img" 1M
back_up "$scratch/a.img"
mount_clone
mv "$scratch/daemon.log" "$scratch/daemon1.log"
mount_again
python3 - "$view" "$mnt2${view#"$mnt"}" <<'END'
import errno, multiprocessing, os, random, sys, time
views = sys.argv[1:]
point = os.path.dirname(views[0])

def opened(rng):
    while True:
        try:
            return os.open(rng.choice(views), os.O_RDWR)
        except OSError as e:
            assert e.errno == errno.EBUSY, e

def churn(seed, stop):
    rng = random.Random(seed)
    while not stop.is_set():
        os.close(opened(rng))

rng = random.Random(1)
for turn in range(12):
    stop = multiprocessing.Event()
    others = [multiprocessing.Process(target=churn, args=(i, stop))
              for i in range(3)]
    for p in others:
        p.start()
    time.sleep(rng.random() / 4)
    fd = opened(rng)
    data = rng.randbytes(4096)
    os.pwrite(fd, data, turn * 4096)
    os.close(fd)
    time.sleep(0.1)
    stop.set()
    for p in others:
        p.join()
        assert p.exitcode == 0
    for view in views:
        fd = os.open(view, os.O_RDONLY)
        assert os.pread(fd, 4096, turn * 4096) == data, (turn, view)
        os.close(fd)
    for attempt in range(100):
        try:
            os.setxattr(point, 'user.hivefs.discard', b'')
            break
        except OSError as e:
            assert e.errno == errno.EBUSY, e # a release is on its way
            time.sleep(0.05)
    assert not os.path.exists(point + '/clone.json'), turn
END
same "$scratch/a.img" "$view"
unmount_again
unmount_repo
! cat "$scratch"/daemon*.log | grep 'missing' >&2 || fail "that is no damage"
