# SPDX-License-Identifier: Apache-2.0
"""
What the walk knows of machines and points, and the commands it runs: a job is
one process, its arguments, and what must be true when it has ended.
"""

import os
import shutil

from content import PAGE, WINDOW, difference, difference_of_file
from program import Failure


class Machine:
    NAMES = ("web", "db.main", "mail-2", "x")

    def __init__(self, name, named_disks):
        self.name = name
        self.named_disks = named_disks  # or disk0, disk1, … by position
        self.disks = []
        self.points = []
        self.seen = False  # by the repository

    def in_order(self):
        return sorted(self.points, key=lambda p: (p.time, p.alias))


class Point:
    def __init__(self, machine, alias, when, disks):
        self.machine = machine
        self.alias = alias
        self.time = when
        self.disks = disks  # name -> Content

    def same_second(self):
        return [p for p in self.machine.in_order() if p.time == self.time]

    def mount_name(self, first=None):
        """FIRST: as if it were the first of its second, or not."""
        if first is None:
            first = self.same_second()[0] is self
        name = self.time.replace(":", "")
        return name if first else f"{name}-{self.alias}"

    def address(self, rng, disk=None, alone=True):
        """Any of the ways to name it; ALONE: no other process makes points."""
        machine = self.machine.name + (f"/{disk}" if disk else "")
        ways = [f"{machine}@{self.alias}",
                f"{machine}@{self.time}-{self.alias}",
                f"{machine}@{self.time.replace(':', '')}-{self.alias[:5]}"]
        if not disk:
            ways.append(self.alias)
        if alone:
            back = self.machine.in_order()[::-1].index(self)
            ways.append(f"{machine}@latest~{back}")
            if back == 0:
                ways.append(f"{machine}@latest")
            if len(self.same_second()) == 1:
                ways.append(f"{machine}@{self.time}")
        return rng.choice(ways)

    def __str__(self):
        return f"{self.machine.name}@{self.time}-{self.alias}"


class Job:
    def __init__(self, walk, rng, alone=True):
        self.walk = walk
        self.rng = rng
        self.alone = alone
        self.reads = ()  # points that must not go meanwhile

    def changes(self):
        return False

    def ended(self, run):
        if not run.killed:
            run.expect(0)


class Backup(Job):
    def __init__(self, walk, rng, alone=True, machine=None):
        super().__init__(walk, rng, alone)
        self.machine = machine or rng.choice(walk.machines)
        self.saved = {d.name: d.content.saved() for d in self.machine.disks}
        self.args = ["backup", self.machine.name, "--json"]
        for disk in self.machine.disks:
            self.args.append(f"{disk.name}={disk.path}"
                             if self.machine.named_disks else disk.path)
        if rng.random() < 0.3:
            self.args += ["--threads", str(rng.choice((1, 2, 5)))]

    def changes(self):
        return True

    def ended(self, run):
        self.machine.seen = True
        # a collection beside it may have taken it for dead
        gave_up = (not run.killed and run.code == 1 and not self.alone and
                   "given up" in run.stderr())
        if not run.killed and not gave_up:
            run.expect(0)
        self.walk.counts["given up"] += gave_up
        summary = None if gave_up else run.summary()
        if summary is None:
            self.walk.doubts.append(self)
            return
        point = Point(self.machine, summary["alias"], summary["time"],
                      self.saved)
        self.machine.points.append(point)
        check_disks(point, summary)
        if self.alone and self.machine.in_order()[-1] is not point:
            raise Failure(f"{run}: {point} is not the latest of "
                          f"{[str(p) for p in self.machine.in_order()]}")
        data = sum(min(PAGE, c.size - i * PAGE)
                   for c in self.saved.values() for i in c.pages)
        if sum(d["data"] for d in summary["disks"]) != data:
            raise Failure(f"{run}: holds {data} bytes of data: {summary}")

    def matches(self, point, line):
        return (self.machine is point.machine and
                [(d["name"], d["size"]) for d in line["disks"]] ==
                [(n, c.size) for n, c in self.saved.items()])


