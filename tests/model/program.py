# SPDX-License-Identifier: Apache-2.0
"""Running hivefs, killing it, and keeping what it said."""

import collections
import json
import os
import signal
import subprocess
import threading
import time

TIMEOUT = float(os.environ.get("MODEL_TIMEOUT", "120"))

# src/exit.h; what a signal ends is none of them
DOCUMENTED = {0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15}


class Failure(Exception):
    """What hivefs did is not what the oracle expects."""


def state_of(pid):
    """Where the threads of a process that hangs are."""
    lines = []
    try:
        for task in sorted(os.listdir(f"/proc/{pid}/task")):
            for what in ("wchan", "syscall", "stack"):
                try:
                    with open(f"/proc/{pid}/task/{task}/{what}") as f:
                        lines.append(f"{task} {what}: {f.read().strip()}")
                except OSError:
                    pass
    except OSError:
        pass
    return "\n".join(lines)


class Run:
    """One command, started; its output goes to files, so it never waits."""

    def __init__(self, program, args):
        self.program = program
        self.args = args
        self.base = os.path.join(
            program.outputs, f"{program.next_number():06d}-{args[0]}")
        self.begun = time.monotonic()
        self.killed = False
        with open(self.base + ".out", "wb") as out, \
                open(self.base + ".err", "wb") as err:
            self.process = subprocess.Popen(
                [program.binary, *args], stdin=subprocess.DEVNULL,
                stdout=out, stderr=err, env=program.environment)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)

    def wait(self):
        try:
            code = self.process.wait(
                max(0.01, self.begun + TIMEOUT - time.monotonic()))
        except subprocess.TimeoutExpired:
            with open(self.base + ".hang", "w") as f:
                f.write(state_of(self.process.pid))
            self.process.kill()
            self.process.wait()
            raise Failure(f"hangs: {self}") from None
        self.seconds = time.monotonic() - self.begun
        self.killed = code == -signal.SIGKILL
        self.code = code
        if not self.killed:
            self.program.took(self.args[0], self.seconds)
        if code < 0 and not self.killed:
            raise Failure(f"signal {-code}: {self}\n{self.stderr()}")
        if not self.killed and code not in DOCUMENTED:
            raise Failure(f"exit {code}: {self}\n{self.stderr()}")
        return code

    def stdout(self):
        with open(self.base + ".out", "rb") as f:
            return f.read()

    def stderr(self):
        with open(self.base + ".err", errors="replace") as f:
            return f.read()

    def lines(self):
        """Objects of --json; a line that a kill cut off is left out."""
        objects = []
        for line in self.stdout().split(b"\n"):
            if not line.strip():
                continue
            try:
                objects.append(json.loads(line))
            except ValueError:
                if not self.killed:
                    raise Failure(f"no JSON: {line!r}: {self}") from None
        return objects

    def summary(self):
        """The last line of --json; None if a kill came before it."""
        lines = self.lines()
        if lines and lines[-1].get("type") == "summary":
            return lines[-1]
        if self.killed:
            return None
        raise Failure(f"no summary: {self}")

    def expect(self, *codes):
        if self.code not in codes:
            raise Failure(
                f"exit {self.code}, not {codes}: {self}\n"
                f"{self.stdout().decode(errors='replace')[-2000:]}"
                f"{self.stderr()}")
        return self

    def forget(self):
        for end in (".out", ".err"):
            os.unlink(self.base + end)

    def __str__(self):
        return f"{' '.join(self.args)} [{os.path.basename(self.base)}]"


class Program:
    KEEP = 60  # outputs of this many of the last commands

    def __init__(self, binary, repo, outputs):
        self.binary = binary
        self.outputs = outputs
        self.environment = {**os.environ, "HIVEFS_REPO": repo, "LC_ALL": "C"}
        for name in ("HIVEFS_DEBUG", "HIVEFS_REPO_FILE"):
            self.environment.pop(name, None)
        self.number = 0
        self.recent = collections.deque()
        self.typical = collections.defaultdict(lambda: 0.02)
        os.makedirs(outputs, exist_ok=True)

    def next_number(self):
        self.number += 1
        return self.number

    def took(self, verb, seconds):
        self.typical[verb] += (seconds - self.typical[verb]) * 0.2

    def start(self, *args):
        run = Run(self, list(args))
        self.recent.append(run)
        if len(self.recent) > self.KEEP:
            self.recent.popleft().forget()
        return run

    def run(self, *args, expect=(0,)):
        run = self.start(*args)
        run.wait()
        return run.expect(*expect)

    def together(self, commands, kill_after, meanwhile=None):
        """
        Starts them all at once and kills those with a number of seconds in
        KILL_AFTER (None: not) then; returns the runs when all have ended.
        """
        runs = [self.start(*args) for args in commands]
        timers = [threading.Timer(after, run.kill)
                  for run, after in zip(runs, kill_after) if after is not None]
        for timer in timers:
            timer.start()
        failure = None
        try:
            if meanwhile:
                meanwhile()
        except Failure as f:
            failure = f
        for run in runs:
            try:
                run.wait()
            except Failure as f:
                failure = failure or f
        for timer in timers:
            timer.cancel()
            timer.join()
        if failure:
            raise failure
        return runs
