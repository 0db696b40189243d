#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Damage in the store is EIO for the bytes it holds and for no others, whoever
# reads them and however, and the log says which disk of which point, and where.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires python3

random_image "$scratch/a.img" 24M
"$HIVEFS" init
"$HIVEFS" backup web "$scratch/a.img"

# random data is stored as it is, so what the disk has at 9,000,000 is found in
# a segment
dd if="$scratch/a.img" iflag=skip_bytes skip=9000000 bs=64 count=1 status=none |
	damage_bytes "$HIVEFS_REPO"

mount_repo
view=$mnt/web/latest/disk0.img
for how in "" iflag=direct; do
	# page by page: what fails is one chunk, and all else is right
	# shellcheck disable=SC2086
	python3 - "$view" "$scratch/a.img" "$how" <<'END' || fail "read $how"
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY | (os.O_DIRECT if sys.argv[3] else 0))
source = open(sys.argv[2], 'rb').read()
page = mmap.mmap(-1, 4096)
bad = []
for off in range(0, len(source), 4096):
    try:
        n = os.preadv(fd, [page], off)
    except OSError as e:
        assert e.errno == 5, e
        bad.append(off)
        continue
    assert n == 4096 and page[:] == source[off:off + 4096], off
assert bad and bad[0] <= 9000005 < bad[-1] + 4096, bad
assert len(bad) * 4096 <= 131072, bad
assert bad == list(range(bad[0], bad[-1] + 1, 4096)), bad
END
	! cat "$view" >/dev/null 2>&1 || fail "cat ends well $how"
done
grep -E "web/disk0@20[0-9T:-]*Z: bytes [0-9]+ to [0-9]+: read: " \
	"$scratch/daemon.log" >/dev/null || {
	cat "$scratch/daemon.log"
	fail "the log does not say which disk and where"
}
[ "$(sed -n 's/^hivefs_read_errors_total //p' "$mnt/.hivefs/metrics")" -gt 0 ] ||
	fail "not counted"
unmount_repo
