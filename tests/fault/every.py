#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Guards a repository against a write, sync, read or allocation that fails, or at
which the program dies, whichever it is: the program ends as documented and says
why, or did it all the same; nothing that was acknowledged is lost, nothing is
damaged, and the same done again succeeds.

  every.py HIVEFS FAULT.so [--cases N]         so many of them; $FAULT_CASES
  every.py HIVEFS FAULT.so --every [PATTERN]   all, or those like this, as
                                               'gc:sync:*'; $FAULT_EVERY=1
  every.py HIVEFS FAULT.so CASE...             as they are printed

A case is STAGE:CALL:HOW:NUMBER. FAULT.so is fault.c.
"""

import argparse
import concurrent.futures
import copy
import fnmatch
import os
import shutil
import struct
import sys
import tempfile

from scenario import Ended, Failure, World

WORKERS = 2
HOWS = {"write": ["eio", "enospc", "short", "die", "eio+", "enospc+"],
        "sync": ["eio", "enospc", "die", "eio+"],
        "read": ["eio", "short", "eio+"],
        "alloc": ["enomem", "enomem+"]}
# What cannot be read is damage, and verify takes it out of the way
NOT = {("verify", "read")}


class Cases:
    """Each stage as it begins, and how many calls it makes."""

    def __init__(self, arguments, folder):
        self.arguments = arguments
        self.folder = folder
        self.known = {}
        self.calls = {}
        world = self.world("life")
        for name, stage in self.stages(world):
            self.known[name] = (copy.deepcopy(world.known), world.number)
            world.put(self.before(name))
            self.faults(world)
            stage()
            self.calls[name] = self.count(world)

    @staticmethod
    def stages(world):
        return [*world.stages(),
                ("verify", lambda: world.run("verify", "-q", faulty=True))]

    def world(self, name):
        return World(self.arguments.hivefs, self.arguments.fault,
                     os.path.join(self.folder, name))

    def before(self, name):
        return os.path.join(self.folder, "before-" + name)

    @staticmethod
    def faults(world, **more):
        count = world.path("count")
        with open(count, "wb") as f:
            f.truncate(4096)
        world.faults = {"FAULT_COUNT": count, **more}

    @staticmethod
    def count(world):
        with open(world.path("count"), "rb") as f:
            return dict(zip(("write", "sync", "read", "alloc"),
                            struct.unpack("<4Q", f.read(32))))

    def all(self):
        return [f"{stage}:{call}:{how}:{k}"
                for stage, calls in self.calls.items()
                for call, hows in HOWS.items() if (stage, call) not in NOT
                for how in hows
                for k in range(1, calls[call] + 1)]

    def run(self, case):
        """Raises Failure."""
        with tempfile.TemporaryDirectory(dir=self.folder) as work:
            world = World(self.arguments.hivefs, self.arguments.fault, work)
            self.meet(world, *case.split(":"))

    def meet(self, world, name, call, how, k):
        stage = dict(self.stages(world))[name]
        known, world.number = self.known[name]
        world.known = copy.deepcopy(known)
        world.take(self.before(name))
        self.faults(world, FAULT_CALL=call, FAULT_AT=k,
                    FAULT_HOW=how.rstrip("+").replace("enomem", "eio"),
                    **({"FAULT_ON": "1"} if how.endswith("+") else {}))
        try:
            stage()
            ended = None
        except Ended as e:
            ended = e
        world.faults = {}
        try:
            if world.known.repository:
                world.run("verify", "-q")
            if ended and int(k) % 2:
                stage()
            world.check(rebuild=int(k) % 4 == 0)
        except (Failure, Ended) as e:
            raise Failure(f"{e}\nafter: {ended}") from None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("hivefs")
    parser.add_argument("fault")
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--cases", dest="n", type=int,
                        default=int(os.environ.get("FAULT_CASES", "22")))
    parser.add_argument("--every", nargs="?", const="*",
                        default="*" if "FAULT_EVERY" in os.environ else None)
    a = parser.parse_args()
    if not os.access("/dev/fuse", os.W_OK):
        print("SKIP: no /dev/fuse", file=sys.stderr)
        return 77
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="hivefs-fault.", dir=memory)
    try:
        cases = Cases(a, folder)
        every = cases.all()
        if a.every:
            chosen = fnmatch.filter(every, a.every)
        else:
            chosen = a.cases or every[len(every) // a.n // 2::
                                      len(every) // a.n]
        failed = 0
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            runs = [(case, pool.submit(cases.run, case)) for case in chosen]
            for case, run in runs:
                why = run.exception()
                if why:
                    failed += 1
                    print(f"FAIL: {sys.argv[0]} {a.hivefs} {a.fault} {case}\n"
                          f"{why}", file=sys.stderr, flush=True)
        print(f"{len(chosen)} of {len(every)} faults, {failed} failed")
        return 1 if failed else 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
