# SPDX-License-Identifier: Apache-2.0
"""Clones as the walk knows them: every disk a plain buffer beside the file."""

import errno
import json
import mmap
import os
import time

from content import (PAGE, Disk, difference, punch_hole, read_direct,
                     read_fully, zero_range)
from program import Failure

MIB = 1 << 20
SECTOR = 512
FRESH = 3  # seconds for the kernel to forget a name, or to close a file

# what a file answers whose daemon is dead; EIO comes from the kernel's own
# page cache, so where it may be taken for that, the daemon was killed
DEAD = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO}

FLAGS = {"plain": 0, "dsync": os.O_DSYNC, "direct": os.O_DIRECT,
         "direct dsync": os.O_DIRECT | os.O_DSYNC}


class Point:
    """A recovery point: it never changes."""

    def __init__(self, alias, when, disks):
        self.alias = alias
        self.time = when
        self.disks = disks  # name -> bytes

    def directory(self, mount):
        """
        All but the first of a second, removed or not, have their alias. The
        kernel may remember for a moment that there was no such name, and what
        was removed; who it is is in point.json.
        """
        first = os.path.join(mount.path, "vm", self.time.replace(":", ""))
        other = f"{first}-{self.alias}"
        end = time.monotonic() + FRESH
        while time.monotonic() < end:
            for path in (other, first):
                try:
                    with open(os.path.join(path, "point.json"), "rb") as f:
                        if json.load(f)["alias"] == self.alias:
                            return path
                except OSError as e:
                    if e.errno in DEAD:
                        return other
            time.sleep(0.02)
        return other

    def address(self, rng, disk=None):
        machine = f"vm/{disk}" if disk else "vm"
        ways = [f"{machine}@{self.time}-{self.alias}",
                f"{machine}@{self.alias}"]
        return rng.choice(ways if disk else ways + [self.alias])

    def __str__(self):
        return f"vm@{self.time}-{self.alias}"


