# SPDX-License-Identifier: Apache-2.0
"""
What a disk could hold if power failed, from the trace that fault.so wrote.

All that was synced by then is there; of the rest each sector of 512 bytes, each
change of a length and each change of a name may be or not.
"""

import os
import random
import struct
import subprocess

HEAD = struct.Struct("<BBHHHIIQQQQ")
SECTOR = 512


class Object:
    """A file or directory; what it was called when it was made."""

    def __init__(self, is_dir, path):
        self.is_dir = is_dir
        self.path = path
        self.ops = []  # numbers
        self.names = {}  # in the end, to follow renames


class Op:
    __slots__ = ("kind", "flag", "name", "was", "data", "off", "site", "obj",
                 "child", "other", "end")


def pattern(path):
    """Files of one kind are alike: segments/########.seg."""
    return "/".join(
        "#" if part and all(c in "0123456789abcdef" for c in
                            part.split(".")[0]) else part
        for part in path.split("/")).replace("#", "*") or "."


class Trace:
    def __init__(self, path):
        with open(path, "rb") as f:
            raw = f.read()
        self.ops = []
        self.root = Object(True, "")
        self.at = {}  # inode: object
        self.sites = {}  # address: [numbers of ops]
        place = 0
        while place + HEAD.size <= len(raw):
            (kind, flag, n_name, n_was, _, length, _, ino, ino2, off,
             site) = HEAD.unpack_from(raw, place)
            place += HEAD.size
            op = Op()
            op.kind, op.flag, op.off, op.site = chr(kind), flag, off, site
            op.name = raw[place:place + n_name].decode()
            place += n_name
            op.was = raw[place:place + n_was].decode()
            place += n_was
            op.data = raw[place:place + length]
            place += length
            op.end = place
            self.add(op, ino, ino2)

    def add(self, op, ino, ino2):
        if not self.ops:
            self.at[ino] = self.root
        op.obj = self.at[ino]
        op.child = op.other = None
        names = op.obj.names
        if op.kind == "L":
            inside = op.obj.path + "/" if op.obj.path else ""
            op.child = self.at[ino2] = Object(bool(op.flag), inside + op.name)
            names[op.name] = op.child
        elif op.kind == "R":
            op.child = names[op.name] = names.pop(op.was)
            inside = op.obj.path + "/" if op.obj.path else ""
            op.child.path = inside + op.name
        elif op.kind == "X":
            op.child, op.other = names[op.was], names[op.name]
            names[op.name], names[op.was] = op.child, op.other
        elif op.kind == "U":
            names.pop(op.name)
        elif op.kind == "S":
            self.sites.setdefault(op.site, []).append(len(self.ops))
        op.obj.ops.append(len(self.ops))
        self.ops.append(op)

    def number_at(self, offset):
        """How many ops the first OFFSET bytes of the file hold."""
        low, high = 0, len(self.ops)
        while low < high:
            middle = (low + high) // 2
            if self.ops[middle].end <= offset:
                low = middle + 1
            else:
                high = middle
        return low

    def syncs(self, binary):
        """{name: [numbers]} of the calls that sync, by function and file."""
        addresses = sorted(self.sites)
        said = subprocess.run(
            ["addr2line", "-f", "-e", binary, *map(hex, addresses)],
            check=True, capture_output=True, text=True).stdout.splitlines()
        found = {}
        for address, function in zip(addresses, said[::2]):
            for number in self.sites[address]:
                name = f"{function} {pattern(self.ops[number].obj.path)}"
                found.setdefault(name, []).append(number)
        return {name: sorted(found[name]) for name in sorted(found)}


class Cut:
    """The disk after the first K ops, of which SKIP (syncs) did nothing."""

    def __init__(self, trace, k, seed, odds, skip=frozenset()):
        self.trace = trace
        self.k = k
        self.rng = random.Random(seed)
        self.odds = odds / 8
        self.skip = skip

    def lucky(self):
        return self.rng.random() < self.odds

    def state(self, obj):
        """(length, bytes, names), the bytes without zeroes at the end."""
        numbers = [n for n in obj.ops if n < self.k]
        synced = max((n for n in numbers if self.trace.ops[n].kind == "S"
                      and n not in self.skip), default=-1)
        data, size, names = bytearray(), 0, {}
        for n in numbers:
            op = self.trace.ops[n]
            sure = n < synced or (op.kind == "W" and op.flag)
            if op.kind == "W":
                size = max(size, self.write(data, op, sure))
            elif op.kind == "S" or not (sure or self.lucky()):
                continue
            elif op.kind == "T":
                size = op.off
                del data[size:]
            elif op.kind == "L":
                names[op.name] = op.child
            elif op.kind == "U":
                names.pop(op.name, None)
            elif op.kind == "R":
                names.pop(op.was, None)
                names[op.name] = op.child
            elif op.kind == "X":
                names[op.name], names[op.was] = op.child, op.other
        return size, data, names

    def write(self, data, op, sure):
        end = op.off + len(op.data)
        at, last = op.off, 0
        while at < end:
            to = end if sure else min(at - at % SECTOR + SECTOR, end)
            if sure or self.lucky():
                if len(data) < to:
                    data.extend(bytes(to - len(data)))
                data[at:to] = op.data[at - op.off:to - op.off]
                last = to
            at = to
        return last

    def make(self, path, obj=None):
        """Below PATH, a directory that is there."""
        obj = obj or self.trace.root
        size, data, names = self.state(obj)
        if not obj.is_dir:
            with open(path, "wb") as f:
                f.write(data)
                f.truncate(size)
            return
        if obj is not self.trace.root:
            os.mkdir(path, 0o700)
        for name, child in names.items():
            self.make(os.path.join(path, name), child)
