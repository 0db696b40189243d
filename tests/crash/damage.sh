#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# damage - guards against bit rot: damage.py does it, in memory if it can, for
# it copies a small repository and rebuilds its index some 500 times.

[ -n "${TMPDIR-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm

. "$(dirname "$0")/../lib.sh"
requires python3
needs_files
python3 "$(dirname "$0")/damage.py" "$HIVEFS" "$scratch"
