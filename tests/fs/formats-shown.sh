#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Which files a disk is shown as and with which attributes; what -o formats=,
# full_blocks and vmfs change of that; that a file's own identifiers are the same
# in every mount and not those of another point or clone; that a .qcow2 cannot
# be written to, and one format of a disk at a time.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires python3 qemu-img

sparse_image "$scratch/a.img" 9M
truncate -s 3T "$scratch/huge.img"
"$HIVEFS" init
"$HIVEFS" backup web "$scratch/a.img" huge="$scratch/huge.img"
sleep 1
"$HIVEFS" backup web "$scratch/a.img"
"$HIVEFS" clone web@latest work

files() {
	(cd "$1" && find . -maxdepth 1 -name "${2-disk0}*" \
		-printf '%P %m %n %s\n' | sort)
}
mount_clone
diff - <(files "$point") <<'END' || fail "other files"
disk0-flat.vmdk 644 2 9437184
disk0.img 644 2 9437184
disk0.qcow2 444 1 20971520
disk0.vdi 644 1 11534336
disk0.vhd 644 1 9437696
disk0.vhdx 644 1 37748736
disk0.vmdk 644 1 12288
END
# 3 TiB are more than a VHD can hold
[ "$(files "$point" huge | cut -d' ' -f1 | xargs)" = "huge-flat.vmdk huge.img \
huge.qcow2 huge.vdi huge.vhdx huge.vmdk" ] || fail "$(files "$point" huge)"
[ "$point/disk0.img" -ef "$point/disk0-flat.vmdk" ] || fail "two files"
[ $(($(stat -c %b "$point/disk0.vhd") * 512)) -lt $((5 << 20)) ] ||
	fail "blocks of a sparse disk"

for how in wb r+b; do
	expect_exit 1 python3 -c 'import sys; open(*sys.argv[1:])' \
		"$point/disk0.qcow2" $how
	expect_said "Read-only file system"
done
grep -q "qcow2 file cannot be written to.*\.img" "$scratch/daemon.log" ||
	fail "the log does not say what to write to"
[ ! -e "$point/clone.json" ] || fail "an open that was refused has forked it"

hold "$point/disk0.vhdx"
for file in disk0.img disk0-flat.vmdk disk0.vdi; do
	expect_exit 1 dd if=/dev/null of="$point/$file" conv=notrunc
	expect_said "Device or resource busy"
done
dd if=/dev/null of="$point/disk0.vhdx" conv=notrunc status=none
dd if=/dev/null of="$point/disk0.vmdk" conv=notrunc status=none
dd if=/dev/null of="$point/huge.vdi" conv=notrunc status=none
let_go
dd if=/dev/null of="$point/disk0.img" conv=notrunc status=none

# all that is not the disk's bytes, as one digest a file
identities() {
	python3 - "$@" <<'END'
import hashlib, sys
disk = {'vhd': (0, 9 << 20), 'vhdx': (4 << 20, 9 << 20),
        'vdi': (2 << 20, 9 << 20), 'vmdk': (0, 0)}
for path in sys.argv[1:]:
    for ending, (at, length) in disk.items():
        b = open(f'{path}/disk0.{ending}', 'rb').read()
        b = b[:at] + b[at + length:]
        print(ending, hashlib.sha256(b).hexdigest())
END
}
both() {
	identities "$mnt"/web/2* "$mnt/clones/work"
}
both >"$scratch/identities"
# VHDX files of two points differ as others do: 3 directories, 4 formats
[ "$(sort -u "$scratch/identities" | wc -l)" = 12 ] ||
	fail "two files share identifiers: $(cat "$scratch/identities")"
unmount_repo

mount_clone -o full_blocks
both | diff "$scratch/identities" - || fail "other identifiers"
put_later=$(identities "$point")
dd if=/dev/urandom of="$point/disk0.img" bs=64k count=1 conv=notrunc status=none
[ -e "$point/clone.json" ] || fail "is not forked"
[ "$(identities "$point")" = "$put_later" ] || fail "a clone has others"
[ "$(identities "$point/ro")" = "$put_later" ] || fail "ro/ has others"
for file in disk0.vhd disk0.vhdx; do
	[ $(($(stat -c %b "$point/$file") * 512)) -ge \
		"$(stat -c %s "$point/$file")" ] || fail "$file looks sparse"
done
unmount_repo

mount_clone -o ro,formats=vhdx,vmdk,vmfs
[ "$(files "$point" | cut -d' ' -f1-3 | xargs)" = \
	"disk0-flat.vmdk 444 2 disk0.vhdx 444 2 disk0.vmdk 444 2" ] ||
	fail "$(files "$point")"
grep -a -q '^createType="vmfs"' "$point/disk0.vmdk" || fail "no ESXi descriptor"
qemu-img info "$point/disk0.vmdk" | grep -q "virtual size: 9 MiB"
unmount_repo
expect_exit 2 "$HIVEFS" "$mnt" -o formats=vhdx,floppy
expect_exit 2 "$HIVEFS" "$mnt" -o formats=floppy
expect_said "'floppy' is not img"

mount_clone -o many_writers
hold "$point/disk0.vhdx"
dd if=/dev/urandom of="$point/disk0.img" bs=4k count=1 conv=notrunc status=none
cmp <(tail -c +$(((4 << 20) + 1)) "$point/disk0.vhdx" | head -c 4096) \
	<(head -c 4096 "$point/disk0.img") || fail "other bytes"
let_go
unmount_repo
