#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
One file is written to and read in every way that the kernel has, at random,
and is at each step what a plain array of bytes is: through descriptors with and
without O_DIRECT and O_DSYNC, read by a private mapping, at any offset, with
punches, zeroed ranges, copies within the file, syncs and reopenings among it.

  fsx.py FILE [--seed S] [--steps N] [--fixed]   prints the last steps if it
                                                 fails; --fixed: nor can its
                                                 size be changed
"""

import argparse
import ctypes
import errno
import mmap
import os
import random
import sys

PAGE = 4096
LONGEST = 200000
KEEP_SIZE, PUNCH, ZERO = 1, 2, 16
FLAGS = {"plain": 0, "direct": os.O_DIRECT, "dsync": os.O_DSYNC,
         "direct dsync": os.O_DIRECT | os.O_DSYNC}

libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd, mode, off, length):
    if libc.fallocate(fd, mode, ctypes.c_int64(off), ctypes.c_int64(length)):
        raise OSError(ctypes.get_errno(), "fallocate")


class Fsx:
    def __init__(self, path, seed):
        self.rng = random.Random(seed)
        self.path = path
        self.size = os.path.getsize(path)
        with open(path, "rb") as f:
            self.want = bytearray(f.read())
        self.log = []
        # direct I/O is from and to whole pages of memory
        self.buffer = mmap.mmap(-1, LONGEST + 2 * PAGE)
        self.fds = {}
        self.open()

    def open(self):
        for how, flags in FLAGS.items():
            self.fds[how] = os.open(self.path, os.O_RDWR | flags)

    def close(self):
        for fd in self.fds.values():
            os.close(fd)

    def extent(self, unit=1):
        """(offset, length), often across the edges of pages and windows."""
        r = self.rng
        if r.random() < 0.3:
            off = r.randrange(self.size // PAGE + 1) * PAGE + r.randrange(-3, 4)
        else:
            off = r.randrange(self.size)
        off = min(max(off, 0), self.size - unit) // unit * unit
        most = min(self.size - off, r.choice((unit, 5000, 70000, LONGEST)))
        length = max(r.randint(1, max(most, 1)) // unit * unit, unit)
        return off, min(length, self.size - off)

    def descriptor(self):
        how = self.rng.choice(list(FLAGS))
        return how, self.fds[how], 512 if "direct" in how else 1

    # the steps; each says what it did

    def write(self):
        how, fd, unit = self.descriptor()
        off, length = self.extent(unit)
        data = self.rng.randbytes(length)
        if self.rng.random() < 0.2:
            data = bytes(length)  # zeroes that are written
        self.buffer[:length] = data
        n = os.pwrite(fd, memoryview(self.buffer)[:length], off)
        self.want[off:off + n] = data[:n]
        return f"write {how} {off} {length}: {n}"

    def read(self):
        how, fd, unit = self.descriptor()
        off, length = self.extent(unit)
        n = os.preadv(fd, [memoryview(self.buffer)[:length]], off)
        self.compare(f"read {how}", off, self.buffer[:n])
        if n != length:
            raise AssertionError(f"read {how} {off} {length}: {n} bytes")
        return f"read {how} {off} {length}"

    def map_read(self):
        off, length = self.extent()
        with mmap.mmap(self.fds["plain"], self.size, mmap.MAP_PRIVATE,
                       mmap.PROT_READ) as mapping:
            self.compare("mapping", off, mapping[off:off + length])
        return f"mapping read {off} {length}"

    def punch(self, mode=KEEP_SIZE | PUNCH, name="punch"):
        off, length = self.extent()
        fallocate(self.fds["plain"], mode, off, length)
        self.want[off:off + length] = bytes(length)
        return f"{name} {off} {length}"

    def zero(self):
        return self.punch(ZERO | self.rng.choice((0, KEEP_SIZE)), "zero")

    def copy(self):
        off, length = self.extent()
        to = self.rng.randrange(self.size - length + 1)
        if max(off, to) < min(off, to) + length:
            return "copy: not onto itself"
        fd = self.fds["plain"]
        n = os.copy_file_range(fd, fd, length, off, to)
        self.want[to:to + n] = self.want[off:off + n]
        return f"copy {off} {length} to {to}: {n}"

    def sync(self):
        how, fd, _ = self.descriptor()
        self.rng.choice((os.fsync, os.fdatasync))(fd)
        return f"sync {how}"

    def reopen(self):
        self.close()
        self.open()
        return "reopen"

    def beyond(self):
        """Its size is for ever."""
        fd = self.fds["plain"]
        if os.pread(fd, 1000, self.size) != b"":
            raise AssertionError("bytes behind the end")
        for attempt in (lambda: os.pwrite(fd, b"x", self.size),
                        lambda: os.ftruncate(fd, self.size - 1),
                        lambda: os.ftruncate(fd, self.size + 1)):
            try:
                attempt()
            except OSError as e:
                if e.errno not in (errno.EFBIG, errno.ENOSPC, errno.EPERM,
                                   errno.EINVAL):
                    raise
            else:
                raise AssertionError("it changed its size")
        return "beyond the end"

    def holes(self):
        """What SEEK_HOLE calls one reads as zeroes."""
        fd = self.fds["plain"]
        off = self.rng.randrange(self.size)
        hole = os.lseek(fd, off, os.SEEK_HOLE)
        try:
            data = os.lseek(fd, hole, os.SEEK_DATA)
        except OSError as e:
            if e.errno != errno.ENXIO:
                raise
            data = self.size
        if any(self.want[hole:data]):
            raise AssertionError(f"a hole with data: {hole} to {data}")
        return f"holes from {off}: {hole} to {data}"

    def compare(self, what, off, data):
        want = self.want[off:off + len(data)]
        if data == want:
            return
        at = next(i for i, (a, b) in enumerate(zip(data, want)) if a != b)
        raise AssertionError(f"{what}: other bytes at {off + at}")

    def run(self, steps, fixed):
        kinds = ([self.write] * 8 + [self.read] * 6 + [self.map_read] * 2 +
                 [self.punch] * 2 + [self.zero] * 2 +
                 [self.copy, self.sync, self.sync, self.holes] +
                 [self.beyond] * fixed)
        for step in range(steps):
            kind = self.reopen if step % 150 == 149 else \
                self.rng.choice(kinds)
            self.log = self.log[-19:] + [f"{step}: {kind.__name__}"]
            self.log[-1] = f"{step}: {kind()}"
        with open(self.path, "rb") as f:
            self.compare("in the end", 0, f.read())
        self.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--fixed", action="store_true")
    arguments = parser.parse_args()
    fsx = Fsx(arguments.file, arguments.seed)
    try:
        fsx.run(arguments.steps, arguments.fixed)
    except (AssertionError, OSError) as e:
        print(*fsx.log, f"seed {arguments.seed}: {e!r}", sep="\n")
        sys.exit(1)


main()
