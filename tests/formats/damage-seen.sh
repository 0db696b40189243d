#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The validator that the other tests rely on finds one wrong byte wherever a
# reader may let it pass.

. "$(dirname "$0")/common.sh"

MIB=$((1 << 20))
cd "$scratch"
fill $((5 * MIB + 512)) "$MIB"
for format in vmdk vhd vhdx vdi qcow2; do
	dressed $format
	"$strict" $format v.$format $((5 * MIB + 512)) raw
done

# damaged FORMAT OFFSET WHAT: one byte more there
damaged() {
	cp --sparse=always "v.$1" "bad.$1"
	/usr/bin/python3 - "bad.$1" $(($2)) <<'END'
import os, sys
fd, off = os.open(sys.argv[1], os.O_RDWR), int(sys.argv[2])
os.pwrite(fd, bytes([(os.pread(fd, 1, off)[0] + 1) % 256]), off)
END
	[ "$1" != vmdk ] || ln -f v-flat.vmdk bad-flat.vmdk
	expect_exit 1 "$strict" "$1" "bad.$1" $((5 * MIB + 512)) raw
	expect_said "^strict: bad.$1: "
}

# shellcheck disable=SC2034 # in expressions below
KIB=1024
for at in 64*KIB+8 128*KIB+20 192*KIB+20 256*KIB+20 MIB+100 2*MIB+32+24 \
	2*MIB+64*KIB+4 3*MIB 3*MIB+3 3*MIB+8 4*MIB+5*MIB+512; do
	damaged vhdx $at
done
for at in 8 24+16 31 56 64 68 100; do
	damaged vhd 5*MIB+512+$at
done
for at in 0x4c 0x154 0x158 0x184 0x1a8 MIB MIB+4 MIB+24 2*MIB+5*MIB+512; do
	damaged vdi $at
done
# header, refcount table, refcount block, L1, L2
for at in 7 72+7 2*MIB 4*MIB+1 4*MIB+17 6*MIB 8*MIB 8*MIB+5; do
	damaged qcow2 $at
done
for at in 0 40 100 150; do
	damaged vmdk $at
done
