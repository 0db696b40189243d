#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
strict - is this image file, to the letter of its format's description, the
static one of a disk? Written from those descriptions, with no code of ours or
of any reader: what readers let pass is found here.

    strict.py FORMAT FILE SIZE [RAW]

SIZE is the disk's. With RAW, whose holes are known, qcow2 may have no cluster
that is nothing but hole and must have all others. Exits with 1 and says what
is wrong.
"""

import array
import os
import re
import struct
import sys
import uuid

MIB = 1 << 20


def check(condition, what):
    if not condition:
        sys.exit(f"strict: {path}: {what}")


def at(off, length):
    data = os.pread(fd, length, off)
    check(len(data) == length, f"ends before {off + length}")
    return data


def field(kind, off):
    return struct.unpack(kind, at(off, struct.calcsize(kind)))[0]


def up(value, unit):
    return -(-value // unit) * unit


def is_zero(off, length):
    while length:
        n = min(length, MIB)
        if at(off, n).count(0) != n:
            return False
        off, length = off + n, length - n
    return True


def table(kind, off, n, big):
    ret = array.array(kind)
    ret.frombytes(at(off, n * ret.itemsize))
    if big != (sys.byteorder == "big"):
        ret.byteswap()
    return ret


def has_data(raw, off, length):
    """As far as RAW's holes tell."""
    try:
        return os.lseek(raw, off, os.SEEK_DATA) < off + length
    except OSError:
        return False


def castagnoli():
    ret = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        ret.append(i)
    return ret


def crc32c(data):
    byte = castagnoli()
    crc = 0xFFFFFFFF
    for b in data:
        crc = crc >> 8 ^ byte[(crc ^ b) & 0xFF]
    return crc ^ 0xFFFFFFFF


def check_sum(off, length, what):
    data = bytearray(at(off, length))
    want = struct.unpack_from("<I", data, 4)[0]
    data[4:8] = bytes(4)
    check(crc32c(data) == want, f"{what}: checksum")


# --- VMDK: the descriptor

VMDK_KEYS = ["version", "CID", "parentCID", "createType", "ddb.adapterType",
             "ddb.virtualHWVersion"] + [
    f"ddb.geometry.{x}" for x in ("cylinders", "heads", "sectors")] + [
    f"ddb.uuid.{x}" for x in
    ("image", "modification", "parent", "parentmodification")]


