#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Guards a repository against power cuts at the system calls of the program: what
was acknowledged is there, what was not is whole or absent, nothing is damaged,
and all goes on; from the segments alone, too.

  cuts.py HIVEFS FAULT.so [--cuts N] [--seed S]   N cuts; $FAULT_CUTS, $FAULT_SEED
  cuts.py HIVEFS FAULT.so --syncs                 the calls that sync
  cuts.py HIVEFS FAULT.so --mutants [NAME]        each of them taken away, or
                                                  those whose name has NAME
  cuts.py HIVEFS FAULT.so --again DIR K SEED ODDS [NAME]

FAULT.so is fault.c. A cut that fails leaves its trace and says how to have it
again. A mutant is the same trace, read as if these calls had done nothing: some
cut must fail.
"""

import argparse
import bisect
import concurrent.futures
import os
import pickle
import random
import shutil
import sys
import tempfile

import power
from scenario import Ended, Failure, World

WORKERS = 2
TRIES = 80  # of a mutant

# Taken away, they cost nothing; why they stay
HARMLESS = {
    "open_dbs": "LMDB's own, and the transaction behind it syncs the same file",
    "prepare repo/streams/*/*": "the takeover behind it syncs the same file; so "
    "nothing hangs on what fdatasync makes of a file that was cut off",
    "cut_off": "the records behind it are synced with the same file; likewise",
    "settle": "the takeover behind it syncs the same file; but only what is "
    "clean can be forgotten and read again, to see what was never written",
}

# Deaths that leave a stream as its owner cannot: between two steps
DEATHS = [{"FAULT_CALL": call, "FAULT_AT": str(at), "FAULT_HOW": "die",
           "FAULT_FILE": "/streams/"}
          for at in range(1, 9) for call in ("sync", "write")]


class Life:
    """One life of a repository, as its trace and what was known when."""

    def __init__(self, arguments, folder):
        self.arguments = arguments
        self.folder = folder
        self.known = []  # (number of calls, Known)

    def live(self, fault=None):
        path = os.path.join(self.folder, "trace")
        count = os.path.join(self.folder, "count")
        with open(path, "wb"), open(count, "wb") as f:
            f.truncate(4096)
        world = World(self.arguments.hivefs, self.arguments.fault,
                      os.path.join(self.folder, "life"))
        world.faults = {"FAULT_TRACE": path, "FAULT_COUNT": count,
                        **(fault or {})}
        noted = []
        world.noted = lambda known: noted.append((os.path.getsize(path), known))
        for _, stage in world.stages():
            try:
                stage()
            except Ended:
                stage()
        self.trace = power.Trace(path)
        self.known = [(self.trace.number_at(at), known) for at, known in noted]
        shutil.rmtree(world.work)
        return self

    def save(self):
        with open(os.path.join(self.folder, "known"), "wb") as f:
            pickle.dump(self.known, f)

    def load(self):
        self.trace = power.Trace(os.path.join(self.folder, "trace"))
        with open(os.path.join(self.folder, "known"), "rb") as f:
            self.known = pickle.load(f)
        return self

    def known_at(self, k):
        at = bisect.bisect_right(self.known, k, key=lambda n: n[0])
        return self.known[at - 1][1]

    def next_known(self, k):
        """The first number of calls from K on at which more was known."""
        at = bisect.bisect_left(self.known, k, key=lambda n: n[0])
        return self.known[min(at, len(self.known) - 1)][0]

    def cut(self, k, seed, odds, skip=frozenset()):
        """Raises Failure."""
        with tempfile.TemporaryDirectory(dir=self.folder) as work:
            world = World(self.arguments.hivefs, self.arguments.fault, work)
            world.known = pickle.loads(pickle.dumps(self.known_at(k)))
            power.Cut(self.trace, k, seed, odds, skip).make(world.top)
            world.check(rebuild=seed % 2 == 1)

    def again(self, k, seed, odds, name=""):
        a = self.arguments
        return (f"{sys.argv[0]} {a.hivefs} {a.fault} --again {self.folder} "
                f"{k} {seed} {odds} {name}").strip()


def death(rng):
    """Somewhere in a life, one of the programs dies."""
    call, calls = rng.choice((("write", 650), ("sync", 250)))
    return {"FAULT_CALL": call, "FAULT_AT": str(rng.randrange(1, calls)),
            "FAULT_HOW": "die"}


def all_cuts(arguments, folder):
    """Every other life has a death in it."""
    rng = random.Random(arguments.seed)
    n_lives = max(2, arguments.cuts // 100)
    ok = True
    for i in range(n_lives):
        own = os.path.join(folder, str(i))
        os.mkdir(own)
        fault = death(rng) if i % 2 else None
        try:
            life = Life(arguments, own).live(fault)
        except Failure as e:
            raise Failure(f"{e}\nin a life with {fault}") from None
        if cuts(life, arguments.cuts // n_lives, rng):
            shutil.rmtree(own)
        else:
            life.save()
            ok = False
    return ok


def cuts(life, n, rng):
    plan = []
    syncs = [i for i, op in enumerate(life.trace.ops) if op.kind == "S"]
    for i in range(n):
        # all along it; every third when there is most to lose
        k = (i * len(life.trace.ops) // n +
             rng.randrange(max(1, len(life.trace.ops) // n)))
        if i % 3 == 0:
            k = syncs[i * len(syncs) // n]
        plan.append((k, rng.randrange(1 << 30) * 2 + i % 2, rng.randrange(9)))
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        runs = [(pool.submit(life.cut, *cut), cut) for cut in plan]
        failed = [(cut, run.exception()) for run, cut in runs
                  if run.exception()]
    for cut, why in failed:
        print(f"FAIL: {life.again(*cut)}\n{why}", file=sys.stderr)
    print(f"{n} cuts of {len(life.trace.ops)} calls, {len(failed)} failed")
    return not failed


def window(life, n, skip):
    """The numbers of calls at which what N synced may be missed."""
    obj = life.trace.ops[n].obj
    end = next((m for m in obj.ops if m > n and m not in skip and
                life.trace.ops[m].kind == "S"), len(life.trace.ops))
    return n + 1, min(end + 1, n + 60, len(life.trace.ops))


def tries_of(life, numbers, rng, tries):
    """Cuts behind these calls: where more is known, soon, then anywhere."""
    skip = frozenset(numbers)
    some = sorted(rng.sample(numbers, min(len(numbers), 12)))
    for n in some:
        yield life.next_known(n + 1), 2 * n, 0
        yield n + 1, 2 * n, 0
    for i in range(tries):
        low, high = window(life, some[i % len(some)], skip)
        yield (low + i // len(some) % max(1, high - low), 2 * i + i // 3 % 2,
               (4, 1, 6)[i % 3])


def mutant(life, name, numbers, tries=TRIES):
    """The cut that fails without these calls, or None."""
    rng = random.Random(name)
    for cut in tries_of(life, numbers, rng, tries):
        try:
            life.cut(*cut, skip=frozenset(numbers))
        except Failure as e:
            return cut, str(e).splitlines()[0]
    return None


def mutant_of_dead(life, name):
    """The same in lives with a death in them."""
    for death in DEATHS:
        with tempfile.TemporaryDirectory(dir=life.folder) as folder:
            other = Life(life.arguments, folder).live(death)
            numbers = other.trace.syncs(life.arguments.hivefs).get(name)
            missed = numbers and mutant(other, name, numbers, 12)
            if missed:
                return missed[0], f"{missed[1]} {death}"
    return None


def is_harmless(name):
    return next((why for what, why in HARMLESS.items()
                 if name.startswith(what)), None)


def mutants(life, which):
    found = {name: numbers for name, numbers in
             life.trace.syncs(life.arguments.hivefs).items() if which in name}
    survived = []
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        runs = [(name, pool.submit(mutant, life, name, numbers))
                for name, numbers in found.items() if not is_harmless(name)]
        runs = dict(runs)
        for i, name in enumerate(found, 1):
            missed = name in runs and (
                runs[name].result() or "/streams/" in name and
                mutant_of_dead(life, name))
            if missed:
                print(f"{i:2} {name}: missed: {missed[1]} {missed[0]}")
            elif is_harmless(name):
                print(f"{i:2} {name}: harmless: {is_harmless(name)}")
            else:
                print(f"{i:2} {name}: NOT MISSED")
                survived.append(name)
            sys.stdout.flush()
    print(f"{len(found)} calls that sync, {len(survived)} not missed")
    return not survived


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("hivefs")
    parser.add_argument("fault")
    parser.add_argument("--cuts", type=int,
                        default=int(os.environ.get("FAULT_CUTS", "40")))
    parser.add_argument("--seed", type=int,
                        default=int(os.environ.get("FAULT_SEED", "1")))
    parser.add_argument("--syncs", action="store_true")
    parser.add_argument("--mutants", nargs="?", const="")
    parser.add_argument("--again", nargs="+")
    a = parser.parse_args()
    if not os.access("/dev/fuse", os.W_OK):
        print("SKIP: no /dev/fuse", file=sys.stderr)
        return 77
    if a.again:
        life = Life(a, a.again[0]).load()
        name = " ".join(a.again[4:])
        life.cut(*map(int, a.again[1:4]), skip=frozenset(
            life.trace.syncs(a.hivefs)[name] if name else ()))
        return 0
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="hivefs-fault.", dir=memory)
    if not a.syncs and a.mutants is None:
        ok = all_cuts(a, folder)
        if ok:
            shutil.rmtree(folder)
        return 0 if ok else 1
    life = Life(a, folder).live()
    if a.syncs:
        for name, numbers in life.trace.syncs(a.hivefs).items():
            print(f"{len(numbers):4} {name}")
        ok = True
    else:
        ok = mutants(life, a.mutants)
    shutil.rmtree(folder)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
