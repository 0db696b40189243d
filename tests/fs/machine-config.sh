#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a backup was told about its machine stays with its points, those of later
# backups and of its clones, is shown, and is what the machine is started with.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires jq

random_image "$scratch/disk.img" 5M
config() {
	"$HIVEFS" show "$1" --json | jq -c 'select(.type == "point") | .config'
}
expect_config() {
	[ "$(config "$1")" = "$2" ] || fail "$1: $(config "$1"), not $2"
}

"$HIVEFS" init
"$HIVEFS" backup web "$scratch/disk.img"
expect_config web@latest '{}'
"$HIVEFS" show web@latest | grep '^config' && fail "shows what nobody said"
sleep 1 # a point is named by its second
"$HIVEFS" backup web "$scratch/disk.img" --memory 512 --cpus 3 --firmware bios
first='{"memory":536870912,"cpus":3,"firmware":"bios"}'
expect_config web@latest "$first"
"$HIVEFS" backup web "$scratch/disk.img" --cpus 4 --bus sata --dry-run --json |
	jq -e '.config.cpus == 4 and .config.bus == "sata" and
		.config.memory == 536870912' >/dev/null || fail "dry run"
sleep 1
"$HIVEFS" backup web "$scratch/disk.img" --cpus 1 --bus sata
second='{"memory":536870912,"cpus":1,"firmware":"bios","bus":"sata"}'
expect_config web@latest "$second"
expect_config web@latest~1 "$first"
expect_exit 0 "$HIVEFS" show web@latest
expect_said "^config *memory 512 MiB cpus 1 firmware bios bus sata"
for wrong in "--memory 0" "--cpus 65536" "--firmware efi" "--bus nvme"; do
	# shellcheck disable=SC2086 # two words
	expect_exit 2 "$HIVEFS" backup web "$scratch/disk.img" $wrong
done

# a clone has it from its point, whatever becomes of that, and hands it on
"$HIVEFS" clone web@latest work
"$HIVEFS" rm web@latest
"$HIVEFS" commit work
expect_config web@latest "$second"

mount_repo
[ "$(jq -c .config "$mnt/web/latest/point.json")" = "$second" ] ||
	fail "point.json: $(cat "$mnt/web/latest/point.json")"
printed() {
	"$HIVEFS" boot "$@" --print | tr -s ' \\\n\t' ' '
}
for what in web@latest work; do
	line=$(printed $what)
	[[ $line == *" -m 512 -smp 1 "*" ide-hd,bus=ahci0.0,"* ]] ||
		fail "$what: $line"
	[[ $line != *" -bios "* ]] || fail "$what: UEFI: $line"
done
line=$(printed web@latest --memory 99 --cpus 7 --bus scsi)
[[ $line == *" -m 99 -smp 7 "*" scsi-hd,"* ]] || fail "$line"
line=$(printed web@latest~2)
[[ $line == *" -m 2048 -smp 2 "*" virtio-blk-pci,"* ]] || fail "$line"
"$HIVEFS" boot work --libvirt >"$scratch/xml"
grep -q "<memory unit='MiB'>512<" "$scratch/xml" || fail "libvirt"
grep -q "<vcpu>1<.*" "$scratch/xml" || fail "libvirt"
grep -q "bus='sata'" "$scratch/xml" || fail "libvirt"
"$HIVEFS" boot work --libvirt --firmware uefi >"$scratch/xml"
grep -q "<os firmware='efi'>" "$scratch/xml" || fail "libvirt, UEFI"
unmount_repo
