#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A guest writes to the view of an old point: what it had synced when the daemon
# was killed is there at its next boot and in the point that is made of it, its
# file system is sound, and the old point is what it was, to the byte.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires qemu-system-x86_64 grub-mkimage mke2fs e2fsck debugfs sfdisk

# guest COMMANDS [OPTION]...: boots the view to write; what it says is $said
guest() {
	said=$("$top/tools/demo-boot.sh" --run "$1" "${@:2}" "$view" cache=none)
	echo "$said"
}

disk=$scratch/disk.img
"$top/tools/demo-disk.sh" "$disk"
back_up "$disk"
"$top/tools/demo-disk.sh" --next "$disk"
"$HIVEFS" backup web "$disk"

mount_clone
guest 'busybox echo first >/root/note
busybox dd if=/dev/urandom of=/root/data bs=4k count=500 2>/dev/null
busybox md5sum /root/data >/root/sum
busybox sync
busybox echo "hivefs demo: synced"
while busybox echo more >>/root/unsynced; do :; done' --crash "$daemon"
wait "$daemon" 2>/dev/null || true
expect_exit 2 ls "$mnt"
fusermount3 -u -z "$mnt"

mount_clone
# the guest switches itself off by a remount to read-only: a clean file system
guest 'busybox md5sum -c /root/sum >/dev/null &&
busybox echo "hivefs demo: note: $(busybox cat /root/note)"
busybox echo second >>/root/note'
[[ $said == *"note: first" ]] || fail "what was synced is lost"
[[ $said == *"/etc/generation says 1, "* ]] || fail "another disk"
same "$oracle" "$point/ro/disk0.img"
"$HIVEFS" commit "web@${point##*/}"
unmount_repo

"$HIVEFS" restore web/disk0@latest "$scratch/new.img"
e2fsck -f -n "$scratch/new.img?offset=1048576"
[ "$(debugfs -R 'cat /root/note' "$scratch/new.img?offset=1048576" \
	2>/dev/null | tr '\n' ' ')" = "first second " ] ||
	fail "the new point is not what was written"
"$HIVEFS" restore web/disk0@latest~2 "$scratch/old.img"
same "$oracle" "$scratch/old.img"
