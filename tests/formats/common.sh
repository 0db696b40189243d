# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# common - what the tests of formats share, beside lib.sh: a raw disk dressed as
# every format, outside a mount ($DRESS), and the programs that read it.
#
#   fill SIZE STEP [EVERY]      makes `raw`: data somewhere in each STEP bytes (or
#                               in those of every EVERY-th), and at its end
#   dressed FORMAT [OPTION]...  makes v.FORMAT of it; 1 if there is no such one
#   reads FORMAT                qemu, our own validator and libyal take v.FORMAT

. "$(dirname "$0")/../lib.sh"
requires qemu-img 7z vmdkinfo vhdiinfo qcowinfo /usr/bin/python3
DRESS=${DRESS:-$top/build/tests/formats/dress}
strict=$top/tests/formats/strict.py
# shellcheck disable=SC2034 # used by those that compare
libyal=$top/tests/formats/libyal.py

fill() {
	rm -f raw
	/usr/bin/python3 - raw "$@" <<'END'
import os, random, sys
size, step = int(sys.argv[2]), int(sys.argv[3])
every = int(sys.argv[4]) if len(sys.argv) > 4 else 1
r = random.Random(size)
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
os.ftruncate(fd, size)
def some(n):
    return bytes(r.randrange(1, 256) for _ in range(n))
for off in range(0, size, step * every):
    n = min(step, size - off)
    k = min(n, 512)
    os.pwrite(fd, some(k), off + r.randrange((n - k) // 512 + 1) * 512)
os.pwrite(fd, some(min(512, size)), size - min(512, size))
END
}

qemu_name() {
	case $1 in
	vhd) echo vpc ;;
	*) echo "$1" ;;
	esac
}

dressed() {
	local got=0
	"$DRESS" "$1" raw "v.$1" "${@:2}" || got=$?
	[ $got = 0 ] || [ $got = 3 ] || fail "dress $1: exit $got"
	return $got
}

# Of a disk's size libyal's programs print the bytes in brackets.
libyal_says() {
	"$@" >libyal 2>&1 || { cat libyal >&2 && fail "$*"; }
	grep -q "Media size.*[( ]$size bytes" libyal ||
		{ cat libyal >&2 && fail "$* says another size"; }
}

reads() {
	local name size
	name=$(qemu_name "$1")
	size=$(stat -c %s raw)
	[ "$(qemu-img info -f "$name" --output json "v.$1" |
		jq '."virtual-size"')" = "$size" ] || fail "$1: size for qemu"
	case $1 in
	vhd) ;; # qemu-img has no check of it
	*) qemu-img check -q -f "$name" "v.$1" || fail "$1: qemu-img check" ;;
	esac
	case $1 in
	vmdk) libyal_says vmdkinfo v.vmdk ;;
	vhd) libyal_says vhdiinfo v.vhd ;;
	vhdx) libyal_says vhdiinfo v.vhdx ;;
	qcow2) libyal_says qcowinfo v.qcow2 ;;
	esac
	"$strict" "$1" "v.$1" "$size" raw || fail "$1: strict"
}

# 7-Zip does not open a VHDX of an odd number of sectors (nor one of 512 bytes,
# which all others read).
seven_zip_reads() {
	[ "$1" != vhdx ] || [ $(($(stat -c %s raw) % 1024)) = 0 ]
}
