# SPDX-License-Identifier: Apache-2.0
"""
The life of a repository in stages, what must be there after each of them, and
how that is looked at. Everything is done by the program itself.
"""

import copy
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

PAGE = 4096
SIZE = 9 << 20
WRITES = 12
TIMEOUT = 120

# src/exit.h
DOCUMENTED = {0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15}


class Failure(Exception):
    """What was promised does not hold."""


class Ended(Exception):
    """A program did not do what it was to do: for a fault, that is fine."""

    def __init__(self, what, code, said):
        super().__init__(f"{what}: {code}\n{said}")
        self.code = code
        self.said = said


def sum_of(data):
    return hashlib.sha256(data).hexdigest()


def page(number):
    return random.Random(f"write {number}").randbytes(PAGE)


class Known:
    """
    What must be there. Where something is under way there is more than one
    answer: points of `maybe`, by their bytes; those of `going` may be gone.
    """

    def __init__(self):
        self.repository = False
        self.points = {}  # alias: bytes, by their sum
        self.maybe = set()
        self.going = set()
        self.removed = set()
        self.clones = {}  # name: Clone
        self.gone = set()  # files whose space was said to be free


class Clone:
    def __init__(self, base):
        self.base = base  # bytes of the image
        self.writes = []  # (page, number), in their order
        self.low = 0  # so many of them must be there
        self.sure = False  # it exists
        self.going = False

    def after(self, n):
        image = bytearray(self.base)
        for at, number in self.writes[:n]:
            image[at * PAGE:(at + 1) * PAGE] = page(number)
        return bytes(image)

    def allowed(self):
        return {sum_of(self.after(n)) for n in
                range(self.low, len(self.writes) + 1)}


