#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every kind of image file that export writes holds the disk, for qemu, 7-Zip
# and libyal, and what is zeroes takes no space in it.

. "$(dirname "$0")/common.sh"
requires qemu-img 7z jq
requires_that /usr/bin/python3 -c 'import pyvhdi, pyvmdk, pyqcow'

kinds=(img vmdk vmdk/monolithicFlat vmdk/vmfs vmdk/streamOptimized vhd
	vhd/fixed vhdx vhdx/fixed vdi vdi/static qcow2)

# export_as KIND ADDRESS DIRECTORY OPTION...: as DIRECTORY/disk.ENDING, $file
export_as() {
	local kind=("${@:4}")
	file=$3/disk.${1%%/*}
	[[ $1 != */* ]] || kind+=(--subformat "${1#*/}")
	mkdir -p "$3"
	json_of "$HIVEFS" export --json "${kind[@]}" "$2" "$file"
}

qemu_name() {
	case $1 in
	img) echo raw ;;
	vhd*) [[ $1 = vhdx* ]] && echo vhdx || echo vpc ;;
	*) echo "${1%%/*}" ;;
	esac
}

# holds KIND DISK: $file does
holds() {
	local format
	format=$(qemu_name "$1")
	qemu-img compare -q -f "$format" -F raw "$file" "$2" ||
		fail "$1: qemu finds another disk"
	[[ $1 = img || $1 = vhd* && $1 != vhdx* ]] ||
		qemu-img check -q -f "$format" "$file" || fail "$1: qemu-img check"
	[ "$1" = img ] || 7z x -so "$file" 2>7z | cmp - "$2" ||
		fail "$1: 7z finds another disk"
	[[ $1 = img || $1 = vdi* ]] ||
		"$top/tests/formats/libyal.py" "${1%%/*}" "$file" "$2" ||
		fail "$1: libyal finds another disk"
}

cd "$scratch"
"$HIVEFS" init -q
# data at both ends of blocks of all sizes, a short last block
truncate -s $((70 * 1048576 + 1024)) a
for at in 0 65535 131072 1048575 2097152 8388607 33554432 33619967 \
	$((70 * 1048576 + 1023)); do
	printf 'x' | dd of=a bs=1 seek=$at conv=notrunc status=none
done
random_image data 5M
dd if=data of=a bs=1M seek=40 conv=notrunc status=none
"$HIVEFS" backup -q web a
change_image a 4
"$HIVEFS" backup -q web a
"$HIVEFS" restore -q web@latest restored
same a restored

for kind in "${kinds[@]}"; do
	export_as "$kind" web@latest new
	[ "$(summary '"\(.format)/\(.size)/\(.lost)"')" = \
		"$([ "$kind" = img ] && echo raw || echo "${kind%%/*}")/$((70 * \
			1048576 + 1024))/0" ] || fail "$kind: its summary"
	holds "$kind" restored
	[ ! -e "$file.partial" ] || fail "$kind: a partial file is left"
	[ "$(du -ck new/* | tail -n 1 | cut -f1)" -lt 9000 ] ||
		fail "$kind: zeroes take space"
	# what has no holes is short without them, too
	case $kind in
	vmdk | vmdk/streamOptimized | vdi | vhd | qcow2)
		size=$(stat -c %s "$file")
		[ "$size" = "$(summary .file_size)" ] || fail "$kind: file_size"
		[ "$size" -lt 60000000 ] || fail "$kind: $size bytes"
		;;
	esac
	# the same bytes again, with any number of threads, also over others
	export_as "$kind" web@latest~1 again
	for one in new/*; do
		! cmp -s "$one" "again/${one#*/}" ||
			fail "$kind: two points, one file"
	done
	export_as "$kind" web@latest again --overwrite --threads 3
	for one in new/*; do
		same "$one" "again/${one#*/}"
	done
	holds "$kind" restored
	rm -r new again
done

# what the kinds are for qemu
info() {
	qemu-img info --output json -f "$1" "$2" | jq -r "$3"
}
for kind in monolithicSparse monolithicFlat vmfs streamOptimized; do
	"$HIVEFS" export -q web@latest k.vmdk --subformat $kind --overwrite
	[ "$(info vmdk k.vmdk '."format-specific".data."create-type"')" = \
		$kind ] || fail "$kind is another"
done
"$HIVEFS" export -q web@latest k.qcow2
[ "$(info qcow2 k.qcow2 '."cluster-size"')" = 65536 ] || fail "qcow2: clusters"

# a clone as it is now; nothing at all; a disk that is all data
"$HIVEFS" clone -q web@latest~1 trial
"$HIVEFS" export -q trial trial.qcow2
"$HIVEFS" restore -q web@latest~1 older
qemu-img compare -q -f qcow2 -F raw trial.qcow2 older || fail "the clone"
truncate -s 3M zero
"$HIVEFS" backup -q zero zero
"$HIVEFS" backup -q data data
for kind in "${kinds[@]}"; do
	for disk in zero data; do
		export_as "$kind" $disk@latest $disk.d
		holds "$kind" $disk
		rm -r $disk.d
	done
done
