#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A machine that starts by UEFI only is told by its disk, whatever its bus is,
# comes up, and does not where its backup says that it has a BIOS.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires qemu-system-x86_64 grub-mkimage mformat mcopy mmd sfdisk
requires_that test -w /dev/fuse
requires_that test -r /usr/share/ovmf/OVMF.fd
requires_that test -d /usr/lib/grub/x86_64-efi

cd "$scratch"
cat >grub.cfg <<'END'
serial --unit=0
terminal_output serial
echo "hivefs test: started by UEFI"
halt
END
grub-mkimage -O x86_64-efi -c grub.cfg -p / -o boot.efi serial echo halt
truncate -s 30M esp.img
mformat -i esp.img ::
mmd -i esp.img ::/EFI ::/EFI/BOOT
mcopy -i esp.img boot.efi ::/EFI/BOOT/BOOTX64.EFI
truncate -s 34M disk.img
printf 'label: gpt\nstart=2048, size=61440, type=U\n' | sfdisk -q disk.img
dd if=esp.img of=disk.img bs=1M seek=1 conv=notrunc,sparse status=none

"$HIVEFS" init
"$HIVEFS" backup web disk.img --memory 256 --bus sata
test_boot() {
	"$HIVEFS" boot web@latest --headless --accel tcg \
		--until "started by UEFI" "$@"
}
export TMPDIR=$scratch XDG_RUNTIME_DIR=$scratch/run
mkdir "$XDG_RUNTIME_DIR"
mount_repo -o formats=vdi,vmdk # and no .img, which it would take by itself
expect_exit 0 test_boot --timeout 200
expect_exit 0 "$HIVEFS" boot web@latest --libvirt
expect_said "<os firmware='efi'>"
unmount_repo

sleep 1 # a point is named by its second
"$HIVEFS" backup web disk.img --firmware bios
expect_exit 1 test_boot --timeout 3
expect_said "was not up in time"
