#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A view reads as its source did: through the page cache and with direct I/O,
# from end to end, at odd places, by several readers at once, from the smallest
# disk to one that is no multiple of a page.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires qemu-img

random_image "$scratch/tiny.img" 512
random_image "$scratch/odd.img" 1050112 2 # 1 MiB + 1536
sparse_image "$scratch/big.img" 90M 3
truncate -s +1536 "$scratch/big.img"
"$HIVEFS" init
"$HIVEFS" backup web tiny="$scratch/tiny.img" odd="$scratch/odd.img" \
	big="$scratch/big.img"

mount_repo -o cache=16M # less than the disk: what was read goes again
view=$mnt/web/latest
for disk in tiny odd big; do
	same "$scratch/$disk.img" "$view/$disk.img"
	qemu-img compare -q -f raw -F raw "$scratch/$disk.img" "$view/$disk.img"
	qemu-img compare -q -T none -f raw -F raw "$scratch/$disk.img" \
		"$view/$disk.img"
	dd if="$view/$disk.img" of="$scratch/copy" bs=65536 iflag=direct \
		status=none
	same "$scratch/$disk.img" "$scratch/copy"
done

# O_DIRECT takes 512 bytes and nothing finer, or qemu would take 4096
dd if="$view/odd.img" of="$scratch/copy" bs=512 iflag=direct skip=3 \
	status=none
cmp "$scratch/copy" <(tail -c +1537 "$scratch/odd.img") || fail "from 1536 on"
for odd in "bs=513 count=1" "bs=1 count=1" "bs=512 skip=100 iflag=skip_bytes"; do
	# shellcheck disable=SC2086
	! dd if="$view/odd.img" of=/dev/null $odd iflag=direct status=none \
		2>/dev/null || fail "a direct read with $odd"
done

# in no order, across chunks and windows
RANDOM=7
for ((i = 0; i < 200; i++)); do
	off=$(((RANDOM << 15 | RANDOM) % 94000000))
	len=$((RANDOM * 3 + 1))
	cmp -s <(tail -c +$((off + 1)) "$scratch/big.img" | head -c $len) \
		<(dd if="$view/big.img" bs=$len count=1 skip=$off \
			iflag=skip_bytes status=none) ||
		fail "$len bytes at $off"
done 2>/dev/null

readers=()
for n in 1 2 3 4; do
	cmp "$scratch/big.img" "$view/big.img" &
	readers+=($!)
	dd if="$view/ro/big.img" bs=1M iflag=direct status=none |
		cmp "$scratch/big.img" - &
	readers+=($!)
done
for n in "${readers[@]}"; do
	wait "$n" || fail "one of several readers at once"
done
unmount_repo
