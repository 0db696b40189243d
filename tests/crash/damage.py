#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Guards against bit rot: in copies of a small repository one bit is flipped in
every kind of byte that there is, or a file is cut short or gone. Each time

  - no command gives wrong bytes, or ends by a signal or without a sentence;
  - what the damage does not touch can still be read;
  - verify exits with 4 if anything that a point needs was hit, or the
    repository is refused, and the bytes it names are the ones that are gone;
  - repair --index brings back what damage to the index or the marker took;
  - gc, run over the damage, removes nothing that is needed when the damage is
    undone: by a repair of the index, or by turning the bit back;
  - another backup of the same bytes brings back what verify has set aside.

  damage.py HIVEFS DIRECTORY [--seed S] [--only KIND]... [--every N]
"""

import argparse
import collections
import json
import os
import random
import shutil
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "model"))

# pylint: disable=wrong-import-position
from content import PAGE, Disk, difference
from mounted import Mount, usable
from program import Failure, Program

INDEX = "index/data.mdb"
# LMDB's pages by their flags, and what is looked at in those of which there are
# few: the 152 bytes of the first two that say where all is, among them a page's
# length and the transaction, and where the nodes of the others begin and end
PAGES = {1: "branch", 2: "leaf", 4: "overflow", 8: "meta"}
MORE = {"meta": [*range(10, 152, 4), 41, 144], "leaf": range(12, 16),
        "branch": [*range(12, 16), *range(17, 64, 3)]}
HEADER = 4096  # of a segment
MIB = 1 << 20
COLLS = ("meta", "machines", "chunks", "maps", "points", "labels", "clones",
         "quarantine")
FIELDS = {"magic": (0, 8), "kind": (8, 9), "coll": (9, 10), "keylen": (10, 11),
          "zero": (11, 12), "bodylen": (12, 16), "version": (16, 24),
          "generation": (24, 32), "order": (32, 40), "bodysum": (40, 48),
          "headersum": (48, 56)}


def padded(n):
    return (n + 7) // 8 * 8


class Record:
    """Where its parts lie in its segment; see FORMAT.md."""

    def __init__(self, path, data, off):
        self.path = path
        self.off = off
        self.coll = COLLS[data[off + 9]]
        self.key_len = data[off + 10]
        self.body_len, = struct.unpack_from("<I", data, off + 12)
        self.body = off + 56 + padded(self.key_len)
        self.end = self.body + padded(self.body_len)

    def parts(self):
        """(name, first, end) of each kind of byte in it."""
        for name, (first, end) in FIELDS.items():
            yield name, self.off + first, self.off + end
        key = self.off + 56
        yield "key", key, key + self.key_len
        yield "keypad", key + self.key_len, self.body
        third = self.body_len // 3
        yield "body1", self.body, self.body + third
        yield "body2", self.body + third, self.body + 2 * third
        yield "body3", self.body + 2 * third, self.body + self.body_len
        yield "pad", self.body + self.body_len, self.end


class Point:
    def __init__(self, summary, machine, content):
        self.alias = summary["alias"]
        self.time = summary["time"]
        self.machine = machine
        self.content = content
        self.sizes = {}  # of segments, when it had been made

    def __str__(self):
        return f"{self.machine}@{self.time}-{self.alias}"


class Damage:
    def __init__(self, arguments):
        self.rng = random.Random(arguments.seed)
        self.arguments = arguments
        self.work = arguments.directory
        self.good = os.path.join(self.work, "good")
        self.repo = os.path.join(self.work, "bad")
        self.counts = collections.Counter()
        self.program = Program(arguments.hivefs, self.repo,
                               os.path.join(self.work, "output"))
        self.points = []
        self.removed = None
        self.failures = 0
        self.disks = {}
        self.clone = None  # what it must read as
        self.streams = []  # (path, offset, end) of records, and of headers

    # a small repository

    def make(self):
        r = self.rng
        self.program.environment["HIVEFS_REPO"] = self.good
        self.program.run("init")
        for name, size in (("web", 6 * MIB + 1536), ("db", MIB)):
            self.disks[name] = disk = Disk(
                name, os.path.join(self.work, name), size)
            for _ in range(8):
                disk.write(r.randrange(size // PAGE) * PAGE,
                           disk.some_bytes(r, 60000))
        # so many chunks that the index of them has more than one page
        self.disks["web"].write(MIB, r.randbytes(4 * MIB))
        self.backup("web")
        # so that what is written for this one is no other's
        self.disks["web"].write(4 * MIB + 8192, r.randbytes(300000))
        self.backup("web")
        self.backup("db")
        # a removed point: a label, and a point nobody needs
        self.disks["web"].write(0, r.randbytes(100000))
        self.removed = self.backup("web")
        self.points.pop()
        self.program.run("rm", self.removed.alias)
        if usable():
            self.make_clone(self.points[0])
        reserve = os.path.join(self.good, "reserve")
        if os.path.exists(reserve):
            os.unlink(reserve)
        self.segments = sorted(os.listdir(os.path.join(self.good, "segments")))
        self.program.environment["HIVEFS_REPO"] = self.repo

    def make_clone(self, point):
        """
        With three writes in its stream, each of which was synced. Of the last
        one no other says so: damage to it looks like an end that was torn.
        """
        self.program.run("clone", f"{point.machine}@{point.alias}", "branch")
        self.clone = point.content.saved()
        mount = Mount(self.program, os.path.join(self.work, "mnt"))
        try:
            mount.up()
            path = os.path.join(mount.path, "clones/branch/disk0.img")
            fd = os.open(path, os.O_WRONLY)
            for off in (3 * PAGE, 40 * PAGE, 90 * PAGE):
                data = self.rng.randbytes(2 * PAGE)
                os.pwrite(fd, data, off)
                os.fsync(fd)
                self.before_last = self.clone.saved()
                self.clone.write(off, data)
            os.close(fd)
            mount.kill()  # so that nothing is folded
        finally:
            mount.clean_up()
        self.find_stream()

    def find_stream(self):
        folder = os.path.join(self.good, "streams")
        for at, _, names in os.walk(folder):
            for name in sorted(n for n in names if n.endswith(".str")):
                path = os.path.relpath(os.path.join(at, name), self.good)
                with open(os.path.join(at, name), "rb") as f:
                    data = f.read()
                off = HEADER
                while data[off:off + 8] == data[HEADER:HEADER + 8]:
                    length, = struct.unpack_from("<I", data, off + 12)
                    end = off + 56 + padded(length)
                    self.streams.append((path, off, end))
                    off = end

    def backup(self, machine):
        disk = self.disks[machine]
        run = self.program.run("backup", machine, disk.path, "--json")
        point = Point(run.summary(), machine, disk.content.saved())
        directory = os.path.join(self.good, "segments")
        point.sizes = {name: os.path.getsize(os.path.join(directory, name))
                       for name in os.listdir(directory)}
        self.points.append(point)
        return point

    def records(self):
        for name in self.segments:
            with open(os.path.join(self.good, "segments", name), "rb") as f:
                data = f.read()
            off = HEADER
            while off + 56 <= len(data):
                record = Record(f"segments/{name}", data, off)
                record.last = record.end >= len(data)
                yield record
                off = record.end

    def needed_by(self, path, off):
        """
        Points that may need the byte of a chunk or map: those made after it
        was written, of the machine whose backup wrote it.
        """
        name = os.path.basename(path)
        for i, point in enumerate(self.points):
            if off < point.sizes.get(name, 0):
                return [p for p in self.points[i:]
                        if p.machine == point.machine]
        return []

    # one trial

    def trial(self, what, function, *args):
        """In a fresh copy FUNCTION does damage and checks what it means."""
        if os.path.exists(self.repo):
            shutil.rmtree(self.repo)
        shutil.copytree(self.good, self.repo)
        try:
            function(*args)
        except Failure as failure:
            self.failures += 1
            print(f"FAILED: {what}: {failure}", flush=True)

    def path(self, name):
        return os.path.join(self.repo, name)

    def flip(self, name, off):
        with open(self.path(name), "r+b") as f:
            f.seek(off)
            byte = f.read(1)[0] ^ 1 << self.rng.randrange(8)
            f.seek(off)
            f.write(bytes([byte]))

    def command(self, *args):
        """Ended as documented; with a sentence if it failed."""
        run = self.program.start(*args)
        code = run.wait()
        if code != 0 and not any(
                len(line) > 20 for line in
                (run.stderr() + run.stdout().decode(errors="replace"))
                .split("\n") if "hivefs" in line or '"message"' in line):
            raise Failure(f"exit {code} without a sentence: {run}")
        if code == 2:
            raise Failure(f"calls it bad usage: {run}\n{run.stderr()}")
        return run

    def listing(self):
        """
        Aliases that are listed, None if that failed. What an index lost may be
        missing, and a point whose removal it lost be back; verify finds that.
        """
        run = self.command("points", "--json")
        known = {p.alias: p for p in [*self.points, self.removed]}
        got = set()
        for line in run.lines():
            if line["type"] != "point":
                continue
            point = known.get(line["alias"])
            if not point or line["machine"] != point.machine or \
                    line["time"] != point.time or \
                    [d["size"] for d in line["disks"]] != [point.content.size]:
                raise Failure(f"{run}: lists {line}")
            got.add(point.alias)
        return got if run.code == 0 else None

    def restore(self, point):
        run = self.command("restore", f"{point.machine}/disk0@{point.alias}",
                           "-")
        if run.code == 0:
            found = difference(run.stdout(),
                               point.content.read(0, point.content.size))
            if found:
                raise Failure(f"{run}: {found}")
        return run.code

    def verify(self):
        run = self.command("verify", "--json")
        damage = [o for o in run.lines() if o["type"] == "damage"]
        if run.code == 0 and damage:
            raise Failure(f"{run}: exits 0 with {damage}")
        if run.code not in (0, 4, 10, 15):
            run.expect(0, 4, 10, 15)
        return run.code, damage

    def restore_clone(self):
        """1: as it was before the last write to it."""
        run = self.command("restore", "branch", "-")
        if run.code != 0:
            return run.code
        got, size = run.stdout(), self.clone.size
        if not difference(got, self.clone.read(0, size)):
            return 0
        if not difference(got, self.before_last.read(0, size)):
            return "torn"
        raise Failure(f"{run}: the clone's bytes are others")

    def whole(self):
        for point in self.points:
            if self.restore(point) != 0:
                raise Failure(f"{point} is lost")
        if self.clone and self.restore_clone() != 0:
            raise Failure("the clone is lost")

    def collect(self):
        run = self.command("gc", "--patience", "1")
        self.counts["collected" if run.code == 0 else "gc refused"] += 1

    def heal(self):
        """By another backup of what was in each point."""
        for point in self.points:
            path = os.path.join(self.work, "again")
            point.content.dump(path)
            self.program.run("backup", point.machine, path, expect=(0, 3))
        self.whole()
        code, _ = self.verify()
        if code != 0:
            raise Failure("verify finds more after the healing")
        self.counts["healed"] += 1

    def check(self, hit):
        """HIT: the points that may need what was damaged."""
        listed = self.listing()
        broken = []
        for point in self.points:
            code = self.restore(point)
            if code != 0:
                broken.append(point)
        for point in broken:
            if point not in hit:
                raise Failure(f"{point} cannot be restored, and is not "
                              f"touched by it")
        code, damage = self.verify()
        if code == 0 and broken:
            raise Failure(f"verify finds nothing, but {broken[0]} cannot be "
                          f"restored")
        if code == 0 and listed != {p.alias for p in self.points}:
            raise Failure(f"verify finds nothing, but only {listed} are "
                          f"listed")
        self.counts["found by verify" if code else "harmless"] += 1
        return broken, damage

    def check_mount(self, broken, damage):
        """What is named is what is gone; all else can be read."""
        mount = Mount(self.program, os.path.join(self.work, "mnt"))
        try:
            mount.up()
            for point in self.points:
                path = os.path.join(mount.path, point.machine)
                names = [n for n in os.listdir(path) if n != "latest"]
                self.check_view(point, mount, path, names, point in broken,
                                damage)
            mount.down()
        finally:
            mount.clean_up()
        self.counts["mounts"] += 1

    def check_view(self, point, mount, path, names, broken, damage):
        for name in names:
            with open(os.path.join(path, name, "point.json"), "rb") as f:
                if json.load(f)["alias"] == point.alias:
                    break
        else:
            raise Failure(f"mount: {point} is not in {names}")
        ranges = [(o["offset"], o["offset"] + o["length"]) for o in damage
                  if o["machine"] == point.machine and
                  o["time"] == point.time]
        gone = 0
        with open(os.path.join(path, name, "disk0.img"), "rb") as f:
            for off in range(0, point.content.size, PAGE):
                try:
                    got = os.pread(f.fileno(), PAGE, off)
                except OSError as e:
                    if not broken or not any(a <= off < b for a, b in ranges):
                        raise Failure(f"mount: {point}: {off}: {e}, but "
                                      f"verify names only {ranges}") from e
                    gone += 1
                    continue
                found = difference(got, point.content.read(off, PAGE), off)
                if found:
                    raise Failure(f"mount: {point}: {found}")
        if broken and not gone:
            raise Failure(f"mount: {point}: all can be read")
        if gone and point.machine not in mount.said():
            raise Failure(f"mount: no message names {point}: {mount.said()}")

    def repaired(self):
        """Damage to what is derived, and nothing is lost."""
        self.program.run("repair", "--index")
        if self.listing() != {p.alias for p in self.points}:
            raise Failure("a point is missing after the repair")
        for point in self.points:
            if self.restore(point) != 0:
                raise Failure(f"{point} is lost after the repair")
        code, _ = self.verify()
        if code != 0:
            raise Failure("verify fails after the repair")

    # the kinds of damage

    # Each of these gives trials: what happens, and the function that does it.

    def bits_of_records(self):
        by_coll = collections.defaultdict(list)
        for record in self.records():
            by_coll[record.coll].append(record)
        for coll, records in by_coll.items():
            sample = self.rng.sample(records, min(len(records), 3))
            for record in sample:
                for part, first, end in record.parts():
                    if first == end:
                        continue
                    off = self.rng.randrange(first, end)
                    yield (f"{coll}: {part}: a bit of byte {off} of "
                           f"{record.path}",
                           self.bit_of_record, coll, record, part, off)

    def bit_of_record(self, coll, record, part, off):
        self.flip(record.path, off)
        if coll not in ("chunks", "maps"):
            self.repaired_segment(coll, self.check(self.points)[0])
            return
        hit = self.needed_by(record.path, off)
        broken, damage = self.check(hit)
        if broken and not damage:
            raise Failure("verify names no range")
        if "pad" not in part and hit and not broken:
            raise Failure("no point has lost anything")
        if part in ("headersum", "body1") and broken and usable():
            self.check_mount(broken, damage)
        if part in ("magic", "key", "body2") and broken:
            self.heal()
            return
        self.repaired_segment(coll, broken, record.last)

    def repaired_segment(self, coll, broken, last=False):
        """
        What was damaged is no index: a repair makes nothing worse. Of the last
        record of a segment, which verify has put into the quarantine, it sees
        no more than a write that was not finished.
        """
        run = self.command("repair", "--index").expect(0, 4)
        if broken and run.code == 0 and not last:
            raise Failure(f"finds no damage: {run}")
        for point in self.points:
            if self.restore(point) != 0 and point not in broken and \
                    coll in ("chunks", "maps"):
                raise Failure(f"{point} is lost after the repair")

    def bits_of_segment_headers(self):
        for name in self.segments:
            for off in (0, 8, 12, 16, 32, 100, 4095):
                yield (f"header: byte {off} of {name}", self.bit_of_header,
                       name, off)

    def bit_of_header(self, name, off):
        self.flip(f"segments/{name}", off)
        self.repaired_segment("chunks", self.check([])[0])

    def bits_of_the_marker(self):
        size = os.path.getsize(os.path.join(self.good, "hivefs"))
        for off in range(size):
            yield f"marker: byte {off}", self.bit_of_the_marker, off
        for length in (0, 5, size // 2, size - 2):
            yield (f"marker: {length} bytes left", self.marker_cut_short,
                   length)
        yield "marker: gone", self.marker_gone

    def bit_of_the_marker(self, off):
        self.flip("hivefs", off)
        run = self.program.start("points")
        if run.wait() == 0:
            self.check([])  # an upper-case digit
        else:
            self.refused("points", 4, 10, 15)
        self.repaired_marker()

    def marker_cut_short(self, length):
        os.truncate(self.path("hivefs"), length)
        self.refused("verify", 4, 10, 15)
        self.repaired_marker()

    def marker_gone(self):
        os.unlink(self.path("hivefs"))
        self.refused("verify", 4)
        # nothing is lost by another init
        self.refused("init", 1)
        self.repaired_marker()

    def repaired_marker(self):
        """It is what it was: so is the rest."""
        self.program.run("repair", "--index")
        with open(self.path("hivefs"), "rb") as now, \
                open(os.path.join(self.good, "hivefs"), "rb") as was:
            if now.read() != was.read() and self.program.start(
                    "verify").wait() != 0:
                raise Failure("the marker is another one after the repair")

    def refused(self, verb, *codes):
        run = self.command(verb).expect(*codes)
        if len(run.stderr().splitlines()) != 1:
            raise Failure(f"not one sentence: {run}: {run.stderr()}")
        self.counts["refused"] += 1

    def bits_of_the_index(self):
        with open(os.path.join(self.good, INDEX), "rb") as f:
            data = f.read()
        for page in range(len(data) // PAGE):
            flags, = struct.unpack_from("<H", data, page * PAGE + 10)
            kind = PAGES.get(flags & 15, "other")
            # the head of a page, and anything in it
            for within in (self.rng.randrange(16), self.rng.randrange(64),
                           self.rng.randrange(PAGE), self.rng.randrange(PAGE),
                           *MORE.get(kind, ())):
                yield (f"index: a bit of byte {page * PAGE + within}, {kind}",
                       self.bit_of_the_index, page * PAGE + within, kind)
        for i in range(40):
            yield (f"index: pages of garbage, {i}", self.garbage_in_the_index,
                   i % 4 * 5 + 1)
        yield "index: lock.mdb is garbage", self.garbage_in_the_lock

    def bit_of_the_index(self, off, kind):
        self.flip(INDEX, off)
        self.counts[f"{kind} pages"] += 1
        self.collect()
        self.check(self.points)
        self.repaired()

    def garbage_in_the_index(self, n_pages):
        size = os.path.getsize(self.path(INDEX))
        for _ in range(n_pages):
            with open(self.path(INDEX), "r+b") as f:
                f.seek(self.rng.randrange(size // PAGE) * PAGE)
                f.write(self.rng.randbytes(PAGE))
        self.collect()
        self.check(self.points)
        self.repaired()

    def garbage_in_the_lock(self):
        with open(self.path("index/lock.mdb"), "wb") as f:
            f.write(self.rng.randbytes(8192))
        self.check(self.points)
        self.repaired()

    def gc_over_damage(self):
        by_coll = collections.defaultdict(list)
        for record in self.records():
            by_coll[record.coll].append(record)
        for coll, records in by_coll.items():
            for record in self.rng.sample(records, min(len(records), 2)):
                for part, first, end in record.parts():
                    if first != end and part in ("magic", "coll", "bodylen",
                                                 "version", "key", "body2"):
                        yield (f"gc: {coll}: {part} of {record.path}",
                               self.gc_over_bit, record.path,
                               self.rng.randrange(first, end))
        for name in self.segments:
            yield f"gc: {name} is away", self.gc_without, f"segments/{name}"
        for path in sorted({path for path, _, _ in self.streams}):
            yield f"gc: {path} is away", self.gc_without, path

    def gc_over_bit(self, path, off):
        self.flip(path, off)
        self.collect()
        with open(os.path.join(self.good, path), "rb") as f:
            f.seek(off)
            byte = f.read(1)
        # where it is gone, what was needed of it is elsewhere
        if os.path.exists(self.path(path)):
            with open(self.path(path), "r+b") as f:
                f.seek(off)
                f.write(byte)
        self.repaired()
        self.whole()

    def gc_without(self, path):
        away = os.path.join(self.work, "away")
        os.rename(self.path(path), away)
        self.collect()
        os.rename(away, self.path(path))
        self.repaired()
        self.whole()

    def bits_of_streams(self):
        for path in sorted({path for path, _, _ in self.streams}):
            for off in (0, 8, 12, 16, 32, 100, 4095):
                yield (f"stream: byte {off} of {path}", self.bit_of_stream,
                       path, off, False)
        for path, first, end in self.streams:
            last = (path, first, end) == self.streams[-1]
            for off in (0, 8, 12, 16, 24, 32, 40, 48, 56, 60,
                        self.rng.randrange(56, end - first), end - first - 1):
                yield (f"stream: byte {first + off} of {path}",
                       self.bit_of_stream, path, first + off, last)
        for path in sorted({path for path, _, _ in self.streams}):
            yield f"stream: {path} is gone", self.stream_gone, path
            yield (f"stream: {os.path.dirname(path)} is gone",
                   self.stream_gone, os.path.dirname(path))

    def bit_of_stream(self, path, off, last):
        self.flip(path, off)
        self.check_stream(last)

    def stream_gone(self, path):
        if os.path.isdir(self.path(path)):
            shutil.rmtree(self.path(path))
        else:
            os.unlink(self.path(path))
        self.check_stream(False)

    def check_stream(self, last):
        self.collect()
        code = self.restore_clone()
        found, _ = self.verify()
        if code == "torn" and not last:
            raise Failure("a write to the clone that was synced is gone")
        if code not in (0, "torn") and found == 0:
            raise Failure("verify finds nothing, but the clone cannot be read")
        self.counts["found by verify" if found else "harmless"] += 1
        for point in self.points:
            if self.restore(point) != 0:
                raise Failure(f"{point} is lost with a clone's stream")

    def files_cut_short(self):
        for name in [f"segments/{n}" for n in self.segments] + \
                [INDEX, "index/lock.mdb"]:
            size = os.path.getsize(os.path.join(self.good, name))
            for length in (0, 100, 4096, size // 2, size - 1):
                if length < size:
                    yield (f"{name}: {length} of {size} bytes left",
                           self.file_cut_short, name, length)

    def file_cut_short(self, name, length):
        os.truncate(self.path(name), length)
        self.check_file(name)

    def files_gone(self):
        for name in [f"segments/{n}" for n in self.segments] + [
                INDEX, "index/lock.mdb", "index", "lock"]:
            yield f"{name}: gone", self.file_gone, name
        yield "segments: gone", self.segments_gone

    def file_gone(self, name):
        if name == "index":
            shutil.rmtree(self.path(name))
        else:
            os.unlink(self.path(name))
        self.check_file(name)

    def segments_gone(self):
        shutil.rmtree(self.path("segments"))
        self.refused("verify", 4)

    def check_file(self, name):
        """Of which something is missing."""
        broken, _ = self.check(self.points)
        if name.startswith("segments"):
            self.repaired_segment("chunks", broken)
        else:
            self.repaired()

    KINDS = ("bits_of_records", "bits_of_segment_headers",
             "bits_of_the_marker", "bits_of_the_index", "gc_over_damage",
             "bits_of_streams", "files_cut_short", "files_gone")

    def run(self):
        self.make()
        trials = enumerate(
            (kind, trial) for kind in self.arguments.only or self.KINDS
            for trial in getattr(self, kind)())
        begun, last, n = time.monotonic(), None, 0
        for number, (kind, trial) in trials:
            if kind != last:
                self.told(last, n, begun)
                begun, last, n = time.monotonic(), kind, 0
            if number % self.arguments.every == 0:
                self.trial(*trial)
                n += 1
        self.told(last, n, begun)

    @staticmethod
    def told(kind, n, begun):
        if kind:
            print(f"{kind}: {n} trials, {time.monotonic() - begun:.0f} s",
                  flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("hivefs")
    parser.add_argument("directory")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=Damage.KINDS)
    parser.add_argument("--every", type=int, metavar="N",
                        default=int(os.environ.get("CRASH_EVERY", "1")),
                        help="only each Nth trial")
    arguments = parser.parse_args()
    damage = Damage(arguments)
    damage.run()
    print(", ".join(f"{k} {n}" for k, n in sorted(damage.counts.items())))
    return 1 if damage.failures else 0


if __name__ == "__main__":
    sys.exit(main())
