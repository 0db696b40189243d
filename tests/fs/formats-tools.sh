#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Whatever programs do to a view that is written to, it ends in success or is
# refused, and the view is whole: it opens, its check finds nothing, and it holds
# what the .img holds.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires qemu-img qemu-io 7z vhdiinfo vmdkinfo

random_image "$scratch/a.img" 5M
truncate -s +512 "$scratch/a.img"
random_image "$scratch/b.img" 2M
back_up "$scratch/a.img"
mount_clone

# whole RAW CMD...: after CMD the view holds what RAW does
whole() {
	local more=
	[ $format != vpc ] || more=,force_size_calc=current_size
	qemu-img compare -q --image-opts \
		"driver=$format,file.filename=$view$more" \
		"driver=raw,file.filename=$1" || fail "$format: ${*:2}"
	case $format in
	vhdx | vdi)
		qemu-img check -q -f $format "$view" || fail "$format: ${*:2}"
		;;
	esac
}
# does CMD...: it succeeds, and the view is whole
does() {
	timeout 60 "$@" &>"$scratch/said" </dev/null ||
		fail "$*: $(cat "$scratch/said")"
	cp "$point/disk0.img" "$scratch/now"
	whole "$scratch/now" "$@"
}
# refused CMD...: it does not, and says why; nothing has changed
refused() {
	! timeout 60 "$@" &>"$scratch/said" </dev/null || fail "$*: succeeds"
	[ -s "$scratch/said" ] || fail "$*: says nothing"
	whole "$scratch/now" "$@"
}
# text CMD...: whether it succeeds or not, the view is whole, once it is known
# to be closed
text() {
	local n
	timeout 60 "$@" &>"$scratch/said" </dev/null || true
	for ((n = 0; n < 300; n++)); do
		leads && break
		sleep 0.1
	done
	leads || fail "$*: $(head -c 700 "$view")"
	whole "$point/disk0.img" "$@"
}
leads() {
	[ "$(stat -c %s "$view")" = 12288 ] &&
		[ "$(head -n 1 "$view")" = "# Disk DescriptorFile" ] &&
		[ "$(grep -a -c createType "$view")" = 1 ]
}
# an overlay of the view, to be committed into it
overlay() {
	rm -f "$scratch/over"
	qemu-img create -q -f qcow2 -b "$view" -F $format "$scratch/over" "$@"
	qemu-io -f qcow2 -c 'write -P 5 3M 100k' -c 'write -z 4M 1M' \
		"$scratch/over" >/dev/null
}

for format in raw vpc vhdx vdi vmdk; do
	case $format in
	raw) view=$point/disk0.img ;;
	vpc) view=$point/disk0.vhd ;;
	*) view=$point/disk0.$format ;;
	esac
	does qemu-img convert -n -f raw -O $format "$scratch/b.img" "$view"
	does qemu-img bench -q -c 20 -w -f $format "$view"
	does qemu-io -f $format -c 'discard 1M 2M' "$view"
	overlay
	does qemu-img commit -q -f qcow2 "$scratch/over"
	overlay 50M
	refused qemu-img commit -q -f qcow2 "$scratch/over"
	refused qemu-img resize -f $format "$view" +1M
	refused qemu-img resize -f $format --shrink "$view" 2M
	refused qemu-img amend -f $format -o size=50M "$view"
	refused qemu-img snapshot -c s "$view"
	refused qemu-img bitmap -f $format --add "$view" b
	refused qemu-img rebase -f $format -u -b "$scratch/b.img" -F raw "$view"
	refused 7z a "$view" "$scratch/b.img"
	# 7-Zip opens no VHDX of an odd number of sectors
	[ $format != vdi ] && [ $format != vpc ] || does 7z t "$view"
	if [ $format = vmdk ]; then
		does vmdkinfo "$view"
		# a text may be replaced, but the view stays
		text qemu-img create -f vmdk "$view" 10M
		text qemu-img convert -f raw -O vmdk "$scratch/b.img" "$view"
		text cp "$scratch/b.img" "$view"
		text truncate -s 0 "$view"
		text cp /dev/null "$view"
		text dd if=/dev/zero "of=$view" bs=512 count=3
		grep -q "does not lead to the disk" "$scratch/daemon.log" ||
			fail "nothing was logged"
		continue
	fi
	[ $format = raw ] || [ $format = vdi ] || does vhdiinfo "$view"
	refused qemu-img create -f $format "$view" 10M
	refused qemu-img convert -f raw -O $format "$scratch/b.img" "$view"
	refused qemu-img dd -f raw -O $format "if=$scratch/b.img" "of=$view"
	refused cp "$scratch/b.img" "$view"
	refused mv "$scratch/b.img" "$view"
	refused rm "$view"
	refused mv "$view" "$view.old"
	refused truncate -s 1M "$view"
	refused truncate -s +1M "$view"
	refused fallocate -l 90M "$view"
	refused fallocate --collapse-range -o 0 -l 4M "$view"
	# a file system over the headers: refused, or there is none to be hit
	mkfs.ext4 -F -q "$view" &>"$scratch/said" </dev/null ||
		grep -q "Input/output error" "$scratch/said" ||
		fail "mkfs.ext4: $(cat "$scratch/said")"
	whole "$point/disk0.img" mkfs.ext4
done
unmount_repo
same "$scratch/a.img" <("$HIVEFS" restore web@latest -)
