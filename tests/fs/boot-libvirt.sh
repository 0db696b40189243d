#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# boot --libvirt: what it prints is a domain by libvirt's own schema, whatever
# the firmware, the bus, the format and the mount point's name are, and names
# the files of all disks.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires xmllint python3
schema=/usr/share/libvirt/schemas/domain.rng
requires_that test -r $schema

sparse_image "$scratch/a.img" 12M
sparse_image "$scratch/b.img" 8M 2
"$HIVEFS" init
"$HIVEFS" backup web system="$scratch/a.img" data="$scratch/b.img"

# what has a meaning in XML and for options of QEMU
export TMPDIR="$scratch/a'b&c<d,e"
mkdir "$TMPDIR"
scratch=$TMPDIR mount_repo

domains=()
# domain NAME OPTION...: into the file NAME.xml
domain() {
	"$HIVEFS" boot web@latest --libvirt "${@:2}" >"$scratch/$1.xml"
	domains+=("$scratch/$1.xml")
}
for bus in virtio sata ide scsi; do
	for format in img vmdk vhd vdi; do
		domain "$bus-$format-bios" --bus $bus --format $format \
			--firmware bios
		domain "$bus-$format-uefi" --bus $bus --format $format \
			--firmware uefi --network --memory 512 --cpus 3
	done
done
expect_exit 2 "$HIVEFS" boot web@latest --libvirt --format vhdx
expect_said "no disks of format vhdx"
# which is read-only, and some buses have no such disk
domain virtio-qcow2 --format qcow2
domain scsi-qcow2 --format qcow2 --bus scsi
for bus in sata ide; do
	expect_exit 2 "$HIVEFS" boot web@latest --libvirt --format qcow2 \
		--bus $bus
	expect_said "is read-only"
done
expect_exit 0 "$HIVEFS" boot web@latest --print --format qcow2 --bus sata
domain tcg --accel tcg
# no file of that kind is that long
truncate -s 3T "$scratch/long.img"
"$HIVEFS" backup long "$scratch/long.img"
expect_exit 2 "$HIVEFS" boot long@latest --print --format vhd
expect_said "a .vhd cannot hold disk0, which has 3.00 TiB"

xmllint --noout --relaxng $schema "${domains[@]}" 2>"$scratch/said" || {
	grep -v ' validates$' "$scratch/said" >&2
	fail "no domain of libvirt"
}
# the schema is one that finds something
sed "s/bus='/bus='x/" "$scratch/tcg.xml" >"$scratch/bad.xml"
! xmllint --noout --relaxng $schema "$scratch/bad.xml" 2>/dev/null ||
	fail "anything is valid"

python3 - "$scratch" "$mnt" <<'END'
import os, sys
from xml.etree import ElementTree

scratch, mnt = sys.argv[1:]

def domain(name):
    return ElementTree.parse(f'{scratch}/{name}.xml').getroot()

for bus, device in ('virtio', 'vd'), ('sata', 'sd'), ('ide', 'hd'), ('scsi', 'sd'):
    for fmt in 'img', 'vmdk', 'vhd', 'vdi':
        d = domain(f'{bus}-{fmt}-uefi')
        disks = d.findall('devices/disk')
        assert [k.find('target').get('dev') for k in disks] == \
            [device + 'a', device + 'b']
        assert {k.find('target').get('bus') for k in disks} == {bus}
        assert {k.find('driver').get('type') for k in disks} == \
            {{'img': 'raw', 'vhd': 'vpc'}.get(fmt, fmt)}
        for k, name in zip(disks, ('system', 'data')):
            file = k.find('source').get('file')
            assert os.path.dirname(os.path.dirname(os.path.dirname(file))) == mnt
            assert os.path.basename(file) == f'{name}.{fmt}'
            assert os.path.exists(file), file
            assert k.find('readonly') is None
        assert d.find('os').get('firmware') == 'efi'
        assert d.find('memory').text == '512' and d.find('vcpu').text == '3'
        assert d.find('devices/interface').get('type') == 'user'
        d = domain(f'{bus}-{fmt}-bios')
        assert d.find('os').get('firmware') is None
        assert d.find('devices/interface') is None
assert len(domain('scsi-qcow2').findall('devices/disk/readonly')) == 2
assert domain('tcg').get('type') == 'qemu'
END
unmount_repo
