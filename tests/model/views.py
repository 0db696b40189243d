#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Guards that all views of a disk are one disk: a random walk writes to them at
random offsets, through files of any format, with and without O_DIRECT, by
system calls and by QEMU's block layer, and compares what every view shows with
plain buffers: one for the disk, and one for the rest of each file. The daemon is
killed with -9, the clone is committed, and mounted again.

  views.py HIVEFS [--steps N] [--seed S] [--dir DIR] [--keep]

A failure prints the seed and the step, and leaves everything where it was.
"""

import collections
import contextlib
import errno
import mmap
import os
import random
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from content import punch_hole, read_direct, read_fully, zero_range
from mounted import Mount, usable
from program import Failure, Program
from walking import parse, walk_all

MIB = 1 << 20
# ends within a page, a MiB and a block of every format
SIZE = 37 * MIB + 3 * 512

# ending -> (driver of QEMU, bytes before the disk)
FORMATS = {"img": ("raw", 0), "vhd": ("vpc", 0), "vhdx": ("vhdx", 4 * MIB),
           "vdi": ("vdi", 2 * MIB), "vmdk": ("vmdk", None),
           "qcow2": ("qcow2", None)}
WRITABLE = ("img", "vhd", "vhdx", "vdi", "vmdk")
AIO = ("threads", "native", "io_uring")


class View:
    """One file: its disk's bytes are shared, the others its own."""

    def __init__(self, walk, ending):
        self.walk = walk
        self.ending = ending
        self.driver, self.prefix = FORMATS[ending]
        self.rest = None  # offset -> byte of what is not the disk's

    @property
    def path(self):
        return os.path.join(self.walk.directory(), "disk0." + self.ending)

    def whole(self):
        with open(self.path, "rb") as f:
            return f.read()

    def learn(self):
        """What the format makes, before anything was written to it."""
        got = self.whole()
        if self.prefix is None:
            self.rest = {"all": got}
        else:
            self.rest = {"before": bytearray(got[:self.prefix]),
                         "behind": bytearray(got[self.prefix + SIZE:])}

    def expected(self):
        return bytes(self.rest["before"]) + bytes(self.walk.want) + \
            bytes(self.rest["behind"])

    def end(self):
        return self.prefix + SIZE + len(self.rest["behind"])

    def apply(self, off, data):
        """A write of the file, cut where the disk begins and ends."""
        for i, part in ((0, self.rest["before"]),
                        (self.prefix, self.walk.want),
                        (self.prefix + SIZE, self.rest["behind"])):
            lo, hi = max(off, i), min(off + len(data), i + len(part))
            if lo < hi:
                part[lo - i:hi - i] = data[lo - off:hi - off]

    def options(self):
        more = {"vpc": ",force_size_calc=current_size"}
        return f"driver={self.driver},file.filename={self.path}" \
            + more.get(self.driver, "")


