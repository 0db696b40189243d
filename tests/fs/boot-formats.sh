#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One clone is started from every format of its disk in turn: each guest finds
# what the one before it wrote through another view, writes more and is switched
# off. The daemon is killed in between, and in the middle of a boot: what a guest
# had synced is there, and its file system is sound.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires qemu-system-x86_64 grub-mkimage mke2fs e2fsck debugfs sfdisk qemu-img

disk=$scratch/disk.img
"$top/tools/demo-disk.sh" "$disk"
back_up "$disk"
"$HIVEFS" clone web@latest work
mount_clone
view=$mnt/clones/work/disk0.img

# guest FORMAT COMMANDS: what it says is in $scratch/console
guest() {
	printf '%-4095s\n' "$2" >"$scratch/commands"
	env -u DISPLAY -u WAYLAND_DISPLAY timeout 200 "$HIVEFS" boot work \
		--format "$1" --memory 256 --accel tcg -- -no-reboot \
		-drive "file=$scratch/commands,format=raw,if=virtio,readonly=on" \
		</dev/null >"$scratch/console" 2>&1 ||
		fail "$1: $(cat -v "$scratch/console")"
	grep -a -o 'hivefs demo: .*[[:graph:]]' "$scratch/console"
}

last=none
for format in vhdx vmdk vdi vhd img; do
	guest $format "busybox echo 'hivefs demo: note:' \$(busybox cat /root/note)
busybox echo $format >/root/note
busybox sync"
	[ $last = none ] || grep -a -q "hivefs demo: note: $last" \
		"$scratch/console" || fail "$format does not see what $last wrote"
	last=$format
	if [ $format = vmdk ] || [ $format = vhd ]; then
		kill_mount
		mount_clone
	fi
done

# killed in the middle: what the guest had synced through a VHDX
(guest vhdx 'busybox echo synced >/root/note
busybox sync
busybox echo "hivefs demo: synced"
while busybox echo more >>/root/unsynced; do :; done' || true) \
	>"$scratch/said" 2>&1 &
guest=$!
until grep -a -q "hivefs demo: synced" "$scratch/console"; do
	kill -0 $guest || fail "$(cat "$scratch/said")"
	sleep 0.1
done
kill_mount
# its disk is dead, and so is the guest soon, or it is made to be
for pid in $(pgrep -f "qemu-system.*$scratch/commands"); do
	kill -9 "$pid" 2>/dev/null || true
done
wait $guest || true

mount_clone
expect_exit 0 "$HIVEFS" boot work --format qcow2 --headless --memory 256 \
	--accel tcg --until "hivefs demo: booted" --timeout 200
cp --sparse=always "$mnt/clones/work/disk0.vdi" "$scratch/after.vdi"
qemu-img convert -f vdi -O raw "$scratch/after.vdi" "$scratch/after.img"
same "$scratch/after.img" "$mnt/clones/work/disk0.img"
dd if="$scratch/after.img" of="$scratch/part.img" bs=1M skip=1 conv=sparse \
	status=none
truncate -s "$(($(stat -c %s "$scratch/after.img") - (1 << 20)))" \
	"$scratch/part.img"
e2fsck -p "$scratch/part.img" >"$scratch/said" 2>&1 || [ $? = 1 ] ||
	fail "$(cat "$scratch/said")"
e2fsck -f -n "$scratch/part.img" >"$scratch/said" 2>&1 ||
	fail "$(cat "$scratch/said")"
[ "$(debugfs -R 'cat /root/note' "$scratch/part.img" 2>/dev/null)" = synced ] ||
	fail "what was synced is lost"
same "$oracle" "$point/ro/disk0.img"
unmount_repo
