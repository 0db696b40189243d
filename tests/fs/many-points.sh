#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A mount loads nothing before it is looked at: with 1,000 points of a disk of
# 1 TiB, from the mount to a disk's first bytes takes a handful of maps and one
# chunk. Memory stays within the cache and 100 MiB when everything was listed
# and read, forgotten and listed again.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires_that test -x "$COPY_POINTS"

random_image "$scratch/data" 96M
truncate -s 1T "$scratch/a.img"
for at in 0 1000 300000 1048479; do # MiB
	dd if="$scratch/data" of="$scratch/a.img" bs=1M seek=$at conv=notrunc \
		status=none
done
"$HIVEFS" init
"$HIVEFS" backup web "$scratch/a.img"
"$COPY_POINTS" "$HIVEFS_REPO" web 999

mount_repo -o cache=64M
metric() {
	sed -n "s/^hivefs_$1 //p" "$mnt/.hivefs/metrics"
}
anon() {
	sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$daemon/status"
}

misses=$(metric cache_misses_total)
[ "$misses" = 0 ] || fail "$misses maps or chunks before anyone looked"
cmp -n 4096 "$mnt/web/latest/disk0.img" "$scratch/data"
misses=$(metric cache_misses_total)
# 4 maps on the way down, and what the kernel reads ahead: 128 KiB at first
[ "$misses" -le 20 ] || fail "$misses maps and chunks for the first bytes"

[ "$(find "$mnt/web" -name disk0.img -size 1024G | wc -l)" = 2000 ] ||
	fail "not 1,000 points"
# the same chunks in other points, so most of it is in the cache
for view in "$mnt"/web/2*T?0*/disk0.img; do
	head -c 1000000 "$view" | cmp -n 1000000 - "$scratch/data"
done
for at in 0 1000 300000 1048479; do
	dd if="$mnt/web/latest/disk0.img" bs=1M skip=$at count=96 status=none |
		cmp - "$scratch/data"
done

ls -lR "$mnt/web" >/dev/null
# the kernel forgets all it can, and looks everything up anew
[ ! -w /proc/sys/vm/drop_caches ] || echo 2 >/proc/sys/vm/drop_caches
ls -lR "$mnt/web" >/dev/null
# a sanitizer's own memory is not ours
if ! grep -q -a -e __asan_init -e __tsan_init "$HIVEFS"; then
	[ "$(anon)" -le $(((64 + 100) << 10)) ] || fail "RssAnon $(anon) kB"
fi
unmount_repo