class DryRun(Backup):
    def __init__(self, walk, rng, alone=True):
        super().__init__(walk, rng, alone)
        self.args.append("--dry-run")

    def changes(self):
        return False

    def ended(self, run):
        Job.ended(self, run)


class Remove(Job):
    def __init__(self, walk, rng, alone=True):
        super().__init__(walk, rng, alone)
        self.points = walk.some_points(rng.choice((1, 1, 1, 2, 3)))
        self.args = ["rm", "--json",
                     *(p.address(rng, None, alone) for p in self.points)]
        if not alone or any(set(m.points) <= set(self.points)
                            for m in walk.machines if m.points):
            self.args.append("--last")

    def changes(self):
        return True

    def ended(self, run):
        if not run.killed:
            run.expect(0)
        done = {line["alias"] for line in run.lines()
                if line["type"] == "removed"}
        if not run.killed and done != {p.alias for p in self.points}:
            raise Failure(f"{run}: removed {done}")
        for point in self.points:
            if point.alias in done:
                self.walk.removed(point)
            else:
                self.walk.maybe_removed.add(point)


class Restore(Job):
    """To a new file or directory, over a file with other bytes, to stdout."""

    def __init__(self, walk, rng, alone=True):
        super().__init__(walk, rng, alone)
        self.point = walk.some_points(1)[0]
        self.reads = (self.point,)
        self.disk = None
        self.target = walk.path("restored")
        self.options = []
        ways = ["new", "over", "over", "stdout", "directory"]
        self.way = rng.choice(ways)
        if self.way != "directory":
            self.disk = rng.choice(list(self.point.disks))
        if self.way == "over":
            self.fill()
            self.options.append("--overwrite")
        elif self.way == "stdout":
            self.target = "-"
        elif self.way == "directory" and (
                len(self.point.disks) == 1 or rng.random() < 0.5):
            os.mkdir(self.target)
        self.args = ["restore", self.point.address(rng, self.disk, alone),
                     self.target, *self.options]

    def fill(self):
        """With something else, or with what resembles it, or too long."""
        want = self.point.disks[self.disk]
        with open(self.target, "wb") as f:
            kind = self.rng.randrange(3)
            if kind == 0:
                f.write(b"\xa5" * (want.size // 2 + 1))
            elif kind == 1:
                f.write(b"\x5a" * (want.size + 70000))
            else:
                other = self.rng.choice(self.walk.machines).disks[0].content
                f.write(other.read(0, other.size))

    def ended(self, run):
        if run.killed:
            if self.way == "stdout":
                got = run.stdout()
                found = difference(got, self.want().read(0, len(got)))
                if found:
                    raise Failure(f"{run}: {found}")
                return
            # what is called by the target's name is whole; the rest resumes
            again = list(self.args)
            again.append("--resume")
            if "--overwrite" not in again:
                again.append("--overwrite")
            self.check_complete(run)
            run = self.walk.program.run(*again)
        run.expect(0)
        if self.way == "stdout":
            found = difference(run.stdout(),
                               self.want().read(0, self.want().size))
            if found:
                raise Failure(f"{run}: {found}")
            return
        self.compare(run, self.paths())
        if self.way == "directory":
            shutil.rmtree(self.target)
        else:
            os.unlink(self.target)

    def want(self):
        return self.point.disks[self.disk]

    def paths(self):
        if self.way == "directory":
            return {os.path.join(self.target, n + ".img"): c
                    for n, c in self.point.disks.items()}
        return {self.target: self.want()}

    def check_complete(self, run):
        if self.way == "over":
            return  # it may be what was there before
        self.compare(run, {p: c for p, c in self.paths().items()
                           if os.path.exists(p)})

    @staticmethod
    def compare(run, paths):
        for path, content in paths.items():
            with open(path, "rb") as f:
                found = difference_of_file(f.fileno(), content)
            if found:
                raise Failure(f"{run}: {path}: {found}")


class Verify(Job):
    def __init__(self, walk, rng, alone=True):
        super().__init__(walk, rng, alone)
        self.points = sum(len(m.points) for m in walk.machines)
        self.args = ["verify", "--json"]
        if rng.random() < 0.2:
            self.args.append("--metadata")

    def ended(self, run):
        super().ended(run)
        if run.killed or not self.alone:
            return
        if run.summary()["points"] != self.points:
            raise Failure(f"{run}: not {self.points} points: {run.summary()}")


class Gc(Job):
    """Killed or not, alone or beside backups: nothing that is live goes."""

    def __init__(self, walk, rng, alone=True):
        super().__init__(walk, rng, alone)
        # those that were killed are silent for as long as the mount is there
        self.args = ["gc", "--json", "--patience", "1"]
        if rng.random() < 0.2:
            self.args += ["--memory", "1"]
        if rng.random() < 0.1:
            self.args = ["gc", "--json", "--dry-run"]


class Diff(Job):
    def __init__(self, walk, rng, alone=True):
        super().__init__(walk, rng, alone)
        a = walk.some_points(1)[0]
        b = rng.choice(a.machine.points)
        if rng.random() < 0.2:
            b = walk.some_points(1)[0]
        disk_a = rng.choice(list(a.disks))
        disk_b = disk_a if disk_a in b.disks and rng.random() < 0.9 \
            else rng.choice(list(b.disks))
        self.reads = (a, b)
        self.a, self.b = a.disks[disk_a], b.disks[disk_b]
        self.args = ["diff", "--json", a.address(rng, disk_a, alone),
                     b.address(rng, disk_b, alone)]

    def ended(self, run):
        super().ended(run)
        if run.killed:
            return
        a, b = self.a, self.b
        end, last = max(a.size, b.size), 0
        differ = a.pages_that_differ(b)
        for e in run.lines():
            if e["type"] != "extent":
                continue
            off, length = e["offset"], e["length"]
            if off < last or length <= 0 or off + length > end:
                raise Failure(f"{run}: {e}: out of order or range")
            last = off + length
            if e["kind"] == "zero" and any(b.read(off, length)):
                raise Failure(f"{run}: {e}: no zeroes")
            for window in range(off // WINDOW, (last - 1) // WINDOW + 1):
                if a.same_window(b, window):
                    raise Failure(f"{run}: {e}: the window is equal")
            differ = {i for i in differ
                      if not off <= i * PAGE < min(last, end)}
        # what only the longer one has must be listed, whatever is in it
        if a.size != b.size and last != end:
            raise Failure(f"{run}: the longer disk's end is not listed")
        if differ:
            raise Failure(f"{run}: not listed: pages {sorted(differ)[:20]}")


class Show(Job):
    def __init__(self, walk, rng, alone=True):
        super().__init__(walk, rng, alone)
        self.point = walk.some_points(1)[0]
        self.reads = (self.point,)
        self.args = ["show", "--json", self.point.address(rng, None, alone)]

    def ended(self, run):
        super().ended(run)
        if run.killed:
            return
        lines = [o for o in run.lines() if "alias" in o]
        if not lines or lines[0]["alias"] != self.point.alias:
            raise Failure(f"{run}: is not {self.point}: {lines}")


class Status(Job):
    def __init__(self, walk, rng, alone=True):
        super().__init__(walk, rng, alone)
        self.points = sum(len(m.points) for m in walk.machines)
        self.args = ["status", "--json"]

    def ended(self, run):
        super().ended(run)
        if run.killed or not self.alone:
            return
        if run.summary()["points"] != self.points:
            raise Failure(f"{run}: not {self.points} points: {run.summary()}")


class Listing(Job):
    """Beside others: what nobody touches is listed."""

    def __init__(self, walk, rng, alone=True):
        super().__init__(walk, rng, alone)
        self.args = ["points", "--json"]
        self.before = {p for m in walk.machines for p in m.points}

    def ended(self, run):
        super().ended(run)
        if run.killed:
            return
        listed = {o["alias"] for o in run.lines() if o["type"] == "point"}
        for point in self.before:
            if point.alias not in listed and point not in self.walk.leaving:
                raise Failure(f"{run}: {point} is missing")


def check_disks(point, line):
    got = [(d["name"], d["size"]) for d in line["disks"]]
    want = [(n, c.size) for n, c in point.disks.items()]
    if got != want or line["machine"] != point.machine.name:
        raise Failure(f"{point}: has disks {want}, not {got}")
