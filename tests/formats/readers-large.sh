#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The same of disks of terabytes, which are nearly all hole; and that VHD is not
# offered where it cannot be.

. "$(dirname "$0")/common.sh"
requires jq

MIB=$((1 << 20))
GIB=$((1 << 30))
TIB=$((1 << 40))

# qemu does not know where a VHDX is zero: only around what is written
compare_some() {
	local off len=$((40 * MIB)) end
	end=$(stat -c %s raw)
	for ((off = 0; off < end; off += step)); do
		qemu-img compare -q --image-opts \
			driver=raw,offset=$off,size=$len,file.driver=vhdx,file.file.filename=v.vhdx \
			driver=raw,offset=$off,size=$len,file.filename=raw ||
			fail "vhdx of $end bytes: qemu near $off"
	done
	off=$((end - len))
	qemu-img compare -q --image-opts \
		driver=raw,offset=$off,size=$len,file.driver=vhdx,file.file.filename=v.vhdx \
		driver=raw,offset=$off,size=$len,file.filename=raw ||
		fail "vhdx of $end bytes: qemu at the end"
}

cd "$scratch"
truncate -s $((9 * TIB)) raw 2>/dev/null || skip "no file of 9 TiB here"
for size in "$TIB" $((2040 * GIB)) $((3 * TIB)) $((8 * TIB)); do
	step=$((size / 12 / MIB * MIB))
	# somewhere in the first 32 MiB of each step
	fill $size $((32 * MIB)) $((step / (32 * MIB)))
	step=$((step / (32 * MIB) * 32 * MIB))
	for format in vmdk vhd vhdx vdi qcow2; do
		dressed $format || {
			[ $format = vhd ] && [ $size -gt $((2040 * GIB)) ] ||
				fail "$format: cannot hold $size bytes"
			continue
		}
		reads $format
		if [ $format = vhdx ]; then
			compare_some
		elif [ $format != vdi ] || [ $size = "$TIB" ]; then
			# of a VDI it asks for each block of 1 MiB
			qemu-img compare -q -f "$(qemu_name $format)" -F raw \
				v.$format raw || fail "$format of $size: qemu"
		fi
		[ $format = vmdk ] || 7z l v.$format >7z ||
			fail "$format of $size bytes: 7z"
	done
done

# 4096 bytes in a sector: only VHDX says so (and qemu cannot open it), and raw
# and qcow2 need not
fill $((64 * MIB + 8192)) "$MIB"
for format in vmdk vhd vdi; do
	! dressed $format 4096 || fail "$format of large sectors"
done
dressed vhdx 4096
"$strict" vhdx v.vhdx $((64 * MIB + 8192))
vhdiinfo v.vhdx >libyal
grep -q "Bytes per sector.*4096 bytes" libyal || fail "vhdx: size of sectors"
7z x -so v.vhdx | cmp - raw || fail "vhdx of large sectors: 7z"
dressed qcow2 4096
reads qcow2
