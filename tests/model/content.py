# SPDX-License-Identifier: Apache-2.0
"""The oracle: what the bytes of a disk are expected to be.

A disk under test is a plain file that every change is written to; beside it
its pages are kept here, shared between the points that saved them, so that
saving a point costs a copy of a dictionary and comparing two needs no I/O.
"""

import ctypes
import mmap
import os

PAGE = 4096
WINDOW = 4 << 20  # of a backup: a unit of its maps
ZERO = bytes(PAGE)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [
    ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 1, 2, 16


def _fallocate(fd, mode, off, length):
    if _libc.fallocate(fd, mode, off, length) != 0:
        raise OSError(ctypes.get_errno(), f"fallocate, mode {mode}")


def punch_hole(fd, off, length):
    _fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, off, length)


def zero_range(fd, off, length, keep_size):
    _fallocate(fd, _ZERO_RANGE | (_KEEP_SIZE if keep_size else 0), off, length)


class Content:
    """Size and pages; a page that is all zeroes is not there."""

    def __init__(self, size, pages=None):
        self.size = size
        self.pages = {} if pages is None else pages

    def saved(self):
        return Content(self.size, dict(self.pages))

    def read(self, off, length):
        length = max(0, min(length, self.size - off))
        if length == 0:
            return b""
        first, last = off // PAGE, (off + length - 1) // PAGE
        data = b"".join(
            self.pages.get(i, ZERO) for i in range(first, last + 1))
        return data[off - first * PAGE:][:length]

    def write(self, off, data):
        data = data[:max(0, self.size - off)]
        at = 0
        while at < len(data):
            i, within = divmod(off + at, PAGE)
            n = min(PAGE - within, len(data) - at)
            page = data[at:at + n]
            if n < PAGE:
                old = self.pages.get(i, ZERO)
                page = old[:within] + page + old[within + n:]
            if page == ZERO:
                self.pages.pop(i, None)
            else:
                self.pages[i] = page
            at += n

    def resize(self, size):
        if size < self.size:
            for i in [i for i in self.pages if i * PAGE >= size]:
                del self.pages[i]
            i, within = divmod(size, PAGE)
            if i in self.pages:
                page = self.pages[i][:within] + ZERO[within:]
                self.pages[i] = page
                if page == ZERO:
                    del self.pages[i]
        self.size = size

    def equals(self, other):
        return self.size == other.size and self.pages == other.pages

    def pages_that_differ(self, other):
        mine, its = self.pages, other.pages
        return {i for i in mine.keys() | its.keys()
                if mine.get(i) != its.get(i)}

    def same_window(self, other, window):
        """Up to the end of the longer one."""
        first = window * (WINDOW // PAGE)
        return (min(self.size, (window + 1) * WINDOW) ==
                min(other.size, (window + 1) * WINDOW) and
                all(self.pages.get(i) == other.pages.get(i)
                    for i in range(first, first + WINDOW // PAGE)))

    def dump(self, path):
        with open(path, "wb") as f:
            f.truncate(self.size)
            for i, page in self.pages.items():
                f.seek(i * PAGE)
                f.write(page[:self.size - i * PAGE])


def difference(got, want, off=0):
    """None, or where GOT begins to be something else than WANT."""
    if got == want:
        return None
    if len(got) != len(want):
        return f"{len(got)} bytes at {off}, not {len(want)}"
    at = next(i for i, (a, b) in enumerate(zip(got, want)) if a != b)
    n = sum(a != b for a, b in zip(got, want))
    page = at // PAGE * PAGE
    return (f"byte {off + at} is {got[at]:#04x}, not {want[at]:#04x}; "
            f"{n} of {len(want)} bytes from {off} on differ; its page is "
            f"{'all zeroes' if not any(got[page:page + PAGE]) else 'data'}, "
            f"expected "
            f"{'all zeroes' if not any(want[page:page + PAGE]) else 'data'}")


def difference_of_file(fd, content):
    """The same for a whole file; its size counts too."""
    size = os.fstat(fd).st_size
    if size != content.size:
        return f"size {size}, not {content.size}"
    for off in range(0, size, WINDOW):
        got = read_fully(fd, off, min(WINDOW, size - off))
        found = difference(got, content.read(off, WINDOW), off)
        if found:
            return found
    return None


def read_fully(fd, off, length):
    parts = []
    while length > 0:
        part = os.pread(fd, length, off)
        if not part:
            break
        parts.append(part)
        off += len(part)
        length -= len(part)
    return b"".join(parts)


def read_direct(fd, off, length):
    """For O_DIRECT: OFF and LENGTH are multiples of 512."""
    with mmap.mmap(-1, length) as buf:
        got = 0
        while got < length:
            with memoryview(buf)[got:length] as rest:
                n = os.preadv(fd, [rest], off + got)
            if n <= 0:
                break
            got += n
        return buf[:got]


class Disk:
    """A disk that changes, and its plain file."""

    KINDS = ("data", "text", "same")

    def __init__(self, name, path, size):
        self.name = name
        self.path = path
        self.content = Content(size)
        with open(path, "wb") as f:
            f.truncate(size)

    def remove(self):
        os.unlink(self.path)

    def write(self, off, data):
        if off >= self.content.size:
            return
        data = data[:self.content.size - off]
        self.content.write(off, data)
        with open(self.path, "r+b") as f:
            f.seek(off)
            f.write(data)

    def punch(self, off, length):
        length = min(length, self.content.size - off)
        if length <= 0:
            return
        self.content.write(off, bytes(length))
        with open(self.path, "r+b") as f:
            punch_hole(f.fileno(), off, length)

    def resize(self, size):
        self.content.resize(size)
        os.truncate(self.path, size)

    @staticmethod
    def some_bytes(rng, length):
        """Of kinds that compress not at all, well, and to nothing."""
        kind = rng.choice(Disk.KINDS)
        if kind == "data":
            return rng.randbytes(length)
        if kind == "text":
            words = [rng.randbytes(6).hex().encode() for _ in range(40)]
            line = b" ".join(rng.choices(words, k=300))
            return (line * (length // len(line) + 1))[:length]
        return bytes([rng.randrange(1, 256)]) * length

    def change(self, rng, others):
        """One change of a kind that RNG chooses; its name."""
        size = self.content.size
        pages = max(1, size // PAGE)
        page = rng.randrange(pages)
        run = min(rng.choice((1, 2, 5, 17, 33, 64)), pages)
        kind = rng.choice(("scatter", "scatter", "run", "run", "shift",
                           "zero", "punch", "copy", "copy", "odd", "tail"))
        if kind == "scatter":
            for _ in range(rng.randrange(1, 6)):
                self.write(rng.randrange(pages) * PAGE,
                           self.some_bytes(rng, PAGE))
        elif kind == "run":
            self.write(page * PAGE, self.some_bytes(rng, run * PAGE))
        elif kind == "shift":
            by = rng.randrange(1, 9)
            self.write((page + by) * PAGE,
                       self.content.read(page * PAGE, 4 * run * PAGE))
        elif kind == "zero":
            self.write(page * PAGE, bytes(run * PAGE))
        elif kind == "punch":
            self.punch(page * PAGE, run * PAGE)
        elif kind == "copy":
            other = rng.choice(others).content
            at = rng.randrange(max(1, other.size // PAGE)) * PAGE
            self.write(page * PAGE, other.read(at, 4 * run * PAGE))
        elif kind == "odd":
            for _ in range(rng.randrange(1, 4)):
                self.write(rng.randrange(size),
                           self.some_bytes(rng, rng.randrange(1, 9000)))
        else:
            length = min(size, rng.randrange(1, 70000))
            self.write(size - length, self.some_bytes(rng, length))
        return kind