class World:
    """A repository, the program, and what is known."""

    def __init__(self, hivefs, fault, work):
        self.hivefs = hivefs
        self.fault = fault
        self.work = work
        self.top = os.path.join(work, "top")
        self.mnt = os.path.join(work, "mnt")
        self.known = Known()
        self.faults = {}  # environment of what meets faults
        self.noted = None  # called when what is known changes
        self.number = 0
        self.said = ""
        for path in (self.top, self.mnt):
            os.makedirs(path, exist_ok=True)
        self.images()

    def images(self):
        rng = random.Random(7)
        self.image = {}
        base = bytearray(SIZE)
        for window in range(3):
            at = (window << 22) + (64 << 10)
            base[at:at + (448 << 10)] = rng.randbytes(448 << 10)
        for name in "abcd":
            at = (rng.randrange(100, 500)) << 10
            base[at:at + 300 * 1024] = rng.randbytes(300 * 1024)
            self.image[name] = bytes(base)
            with open(os.path.join(self.work, name), "wb") as f:
                f.write(base)

    def path(self, name):
        return os.path.join(self.work, name)

    def repository(self):
        return os.path.join(self.top, "repo")

    def environment(self, faulty):
        e = {**os.environ, "HIVEFS_REPO": self.repository(), "LC_ALL": "C"}
        e.pop("HIVEFS_DEBUG", None)
        if faulty and self.faults:
            e.update(self.faults, LD_PRELOAD=self.fault, FAULT_DIR=self.top)
        return e

    def run(self, *args, faulty=False, expect=(0,)):
        """What it wrote. Raises Ended, or Failure where it must not be so."""
        try:
            done = subprocess.run(
                [self.hivefs, *args], check=False, capture_output=True,
                env=self.environment(faulty), timeout=TIMEOUT,
                stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise Failure(f"hangs: {' '.join(args)}") from None
        said = done.stderr.decode(errors="replace")
        if done.returncode in expect:
            self.said = said
            return done.stdout
        what = " ".join(args)
        out = done.stdout.decode(errors="replace")[-1000:]
        if faulty:
            self.check_end(what, done.returncode, said + out)
            raise Ended(what, done.returncode, said)
        raise Failure(f"{what}: exit {done.returncode}\n{said}{out}")

    def check_end(self, what, code, said):
        """How a program may end that met a fault."""
        how, call = (self.faults.get(name) for name in
                     ("FAULT_HOW", "FAULT_CALL"))
        if code == -signal.SIGKILL and how == "die":
            return
        # libraries abort without memory, or give up without a word
        if call == "alloc" and (code == -signal.SIGABRT or code in DOCUMENTED):
            return
        if code not in DOCUMENTED or code == 0:
            raise Failure(f"{what}: ended by {code}\n{said}")
        if not said.strip():
            raise Failure(f"{what}: exit {code}, and says nothing")

    def lines(self, *args, faulty=False, expect=(0,)):
        out = self.run(*args, "--json", faulty=faulty, expect=expect)
        if faulty and b'"out of memory"' in out:
            raise Ended(" ".join(args), 0, "did it, but not all was said")
        return [json.loads(line) for line in out.splitlines()]

    # what is known

    def note(self):
        if self.noted:
            self.noted(copy.deepcopy(self.known))

    # the stages

    def init(self):
        self.note()
        try:
            self.run("init", "-q", faulty=True)
        except (Ended, Failure) as e:
            # the attempt before this one got so far
            if "is a hivefs repository already" not in str(e):
                raise
        self.known.repository = True
        self.note()

    def backup(self, machine, name):
        k = self.known
        k.maybe.add(sum_of(self.image[name]))
        self.note()
        alias = self.lines("backup", machine, self.path(name),
                           faulty=True)[-1]["alias"]
        k.points[alias] = sum_of(self.image[name])
        self.note()
        return alias

    def clone(self, address, name):
        alias = self.latest(address)
        image = next(i for i in self.image.values()
                     if sum_of(i) == self.known.points[alias])
        c = self.known.clones.setdefault(name, Clone(image))
        self.note()
        try:
            self.run("clone", "-q", address, name, faulty=True)
        except Ended as e:
            # the attempt before this one got so far
            if "there is a clone" not in e.said:
                raise
        c.sure = True
        self.note()

    def latest(self, address):
        return json.loads(self.run("show", address, "--json").splitlines()
                          [0])["alias"]

    def mount(self):
        """The daemon, up; Ended if it did not come up."""
        with open(self.path("daemon.log"), "wb") as log:
            daemon = subprocess.Popen(
                [self.hivefs, self.mnt, "-f"], stderr=log,
                env=self.environment(True), stdin=subprocess.DEVNULL)
        end = time.monotonic() + TIMEOUT
        while not self.is_mounted():
            if daemon.poll() is not None:
                self.unmount(daemon)
                raise Ended("mount", daemon.returncode, self.log())
            if time.monotonic() > end:
                self.unmount(daemon, kill=True)
                raise Failure("the mount does not come up")
            time.sleep(0.005)
        return daemon

    def is_mounted(self):
        try:
            return os.lstat(self.mnt).st_dev != os.lstat(self.work).st_dev
        except OSError as e:
            # else its daemon has died, or was refused by the kernel
            return e.errno == errno.ENOMEM

    def log(self):
        with open(self.path("daemon.log"), errors="replace") as f:
            return f.read()

    def unmount(self, daemon, kill=False):
        if kill:
            daemon.kill()
            daemon.wait()
        subprocess.run(["fusermount3", "-u", "-q", self.mnt], check=False,
                       stderr=subprocess.DEVNULL)
        try:
            daemon.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            daemon.kill()
            raise Failure("the mount does not end\n" + self.log()) from None
        with open("/proc/self/mountinfo") as f:
            if f" {self.mnt} " in f.read():
                subprocess.run(["fusermount3", "-u", "-q", "-z", self.mnt],
                               check=False)
        code = daemon.returncode
        if kill or code == 0:
            return
        self.check_end("mount", code, self.log())

    def write(self, name, seed, kill=False):
        """Writes of single pages, synced now and then, in three ways."""
        c = self.known.clones[name]
        self.settle(name, c)
        daemon = self.mount()
        path = os.path.join(self.mnt, "clones", name, "disk0.img")
        rng = random.Random(seed)
        failed = None
        try:
            fd = os.open(path, os.O_RDWR)
            try:
                c.low = len(c.writes)  # taking over makes it last
                self.note()
                for n in range(WRITES):
                    self.write_one(c, path, fd, rng, n)
            finally:
                os.close(fd)
        except OSError as e:
            failed = e
        self.unmount(daemon, kill)
        log = self.log()
        # who has no space left is told by that alone
        if failed and failed.errno != errno.ENOSPC and not log.strip() \
                and daemon.returncode == 0:
            raise Failure(f"write: {failed}, and the log says nothing")
        if failed or daemon.returncode not in (0, -signal.SIGKILL):
            raise Ended(f"write: {failed}", daemon.returncode, log)
        if not kill:
            c.low = len(c.writes)  # unmounting syncs
            self.note()

    def settle(self, name, c):
        """What a writer that failed has left is what it is from here on."""
        if c.low == len(c.writes):
            return
        got = self.run("restore", "-q", name, "-")
        there = [n for n in range(c.low, len(c.writes) + 1)
                 if c.after(n) == got]
        if not there:
            raise Failure(f"clone {name} is not what was written")
        del c.writes[there[-1]:]

    def write_one(self, c, path, fd, rng, n):
        at = rng.choice((16, 17, 18, 1040, 1041, 2060, 300))
        self.number += 1
        c.writes.append((at, self.number))
        self.note()
        if n % 4 == 3:
            other = os.open(path, os.O_RDWR | os.O_DSYNC)
            try:
                os.pwrite(other, page(self.number), at * PAGE)
            finally:
                os.close(other)
        else:
            os.pwrite(fd, page(self.number), at * PAGE)
        if n % 4 == 1:
            os.fsync(fd)
        if n % 2:
            c.low = len(c.writes)
            self.note()

    def commit(self, name):
        k = self.known
        c = k.clones[name]
        allowed = c.allowed()
        k.maybe |= allowed
        self.note()
        alias = self.lines("commit", name, faulty=True)[-1]["alias"]
        got = sum_of(self.run("restore", "-q", alias, "-"))
        if got not in allowed:
            raise Failure("commit: the point is not what was written")
        # what a point has is no longer to be lost
        c.low = max(n for n in range(c.low, len(c.writes) + 1)
                    if sum_of(c.after(n)) == got)
        del c.writes[c.low:]
        k.points[alias] = got
        self.note()

    def discard(self, name):
        k = self.known
        before = self.files()
        done = k.clones[name].going and name not in self.list_clones()
        k.clones[name].going = True
        self.note()
        if not done:
            self.run("discard", "-q", name, faulty=True)
        del k.clones[name]
        k.gone |= before - self.files()
        self.note()

    def files(self):
        """Of segments and streams; their names are never used again."""
        return {f"{folder}/{name}" for folder in ("segments", "streams")
                if os.path.isdir(os.path.join(self.repository(), folder))
                for name in os.listdir(os.path.join(self.repository(),
                                                    folder))}

    def remove(self, aliases, *command):
        k = self.known
        k.going |= set(aliases)
        self.note()
        if k.going & set(self.list_points()):
            self.run(*command, faulty=True)
        for alias in set(aliases):
            del k.points[alias]
            k.going.discard(alias)
            k.removed.add(alias)
        self.note()

    def prune(self):
        lines = self.lines("prune", "--keep-last", "2", "--dry-run")
        gone = [p["alias"] for p in lines
                if p["type"] == "point" and not p["keep"]]
        self.remove({*self.known.going, *gone},
                    "prune", "-q", "--keep-last", "2")

    def rm(self, address):
        self.remove(self.known.going or {self.latest(address)}, "rm", "-q", "--last", address)

    def gc(self):
        before = self.files()
        self.note()
        self.run("gc", "-q", faulty=True)
        self.known.gone |= before - self.files()
        self.note()

    def repair(self):
        self.note()
        self.run("repair", "-q", "--index", faulty=True)
        self.note()

    def stages(self):
        return [
            ("init", self.init),
            ("backup", lambda: self.backup("web", "a")),
            ("backup-again", lambda: self.backup("web", "b")),
            ("backup-other", lambda: self.backup("db", "c")),
            ("clone", lambda: self.clone("web@latest", "side")),
            ("write", lambda: self.write("side", 1)),
            ("commit", lambda: self.commit("side")),
            ("clone-gone", lambda: self.clone("db@latest", "gone")),
            ("write-gone", lambda: self.write("gone", 2)),
            ("write-killed", lambda: self.write("side", 3, kill=True)),
            ("discard", lambda: self.discard("gone")),
            ("write-more", lambda: self.write("side", 4)),
            ("prune", self.prune),
            ("rm", lambda: self.rm("db@latest")),
            ("gc", self.gc),
            ("commit-again", lambda: self.commit("side")),
            ("backup-after", lambda: self.backup("db", "d")),
            ("repair", self.repair),
            ("backup-last", lambda: self.backup("web", "c")),
            ("gc-again", self.gc),
        ]

    # looking at it

    def list_points(self):
        return [p["alias"] for p in self.lines("points")
                if p["type"] == "point"]

    def check(self, rebuild=False):
        """All that is known holds, and it goes on from there."""
        k = self.known
        if not k.repository:
            try:
                self.run("init", "-q")
            except Failure:
                self.run("points")  # it is there
        if rebuild:
            self.run("repair", "-q", "--index")
        self.run("verify", "-q")
        if k.gone & self.files():
            raise Failure(f"{k.gone & self.files()} is back")
        there = self.list_points()
        for alias in k.points:
            if alias not in there and alias not in k.going:
                raise Failure(f"point {alias} is missing")
        for alias in there:
            if alias in k.removed:
                raise Failure(f"point {alias} is back")
            got = sum_of(self.run("restore", "-q", alias, "-"))
            if got == k.points.get(alias):
                continue
            if alias in k.points or got not in k.maybe:
                raise Failure(f"point {alias} is not what was backed up")
        self.check_clones()
        self.check_goes_on(rebuild)

    def list_clones(self):
        return {c["clone"] for c in self.lines("clones")
                if c["type"] == "clone"}

    def check_clones(self):
        names = self.list_clones()
        if names - self.known.clones.keys():
            raise Failure(f"clones that are no more: {names}")
        for name, c in self.known.clones.items():
            if name not in names:
                if c.sure and not c.going:
                    raise Failure(f"clone {name} is missing")
                continue
            if sum_of(self.run("restore", "-q", name, "-")) \
                    not in c.allowed():
                raise Failure(f"clone {name} is not what was written")
            alias = self.lines("commit", name)[-1]["alias"]
            if sum_of(self.run("restore", "-q", alias, "-")) \
                    not in c.allowed():
                raise Failure(f"the commit of {name} is not what was written")
            self.run("discard", "-q", name)

    def check_goes_on(self, rebuild):
        k = self.known
        alias = self.lines("backup", "web", self.path("d"))[-1]["alias"]
        self.run("gc", "-q")
        self.run("verify", "-q")
        if self.run("restore", "-q", alias, "-") != self.image["d"]:
            raise Failure("the next backup is not what was backed up")
        left = self.list_points()
        for alias in k.points:
            if alias not in left and alias not in k.going:
                raise Failure(f"point {alias} did not survive a gc")

    # copies

    def put(self, to):
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.top, to, symlinks=True)

    def take(self, from_):
        shutil.rmtree(self.top, ignore_errors=True)
        shutil.copytree(from_, self.top, symlinks=True)