class BranchDisk:
    """One disk of a clone: what it should hold, and its open files."""

    def __init__(self, branch, name, content):
        self.branch = branch
        self.name = name
        self.want = bytearray(content)
        self.files = {}

    def fd(self, mount, kind="plain"):
        if kind not in self.files:
            path = os.path.join(self.branch.directory(mount),
                                self.name + ".img")
            self.files[kind] = os.open(path, os.O_RDWR | FLAGS[kind])
        return self.files[kind]

    def close(self, dead=False):
        while self.files:
            _, fd = self.files.popitem()
            try:
                os.close(fd)
            except OSError as e:
                if not dead or e.errno not in DEAD:
                    raise

    def read(self, fd, off=0, length=None):
        if length is None:
            length = len(self.want) - off
        return read_fully(fd, off, length)

    def check(self, fd):
        size = os.fstat(fd).st_size
        if size != len(self.want):
            raise Failure(f"{self}: size {size}, not {len(self.want)}")
        for off in range(0, size, MIB):
            got = self.read(fd, off, min(MIB, size - off))
            self.compare(got, off)

    def compare(self, got, off):
        want = bytes(self.want[off:off + len(got)])
        found = difference(got, want, off)
        if found:
            raise Failure(f"{self}: {found}")

    def check_range(self, rng, mount):
        size = len(self.want)
        if rng.random() < 0.3:
            off = rng.randrange(size // SECTOR) * SECTOR
            length = rng.choice((SECTOR, PAGE, 65536, 300 * SECTOR))
            length = min(length, size - off)
            got = read_direct(self.fd(mount, "direct"), off, length)
        else:
            off = rng.randrange(size)
            length = min(rng.choice((1, 100, PAGE, 70000, MIB)), size - off)
            got = self.read(self.fd(mount), off, length)
        if len(got) != length:
            raise Failure(f"{self}: {len(got)} bytes at {off}, not {length}")
        self.compare(got, off)

    def check_holes(self, fd):
        """A hole reads as zeroes; what is no hole is in blocks."""
        at, data = 0, 0
        size = len(self.want)
        while at < size:
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as e:
                if e.errno != errno.ENXIO:
                    raise
                begin = size
            if any(self.want[at:begin]):
                raise Failure(f"{self}: data between {at} and {begin}, "
                              "where there is a hole")
            if begin == size:
                break
            at = os.lseek(fd, begin, os.SEEK_HOLE)
            data += at - begin
        blocks = os.fstat(fd).st_blocks * 512
        if blocks != data:
            raise Failure(f"{self}: {data} bytes are data, but {blocks} are "
                          "in blocks")

    def __str__(self):
        return f"{self.branch}/{self.name}"


class Branch:
    """A clone: NAME is None for a point's own."""

    def __init__(self, base, name=None):
        self.base = base
        self.name = name
        self.disks = [BranchDisk(self, n, c) for n, c in base.disks.items()]
        # None: a kill hit while it came into being
        self.exists = bool(name)

    def directory(self, mount):
        if self.name:
            return os.path.join(mount.path, "clones", self.name)
        return self.base.directory(mount)

    def address(self, rng):
        return self.name or self.base.address(rng)

    def close(self, dead=False):
        for disk in self.disks:
            disk.close(dead)

    def is_open(self):
        return any(disk.files for disk in self.disks)

    def saved(self):
        return {disk.name: bytes(disk.want) for disk in self.disks}

    def __str__(self):
        return self.name or f"{self.base} (own)"


class Change:
    """
    One write to a disk, or zeroing of a range of it. `data` is what is there
    when it is complete; `done` bytes of it are known to be.
    """

    HOWS = {"plain": 40, "dsync": 6, "direct": 14, "direct dsync": 6,
            "rwf": 6, "rwf direct": 4, "punch": 10, "zero": 6, "zero keep": 3}
    LENGTHS = (1, 7, SECTOR, 3000, PAGE, PAGE, PAGE, PAGE + 1, 2 * PAGE, 20000,
               65536, 131072, 300000)

    def __init__(self, rng, disk, longest=MIB):
        size = len(disk.want)
        self.disk = disk
        self.done = 0
        self.how = rng.choices(list(self.HOWS), self.HOWS.values())[0]
        length = MIB if rng.random() < 0.01 else rng.choice(self.LENGTHS)
        unit = rng.choice((1, SECTOR, PAGE))
        if "direct" in self.how:
            unit = max(unit, SECTOR)
            length = -(-length // SECTOR) * SECTOR
        if rng.random() < 0.05:
            off = max(0, size - length)  # the end
        else:
            off = rng.randrange(size)
        self.off = off // unit * unit
        length = min(length, longest, size - self.off)
        if self.zeroes():
            self.data = bytes(length)
        elif rng.random() < 0.1:
            self.data = bytes(length)  # written, not punched
        else:
            self.data = Disk.some_bytes(rng, length)[:length]

    def zeroes(self):
        return self.how in ("punch", "zero", "zero keep")

    def is_parallel(self):
        """The kernel sends the parts of a direct write at once."""
        return "direct" in self.how

    def do(self, mount):
        """Through the mount; returns when it is complete."""
        kind = self.how.replace("rwf direct", "direct").replace("rwf", "plain")
        fd = self.disk.fd(mount, kind if kind in FLAGS else "plain")
        if self.how == "punch":
            punch_hole(fd, self.off, len(self.data))
            self.done = len(self.data)
        elif self.zeroes():
            zero_range(fd, self.off, len(self.data), self.how == "zero keep")
            self.done = len(self.data)
        flags = os.RWF_DSYNC if "rwf" in self.how else 0
        with mmap.mmap(-1, len(self.data)) as buf:
            buf[:] = self.data
            while self.done < len(self.data):
                with memoryview(buf)[self.done:] as rest:
                    self.done += os.pwritev(fd, [rest], self.off + self.done,
                                            flags)

    def apply(self):
        """What is done of it is what the disk should hold."""
        end = self.off + self.done
        self.disk.want[self.off:end] = self.data[:self.done]

    def settle(self, got):
        """
        The daemon died before it was complete, and GOT is its range now: that
        of what was not acknowledged a beginning is there, or of a direct write
        any sectors. It is what the disk should hold from now on.
        """
        old = bytes(self.disk.want[self.off:self.off + len(self.data)])
        step = SECTOR if self.is_parallel() else len(self.data)
        for at in range(self.done, len(self.data), step):
            part = slice(at, min(at + step, len(self.data)))
            n = common(got[part], self.data[part])
            if got[part][n:] != old[part][n:]:
                raise Failure(
                    f"{self}: was not complete: from its byte {at + n} on "
                    f"neither old nor new: "
                    f"{difference(got[part][n:], old[part][n:])}")
        self.disk.want[self.off:self.off + len(self.data)] = got

    def __str__(self):
        return f"{self.disk}: {self.how} {len(self.data)} at {self.off}"


def common(a, b):
    """How many bytes A and B begin with alike."""
    lo, hi = 0, min(len(a), len(b))
    while lo < hi:
        mid = (lo + hi + 1) // 2
        if a[lo:mid] == b[lo:mid]:
            lo = mid
        else:
            hi = mid - 1
    return lo
