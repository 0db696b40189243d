#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Independent readers find in every format the disk that it was made of: data in
# each of its blocks and in its last sector, sizes that are no multiple of
# anything.

. "$(dirname "$0")/common.sh"
requires jq
requires_that /usr/bin/python3 -c 'import pyvhdi, pyvmdk, pyqcow'

MIB=$((1 << 20))
GIB=$((1 << 30))

cd "$scratch"
for size in 512 "$MIB" $((64 * MIB + 512)) $((64 * MIB + 1024)) \
	$((GIB + 1536)) $((5 * GIB + 4608)); do
	fill $size "$MIB"
	for format in vmdk vhd vhdx vdi qcow2; do
		dressed $format || fail "$format: cannot hold $size bytes"
		reads $format
		qemu-img compare -q -f "$(qemu_name $format)" -F raw v.$format \
			raw || fail "$format of $size bytes: qemu"
		# what takes seconds for each GiB
		[ $size -lt "$GIB" ] || continue
		! seven_zip_reads $format || 7z x -so v.$format | cmp - raw ||
			fail "$format of $size bytes: 7z"
		[ $format = vdi ] || "$libyal" $format v.$format raw ||
			fail "$format of $size bytes: libyal"
	done
done

# what is left out, and what ESXi wants
fill $((64 * MIB + 512)) $((2 * MIB)) 3
for format in vmdk vhd vhdx vdi qcow2; do
	dressed $format
	reads $format
	qemu-img compare -q -f "$(qemu_name $format)" -F raw v.$format raw ||
		fail "$format of holes"
done
[ "$(du -k v.qcow2 | cut -f1)" -lt 4096 ] || fail "zeroes take space"
dressed vmdk 512 vmfs
reads vmdk
qemu-img compare -q -f vmdk -F raw v.vmdk raw || fail "vmfs descriptor"
"$libyal" vmdk v.vmdk raw || fail "vmfs descriptor: libyal"
