#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# In the background: the command returns when the mount serves, every way to
# unmount ends the daemon, one that was killed leaves nothing that is in the way
# of the next mount, and mount(8) mounts as fstab has it.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires fusermount3

random_image "$scratch/a.img" 1M
"$HIVEFS" init
"$HIVEFS" backup web "$scratch/a.img"
mount_point m

daemons() {
	local p
	for p in /proc/[0-9]*; do
		if [ "$p/exe" -ef "$HIVEFS" ] &&
			tr '\0' '\n' <"$p/cmdline" | grep -q "${m##*/}"; then
			basename "$p"
		fi
	done 2>/dev/null
}

gone() {
	local n
	for ((n = 0; n < 600; n++)); do
		[ -n "$(daemons)" ] || return 0
		sleep 0.1
	done
	fail "the daemon is still there"
}

# mounted WORD...: at once when it returns, and nothing holds our output
mounted() {
	timeout 20 "$@" | cat
	same "$scratch/a.img" "$m/web/latest/disk0.img"
	[ "$(daemons | wc -w)" = 1 ] || fail "not one daemon: $(daemons)"
	[ "$(readlink "/proc/$(daemons)/cwd")" = / ] || fail "is not in /"
}

mounted "$HIVEFS" "$m"
when_free umount "$m"
gone

cd "$scratch"
relative=repo
! on_server || relative=$HIVEFS_REPO
mounted "$HIVEFS" mount -r "$relative" "./${m##*/}/"
when_free fusermount3 -u "$m"
gone
cd /

for signal in TERM INT HUP; do
	mounted "$HIVEFS" "$HIVEFS_REPO" "$m" -o ro,allow_other
	kill -$signal "$(daemons)"
	gone
	! mountpoint -q "$m" || fail "SIG$signal left it mounted"
done

# killed, and with a process in it
mounted "$HIVEFS" "$m"
exec 9<"$m/web/latest/disk0.img"
kill -9 "$(daemons)"
gone
! ls "$m" 2>/dev/null || fail "the dead mount answers"
mounted "$HIVEFS" "$m"
exec 9<&-
kill -9 "$(daemons)"
gone
# nor does its last component alone look like the slip of a verb
cd "$scratch"
mounted "$HIVEFS" "${m##*/}"
cd /
when_free umount "$m"
gone

# of a dead mount mountpoint(1) says that it is none
unmounted() {
	[ -d "$m" ] && ! mountpoint -q "$m"
}
# fusermount3 looks once, which may be before the kernel knows that it is dead
for ((i = 0; i < 5; i++)); do
	mounted "$HIVEFS" "$m" -o auto_unmount
	kill -9 "$(daemons)"
	gone
	for ((n = 0; n < 50; n++)); do
		! unmounted || break 2
		sleep 0.1
	done
	umount -l "$m"
done
[ $i -lt 5 ] || fail "auto_unmount left it mounted"

# as mount(8) does it for a line of fstab, whose PATH is the system's own
if command -v mount.fuse3 >/dev/null && [ "$(id -u)" = 0 ]; then
	PATH=$(dirname "$HIVEFS"):$PATH
	fstab=ro,nosuid,nodev,noauto,nofail,_netdev,x-systemd.automount,cache=64M
	mounted mount.fuse3 "$HIVEFS_REPO" "$m" -t fuse.hivefs -o $fstab
	grep -q " $m fuse.hivefs ro,nosuid,nodev" /proc/self/mounts ||
		fail "its options: $(grep "$m" /proc/self/mounts)"
	when_free umount "$m"
	gone
	mounted mount -t fuse "$HIVEFS#$HIVEFS_REPO" "$m" -o $fstab
	when_free umount "$m"
	gone
	expect_exit 2 mount.fuse3 "$HIVEFS_REPO" "$m" -t fuse.hivefs -o nonsense
	expect_said "unknown mount option"
fi
