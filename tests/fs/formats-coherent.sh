#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What QEMU writes through any view of a disk is read back through all of them,
# in every way it does I/O, with discards; what it writes to a view's metadata
# stays with that view over a remount, kill -9 and a commit; and qemu-img check
# finds nothing wrong. The disk ends within a sector, a page and a block.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires qemu-io qemu-img python3

size=$(((37 << 20) + 512))
sparse_image "$scratch/a.img" 37M
truncate -s $size "$scratch/a.img"
back_up "$scratch/a.img"

# of QEMU's names, the ending
declare -A ending=([raw]=img [vmdk]=vmdk [vpc]=vhd [vhdx]=vhdx [vdi]=vdi
	[qcow2]=qcow2)

opts() {
	local more=
	[ "$1" != vpc ] || more=,force_size_calc=current_size
	echo "driver=$1,file.filename=$point/disk0.${ending[$1]}$more"
}

all_agree() {
	local format
	for format in "${!ending[@]}"; do
		qemu-img compare -q -U -T none --image-opts "$(opts "$format")" \
			"driver=raw,file.filename=$oracle" ||
			fail "$format differs: $*"
	done
	for format in vhdx vdi qcow2 vmdk; do
		qemu-img check -q -U -f $format \
			"$point/disk0.${ending[$format]}" >"$scratch/said" ||
			fail "$format: $(cat "$scratch/said")"
	done
}

# some of everything, other places for each seed, the end among them
commands() {
	local i off len
	RANDOM=$1
	for ((i = 0; i < 25; i++)); do
		off=$((((RANDOM << 15 | RANDOM) % 75000) * 512))
		len=$((RANDOM % 100 * 512 + 512))
		case $((RANDOM % 6)) in
		0) echo "discard $off $len" ;;
		1) echo "write -z -u $off $len" ;;
		2) echo "write -P $((i + 1)) $((off + 100)) $((len + 77))" ;;
		*) echo "write -P $((i + 1)) $off $len" ;;
		esac
	done
	echo "write -P 77 $((size - 512)) 512"
	echo "write -P 78 0 65536"
	echo flush
}

# A discard need not zero: those formats that cannot pass it on do not.
discards() {
	[ "$1" = raw ] && cat || grep -v discard
}

seed=1
for how in none-threads none-native none-io_uring writeback-threads; do
	mount_clone
	if [ "$how" = none-io_uring ] && ! qemu-img bench -q -c 1 -t none \
		-i io_uring -f raw "$view" &>/dev/null; then
		unmount_repo # a container's system call filter may forbid it
		continue
	fi
	for format in raw vmdk vpc vhdx vdi; do
		commands $seed | discards $format >"$scratch/commands"
		qemu-io -t "${how%-*}" -i "${how#*-}" -d unmap --image-opts \
			"$(opts $format)" <"$scratch/commands" \
			>"$scratch/said"
		! grep -i -E "error|failed|invalid" "$scratch/said" ||
			fail "$how $format"
		qemu-io -d unmap -f raw "$oracle" <"$scratch/commands" \
			>/dev/null
		all_agree "$how after $format"
		seed=$((seed + 1))
	done
	kill_mount
	mount_clone
	all_agree "$how after kill -9"
	unmount_repo
done
[ $seed -gt 10 ] || fail "nothing was tried"

# the headers and the descriptor are what QEMU made of them
mount_clone
for file in vhdx vmdk; do
	! cmp -s "$point/disk0.$file" "$point/ro/disk0.$file" ||
		fail "$file: QEMU has written no metadata"
	cp --sparse=always "$point/disk0.$file" "$scratch/$file"
done
attribute set "$point" commit
for file in vhdx vmdk; do
	same "$scratch/$file" "$point/disk0.$file"
done
unmount_repo
mount_clone
for file in vhdx vmdk; do
	same "$scratch/$file" "$point/disk0.$file"
done
all_agree "after a commit"
"$HIVEFS" verify
unmount_repo
mount_clone -o ro
same "$scratch/a.img" "$point/disk0.img"
unmount_repo
