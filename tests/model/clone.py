#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Guards clones: a random walk over writing to them through a real mount, compared
step by step with plain buffers. Daemon and verbs are killed with -9 at random
moments, also in the middle of writes and commits. Afterwards every write that
was complete is there, one that was not is there in parts at most, and the
points never changed.

  clone.py HIVEFS [--steps N] [--seed S] [--dir DIR] [--keep]

A failure prints the seed and the step, and leaves everything where it was.
The same seed makes the same choices; which moment a kill hits is up to the
scheduler, so repeat a seed a few times to see a failure again.
"""

import collections
import errno
import os
import random
import shutil
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from branches import DEAD, FRESH, MIB, SECTOR, Branch, Change, Point
from content import Disk, difference
from mounted import Mount, usable
from program import Failure, Program
from walking import parse, walk_all

STEPS_A_REPOSITORY = 2500
POINTS_MAX = 7
BRANCHES_MAX = 5  # a point's own; those with a name come on top
NAMES = ("try", "b.2", "Lab_3")


class Writer(threading.Thread):
    """Writes to disks, until it is told to end or the daemon is dead."""

    def __init__(self, rng, mount, disks, longest=MIB):
        super().__init__()
        self.rng = rng
        self.mount = mount
        self.disks = disks
        self.longest = longest
        self.changes = []  # that are complete, in order
        self.begun = None  # the one that is not
        self.failure = None
        self.ending = False
        self.may_die = False  # the daemon, from now on

    def run(self):
        while not self.ending:
            change = Change(self.rng, self.rng.choice(self.disks),
                            self.longest)
            self.begun = change
            try:
                change.do(self.mount)
            except OSError as e:
                if not self.may_die or e.errno not in DEAD:
                    self.failure = Failure(f"{change}: {e}")
                return
            change.apply()
            self.changes.append(change)
            self.begun = None


class Walk:
    def __init__(self, arguments, work):
        self.arguments = arguments
        self.work = work
        self.log = open(os.path.join(work, "steps.log"), "w", buffering=1)
        self.repo = os.path.join(work, "repo")
        self.program = Program(arguments.hivefs, self.repo,
                               os.path.join(work, "output"))
        self.mount = Mount(self.program, os.path.join(work, "mnt"),
                           ("-o", "cache=16M"))
        self.second = Mount(self.program, os.path.join(work, "second"),
                            ("-o", "cache=16M"))
        self.counts = collections.Counter()
        self.step = 0
        self.rng = random.Random(arguments.seed)
        self.points = []
        self.branches = []

    def note(self, text):
        self.log.write(f"{self.step:5d} {text}\n")

    def path(self, name):
        return os.path.join(self.work, name)

    # choosing

    def own_branch(self, point):
        for branch in self.branches:
            if branch.base is point and not branch.name:
                return branch
        return None

    def some_branch(self):
        """An own clone of any point comes into being by being chosen."""
        r = self.rng
        if not self.branches or (len(self.branches) < BRANCHES_MAX and
                                 r.random() < 0.02):
            point = r.choice(self.points)
            if not self.own_branch(point):
                self.branches.append(Branch(point))
                return self.branches[-1]
        return r.choice(self.branches)

    def some_disk(self):
        return self.rng.choice(self.some_branch().disks)

    def existing(self):
        there = [b for b in self.branches if b.exists]
        return self.rng.choice(there) if there else None

    # changing

    def change(self):
        change = Change(self.rng, self.some_disk())
        self.note(str(change))
        change.do(self.mount)
        change.apply()
        change.disk.branch.exists = True
        self.counts["writes"] += 1

    def sync(self):
        disk = self.some_disk()
        fd = disk.fd(self.mount)
        self.rng.choice((os.fsync, os.fdatasync))(fd)
        self.counts["syncs"] += 1

    def flood(self):
        """More than is kept unfolded."""
        disk = self.some_disk()
        self.note(f"{disk}: flood")
        pieces = [self.rng.randbytes(MIB) for _ in range(6)]
        fd = disk.fd(self.mount)
        disk.branch.exists = True
        for _ in range(270):
            off = self.rng.randrange(len(disk.want))
            data = self.rng.choice(pieces)[:len(disk.want) - off]
            n = os.pwrite(fd, data, off)
            disk.want[off:off + n] = data[:n]
        disk.check(fd)
        self.counts["floods"] += 1

    # looking

    def read(self):
        self.some_disk().check_range(self.rng, self.mount)
        self.counts["reads"] += 1

    def holes(self):
        disk = self.some_disk()
        disk.check_holes(disk.fd(self.mount))
        self.counts["looks for holes"] += 1

    def check_all(self):
        for branch in self.branches:
            for disk in branch.disks:
                disk.check(disk.fd(self.mount))
        self.counts["whole checks"] += 1

    def restored(self, address):
        path = self.path("restored")
        self.program.run("restore", address, path, "--overwrite")
        with open(path, "rb") as f:
            return f.read()

    def check_point(self, point=None):
        point = point or self.rng.choice(self.points)
        for disk, want in point.disks.items():
            if self.rng.random() < 0.5 and self.mount.process:
                with open(os.path.join(point.directory(self.mount), "ro",
                                       disk + ".img"), "rb") as f:
                    got = f.read()
            else:
                got = self.restored(point.address(self.rng, disk))
            found = difference(got, want)
            if found:
                raise Failure(f"{point}/{disk} is not what it was: {found}")
        self.counts["points checked"] += 1

    @staticmethod
    def wait_for(path):
        """The kernel may remember for a moment that there was no such name."""
        end = time.monotonic() + FRESH
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.02)

    def verify(self):
        self.program.run("verify")
        self.counts["verify"] += 1

    def collect(self):
        """While clones are written to and folded."""
        self.note("gc")
        self.program.run("gc", "--patience", "1")
        self.counts["gc"] += 1

    # verbs

    def close_some(self):
        self.some_branch().close()

    def committed(self, run, disks):
        summary = run.summary()
        names = [d["name"] for d in summary["disks"]]
        if disks and names != list(disks):
            raise Failure(f"{run}: its disks are {names}")
        self.points.append(Point(summary["alias"], summary["time"], disks))
        return self.points[-1]

    def commit(self):
        branch = self.existing()
        if not branch:
            return
        if self.rng.random() < 0.4:
            branch.close()
        self.note(f"commit {branch}")
        run = self.program.run("commit", branch.address(self.rng), "--json")
        point = self.committed(run, branch.saved())
        if self.rng.random() < 0.3:
            self.check_point(point)
        self.counts["commits"] += 1

    def commit_beside_writes(self):
        """One cut across all disks, in the order of the writes."""
        branch = self.existing()
        if not branch:
            return
        self.note(f"commit {branch} while it is written to")
        before = {d.name: bytearray(d.want) for d in branch.disks}
        address = branch.address(self.rng)
        for disk in branch.disks:
            disk.fd(self.mount)
        # of a larger one the kernel would make several requests
        writer = Writer(self.rng, self.mount, branch.disks, 65536)
        writer.start()
        try:
            run = self.program.run("commit", address, "--json")
        finally:
            writer.ending = True
            writer.join()
        if writer.failure:
            raise writer.failure
        point = self.committed(run, {})
        self.find_cut(point, before, writer.changes)
        self.counts["commits beside writes"] += 1

    def find_cut(self, point, disks, changes):
        """DISKS are as they were before the CHANGES."""
        got = {name: self.restored(f"vm/{name}@{point.alias}")
               for name in disks}
        point.disks = got
        if got == disks:
            return
        for change in changes:
            end = change.off + len(change.data)
            disks[change.disk.name][change.off:end] = change.data
            if got[change.disk.name] == disks[change.disk.name] and \
                    got == disks:
                return
        raise Failure(f"{point}: is no state that the disks were in, one of "
                      f"{len(changes)} writes after another")

    def discard(self):
        if not self.branches:
            return
        branch = self.rng.choice(self.branches)
        self.note(f"discard {branch}")
        if branch.is_open() and self.rng.random() < 0.05:
            self.program.run("discard", branch.address(self.rng),
                             expect=(11,))
        branch.close()
        certain = branch.exists
        address = branch.address(self.rng)
        after = None
        if self.rng.random() < 0.2:
            after = self.rng.random() * 1.2 * self.program.typical["discard"]
        run, = self.program.together([["discard", address]], [after])
        if run.killed:
            self.counts["killed discard"] += 1
            # it is whole or gone
            again = self.program.run("discard", address, expect=(0, 1))
            self.note(f"killed, then {again.code}")
        else:
            run.expect(*((0,) if certain else (0, 1)))
        self.branches.remove(branch)
        self.counts["discards"] += 1

    def clone(self):
        free = [n for n in NAMES
                if n not in [b.name for b in self.branches]]
        if not free:
            return
        point, name = self.rng.choice(self.points), self.rng.choice(free)
        self.note(f"clone {point} {name}")
        after = None
        if self.rng.random() < 0.2:
            after = self.rng.random() * 1.2 * self.program.typical["clone"]
        run, = self.program.together(
            [["clone", point.address(self.rng), name]], [after])
        if run.killed:
            self.counts["killed clone"] += 1
            self.program.run("clone", point.address(self.rng), name,
                             expect=(0, 1))
        else:
            run.expect(0)
        branch = Branch(point, name)
        self.branches.append(branch)
        self.wait_for(branch.directory(self.mount))
        self.program.run("clone", point.address(self.rng), name, expect=(1,))
        self.counts["clones"] += 1

    def remove(self):
        if len(self.points) < 3:
            return
        point = self.rng.choice(self.points)
        own = self.own_branch(point)
        if own and own.exists:
            self.program.run("rm", point.address(self.rng), expect=(14,))
            self.counts["rm refused"] += 1
        free = [p for p in self.points if not self.own_branch(p)]
        if not free:
            self.discard()
            return
        point = self.rng.choice(free)
        self.note(f"rm {point}")
        # its own clone, without a write, is dropped only when the kernel has
        # told of the last file's end
        end = time.monotonic() + FRESH
        while True:
            run = self.program.start("rm", point.address(self.rng))
            if run.wait() != 14 or time.monotonic() > end:
                break
        run.expect(0)
        self.points.remove(point)
        self.counts["rm"] += 1

    # mounts and kills

    def close_all(self):
        """An own clone to which nothing was written is gone then."""
        for branch in list(self.branches):
            branch.close()
            if branch.exists is False:
                self.branches.remove(branch)

    def remount(self):
        self.note("remount")
        self.close_all()
        self.mount.down()
        self.mount.up()
        self.check_all()
        self.counts["remounts"] += 1

    def settle(self, writers):
        """After a kill: what was written is there."""
        for branch in self.branches:
            branch.exists = branch.exists or None
        for writer in writers:
            if writer.failure:
                raise writer.failure
            change = writer.begun
            if change:
                change.apply()  # as far as it was said to be
                fd = change.disk.fd(self.mount)
                change.settle(change.disk.read(
                    fd, change.off, len(change.data)))
                self.counts["killed writes"] += 1
            self.counts["writes"] += len(writer.changes)
            for change in writer.changes:
                change.disk.branch.exists = True
        self.check_all()

    def kill_mount(self, writers=()):
        for writer in writers:
            writer.may_die = True
        self.mount.process.send_signal(signal.SIGKILL)

    def mount_is_dead(self):
        for branch in self.branches:
            branch.close(dead=True)
        self.mount.kill()
        self.counts["killed mount"] += 1

    def after_kill(self, writers):
        for writer in writers:
            writer.join()
        self.mount_is_dead()
        self.mount.up()
        self.settle(writers)

    def kill(self):
        """While up to two disks are written to."""
        n = self.rng.choice((0, 1, 1, 2))
        disks = [d for b in {self.some_branch(): 0, self.some_branch(): 0}
                 for d in b.disks]
        disks = self.rng.sample(disks, min(n, len(disks)))
        after = self.rng.random() * 0.015
        self.note(f"kill after {after:.4f} s, writing to "
                  f"{[str(d) for d in disks]}")
        writers = [Writer(random.Random(f"{self.step}/{i}"), self.mount, [d])
                   for i, d in enumerate(disks)]
        for disk in disks:
            disk.fd(self.mount)
        for writer in writers:
            writer.start()
        time.sleep(after)
        self.kill_mount(writers)
        self.after_kill(writers)

    def kill_commit(self):
        """The verb or the mount that does it; the point is whole or not."""
        branch = self.existing()
        if not branch:
            return
        if self.rng.random() < 0.3:
            branch.close()
        after = self.rng.random() * 1.2 * self.program.typical["commit"]
        mount_dies = self.rng.random() < 0.6
        self.note(f"commit {branch}, killed after {after:.4f} s"
                  f"{', with the mount' if mount_dies else ''}")
        run = self.program.start("commit", branch.address(self.rng), "--json")
        time.sleep(after)
        (self.kill_mount if mount_dies else run.kill)()
        run.wait()
        if mount_dies:
            self.after_kill([])
        acknowledged = run.code == 0
        if acknowledged:
            self.committed(run, branch.saved())
        elif not run.killed and not mount_dies:
            run.expect(0)
        # one that the mount goes on with ends before another begins
        second = self.program.run("commit", branch.address(self.rng), "--json")
        self.committed(second, branch.saved())
        self.adopt(branch, not acknowledged)
        self.counts["killed commit"] += 1

    def adopt(self, branch, may_be_new):
        """A point that nobody was told of: whole, or it must not be."""
        run = self.program.run("points", "--json")
        known = {p.alias for p in self.points}
        fresh = [o for o in run.lines()
                 if o["type"] == "point" and o["alias"] not in known]
        if len(fresh) > (1 if may_be_new else 0):
            raise Failure(f"{run}: not known: {fresh}")
        for line in fresh:
            point = Point(line["alias"], line["time"], branch.saved())
            self.points.append(point)
            self.check_point(point)

    def second_mount(self):
        """Another mount reads what this one writes, and cannot write."""
        branch = self.existing()
        if not branch:
            return
        self.note(f"second mount, {branch}")
        for disk in branch.disks:
            os.fsync(disk.fd(self.mount))
        self.second.up()
        path = branch.directory(self.second)
        for disk in branch.disks:
            name = os.path.join(path, disk.name + ".img")
            with open(name, "rb") as f:
                disk.check(f.fileno())
            self.is_busy(name)
        if self.rng.random() < 0.5:
            self.kill_mount()
            self.mount_is_dead()
        else:
            branch.close()
        # now the other one may: it waits for ours to let go of it
        for disk in branch.disks:
            disk.check(disk.fd(self.second))
            change = Change(self.rng, disk)
            change.do(self.second)
            change.apply()
        if self.rng.random() < 0.5:
            run = self.program.run("commit", branch.address(self.rng),
                                   "--json")
            self.committed(run, branch.saved())
        branch.close()
        self.second.down()
        if not self.mount.process:
            self.mount.up()
            self.settle([])
        for disk in branch.disks:
            disk.check(disk.fd(self.mount))
        self.counts["second mounts"] += 1

    @staticmethod
    def is_busy(path):
        try:
            os.close(os.open(path, os.O_RDWR))
        except OSError as e:
            if e.errno == errno.EBUSY:
                return
            raise
        raise Failure(f"{path}: two mounts may write to it")

    # the walk

    def new_repository(self):
        if self.points:
            self.finish()
            shutil.rmtree(self.repo)
        self.points, self.branches = [], []
        self.program.run("init")
        sources = []
        for name, most in (("disk0", 11 * MIB), ("data", 3 * MIB)):
            size = self.rng.randrange(1, most // SECTOR + 1) * SECTOR
            disk = Disk(name, self.path(name), size)
            for _ in range(self.rng.randrange(6)):
                disk.change(self.rng, [disk])
            if self.rng.random() < 0.7:
                disk.write(0, self.rng.randbytes(size * 2 // 3))
            sources.append(disk)
        run = self.program.run("backup", "vm", "--json",
                               *(f"{d.name}={d.path}" for d in sources))
        self.committed(run, {d.name: d.content.read(0, d.content.size)
                             for d in sources})
        self.mount.up()
        self.counts["repositories"] += 1

    def finish(self):
        self.note("finish")
        self.check_all()
        for branch in self.branches:
            branch.close()
        self.mount.down()
        for branch in self.branches:
            for disk in branch.disks if branch.name else []:
                disk.compare(self.restored(f"{branch.name}/{disk.name}"), 0)
        self.collect()
        for point in self.points:
            self.check_point(point)
        self.verify()

    STEPS = ((62, "change"), (14, "read"), (7, "sync"), (3, "holes"),
             (1, "close_some"), (0.3, "check_all"), (0.5, "check_point"),
             (0.1, "verify"), (0.4, "collect"), (0.05, "flood"), (0.7, "commit"),
             (0.3, "commit_beside_writes"), (0.5, "clone"), (0.5, "discard"),
             (0.3, "remove"), (0.2, "remount"), (1.1, "kill"),
             (0.2, "kill_commit"), (0.04, "second_mount"))

    def run(self):
        weights = [w for w, _ in self.STEPS]
        names = [s for _, s in self.STEPS]
        for self.step in range(1, self.arguments.steps + 1):
            # of its own: what an earlier step came to does not change it
            self.rng = random.Random(f"{self.arguments.seed}/{self.step}")
            if self.step % STEPS_A_REPOSITORY == 1:
                self.new_repository()
            what = self.rng.choices(names, weights)[0]
            if len(self.points) > POINTS_MAX:
                what = "remove"
            getattr(self, what)()
        self.finish()

    def clean_up(self):
        for branch in self.branches:
            branch.close(dead=True)
        for run in self.program.recent:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
        self.mount.clean_up()
        self.second.clean_up()
        self.log.close()

    def evidence(self):
        """What the disks of the clones should have been."""
        expected = self.path("expected")
        os.makedirs(expected, exist_ok=True)
        for branch in self.branches:
            for disk in branch.disks:
                name = f"{branch.name or branch.base.alias}-{disk.name}"
                with open(os.path.join(expected, name), "wb") as f:
                    f.write(disk.want)


def main():
    if not usable():
        print("no /dev/fuse")
        return 77
    return walk_all(Walk, parse(__doc__.split("\n\n")[0], "CLONE", 5000))


if __name__ == "__main__":
    sys.exit(main())
