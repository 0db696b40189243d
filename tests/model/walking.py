# SPDX-License-Identifier: Apache-2.0
"""
What the random walks have in common: their arguments, a directory to work in,
and what they leave and say at the end.

Without --seed it is another one every time, and is printed; what CI runs has a
seed, so that it is the same walk until somebody means it to be another.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from program import Failure


def roomy(path):
    try:
        fs = os.statvfs(path)
    except OSError:
        return False
    return os.access(path, os.W_OK) and fs.f_bavail * fs.f_frsize > 2 << 30


def work_directory(given):
    """In memory if there is enough of it: syncs cost nothing there."""
    if not given and roomy("/dev/shm"):
        given = "/dev/shm"
    return tempfile.mkdtemp(prefix="hivefs-model.", dir=given)


def stop(number, _frame):
    raise SystemExit(128 + number)


def parse(description, name, steps):
    """For whom meson gives the arguments: NAME_STEPS, NAME_SEED."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("hivefs")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--dir", help="work in here, not in memory")
    parser.add_argument("--keep", action="store_true",
                        help="leave everything there at the end")
    arguments = parser.parse_args()
    environment = os.environ
    arguments.steps = int(environment.get(f"{name}_STEPS", arguments.steps))
    arguments.seed = int(environment.get(f"{name}_SEED", arguments.seed))
    arguments.hivefs = os.path.abspath(arguments.hivefs)
    return arguments


def report(failure, walk, arguments):
    print(f"FAILED at step {walk.step}: {failure}\n"
          f"again: {sys.argv[0]} {arguments.hivefs} --seed "
          f"{arguments.seed} --steps {walk.step}\n"
          f"left: {walk.work} (steps.log, output/, expected/, repo/)")
    if walk.mount and walk.mount.died():
        print(f"the mount is dead: {walk.mount.said()}")


def walk_all(new_walk, arguments):
    """
    NEW_WALK(arguments, directory) has run(), clean_up() and evidence(), and
    tells by step, work, mount and counts. The exit code.
    """
    signal.signal(signal.SIGTERM, stop)
    walk = new_walk(arguments, work_directory(arguments.dir))
    print(f"seed {arguments.seed}, {arguments.steps} steps, in {walk.work}",
          flush=True)
    begun = time.monotonic()
    failed = True
    try:
        walk.run()
        failed = False
    except (Failure, OSError, subprocess.SubprocessError) as failure:
        report(failure, walk, arguments)
        if not isinstance(failure, Failure):
            raise
    except (KeyboardInterrupt, SystemExit):
        print(f"stopped at step {walk.step}; left: {walk.work}")
        raise
    finally:
        walk.clean_up()
        if failed:
            walk.evidence()
        elif not arguments.keep:
            shutil.rmtree(walk.work)
        print(f"{time.monotonic() - begun:.0f} s; " + ", ".join(
            f"{name} {n}" for name, n in sorted(walk.counts.items())))
    return 1 if failed else 0
