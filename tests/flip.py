#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
flip.py DIRECTORY NEEDLE: one bit of the first file below DIRECTORY that holds
the bytes that the file NEEDLE has. Prints its path and where they begin.
"""

import os
import sys

with open(sys.argv[2], "rb") as file:
    needle = file.read()
for folder, _, names in os.walk(sys.argv[1]):
    for name in sorted(names):
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            at = file.read().find(needle)
        if at < 0:
            continue
        with open(path, "r+b") as file:
            file.seek(at + 3)
            file.write(bytes([needle[3] ^ 1]))
        print(path, at)
        sys.exit(0)
sys.exit("flip.py: they are nowhere")
