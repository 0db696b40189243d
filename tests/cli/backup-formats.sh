#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A disk in any format that qemu writes is the same disk: its backup has the
# same map as that of the raw image, and nothing new.

. "$(dirname "$0")/common.sh"
requires qemu-img qemu-nbd jq

cd "$scratch"
sparse_image a.img 24M
"$HIVEFS" init -q
"$HIVEFS" backup -q raw a.img
root=$("$HIVEFS" show raw@latest --json |
	jq -r 'select(.type == "point") | .disks[0].root')

# check NAME FILE [OPTION]...
check() {
	local name=$1 file=$2
	shift 2
	json_of "$HIVEFS" backup "$name" "$file" "$@" --json
	[ "$(summary '.disks[0].root')" = "$root" ] || fail "$name: not equal"
	[ "$(summary .new)" = 0 ] || fail "$name: something was new"
}

while read -r name ending format options; do
	# shellcheck disable=SC2086 # several words are meant
	qemu-img convert -f raw -O "$format" $options a.img "$name.$ending"
	check "$name" "$name.$ending"
done <<-'LIST'
	qcow2 qcow2 qcow2
	qcow2-v2 qcow2 qcow2 -o compat=0.10
	qcow2-zstd qcow2 qcow2 -c -o compression_type=zstd
	vmdk vmdk vmdk
	vmdk-flat vmdk vmdk -o subformat=monolithicFlat
	vmdk-split vmdk vmdk -o subformat=twoGbMaxExtentSparse
	vmdk-stream vmdk vmdk -o subformat=streamOptimized
	vhd vhd vpc -o force_size=on
	vhd-fixed vhd vpc -o subformat=fixed,force_size=on
	vhdx vhdx vhdx
	vdi vdi vdi
LIST

# a chain: what lies in the backing file, and what is over it
qemu-img create -q -f qcow2 -b qcow2.qcow2 -F qcow2 over.qcow2
check over over.qcow2
mkdir elsewhere
mv over.qcow2 elsewhere
qemu-img rebase -u -b ../qcow2.qcow2 -F qcow2 elsewhere/over.qcow2
refused 2 'outside-backing' "$HIVEFS" backup over elsewhere/over.qcow2
check over elsewhere/over.qcow2 --outside-backing

# by option, not by content
cp qcow2.qcow2 image
check named image --format qcow2
cp a.img a.qcow2
check named a.qcow2 --format raw

# over NBD
qemu-nbd -r -t -e 4 -f raw -k "$scratch/socket" a.img &
at_exit kill $!
for _ in {1..50}; do
	[ ! -S socket ] || break
	sleep 0.1
done
check nbd "nbd+unix:///?socket=$scratch/socket"
