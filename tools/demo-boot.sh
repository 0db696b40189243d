#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# demo-boot - starts a disk of demo-disk.sh in QEMU from its own boot loader and
# prints what it says of itself: the lines with "hivefs demo:".
#
#   tools/demo-boot.sh DISK [OPTIONS]    OPTIONS as for -drive: cache=none,…
#   tools/demo-boot.sh --run COMMANDS [--crash PID] DISK [OPTIONS]
#
# What the guest writes goes to a temporary file (snapshot=on): DISK is only
# read. But with --run it is written to, and the guest runs the shell COMMANDS
# once it is up. With --crash the guest must say "hivefs demo: synced" in them:
# then PID, which holds the disk, is killed with -9, and QEMU after it, as if
# the plug had been pulled. What the guest's serial line says goes to the file
# $BOOT_CONSOLE as it comes, if that is set. Always plain emulation: slower than
# KVM, but the same on every machine.

set -euo pipefail

run=
crash=
while [ $# -gt 2 ] && [[ $1 == --* ]]; do
	case $1 in
	--run) run=$2 ;;
	--crash) crash=$2 ;;
	*) break ;;
	esac
	shift 2
done
if [ $# -lt 1 ] || [ $# -gt 2 ] || [[ $1 == -* ]]; then
	echo "usage: demo-boot.sh [--run COMMANDS [--crash PID]] DISK" \
		"[OPTIONS]" >&2
	exit 2
fi
disk=$1
options=${2:+,$2}
limit=${BOOT_TIMEOUT:-120}

[ -r "$disk" ] || {
	echo "demo-boot: $disk: cannot read it" >&2
	exit 1
}
work=$(mktemp -d)
console=${BOOT_CONSOLE:-$work/console}
qemu=
trap 'rm -rf "$work"' EXIT
trap '[ -z "$qemu" ] || kill "$qemu" 2>/dev/null; exit 130' INT TERM

# The guest's init runs what its second disk begins with.
if [ -n "$run" ]; then
	printf '%-4095s\n' "$run" >"$work/commands"
	second=(-drive "file=$work/commands,format=raw,if=virtio,readonly=on")
else
	options+=,snapshot=on
	second=()
fi

qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 256 \
	-smp 2 -nographic -nic none -no-reboot \
	-drive "file=${disk//,/,,},format=raw,if=virtio$options" \
	"${second[@]}" </dev/null >"$console" 2>&1 &
qemu=$!
SECONDS=0
ended=
while kill -0 "$qemu" 2>/dev/null; do
	if [ -n "$crash" ] && grep -a -q 'hivefs demo: synced' "$console"; then
		kill -9 "$crash" "$qemu"
		ended=crash
		break
	elif [ $SECONDS -ge "$limit" ]; then
		kill -9 "$qemu"
		ended=late
		break
	fi
	sleep 0.1
done
status=0
wait "$qemu" 2>/dev/null || status=$?
[ "$ended" != crash ] || status=0

grep -a -o 'hivefs demo: .*[[:graph:]]' "$console" >"$work/said" || true
if [ "$status" != 0 ] || ! grep -q ': booted,' "$work/said" ||
	[ "${crash:+crash}" != "$ended" ]; then
	cat -v "$console" >&2
	[ "$ended" != late ] ||
		echo "demo-boot: $disk: not up after $limit seconds" >&2
	[ "$ended" = late ] ||
		echo "demo-boot: $disk: did not boot (status $status)" >&2
	exit 1
fi
cat "$work/said"
