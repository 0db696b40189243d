#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Guards the repository as a whole: a random walk over everything that can be
done with it, compared step by step with plain copies of the disks. Processes
run side by side and are killed with -9 at random moments; what was
acknowledged must be there and equal, what was not must be there whole or not
at all.

  repository.py HIVEFS [--steps N] [--seed S] [--dir DIR] [--keep]

A failure prints the seed and the step, and leaves everything where it was.
The same seed makes the same choices; which moment a kill hits is up to the
scheduler, so repeat a seed a few times to see a failure again.
"""

import collections
import os
import random
import shutil
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from content import Disk, difference, read_fully
from jobs import (Backup, Diff, DryRun, Gc, Listing, Machine, Point, Remove,
                  Restore, Show, Status, Verify, check_disks)
from mounted import FRESH, Mount, usable
from program import Failure, Program
from walking import parse, walk_all

MIB = 1 << 20
VIEWS = (".img", ".vmdk", "-flat.vmdk", ".vhd", ".vhdx", ".vdi", ".qcow2")
KILL = 0.12  # of the processes of steps that may kill
POINTS_MAX = 24
STEPS_A_REPOSITORY = 300


class Walk:
    def __init__(self, arguments, work):
        self.arguments = arguments
        self.work = work
        self.log = open(os.path.join(work, "steps.log"), "w", buffering=1)
        self.repo = os.path.join(work, "repo")
        self.program = Program(arguments.hivefs, self.repo,
                               os.path.join(work, "output"))
        self.mount = None
        if usable():
            self.mount = Mount(self.program, os.path.join(work, "mnt"),
                               ("-o", "cache=16M"))
        self.counts = collections.Counter()
        self.n_paths = 0
        self.step = 0
        self.rng = random.Random(arguments.seed)
        self.reset()

    def reset(self):
        self.machines = []
        self.doubts = []  # backups that were killed before they said anything
        self.limbo = []  # … of which the index knows nothing
        self.maybe_removed = set()
        self.limbo_removed = set()
        self.leaving = set()  # of running processes
        self.gone = set()  # aliases of points that were removed

    def note(self, text):
        self.log.write(f"{self.step:5d} {text}\n")

    def path(self, kind):
        self.n_paths += 1
        return os.path.join(self.work, f"{kind}-{self.n_paths}")

    def points(self):
        return [p for m in self.machines for p in m.points]

    def some_points(self, n):
        points = self.points()
        return self.rng.sample(points, min(n, len(points)))

    def removed(self, point):
        point.machine.points.remove(point)
        self.gone.add(point.alias)

    # disks

    def size(self):
        r = self.rng
        largest = r.choices((256 << 10, 2 * MIB, 12 * MIB, 64 * MIB),
                            (12, 5, 2, 1))[0]
        return max(1, r.choice((1, r.randrange(largest // 512 + 1),
                                largest // 512))) * 512

    def add_disk(self, machine):
        names = ["root", "data.2", "swap_1", "D"] if machine.named_disks \
            else [f"disk{len(machine.disks)}"]
        taken = {d.name for d in machine.disks}
        name = self.rng.choice([n for n in names if n not in taken])
        disk = Disk(name, self.path(f"source-{machine.name}"), self.size())
        machine.disks.append(disk)
        size = disk.content.size
        if size <= 2 * MIB and self.rng.random() < 0.5:
            disk.write(0, disk.some_bytes(self.rng, min(size, 300000)))
        elif size > 2 * MIB and self.rng.random() < 0.3:
            # several windows of data, so that threads have work
            disk.write(self.rng.randrange(MIB), self.rng.randbytes(
                min(size // 2, self.rng.randrange(2 * MIB, 14 * MIB))))

    def add_machine(self):
        machine = Machine(Machine.NAMES[len(self.machines)],
                          self.rng.random() < 0.5)
        self.machines.append(machine)
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            self.add_disk(machine)

    def change(self, machine):
        r = self.rng
        disks = [d for m in self.machines for d in m.disks]
        for _ in range(r.choice((0, 1, 1, 2, 4))):
            disk = r.choice(machine.disks)
            self.note(f"{machine.name}/{disk.name}: "
                      f"{disk.change(r, disks)}")
        if r.random() < 0.06:
            disk = r.choice(machine.disks)
            disk.resize(self.size() if r.random() < 0.5 else
                        max(512, disk.content.size +
                            r.choice((-512, 512, 4096, -4096, MIB))))
            self.note(f"{machine.name}/{disk.name}: resized to "
                      f"{disk.content.size}")
        if r.random() < 0.04 and len(machine.disks) < 3:
            self.add_disk(machine)
        elif r.random() < 0.04 and len(machine.disks) > 1:
            disk = machine.disks.pop()
            self.note(f"{machine.name}/{disk.name}: gone")
            disk.remove()

    # comparing everything

    def settle(self):
        """The listing is what it should be; what was in doubt is decided."""
        run = self.program.run("points", "--json")
        lines = run.lines()
        listed = {}
        for line in lines:
            if line["type"] == "point":
                listed[line["alias"]] = line
        for machine in self.machines:
            for point in list(machine.points):
                line = listed.pop(point.alias, None)
                if line:
                    if line["time"] != point.time:
                        raise Failure(f"{run}: {point}: {line['time']}")
                    check_disks(point, line)
                elif point in self.maybe_removed:
                    self.removed(point)
                else:
                    raise Failure(f"{run}: {point} is missing")
        self.limbo_removed |= {p for p in self.maybe_removed
                               if p in p.machine.points}
        self.maybe_removed.clear()
        for line in listed.values():
            self.adopt(run, line)
        self.limbo += self.doubts
        self.doubts = []
        self.check_order(run, lines)

    def check_order(self, run, lines):
        order = collections.defaultdict(list)
        for line in lines:
            if line["type"] == "point":
                order[line["machine"]].append(line["alias"])
        for machine in self.machines:
            if order[machine.name] != [p.alias for p in machine.in_order()]:
                raise Failure(f"{run}: {machine.name}: not in order")
        if run.summary()["points"] != len(self.points()):
            raise Failure(f"{run}: its summary counts "
                          f"{run.summary()['points']} points")

    def adopt(self, run, line):
        """A point of a backup that was killed: whole, or it must not be."""
        if line["alias"] in self.gone:
            raise Failure(f"{run}: {line['address']} was removed before")
        why = []
        for doubt in self.doubts:
            point = Point(doubt.machine, line["alias"], line["time"],
                          doubt.saved)
            if line["machine"] != doubt.machine.name or \
                    not doubt.matches(point, line):
                continue
            doubt.machine.points.append(point)
            try:
                self.restore_whole(point)
            except Failure as f:
                doubt.machine.points.remove(point)
                why.append(str(f))
                continue
            self.doubts.remove(doubt)
            self.counts["adopted"] += 1
            self.note(f"adopted {point}")
            return
        raise Failure(f"{run}: {line['address']} ({line['alias']}) was never "
                      f"acknowledged and is no killed backup's: {why}")

    def restore_whole(self, point):
        for disk, want in point.disks.items():
            target = self.path("whole")
            run = self.program.run(
                "restore", f"{point.machine.name}/{disk}@{point.alias}",
                target)
            Restore.compare(run, {target: want})
            os.unlink(target)

    def everything(self):
        """Every byte of every point, past all caches; then verify."""
        if self.mount:
            fresh = Mount(self.program, os.path.join(self.work, "fresh"))
            try:
                fresh.up()
                for point in self.points():
                    fresh.whole(point)
                fresh.down()
            finally:
                fresh.clean_up()
        else:
            for point in self.points():
                self.restore_whole(point)
        self.one(Verify)
        self.counts["whole checks"] += 1

    # steps

    def kill_after(self, job, likely):
        if self.rng.random() >= likely:
            return None
        return self.rng.random() * 1.2 * self.program.typical[job.args[0]]

    def do(self, jobs, kill=KILL):
        after = [self.kill_after(job, kill) for job in jobs]
        for job, seconds in zip(jobs, after):
            self.note(" ".join(job.args) +
                      (f" (kill after {seconds:.4f} s)" if seconds else ""))
        self.leaving = {p for job in jobs if isinstance(job, Remove)
                        for p in job.points}
        read = self.mount and self.mount.process and \
            self.rng.random() < 0.3
        runs = self.program.together([job.args for job in jobs], after,
                                     self.read_some if read else None)
        failure = None
        for job, run in zip(jobs, runs):
            self.counts[run.args[0]] += 1
            if run.killed:
                self.counts["killed"] += 1
                self.counts[f"killed {run.args[0]}"] += 1
            try:
                job.ended(run)
            except Failure as f:
                failure = failure or f
        self.leaving = set()
        if failure:
            raise failure
        killed = any(run.killed for run in runs)
        if killed or any(job.changes() for job in jobs):
            self.settle()
        if killed and self.rng.random() < 0.4:
            self.everything()
        elif killed:
            self.one(Verify)

    def one(self, kind):
        job = kind(self, self.rng)
        run = self.program.run(*job.args)
        job.ended(run)

    def backup(self):
        machine = self.rng.choice(self.machines)
        self.change(machine)
        self.do([Backup(self, self.rng, True, machine)])

    def two_backups(self):
        machine = self.rng.choice(self.machines)
        other = machine if self.rng.random() < 0.5 else \
            self.rng.choice(self.machines)
        for m in {machine, other}:
            self.change(m)
        self.do([Backup(self, self.rng, False, machine),
                 Backup(self, self.rng, False, other)])

    def crowd(self):
        """More backups at once than there are processors."""
        for machine in self.machines:
            self.change(machine)
        jobs = [Backup(self, self.rng, False)
                for _ in range(self.rng.randrange(3, 7))]
        jobs += [Gc(self, self.rng, False)
                 for _ in range(self.rng.randrange(3))]
        self.do(jobs)

    def together(self):
        """Two or three of any kind at once."""
        kinds = [Backup, Backup, Verify, Restore, Diff, Listing, Status,
                 DryRun, Show, Gc, Gc]
        jobs = [kind(self, self.rng, False)
                for kind in self.rng.choices(kinds, k=2)]
        if self.rng.random() < 0.4 and len(self.points()) > 3:
            jobs += self.remove_beside(jobs)
        self.do(jobs)

    def remove_beside(self, jobs):
        job = Remove(self, self.rng, False)
        read = {p for j in jobs for p in j.reads}
        return [] if read & set(job.points) else [job]

    def remove(self):
        if len(self.points()) > 2:
            self.do([Remove(self, self.rng)])

    def job(self, kind):
        self.do([kind(self, self.rng)])

    def collect(self):
        """After a removal, so that there is something to free."""
        if len(self.points()) > 3:
            self.do([Remove(self, self.rng)])
        self.do([Gc(self, self.rng)])
        if self.rng.random() < 0.3:
            self.everything()

    def nothing_left(self):
        """What is not reached is gone after two collections."""
        for _ in range(2):
            self.program.run("gc", "--patience", "1")
        summary = self.program.run("gc", "--dry-run", "--json").summary()
        if summary["chunks_removed"] or summary["maps_removed"]:
            raise Failure(f"gc leaves {summary}")

    def read_some(self):
        points = [p for p in self.points() if p not in self.leaving]
        if not points:
            return
        for _ in range(self.rng.randrange(1, 4)):
            point = self.rng.choice(points)
            disk = self.rng.choice(list(point.disks))
            if self.rng.random() < 0.2:
                self.mount.extents(point, disk)
            else:
                self.mount.read(self.rng, point, disk)
        self.read_removed()
        self.counts["mount reads"] += 1

    def read_removed(self):
        """Open while its point is removed: its bytes still, or ESTALE."""
        removed = [k for k in self.mount.open_files
                   if k[0] not in k[0].machine.points]
        for key in removed:
            point, disk, direct = key
            fd = self.mount.open_files[key]
            if not direct:
                try:
                    # pages that the kernel still has may come first
                    got = read_fully(fd, 0, 65536)
                    found = difference(got, point.disks[disk].read(0, 65536))
                    if found:
                        raise Failure(f"mount: {point}/{disk} was removed: "
                                      f"{found}")
                except OSError as e:
                    self.note(f"removed {point}: {e}")
            os.close(fd)
            del self.mount.open_files[key]

    def read_mount(self):
        if self.mount:
            self.note("read the mount")
            self.read_some()

    def list_mount(self):
        """Names in the mount, as soon as the kernel asks for them again."""
        if not self.mount:
            return
        self.note("list the mount")
        end = time.monotonic() + FRESH
        while True:
            found = self.mount_differs()
            if not found:
                break
            if time.monotonic() > end:
                raise Failure(found)
            time.sleep(0.05)
        self.counts["mount listings"] += 1

    def mount_differs(self):
        got = set(os.listdir(self.mount.path)) - {".hivefs", "clones"}
        least = {m.name for m in self.machines if m.points}
        most = {m.name for m in self.machines if m.seen}
        if not least <= got <= most:
            return f"mount: lists {got}, not {least}"
        for machine in self.machines:
            if not machine.points:
                continue
            path = os.path.join(self.mount.path, machine.name)
            points = machine.in_order()
            got = set(os.listdir(path)) - {"latest"}
            # of points of a second, one that was removed may have the name
            want = [got & {p.mount_name(True), p.mount_name(False)}
                    for p in points]
            if not all(want) or len(got) != len(points):
                return (f"mount: {path}: {sorted(got)}, not "
                        f"{[p.mount_name() for p in points]}")
            latest = os.readlink(os.path.join(path, "latest"))
            if latest not in want[-1]:
                return f"mount: {path}/latest: {latest}, not {points[-1]}"
            point = self.rng.choice(points)
            got = self.mount.entries(point)
            want = sorted(["point.json", "ro"] +
                          [d + e for d in point.disks for e in VIEWS])
            if got != want:
                return f"mount: {point}: {got}, not {want}"
        return None

    def remount(self):
        if not self.mount:
            return
        self.note("remount")
        self.mount.down()
        self.mount.up()
        self.counts["remounts"] += 1

    def kill_mount(self):
        """While it is read from: no wrong bytes on the way down."""
        if not self.mount or not self.points():
            return
        after = self.rng.random() * 0.03
        self.note(f"kill the mount after {after:.4f} s")
        failures = []

        def reader():
            try:
                while True:
                    self.read_some()
            except OSError:
                pass  # the daemon is gone: an error, but no wrong bytes
            except Failure as f:
                failures.append(f)

        thread = threading.Thread(target=reader)
        thread.start()
        time.sleep(after)
        self.mount.process.send_signal(signal.SIGKILL)
        thread.join()
        self.mount.kill()
        if failures:
            raise failures[0]
        self.counts["killed"] += 1
        self.counts["killed mount"] += 1
        self.mount.up()
        self.settle()
        self.one(Verify)

    def repair(self):
        if self.mount:
            run = self.program.run("repair", "--index", expect=(11,))
            self.mount.down()
        gone = self.rng.random() < 0.3
        if gone:
            self.note("the index is deleted")
            shutil.rmtree(os.path.join(self.repo, "index"))
            run = self.program.start("points")
            if run.wait() == 0 or "repair --index" not in run.stderr():
                raise Failure(f"{run}: opens without an index, or does not "
                              f"say what to do: {run.stderr()}")
            self.counts["indices deleted"] += 1
        after = [None]
        if self.rng.random() < 0.5:
            after = [self.rng.random() * 1.2 * self.program.typical["repair"]]
        self.note(f"repair --index {after}")
        run, = self.program.together([["repair", "--index"]], after)
        self.counts["repair"] += 1
        if run.killed:
            self.counts["killed"] += 1
            self.counts["killed repair"] += 1
            if not gone:
                self.program.run("points")
            self.note("repair --index again")
            run = self.program.run("repair", "--index")
        run.expect(0)
        # a record that was written and never acknowledged may count now
        self.doubts, self.limbo = self.limbo, []
        self.maybe_removed = {p for p in self.limbo_removed
                              if p in p.machine.points}
        self.limbo_removed = set()
        self.settle()
        self.everything()
        if self.mount:
            self.mount.up()

    def new_repository(self):
        """The end of one and the beginning of the next."""
        if self.machines:
            self.finish()
            for disk in [d for m in self.machines for d in m.disks]:
                disk.remove()
            shutil.rmtree(self.repo)
        self.reset()
        self.note("init")
        done = 0
        while self.rng.random() < 0.5:
            run, = self.program.together(
                [["init"]],
                [self.rng.random() * 1.2 * self.program.typical["init"]])
            if not run.killed:
                run.expect(done)
                break
            # the kill may have come when all was done
            done = int(self.program.start("status").wait() == 0)
            self.counts["killed"] += 1
            self.counts["killed init"] += 1
        if self.program.start("status").wait() != 0:
            self.program.run("init")
        self.program.run("init", expect=(1,))
        self.counts["repositories"] += 1
        for _ in range(self.rng.choice((2, 3, 4))):
            self.add_machine()
        for machine in self.machines:
            self.do([Backup(self, self.rng, True, machine)], 0)
        if self.mount:
            self.mount.up()

    def finish(self):
        self.note("finish")
        self.settle()
        self.list_mount()
        if self.mount:
            self.mount.down()
        self.nothing_left()
        self.everything()

    STEPS = (
        (24, "backup"), (10, "two_backups"), (2, "crowd"), (16, "together"),
        (9, "remove"), (3, Verify), (14, Restore), (9, Diff), (3, Show), (2, Status),
        (1, DryRun), (12, "read_mount"), (4, "list_mount"), (2, "remount"),
        (2, "kill_mount"), (1.5, "repair"),
        (8, "collect"),
    )

    def run(self):
        weights = [w for w, _ in self.STEPS]
        left = 0
        for self.step in range(1, self.arguments.steps + 1):
            # of its own: what an earlier step came to does not change it
            self.rng = random.Random(f"{self.arguments.seed}/{self.step}")
            if left == 0:
                self.new_repository()
                left = STEPS_A_REPOSITORY
            left -= 1
            what = self.rng.choices([s for _, s in self.STEPS], weights)[0]
            if len(self.points()) > POINTS_MAX:
                what = "remove"
            elif len(self.points()) < 3:
                what = "backup"
            if isinstance(what, str):
                getattr(self, what)()
            else:
                self.job(what)
        self.finish()

    def clean_up(self):
        for run in self.program.recent:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
        if self.mount:
            self.mount.clean_up()
        self.log.close()

    def evidence(self):
        """What the disks of the points should have been."""
        expected = os.path.join(self.work, "expected")
        os.makedirs(expected, exist_ok=True)
        for point in self.points():
            for disk, content in point.disks.items():
                content.dump(os.path.join(
                    expected, f"{point.machine.name}-{point.alias}-{disk}"))


def main():
    if not usable():
        print("no /dev/fuse: without a mount", flush=True)
    return walk_all(Walk, parse(__doc__.split("\n\n")[0], "MODEL", 1500))


if __name__ == "__main__":
    sys.exit(main())
