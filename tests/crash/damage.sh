#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# damage - guards against bit rot: see damage.py, which does it.

. "$(dirname "$0")/../lib.sh"
requires python3
python3 -B "$(dirname "$0")/damage.py" "$HIVEFS" "$scratch"
