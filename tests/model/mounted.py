# SPDX-License-Identifier: Apache-2.0
"""A mount of the repository, and reading through it."""

import contextlib
import json
import os
import signal
import subprocess
import time

from content import (PAGE, difference, difference_of_file, read_direct,
                     read_fully)
from program import Failure, TIMEOUT, state_of

FRESH = 1.2  # seconds that the kernel may remember a name that came or went


def usable():
    return os.access("/dev/fuse", os.R_OK | os.W_OK)


class Mount:
    """In the foreground, so that it can be killed and its reports are seen."""

    def __init__(self, program, path, options=()):
        self.program = program
        self.path = path
        self.options = options
        self.process = None
        self.open_files = {}  # (point, disk, direct) -> file descriptor
        self.number = 0
        os.makedirs(path, exist_ok=True)

    def up(self):
        self.number += 1
        self.log = os.path.join(
            self.program.outputs,
            f"{os.path.basename(self.path)}-{self.number:04d}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [self.program.binary, self.path, "-f", *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.program.environment)
        end = time.monotonic() + TIMEOUT
        while not self.serves():
            code = self.process.poll()
            if code is not None:
                self.process = None
                raise Failure(f"mount ended with {code}: {self.said()}")
            if time.monotonic() > end:
                raise Failure(f"the mount does not come up: {self.said()}")
            time.sleep(0.002)

    def serves(self):
        return os.stat(self.path).st_dev != \
            os.stat(os.path.dirname(self.path)).st_dev

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def died(self):
        """By itself, that is."""
        return self.process and self.process.poll() is not None

    def close_files(self):
        while self.open_files:
            _, fd = self.open_files.popitem()
            # a close asks the daemon, which may be gone; the fd is closed
            with contextlib.suppress(OSError):
                os.close(fd)

    def _ended(self):
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            state = state_of(self.process.pid)
            self.process.kill()
            self.process.wait()
            raise Failure(f"the mount does not end: {state}") from None
        finally:
            self.process = None

    def _unmount(self):
        """Another test's `boot` may look whether it is of its repository."""
        for _ in range(100):
            run = subprocess.run(["fusermount3", "-u", self.path],
                                 stderr=subprocess.PIPE, text=True,
                                 check=False)
            if run.returncode == 0:
                return
            if "busy" not in run.stderr:
                break
            time.sleep(0.1)
        raise Failure(f"unmount: {run.stderr}")

    def down(self):
        if not self.process:
            return
        self.close_files()
        self._unmount()
        code = self._ended()
        if code != 0:
            raise Failure(f"the mount ended with {code}: {self.said()}")
        os.unlink(self.log)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self._ended()
        self.close_files()
        subprocess.run(["umount", "-l", self.path], check=True)

    def clean_up(self):
        """After a failure: whatever state it is in."""
        self.close_files()
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
            subprocess.run(["umount", "-l", self.path],
                           stderr=subprocess.DEVNULL, check=False)

    def file(self, point, disk, direct=False):
        """Opened once and kept open, also when its point is removed."""
        key = (point, disk, direct)
        if key not in self.open_files:
            directory = self.directory(point)
            try:
                self.open_files[key] = os.open(
                    ("ro/" if self.number % 2 else "") + disk + ".img",
                    os.O_RDONLY | (os.O_DIRECT if direct else 0),
                    dir_fd=directory)
            finally:
                os.close(directory)
        return self.open_files[key]

    def directory(self, point):
        """
        A descriptor of a point's directory. Which of the points of a second
        is called by the second alone changes as points come and go, and the
        kernel may remember for a moment what it was.
        """
        end = time.monotonic() + FRESH
        while True:
            found = []
            for name in (point.mount_name(True), point.mount_name(False)):
                fd = self.try_directory(point, name)
                if isinstance(fd, int):
                    return fd
                found.append(f"{name} {fd}")
            if time.monotonic() > end:
                raise Failure(f"mount: {point}: {', '.join(found)}")
            time.sleep(0.05)

    def try_directory(self, point, name):
        path = os.path.join(self.path, point.machine.name, name)
        try:
            fd = os.open(path, os.O_PATH)
        except FileNotFoundError as e:
            return f"cannot be opened: {e.strerror}"
        try:
            json_fd = os.open("point.json", os.O_RDONLY, dir_fd=fd)
            with open(json_fd, "rb") as f:
                alias = json.load(f)["alias"]
        except FileNotFoundError as e:
            alias = str(e)
        except BaseException:
            os.close(fd)
            raise
        if alias == point.alias:
            return fd
        os.close(fd)
        return f"is {alias}"

    def entries(self, point):
        fd = self.directory(point)
        try:
            with os.scandir(f"/proc/self/fd/{fd}") as entries:
                return sorted(e.name for e in entries)
        finally:
            os.close(fd)

    def read(self, rng, point, disk):
        """A few reads anywhere in a disk, compared."""
        want = point.disks[disk]
        direct = rng.random() < 0.3
        fd = self.file(point, disk, direct)
        for _ in range(rng.randrange(1, 5)):
            length = min(rng.choice((1, 512, PAGE, 5000, 65536, 300000,
                                     1 << 20)), want.size + 100)
            off = rng.randrange(want.size)
            if rng.random() < 0.2:
                off = max(0, want.size - length // 2)
            if direct:
                off = off // 512 * 512
                length = (length + 511) // 512 * 512
            what = (f"mount: {point}/{disk}: read of {length} at {off}"
                    f"{' (direct)' if direct else ''}")
            try:
                got = read_direct(fd, off, length) if direct else \
                    read_fully(fd, off, length)
            except OSError as e:
                raise OSError(e.errno, f"{what}: {e.strerror}") from e
            found = difference(got, want.read(off, length), off)
            if found:
                raise Failure(f"{what}: {found}")

    def extents(self, point, disk):
        """No page with data is in what SEEK_HOLE calls a hole."""
        want = point.disks[disk]
        fd = self.file(point, disk)
        pages = sorted(want.pages)
        at, n = 0, 0
        while at < want.size:
            try:
                data = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as e:
                if e.errno != 6:  # ENXIO
                    raise
                data = want.size
            if data < at:
                raise Failure(f"mount: {point}/{disk}: SEEK_DATA from {at} "
                              f"goes back to {data}")
            if n < len(pages) and pages[n] * PAGE < data:
                raise Failure(f"mount: {point}/{disk}: page at "
                              f"{pages[n] * PAGE} is in a hole")
            if data >= want.size:
                break
            at = os.lseek(fd, data, os.SEEK_HOLE)
            while n < len(pages) and pages[n] * PAGE < at:
                n += 1

    def whole(self, point):
        for disk, want in point.disks.items():
            found = difference_of_file(self.file(point, disk), want)
            if found:
                raise Failure(f"mount: {point}/{disk}: {found}")
