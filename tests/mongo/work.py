#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
work - writes to or reads a view of a mount all the time, until a file is there.

  work.py write VIEW ORACLE COUNT STOP   the same bytes to both, to ORACLE once
                                         VIEW's are synced
  work.py read VIEW IMAGE COUNT STOP     past the page cache; both are equal

How often so far is in the file COUNT. What and where is the same in each run.
"""
import mmap
import os
import random
import sys
import time

PIECE = 256 << 10


def write(rng, view, oracle, size):
    data = rng.randbytes(rng.randrange(1, 40000))
    off = rng.randrange(size - len(data))
    os.pwrite(view, data, off)
    os.fsync(view)
    os.pwrite(oracle, data, off)


def read(rng, view, image, size):
    off = rng.randrange(size // PIECE) * PIECE
    buf = mmap.mmap(-1, PIECE)
    os.preadv(view, [buf], off)
    if buf[:] != os.pread(image, PIECE, off):
        sys.exit(f'other bytes at {off}')


def main():
    what, first, second, count, stop = sys.argv[1:]
    flags = os.O_RDWR if what == 'write' else os.O_RDONLY | os.O_DIRECT
    view = os.open(first, flags)
    other = os.open(second, os.O_RDWR)
    size = os.fstat(other).st_size
    rng = random.Random(what)
    done = os.open(count, os.O_WRONLY | os.O_CREAT)
    n = 0
    while not os.path.exists(stop):
        (write if what == 'write' else read)(rng, view, other, size)
        n += 1
        os.pwrite(done, b'%09d\n' % n, 0)
        time.sleep(0.02)


if __name__ == '__main__':
    main()
