#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# demo-boot - starts a disk of demo-disk.sh in QEMU from its own boot loader and
# prints the one line that it says when it is up.
#
#   tools/demo-boot.sh DISK [OPTIONS]    OPTIONS as for -drive: cache=none,…
#
# What the guest writes goes to a temporary file (snapshot=on): DISK is only
# read. Always plain emulation: slower than KVM, but the same on every machine.

set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
	echo "usage: demo-boot.sh DISK [OPTIONS]" >&2
	exit 2
fi
disk=$1
options=${2:+,$2}
limit=${BOOT_TIMEOUT:-120}

[ -r "$disk" ] || {
	echo "demo-boot: $disk: cannot read it" >&2
	exit 1
}
console=$(mktemp)
qemu=
trap 'rm -f "$console"' EXIT
trap '[ -z "$qemu" ] || kill "$qemu" 2>/dev/null; exit 130' INT TERM

timeout "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 256 \
	-smp 2 -nographic -nic none -no-reboot \
	-drive "file=${disk//,/,,},format=raw,if=virtio,snapshot=on$options" \
	</dev/null >"$console" 2>&1 &
qemu=$!
status=0
wait "$qemu" || status=$?

if [ "$status" != 0 ] || ! grep -a -o 'hivefs demo: booted,.*[a-z]' "$console"
then
	cat -v "$console" >&2
	[ "$status" != 124 ] ||
		echo "demo-boot: $disk: not up after $limit seconds" >&2
	[ "$status" = 124 ] ||
		echo "demo-boot: $disk: did not boot (status $status)" >&2
	exit 1
fi