class Walk:
    def __init__(self, arguments, work):
        self.arguments = arguments
        self.work = work
        self.log = open(os.path.join(work, "steps.log"), "w", buffering=1)
        self.program = Program(arguments.hivefs, os.path.join(work, "repo"),
                               os.path.join(work, "output"))
        self.mount = Mount(self.program, os.path.join(work, "mnt"),
                           ("-o", "cache=16M"))
        self.rng = random.Random(arguments.seed)
        self.step = 0
        self.want = bytearray(SIZE)
        self.views = {ending: View(self, ending) for ending in FORMATS}
        self.files = {}
        self.counts = collections.Counter()
        self.aio = None

    def note(self, text):
        self.log.write(f"{self.step:5d} {text}\n")

    def directory(self):
        return os.path.join(self.mount.path, "clones", "work")

    # files: one format at a time is open for writing

    def fd(self, ending, direct):
        if any(other != ending for other, _ in self.files):
            self.close()
        if (ending, direct) not in self.files:
            flags = os.O_RDWR | (os.O_DIRECT if direct else 0)
            self.files[ending, direct] = os.open(self.views[ending].path,
                                                 flags)
        return self.files[ending, direct]

    def close(self):
        while self.files:
            _, fd = self.files.popitem()
            with contextlib.suppress(OSError):
                os.close(fd)

    # steps

    def data(self, length):
        kind = self.rng.randrange(4)
        if kind == 0:
            return bytes(length)
        if kind == 1:
            return bytes([self.rng.randrange(256)]) * length
        return self.rng.randbytes(length)

    def place(self, end):
        """Anywhere, but often at the end, or where disks begin and end."""
        r = self.rng
        length = r.choice((1, 511, 512, 4096, 4097, 65536, 300000,
                           r.randrange(1, MIB)))
        near = r.choice((0, SIZE, 4 * MIB, 2 * MIB, r.randrange(end),
                         r.randrange(end), end))
        off = max(0, min(near + r.randrange(-length, 4096), end - length))
        return off, length

    def step_write(self):
        ending = self.rng.choice(("img", "vhd", "vhdx", "vdi"))
        view = self.views[ending]
        direct = self.rng.random() < 0.5
        off, length = self.place(view.end())
        # what is before and behind the disk is written as it is but for
        # bytes that no format relies on: tests/unit/test-formats has others
        data = bytearray(self.data(length))
        was = view.expected()[off:off + length]
        for i in range(length):
            if view.prefix <= off + i < view.prefix + SIZE:
                break
            data[i] = was[i]
        for i in range(length - 1, -1, -1):
            if view.prefix <= off + i < view.prefix + SIZE:
                break
            data[i] = was[i]
        if direct:
            lo = off & ~511
            hi = min((off + length + 511) & ~511, view.end())
            if hi % 512:
                return
            data = bytearray(view.expected()[lo:off]) + data + \
                bytearray(view.expected()[off + length:hi])
            off, length = lo, hi - lo
        self.note(f"write {ending} {off} {length}"
                  f"{' direct' if direct else ''}")
        buffer = mmap.mmap(-1, len(data))
        buffer.write(bytes(data))
        done = os.pwritev(self.fd(ending, direct), [memoryview(buffer)
                                                    [:len(data)]], off)
        if done != len(data):
            raise Failure(f"wrote {done} of {len(data)} bytes")
        view.apply(off, data)

    def step_zero(self):
        ending = self.rng.choice(("img", "vhd", "vhdx", "vdi"))
        view = self.views[ending]
        off = self.rng.randrange(SIZE - 1)
        length = self.rng.randrange(1, min(SIZE - off, 8 * MIB) + 1)
        punch = self.rng.random() < 0.5
        self.note(f"{'punch' if punch else 'zero'} {ending} {off} {length}")
        fd = self.fd(ending, False)
        if punch:
            punch_hole(fd, view.prefix + off, length)
        else:
            zero_range(fd, view.prefix + off, length,
                       self.rng.random() < 0.5)
        self.want[off:off + length] = bytes(length)

    def step_metadata(self):
        """Bytes that are only this view's."""
        r = self.rng
        ending, off, length = r.choice((("vhdx", 8, 500), ("vdi", 0x54, 256),
                                        ("vhdx", 65536 + 80, 4000)))
        view = self.views[ending]
        off += r.randrange(length)
        data = self.data(r.randrange(1, 60))
        self.note(f"metadata {ending} {off} {len(data)}")
        try:
            os.pwrite(self.fd(ending, False), data, off)
        except OSError as e:
            if e.errno != errno.EIO:
                raise
            return
        view.apply(off, data)

    def step_qemu(self):
        ending = self.rng.choice(WRITABLE)
        view = self.views[ending]
        cache = self.rng.choice(("none", "writeback", "directsync"))
        aio = self.rng.choice(self.aio)
        if aio == "native" and cache == "writeback":
            aio = "threads"
        self.close()
        commands = []
        for _ in range(self.rng.randrange(1, 12)):
            off = self.rng.randrange(SIZE // 512) * 512
            length = min(self.rng.randrange(1, 500) * 512, SIZE - off)
            what = self.rng.randrange(5)
            byte = self.rng.randrange(256)
            if what == 0 and ending == "img":
                commands.append(f"discard {off} {length}")
                byte = 0
            elif what == 1:
                commands.append(f"write -z -u {off} {length}")
                byte = 0
            else:
                commands.append(f"write -P {byte} {off} {length}")
            self.want[off:off + length] = bytes([byte]) * length
        self.note(f"qemu {ending} {cache} {aio}: {commands}")
        said = subprocess.run(
            ["qemu-io", "-t", cache, "-i", aio, "-d", "unmap",
             "--image-opts", view.options()],
            input="\n".join(commands + ["flush", ""]), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if said.returncode or any(word in said.stdout.lower() for word in
                                  ("error", "failed", "invalid")):
            raise Failure(f"qemu-io: {said.stdout}")
        # it has written headers, a descriptor: whatever they are, they stay
        self.relearn(ending)

    def relearn(self, ending):
        was = self.views[ending].rest
        self.views[ending].learn()
        if ending == "vhd" and was != self.views[ending].rest:
            raise Failure("QEMU has changed a footer")

    def step_kill(self):
        self.note("kill")
        self.mount.kill()
        self.close()
        self.mount.up()

    def step_remount(self):
        self.note("remount")
        self.close()
        self.mount.down()
        self.mount.up()

    def step_commit(self):
        self.note("commit")
        os.setxattr(self.directory(), "user.hivefs.commit", b"")

    def step_read(self):
        view = self.views[self.rng.choice(("img", "vhd", "vhdx", "vdi"))]
        off, length = self.place(view.end())
        fd = os.open(view.path, os.O_RDONLY)
        try:
            got = read_fully(fd, off, length)
        finally:
            os.close(fd)
        self.compare(view, got, view.expected()[off:off + length], off)

    def compare(self, view, got, want, base=0):
        if got == want:
            return
        if len(got) != len(want):
            raise Failure(f"{view.ending}: {len(got)} bytes, not {len(want)}")
        at = next(i for i in range(len(want)) if got[i] != want[i])
        raise Failure(f"{view.ending}: other bytes from {base + at} on: "
                      f"{got[at:at + 16].hex()} for "
                      f"{want[at:at + 16].hex()}")

    def check(self):
        for ending, view in self.views.items():
            if view.prefix is None:
                if ending == "vmdk":
                    self.compare(view, view.whole(), view.rest["all"])
                continue
            self.compare(view, view.whole(), view.expected())
            if self.rng.random() < 0.3:
                fd = os.open(view.path, os.O_RDONLY | os.O_DIRECT)
                try:
                    got = read_direct(fd, 0, view.end())
                finally:
                    os.close(fd)
                self.compare(view, bytes(got), view.expected())
        self.evidence()
        oracle = os.path.join(self.work, "oracle.img")
        for ending in ("vmdk", "qcow2", self.rng.choice(WRITABLE)):
            subprocess.run(
                ["qemu-img", "compare", "-q", "-U", "--image-opts",
                 self.views[ending].options(),
                 f"driver=raw,file.filename={oracle}"], check=True)

    def evidence(self):
        with open(os.path.join(self.work, "oracle.img"), "wb") as f:
            f.write(self.want)

    def clean_up(self):
        self.close()
        self.mount.clean_up()

    # the walk

    def begin(self):
        self.program.run("init")
        image = os.path.join(self.work, "first.img")
        for _ in range(12):
            off = self.rng.randrange(SIZE - MIB)
            self.want[off:off + MIB] = self.rng.randbytes(MIB)
        with open(image, "wb") as f:
            f.write(self.want)
        self.program.run("backup", "vm", image)
        self.program.run("clone", "vm@latest", "work")
        self.mount.up()
        for view in self.views.values():
            view.learn()
        # a container's system call filter may forbid io_uring
        self.aio = [aio for aio in AIO if subprocess.run(
            ["qemu-img", "bench", "-q", "-c", "1", "-t", "none", "-i", aio,
             "-f", "raw", image], check=False, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL).returncode == 0]

    def run(self):
        steps = [(self.step_write, 40), (self.step_zero, 8),
                 (self.step_metadata, 8), (self.step_qemu, 6),
                 (self.step_read, 30), (self.step_kill, 1),
                 (self.step_remount, 1), (self.step_commit, 1)]
        self.begin()
        while self.step < self.arguments.steps:
            self.step += 1
            step, = self.rng.choices([s for s, _ in steps],
                                     [w for _, w in steps])
            step()
            self.counts[step.__name__.removeprefix("step_")] += 1
            if self.step % 50 == 0:
                self.check()
        self.check()
        self.close()
        self.mount.down()
        self.program.run("verify")


def main():
    if not usable() or not shutil.which("qemu-io"):
        print("no /dev/fuse, or no qemu-io")
        return 77
    return walk_all(Walk, parse(__doc__.split("\n\n")[0], "VIEWS", 1000))


if __name__ == "__main__":
    sys.exit(main())