def vmdk():
    text = at(0, total)
    check(b"\r" not in text and b"\0" not in text, "other bytes than a text's")
    check(total % 4096 == 0 and total >= 10240, "is not padded")
    lines = text.decode("ascii").split("\n")
    check(lines[0] == "# Disk DescriptorFile", "no signature")
    check(lines[-1] == "", "last line has no end")
    for head in ("# Extent description", "# The Disk Data Base"):
        check(lines.count(head) == 1, f"no line {head}")
    value = {}
    for line in lines:
        m = re.fullmatch(r'([\w.]+) ?= ?"?([^"]*)"?', line)
        if m:
            check(m[1] not in value, f"twice: {m[1]}")
            value[m[1]] = m[2]
    for key in VMDK_KEYS:
        check(key in value, f"no {key}")
    check(value["version"] == "1" and value["parentCID"] == "ffffffff",
          "version or parent")
    check(re.fullmatch("[0-9a-f]{8}", value["CID"]) and
          value["CID"] not in ("ffffffff", "fffffffe"), "CID")
    kind = {"monolithicFlat": ("FLAT", " 0"), "vmfs": ("VMFS", "")}
    check(value.get("createType") in kind, "createType")
    name, tail = kind[value["createType"]]
    base = os.path.basename(path)[:-len(".vmdk")]
    extents = [x for x in lines if re.match("(RW|RDONLY|NOACCESS) ", x)]
    check(extents == [f'RW {size // 512} {name} "{base}-flat.vmdk"{tail}'],
          f"extents: {extents}")
    cylinders, heads, sectors = (
        int(value["ddb.geometry." + x])
        for x in ("cylinders", "heads", "sectors"))
    per = heads * sectors
    check(cylinders == max(1, size // 512 // per) and heads <= 255 and
          sectors <= 63, "geometry")
    check(value["ddb.adapterType"] == "lsilogic", "adapter")
    ids = [uuid.UUID(value["ddb.uuid." + x]) for x in
           ("image", "modification", "parent", "parentmodification")]
    check(ids[0].int and ids[1].int and ids[0] != ids[1], "uuids")
    check(ids[2].int == 0 and ids[3].int == 0, "uuids of a parent")
    flat = os.path.join(os.path.dirname(path), f"{base}-flat.vmdk")
    check(os.stat(flat).st_size == size, "size of the flat file")


# --- VHD: the footer

def chs(sectors):
    total_sectors = min(sectors, 65535 * 16 * 255)
    if total_sectors >= 65535 * 16 * 63:
        spt, heads = 255, 16
        cyl_heads = total_sectors // spt
    else:
        spt = 17
        cyl_heads = total_sectors // spt
        heads = max((cyl_heads + 1023) // 1024, 4)
        if cyl_heads >= heads * 1024 or heads > 16:
            spt, heads = 31, 16
            cyl_heads = total_sectors // spt
        if cyl_heads >= heads * 1024:
            spt, heads = 63, 16
            cyl_heads = total_sectors // spt
    return cyl_heads // heads, heads, spt


def vhd():
    check(total == size + 512, "size of the file")
    f = at(size, 512)
    (cookie, features, version, data, _time, app, app_version, os_name,
     original, current, cyl, heads, spt, kind, sum_, ident, saved) = \
        struct.unpack(">8sIIQI4sI4sQQHBBII16sB", f[:85])
    check(cookie == b"conectix" and features == 2 and version == 0x10000,
          "cookie, features or version")
    check(data == (1 << 64) - 1 and kind == 2, "is not a fixed one")
    check(app == b"win " and os_name == b"Wi2k" and app_version == 0xA0000,
          "creator")
    check(original == size and current == size, "sizes")
    check((cyl, heads, spt) == chs(size // 512), "geometry")
    check(sum_ == ~sum(f[:64] + f[68:]) & 0xFFFFFFFF, "checksum")
    check(any(ident), "uuid")
    check(saved == 0 and not any(f[85:]), "reserved bytes")


# --- VHDX

def guid(off):
    return str(uuid.UUID(bytes_le=at(off, 16)))


def vhdx_header(off):
    check(at(off, 4) == b"head", "header: signature")
    check_sum(off, 4096, "header")
    check(guid(off + 48) == str(uuid.UUID(int=0)), "header: has a log")
    check(field("<H", off + 64) == 0 and field("<H", off + 66) == 1,
          "header: versions")
    check(field("<I", off + 68) == MIB and field("<Q", off + 72) == MIB,
          "header: log")
    check(is_zero(off + 80, 4096 - 80), "header: reserved bytes")
    check(any(at(off + 16, 16)) and any(at(off + 32, 16)), "header: guids")
    return field("<Q", off + 8), at(off + 16, 32)


def vhdx_regions(off):
    check(at(off, 4) == b"regi", "region table: signature")
    check_sum(off, 65536, "region table")
    check(field("<I", off + 8) == 2 and field("<I", off + 12) == 0,
          "region table: count")
    ret = {}
    for i in range(2):
        e = off + 16 + 32 * i
        check(field("<I", e + 28) == 1, "region table: required")
        ret[guid(e)] = field("<Q", e + 16), field("<I", e + 24)
    check(is_zero(off + 80, 65536 - 80), "region table: reserved bytes")
    return ret


VHDX_ITEMS = {  # length, flags
    "caa16737-fa36-4d43-b3b6-33f0aa44e76b": (8, 4),
    "2fa54224-cd1b-4876-b211-5dbed83bf4b8": (8, 6),
    "8141bf1d-a96f-4709-ba47-f233a8faab5f": (4, 6),
    "cda348c7-445d-4471-9cc9-e9885251c556": (4, 6),
    "beca12ab-b2e6-4523-93ef-c309e000c746": (16, 6),
}


def vhdx_metadata(off):
    check(at(off, 8) == b"metadata", "metadata: signature")
    check(field("<H", off + 8) == 0 and field("<H", off + 10) == 5,
          "metadata: count")
    ret, used = {}, []
    for i in range(5):
        e = off + 32 + 32 * i
        name = guid(e)
        where, length, flags, rest = struct.unpack("<IIII", at(e + 16, 16))
        check(name in VHDX_ITEMS and name not in ret, f"metadata: {name}")
        check((length, flags) == VHDX_ITEMS[name] and rest == 0,
              f"metadata: entry of {name}")
        check(65536 <= where <= MIB - length, f"metadata: place of {name}")
        used.append((where, where + length))
        ret[name] = at(off + where, length)
    used.sort()
    check(all(a[1] <= b[0] for a, b in zip(used, used[1:])),
          "metadata: items overlap")
    check(is_zero(off + 12, 20), "metadata: reserved bytes")
    check(is_zero(off + 32 + 160, 65536 - 192), "metadata: table is longer")
    return list(ret[name] for name in VHDX_ITEMS)


def vhdx():
    check(at(0, 8) == b"vhdxfile", "signature")
    creator = at(8, 512).decode("utf-16le").rstrip("\0")
    check(creator.isprintable(), "creator")
    check(is_zero(520, 65536 - 520), "reserved bytes of the identifier")
    old, new = vhdx_header(64 << 10), vhdx_header(128 << 10)
    check(new[0] == old[0] + 1 and new[1] == old[1], "headers: sequence")
    regions = vhdx_regions(192 << 10)
    check(regions == vhdx_regions(256 << 10), "region tables differ")
    check(is_zero(320 << 10, MIB - (320 << 10)), "bytes behind the headers")
    check(is_zero(MIB, MIB), "log is not empty")
    bat, bat_len = regions["2dc27766-f623-4200-9d64-115e9bfd4a08"]
    meta, meta_len = regions["8b7ca206-4790-4b9a-b8fe-575f050f886e"]
    check((meta, meta_len, bat) == (2 * MIB, MIB, 3 * MIB), "regions")
    params, disk, logical, physical, page83 = vhdx_metadata(meta)
    block, flags = struct.unpack("<II", params)
    check(flags == 1, "parameters: not fixed, or has a parent")
    check(block == 32 * MIB, "size of a block")
    check(struct.unpack("<Q", disk)[0] == size, "size of the disk")
    sector = struct.unpack("<I", logical)[0]
    check(sector in (512, 4096) and size % sector == 0, "logical sector")
    check(struct.unpack("<I", physical)[0] == (512 if size % 4096 else 4096),
          "physical sector")
    check(any(page83), "page 83")
    n = -(-size // block)
    chunk = (1 << 23) * sector // block
    n_entries = n + (n - 1) // chunk
    prefix = 3 * MIB + up(8 * n_entries, MIB)
    check(bat_len == prefix - 3 * MIB, "length of the BAT")
    check(total == prefix + n * block, "size of the file")
    want = []
    for k in range(n):
        want.append(prefix + k * block | 6)
        if k % chunk == chunk - 1 and k != n - 1:
            want.append(0)
    check(table("Q", bat, n_entries, False) == array.array("Q", want), "BAT")
    check(is_zero(bat + 8 * n_entries, bat_len - 8 * n_entries),
          "bytes behind the BAT")
    check(is_zero(prefix + size, total - prefix - size), "bytes behind it")


# --- VDI

def vdi():
    check(at(0, 40) == b"<<< Oracle VM VirtualBox Disk Image >>>\n", "text")
    check(is_zero(40, 24), "text is longer")
    check([field("<I", x) for x in (0x40, 0x44, 0x48, 0x4C, 0x50)] ==
          [0xBEDA107F, 0x10001, 400, 2, 0], "signature, version, size, type")
    check(is_zero(0x54, 256), "comment")
    n = -(-size // MIB)
    prefix = up(MIB + 4 * n, MIB)
    check([field("<I", x) for x in (0x154, 0x158)] == [MIB, prefix],
          "offsets")
    check(is_zero(0x15C, 12) and field("<I", 0x168) == 512, "old geometry")
    check(field("<Q", 0x170) == size, "size of the disk")
    check([field("<I", x) for x in (0x16C, 0x178, 0x17C, 0x180, 0x184)] ==
          [0, MIB, 0, n, n], "blocks")
    check(any(at(0x188, 16)) and any(at(0x198, 16)) and
          at(0x188, 16) != at(0x198, 16), "uuids")
    check(is_zero(0x1A8, 32), "has a parent")
    check(is_zero(0x1C8, 12) and field("<I", 0x1D4) == 512, "geometry")
    check(is_zero(0x1D8, MIB - 0x1D8), "bytes behind the header")
    check(table("I", MIB, n, False) == array.array("I", range(n)), "map")
    check(is_zero(MIB + 4 * n, prefix - MIB - 4 * n), "bytes behind the map")
    check(total == prefix + n * MIB, "size of the file")
    check(is_zero(prefix + size, total - prefix - size), "bytes behind it")


# --- qcow2

def qcow2():
    check(at(0, 4) == b"QFI\xfb" and field(">I", 4) == 3, "magic or version")
    check(is_zero(8, 12), "has a backing file")
    bits = field(">I", 20)
    check(bits == 21, "size of a cluster")
    c = 1 << bits
    check(field(">Q", 24) == size and field(">I", 32) == 0, "size or crypt")
    n_l1 = field(">I", 36)
    l1, refs = field(">Q", 40), field(">Q", 48)
    check(is_zero(60, 36), "snapshots or features")
    check(field(">I", 96) == 4 and field(">I", 100) == 112, "refcount order")
    check(is_zero(104, c - 104), "compression or extensions")
    n = -(-size // c)
    check(n_l1 == -(-n // (c // 8)), "size of the L1 table")
    clusters = total // c
    check(total % c == 0, "size of the file")
    used = bytearray(clusters)

    def use(off, what):
        check(off % c == 0 and off < total, f"{what}: at {off:#x}")
        check(not used[off // c], f"{what}: shares cluster {off // c:#x}")
        used[off // c] = 1

    use(0, "header")
    for i in range(field(">I", 56)):
        use(refs + i * c, "refcount table")
    blocks = [x for x in table("Q", refs, field(">I", 56) * c // 8, True)]
    counts = array.array("H")
    n_blocks = -(-clusters // (c // 2))
    check(not any(blocks[n_blocks:]), "refcount table is longer")
    for off in blocks[:n_blocks]:
        use(off, "refcount block")
        counts += table("H", off, c // 2, True)
    for i in range(-(-8 * n_l1 // c)):
        use(l1 + i * c, "L1 table")
    l2 = array.array("Q")
    for entry in table("Q", l1, n_l1, True):
        check(entry >> 63 == 1, "L1: not COPIED")
        use(entry & ~(1 << 63), "L2 table")
        l2 += table("Q", entry & ~(1 << 63), c // 8, True)
    check(not any(l2[n:]), "L2 is longer")
    data = total - n * c
    for g, entry in enumerate(l2[:n]):
        if entry == 0:
            continue
        check(entry == data + g * c | 1 << 63, f"L2: cluster {g:#x}")
        use(entry & ~(1 << 63), "data")
    check(counts[:clusters].tobytes() ==
          array.array("H", list(used)).tobytes(), "refcounts")
    check(not any(counts[clusters:]), "refcounts behind the end")
    if len(sys.argv) > 4:
        raw = os.open(sys.argv[4], os.O_RDONLY)
        for g in range(n):
            want = has_data(raw, g * c, min(c, size - g * c))
            check(want == (l2[g] != 0), f"cluster {g:#x} should be {want}")


if __name__ == "__main__":
    path = sys.argv[2]
    fd = os.open(path, os.O_RDONLY)
    total = os.fstat(fd).st_size
    size = int(sys.argv[3])
    {"vmdk": vmdk, "vhd": vhd, "vhdx": vhdx, "vdi": vdi,
     "qcow2": qcow2}[sys.argv[1]]()
