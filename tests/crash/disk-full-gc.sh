#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# disk-full-gc - guards that a repository without a byte left recovers, again and
# again: points are removed, gc frees what they held, and the next backups find
# space. Everything that was kept is whole each time.

. "$(dirname "$0")/../lib.sh"
requires jq mkfs.ext4
[ "$(id -u)" = 0 ] || skip "only root mounts file systems"

disk=$scratch/disk
HIVEFS_REPO=$disk/repo
rounds=${CRASH_ROUNDS-10}
mkdir "$disk"
at_exit unmount "$disk"
truncate -s 300M "$scratch/ext4"
mkfs.ext4 -q -m 0 "$scratch/ext4"
requires_that mount -o loop "$scratch/ext4" "$disk"
needs_files

# the rest, too: blocks of every size, until none is left
fill() {
	local size
	for size in 1M 64K 4K 512; do
		dd if=/dev/zero of="$disk/filler-$size" bs=$size \
			status=none 2>/dev/null || true
	done
}

"$HIVEFS" init -q
random_image "$scratch/keep" 16M 999
"$HIVEFS" backup -q keep "$scratch/keep"
fewest=1000
for ((round = 1; round <= rounds; round++)); do
	for ((n = 0; n < 40; n++)); do
		# a third of each is that of the one before
		random_image "$scratch/image" 32M "$round-$((n / 3))"
		random_bytes $((20 << 20)) "$round-$n" |
			dd of="$scratch/image" conv=notrunc status=none
		code=0
		"$HIVEFS" backup -q web "$scratch/image" 2>"$scratch/stderr" ||
			code=$?
		[ $code = 0 ] || break
		mv "$scratch/image" "$scratch/last"
	done
	[ $code = 13 ] || {
		cat "$scratch/stderr" >&2
		fail "round $round: exit $code after $n backups"
	}
	[ $n -gt 2 ] || fail "round $round: no space for more than $n backups"
	[ $n -ge $fewest ] || fewest=$n
	fill
	expect_exit 0 "$HIVEFS" prune --keep-last 1
	expect_exit 0 "$HIVEFS" gc
	rm "$disk"/filler*
	expect_exit 0 "$HIVEFS" gc
	expect_exit 0 "$HIVEFS" verify
	"$HIVEFS" restore -q web@latest - | cmp - "$scratch/last"
	"$HIVEFS" restore -q keep@latest - | cmp - "$scratch/keep"
	echo "round $round: $n backups, then $(du -sm "$disk/repo" | cut -f1) MiB"
done
# each round had as much space as the others
[ "$fewest" -ge 5 ] || fail "only $fewest backups fitted once"
"$HIVEFS" gc --dry-run --json |
	jq -e '.chunks_removed == 0 and .maps_removed == 0' >/dev/null ||
	fail "something is left"
