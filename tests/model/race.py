#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Guards garbage collection (I5) that runs all the time beside four machines that
are backed up, have their older points removed, and are backed up again, and
beside a clone that is written to, committed and read through a mount. All of
them are made of the same few blocks, so that what one lets go of another is
just about to rely on. Whoever was told that a point exists finds all of it, and
at the end nothing is left that nothing needs.

  race.py HIVEFS [--seconds N] [--seed S] [--dir DIR]

The seed makes the choices; what meets what is up to the scheduler, and what is
asserted holds whatever it decides.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import threading
import traceback

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from content import difference
from mounted import Mount, usable
from program import Failure, Program

PAGE = 4096
BLOCK = 128 << 10  # as long as the longest chunk
BLOCKS = 96        # that there are
LENGTH = 40        # of an image: 5 MiB, so that windows are shared, too
KEEP = 3           # points a machine
MACHINES = ("web", "db", "mail", "files")


FORKING = threading.Lock()


class OneAtATime(Program):
    """
    Between fork and exec a child has open what others are writing, and a source
    that is open for writing is refused.
    """

    def start(self, *args):
        with FORKING:
            return super().start(*args)


class Race:
    def __init__(self, arguments, work):
        self.arguments = arguments
        self.work = work
        self.repo = os.path.join(work, "repo")
        self.blocks = [random.Random(i).randbytes(BLOCK)
                       for i in range(BLOCKS)]
        self.end = threading.Event()
        self.lock = threading.Lock()
        self.points = {}  # (machine, alias) -> bytes; lock
        self.counts = {}  # lock
        self.failures = []

    def program(self, name):
        return OneAtATime(self.arguments.hivefs, self.repo,
                          os.path.join(self.work, "output", name))

    def count(self, what, n=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + n

    def new_point(self, machine, run, content):
        """The point that RUN says it has made."""
        alias = next(o["alias"] for o in run.lines() if "alias" in o)
        with self.lock:
            self.points[machine, alias] = content
        return alias

    def check(self, program, machine, alias, content):
        run = program.run("restore", f"{machine}/disk0@{alias}", "-")
        found = difference(run.stdout(), content)
        if found:
            raise Failure(f"{run}: {found}")
        self.count("restored")

    def remove(self, program, machine, alias):
        with self.lock:
            del self.points[machine, alias]
        program.run("rm", f"{machine}@{alias}")
        self.count("removed")

    # those that run side by side

    def back_up(self, machine, rng):
        program = self.program(machine)
        image = os.path.join(self.work, machine)
        which = [rng.randrange(BLOCKS) for _ in range(LENGTH)]
        mine = []
        while not self.end.is_set():
            for _ in range(rng.choice((0, 1, 4, LENGTH))):
                which[rng.randrange(LENGTH)] = rng.randrange(BLOCKS)
            content = b"".join(self.blocks[i] for i in which)
            with FORKING, open(image, "wb") as f:
                f.write(content)
            run = program.start("backup", machine, image, "--json")
            if run.wait() != 0 and "given up" in run.stderr():
                self.count("backups that were given up")
                continue
            run.expect(0)
            mine.append((self.new_point(machine, run, content), content))
            self.count("backups")
            while len(mine) > KEEP or (len(mine) > 1 and rng.random() < 0.5):
                self.remove(program, machine,
                            mine.pop(rng.randrange(len(mine)))[0])
            if rng.random() < 0.3:
                self.check(program, machine, *rng.choice(mine))

    def write_clone(self, rng):
        program = self.program("clone")
        content = bytearray(b"".join(
            self.blocks[rng.randrange(BLOCKS)] for _ in range(LENGTH)))
        image = os.path.join(self.work, "guest")
        with FORKING, open(image, "wb") as f:
            f.write(content)
        run = program.run("backup", "guest", image, "--json")
        mine = [(self.new_point("guest", run, bytes(content)), bytes(content))]
        program.run("clone", f"guest@{mine[0][0]}", "branch")
        mount = Mount(program, os.path.join(self.work, "mnt"),
                      ("-o", "cache=16M"))
        mount.up()
        try:
            while not self.end.is_set():
                self.write_some(mount, content, rng)
                self.commit(program, content, mine)
                if len(mine) > KEEP:
                    self.remove(program, "guest",
                                mine.pop(rng.randrange(len(mine) - 1))[0])
                if rng.random() < 0.2:
                    mount.kill()
                    mount.up()
            mount.kill()
        finally:
            mount.clean_up()

    def write_some(self, mount, content, rng):
        path = os.path.join(mount.path, "clones", "branch", "disk0.img")
        fd = os.open(path, os.O_RDWR)
        try:
            for _ in range(rng.randrange(1, 12)):
                # of a block, so that a chunk of it may come back
                n = rng.choice((PAGE, 4 * PAGE, BLOCK))
                at = rng.randrange(LENGTH) * BLOCK
                data = self.blocks[rng.randrange(BLOCKS)][:n]
                os.pwrite(fd, data, at)
                content[at:at + n] = data
            os.fsync(fd)
            self.count("writes to the clone")
            got = os.pread(fd, len(content), 0)
            while len(got) < len(content):
                got += os.pread(fd, len(content) - len(got), len(got))
        finally:
            os.close(fd)
        found = difference(got, bytes(content))
        if found:
            raise Failure(f"the clone: {found}")

    def commit(self, program, content, mine):
        run = program.start("commit", "branch", "--json")
        if run.wait() != 0 and "given up" in run.stderr():
            self.count("commits that were given up")
            return
        run.expect(0)
        mine.append((self.new_point("guest", run, bytes(content)),
                     bytes(content)))
        self.count("commits")

    def collect(self, rng):
        program = self.program("gc")
        while not self.end.is_set():
            # shorter than a backup beats: some are given up that are alive
            run = program.start("gc", "--json", "--patience",
                                str(rng.choice((1, 2, 20))))
            run.wait()
            # listings that change all the time are nothing to rely on
            if run.code == 11 and "being changed" in run.stderr():
                self.count("collections that were refused")
                continue
            self.count("collections")
            self.count("chunks freed",
                       run.expect(0).summary()["chunks_removed"])

    # all of it

    def guarded(self, function, *args):
        try:
            function(*args)
        except Failure as failure:
            self.failures.append(str(failure))
        except Exception:  # pylint: disable=broad-except
            self.failures.append(traceback.format_exc())
        if self.failures:
            self.end.set()

    def run(self):
        program = self.program("main")
        program.run("init")
        seed = self.arguments.seed
        work = [(self.back_up, m, random.Random(f"{seed} {m}"))
                for m in MACHINES]
        work.append((self.collect, random.Random(f"{seed} gc")))
        if usable():
            work.append((self.write_clone, random.Random(f"{seed} clone")))
        threads = [threading.Thread(target=self.guarded, args=w) for w in work]
        for thread in threads:
            thread.start()
        self.end.wait(self.arguments.seconds)
        self.end.set()
        for thread in threads:
            thread.join()
        if self.failures:
            raise Failure("\n".join(self.failures))
        self.finish(program)

    def finish(self, program):
        for rebuilt in (False, True):
            for (machine, alias), content in self.points.items():
                self.check(program, machine, alias, content)
            program.run("verify")
            program.run("gc")
            left = program.run("gc", "--dry-run", "--json").summary()
            if left["chunks_removed"] or left["maps_removed"]:
                raise Failure(f"gc leaves {left}")
            if not rebuilt:
                program.run("repair", "--index")
        for what in ("backups", "collections", "chunks freed"):
            if not self.counts.get(what):
                raise Failure(f"no {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("hivefs")
    parser.add_argument("--seconds", type=float,
                        default=float(os.environ.get("RACE_SECONDS", "15")))
    parser.add_argument("--seed", default=os.environ.get("RACE_SEED", "1"))
    parser.add_argument("--dir")
    arguments = parser.parse_args()
    work = tempfile.mkdtemp(prefix="hivefs-race.", dir=arguments.dir)
    race = Race(arguments, work)
    print(f"seed {arguments.seed}, {arguments.seconds:.0f} s", flush=True)
    try:
        race.run()
    except Failure as failure:
        print(f"FAILED: {failure}\nall is left in {work}")
        return 1
    finally:
        print(", ".join(f"{k} {n}" for k, n in sorted(race.counts.items())))
    shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
