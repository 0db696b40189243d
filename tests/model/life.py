#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Guards a repository over the days of its life: two machines are backed up each
day, points are held and branched, they are pruned and the garbage is collected,
by a clock that is moved on, and now and then goes wrong by days. What must be
kept is worked out here, anew and otherwise than repo/policy.c does; what is kept
must be whole, what a clone was made of, too, and what is not must be gone.

  life.py HIVEFS CLOCK [--days N] [--seed S]

CLOCK is the library that moves the clock (tests/cli/clock.c).
"""

import argparse
import datetime
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

DAY = 86400
PAGE = 4096
POLICY = {"last": 2, "daily": 7, "weekly": 4, "monthly": 3}


class Failure(Exception):
    pass


class Life:
    def __init__(self, arguments, work):
        self.arguments = arguments
        self.work = work
        self.rng = random.Random(arguments.seed)
        self.now = 0  # seconds that the clock is moved by
        self.images = {m: bytearray(self.rng.randbytes(256 * PAGE))
                       for m in ("web", "db")}
        self.points = {m: [] for m in self.images}  # (time, alias, bytes)
        self.holds = {}  # alias -> time until which nothing removes it
        self.clones = {}  # name -> bytes
        self.n_clones = 0
        self.counts = dict.fromkeys(("held", "branched", "refused"), 0)
        self.freed = 0

    def clock(self):
        return time.time() + self.now

    def run(self, *args, expect=0):
        environment = {**os.environ, "HIVEFS_REPO": self.work + "/repo",
                       "LD_PRELOAD": self.arguments.clock, "TZ": "UTC",
                       "CLOCK_SHIFT": str(self.now), "LC_ALL": "C"}
        done = subprocess.run([self.arguments.hivefs, *args], check=False,
                              env=environment, capture_output=True)
        if done.returncode != expect:
            raise Failure(f"{' '.join(args)}: exit {done.returncode}: "
                          f"{done.stderr.decode()}")
        return done.stdout

    def summary(self, *args):
        lines = self.run(*args, "--json").splitlines()
        return json.loads(lines[-1])

    def backup(self, machine):
        image = self.images[machine]
        for _ in range(self.rng.randrange(40)):
            at = self.rng.randrange(len(image) // PAGE) * PAGE
            image[at:at + PAGE] = self.rng.randbytes(PAGE) \
                if self.rng.random() < 0.8 else bytes(PAGE)
        path = os.path.join(self.work, "image")
        with open(path, "wb") as f:
            f.write(image)
        point = self.summary("backup", machine, path)
        when = datetime.datetime.fromisoformat(
            point["time"].replace("Z", "+00:00"))
        self.points[machine].append((when, point["alias"], bytes(image)))

    def kept(self, machine):
        """Each unit by itself: the last point of each of its last N."""
        points = sorted(self.points[machine], key=lambda p: p[0])
        # the clock may be wrong: those are not judged
        later = [p for p in points if p[0].timestamp() > self.clock() + DAY]
        points = points[:len(points) - len(later)]
        units = {"daily": lambda t: t.date(),
                 "weekly": lambda t: t.isocalendar()[:2],
                 "monthly": lambda t: (t.year, t.month)}
        keep = {p[1] for p in points[-POLICY["last"]:]}
        for unit, of in units.items():
            newest = {}
            for point in points:
                newest[of(point[0])] = point[1]
            keep |= set(list(newest.values())[-POLICY[unit]:])
        keep |= {p[1] for p in points
                 if self.holds.get(p[1], 0) > self.clock()}
        return [p for p in points if p[1] in keep] + later

    def prune_words(self):
        return [word for unit, n in POLICY.items()
                for word in (f"--keep-{unit}", str(n))]

    def hold(self):
        machine = self.rng.choice(list(self.points))
        point = self.rng.choice(self.points[machine])
        days = self.rng.randrange(1, 30)
        until = self.clock() + days * DAY
        if until < self.holds.get(point[1], 0) + 60:
            return  # it can only be put off
        self.run("hold", f"{machine}@{point[1]}", "--until", f"{days}d")
        self.holds[point[1]] = until
        self.run("rm", f"{machine}@{point[1]}", expect=14)
        self.counts["held"] += 1

    def branch(self):
        machine = self.rng.choice(list(self.points))
        point = self.rng.choice(self.points[machine])
        self.n_clones += 1
        name = f"branch{self.n_clones}"
        self.run("clone", f"{machine}@{point[1]}", name)
        self.clones[name] = point[2]
        self.counts["branched"] += 1

    def check_clones(self):
        for name in sorted(self.clones):
            if self.run("restore", name, "-") != self.clones[name]:
                raise Failure(f"{name} is not what it was made of")

    def wrong_clock(self):
        """Days ahead nothing ends; days behind, the days are only older."""
        was = self.now
        self.now += self.rng.randrange(3, 400) * DAY
        self.run("prune", *self.prune_words(), expect=14)
        self.counts["refused"] += 1
        self.now = was - self.rng.randrange(1, 3) * DAY
        if self.rng.random() < 0.5:
            self.backup(self.rng.choice(list(self.images)))
        self.prune()
        self.now = was

    def edges(self):
        yield from self.holds.values()
        for points in self.points.values():
            yield from (p[0].timestamp() - DAY for p in points)

    def prune(self):
        # no hold ends while this runs, and no point comes from the future
        while any(abs(t - self.clock()) < 300 for t in self.edges()):
            self.now += 600
        self.run("prune", *self.prune_words())
        for machine in self.points:
            self.points[machine] = self.kept(machine)
        listed = {json.loads(line).get("alias") for line in
                  self.run("points", "--json").splitlines()} - {None}
        want = {p[1] for points in self.points.values() for p in points}
        if listed != want:
            raise Failure(f"kept {listed - want} too many, lost "
                          f"{want - listed}")

    def collect(self):
        self.freed += self.summary("gc")["chunks_removed"]
        left = self.summary("gc", "--dry-run")
        if left["chunks_removed"] or left["maps_removed"]:
            raise Failure(f"gc leaves {left}")

    def check(self, machine, point):
        got = self.run("restore", f"{machine}@{point[1]}", "-")
        if got != point[2]:
            raise Failure(f"{machine}@{point[1]} of {point[0]} is not what it "
                          "was")

    def day(self, number):
        self.now = (number - self.arguments.days) * DAY
        for machine in self.images:
            for _ in range(self.rng.choice((0, 1, 1, 1, 2, 3))):
                self.backup(machine)
                self.now += self.rng.randrange(3 * 3600)
        if not all(self.points.values()):
            return
        if self.rng.random() < 0.2:
            self.hold()
        if self.rng.random() < 0.15:
            self.branch()
        if self.rng.random() < 0.1:
            self.wrong_clock()
        self.prune()
        if self.clones and self.rng.random() < 0.1:
            name = self.rng.choice(sorted(self.clones))
            self.run("discard", name)
            del self.clones[name]
        if self.rng.random() < 0.7:
            self.collect()
        machine = self.rng.choice(list(self.points))
        self.check(machine, self.rng.choice(self.points[machine]))
        if self.rng.random() < 0.2:
            self.check_clones()

    def live(self):
        self.now = -self.arguments.days * DAY
        self.run("init")
        for number in range(self.arguments.days):
            self.day(number)
        self.now = 0
        # a clock that is years ahead ends nothing
        self.now = 1000 * DAY
        self.run("prune", "--keep-last", "1", expect=14)
        self.now = 0
        self.collect()
        if self.summary("verify")["damaged"]:
            raise Failure("damage")
        for machine, points in self.points.items():
            for point in points:
                self.check(machine, point)
        self.check_clones()
        if not all(self.counts.values()):
            raise Failure(f"too little has happened: {self.counts}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("hivefs")
    parser.add_argument("clock")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--seed", type=int,
                        default=int(os.environ.get("LIFE_SEED", "1")))
    arguments = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    work = tempfile.mkdtemp(prefix="hivefs-life.", dir=memory)
    life = Life(arguments, work)
    print(f"seed {arguments.seed}, {arguments.days} days", flush=True)
    try:
        life.live()
    except Failure as failure:
        print(f"FAILED: {failure}")
        return 1
    finally:
        shutil.rmtree(work)
    if not life.freed:
        print("FAILED: nothing was ever freed")
        return 1
    kept = {m: len(p) for m, p in life.points.items()}
    print(f"{kept} points are left, {life.freed} chunks were freed, "
          f"{life.counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
