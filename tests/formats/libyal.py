#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
libyal - does libvmdk, libvhdi or libqcow find RAW's bytes in an image file?

    libyal.py FORMAT FILE RAW

Of a fixed VHDX of more than 4 GiB libvhdi is wrong. Exits with 1 if not.
"""

import os
import sys

import pyqcow
import pyvhdi
import pyvmdk

kind, path, raw = sys.argv[1:]
if kind == "vmdk":
    image = pyvmdk.handle()
    image.open(path)
    image.open_extent_data_files()
elif kind == "qcow2":
    image = pyqcow.file()
    image.open(path)
else:
    image = pyvhdi.file()
    image.open(path)
with open(raw, "rb") as f:
    size = os.fstat(f.fileno()).st_size
    if image.get_media_size() != size:
        sys.exit(f"{path}: {image.get_media_size()} bytes, not {size}")
    while f.tell() < size:
        off = f.tell()
        want = f.read(1 << 20)
        got = b""
        while len(got) < len(want):
            some = image.read_buffer(len(want) - len(got))
            if not some:
                sys.exit(f"{path}: ends at {off + len(got)}")
            got += some
        if got != want:
            sys.exit(f"{path}: differs in the MiB at {off}")
