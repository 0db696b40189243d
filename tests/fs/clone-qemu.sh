#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# QEMU's block layer writes to a view as to a plain file: every kind of
# asynchronous I/O, with the page cache and without, data, zeroes, discards and
# flushes, aligned to a sector or not at all; and a kill right after.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires qemu-io qemu-img python3

sparse_image "$scratch/a.img" 24M
truncate -s +512 "$scratch/a.img" # not a whole page
back_up "$scratch/a.img"

# commands SEED: a different mix each time, within 24 MiB
commands() {
	local i off len
	RANDOM=$1
	for ((i = 0; i < 60; i++)); do
		off=$((((RANDOM << 15 | RANDOM) % 47000) * 512))
		len=$((RANDOM % 200 * 512 + 512))
		[ $((RANDOM % 6)) != 0 ] || len=4096 off=$((off & ~4095))
		case $((RANDOM % 8)) in
		0) echo "discard $off $len" ;;
		1) echo "write -z $off $len" ;;
		2) echo "write -z -u $off $len" ;;
		3) echo "write -f -P $((i + 1)) $off $len" ;;
		4) echo flush ;;
		5) echo "aio_write -P $((i + 1)) $off $len" && echo aio_flush ;;
		*) echo "write -P $((i + 1)) $off $len" ;;
		esac
	done
	echo "write -P 77 25165824 512" # the last sector
	echo flush
}

seed=1
for cache in none writeback directsync; do
	for aio in threads native io_uring; do
		[ $aio-$cache != native-writeback ] || continue # QEMU has none
		mount_clone
		# a container's system call filter may forbid it
		if [ $aio != threads ] && ! qemu-img bench -q -c 1 -t none \
			-i $aio -f raw "$view" &>/dev/null; then
			unmount_repo
			continue
		fi
		for file in "$view" "$oracle"; do
			[ "$file" = "$view" ] || aio=threads cache=none
			commands $seed | qemu-io -t $cache -i $aio -d unmap \
				-f raw "$file" >"$scratch/said"
			! grep -i -E "error|failed|invalid" "$scratch/said" ||
				fail "$aio $cache: $file"
		done
		kill_mount
		mount_clone
		same_disk
		qemu-img compare -q -f raw -F raw "$oracle" "$view"
		unmount_repo
		seed=$((seed + 1))
	done
done
[ $seed -gt 3 ] || fail "nothing was tried"

# a copy onto it, as a restore into a clone would be
mount_clone
random_image "$scratch/b.img" 24M 9
truncate -s +512 "$scratch/b.img"
qemu-img convert -n -t none -f raw -O raw "$scratch/b.img" "$view"
qemu-img compare -q -T none -f raw -F raw "$scratch/b.img" "$view"
same "$scratch/a.img" "$point/ro/disk0.img"
unmount_repo
