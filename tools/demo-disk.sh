#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# demo-disk - a small but real Linux disk, made from Debian packages.
#
#   tools/demo-disk.sh OUT.img [SIZE]    make it (SIZE as for truncate, 2G)
#   tools/demo-disk.sh --small OUT.img [SIZE]
#                                        of what boots alone, some 20 MB
#   tools/demo-disk.sh --next OUT.img    what a day does to it: /etc/generation
#                                        counts up, a package is added, a log
#                                        grows, files go
#
# The disk: MBR with GRUB, one ext4 partition, Debian's cloud kernel, busybox
# as userland and some 230 MB of packages that nothing but size asks for. It
# boots from its own boot loader to ttyS0, checks the files listed in
# /etc/manifest, says
#
#   hivefs demo: booted, /etc/generation says N, M files checked
#
# and switches itself off. No root, no loop device and no mount is needed: GRUB
# is written to the gap before the first partition as the two files that its
# own installer would write, and mke2fs and debugfs work on a file at an offset.
# Packages are kept in .cache/ and never installed on the host.

set -Eeuo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

top=$(cd "$(dirname "$0")/.." && pwd)
cache=${HIVEFS_CACHE:-$top/.cache}/packages
start=$((1024 * 1024)) # of the partition
grub=/usr/lib/grub/i386-pc
content=(busybox-static perl-modules-5.36 vim-runtime git libicu72)
next_content=(libpython3.11-stdlib libpython3.11-minimal)

die() {
	echo "demo-disk: $*" >&2
	exit 1
}

# quietly CMD...: its output only when it fails
quietly() {
	"$@" >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		die "failed: $*"
	}
}

# fetch ROOT PACKAGE...: unpacks packages into ROOT, from the cache if there
fetch() {
	local root=$1 package file
	shift
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9
	for package; do
		file=$(find "$cache" -name "${package}_*.deb" | head -n 1)
		if [ -z "$file" ]; then
			mkdir -p "$work/deb"
			(cd "$work/deb" && quietly apt-get -q \
				-o APT::Sandbox::User=root download "$package")
			mv "$work"/deb/*.deb "$cache/"
			file=$(find "$cache" -name "${package}_*.deb" |
				head -n 1)
		fi
		quietly dpkg-deb --extract "$file" "$root"
	done
	exec 9>&-
}

# The first program: finds the root and hands over to its /sbin/init.
write_initrd() {
	local root=$1 ir=$work/initrd module
	mkdir -p "$ir"/{bin,dev,proc,new}
	cp "$root/bin/busybox" "$ir/bin/"
	for module in virtio_ring virtio virtio_pci_modern_dev \
		virtio_pci_legacy_dev virtio_pci virtio_blk; do
		find "$root/lib/modules" -name "$module.ko" \
			-exec cp {} "$ir/" \;
	done
	cat >"$ir/init" <<-'END'
		#!/bin/busybox sh
		busybox mount -t proc proc /proc
		busybox mount -t devtmpfs dev /dev
		for m in virtio_ring virtio virtio_pci_modern_dev \
			virtio_pci_legacy_dev virtio_pci virtio_blk; do
			[ ! -e /$m.ko ] || busybox insmod /$m.ko
		done
		for n in 1 2 3 4 5 6 7 8 9 10; do
			[ ! -b /dev/vda1 ] || break
			busybox sleep 0.2
		done
		busybox mount -t ext4 /dev/vda1 /new ||
			busybox mount -t ext4 -o ro,noload /dev/vda1 /new ||
			busybox poweroff -f
		exec busybox switch_root /new /sbin/init
	END
	chmod +x "$ir/init"
	(cd "$ir" && find . | "$root/bin/busybox" cpio -o -H newc 2>/dev/null |
		gzip -1) >"$root/boot/initrd"
}

write_system() {
	local root=$1
	mkdir -p "$root"/{etc,dev,proc,sys,tmp,root,sbin,var/log,boot/grub}
	echo 1 >"$root/etc/generation"
	echo demo >"$root/etc/hostname"
	seq -f 'day 1, request %.0f answered' 20000 >"$root/var/log/app.log"
	cat >"$root/sbin/init" <<-'END'
		#!/bin/busybox sh
		PATH=/bin
		export PATH
		busybox mount -t proc proc /proc
		busybox mount -t devtmpfs dev /dev
		# fails, and may, on a disk that is read-only
		busybox date 2>/dev/null >>/var/log/boot.log
		if busybox md5sum -c /etc/manifest >/dev/null 2>&1; then
			n=$(busybox wc -l </etc/manifest)
			g=$(busybox cat /etc/generation)
			busybox echo "hivefs demo: booted," \
				"/etc/generation says $g, $n files checked"
		else
			busybox echo "hivefs demo: the files are damaged"
			busybox md5sum -c /etc/manifest | busybox grep -v OK
		fi
		# a second disk begins with what to do (demo-boot.sh --run)
		[ ! -b /dev/vdb ] || busybox sh /dev/vdb
		busybox sync
		busybox mount -o remount,ro /
		busybox poweroff -f
	END
	chmod +x "$root/sbin/init"
	cat >"$root/boot/grub/grub.cfg" <<-'END'
		linux /boot/vmlinuz console=ttyS0 quiet loglevel=1 panic=-1
		initrd /boot/initrd
		boot
	END
}

# What the guest checks at boot: all of /etc and every 40th other file.
write_manifest() {
	local root=$1
	(cd "$root" && {
		find etc -type f ! -path etc/manifest
		find usr lib -type f | LC_ALL=C sort | awk 'NR % 40 == 0'
	} | sed 's,^,/,' | while read -r path; do
		echo "$(md5sum <"$root$path" | cut -d' ' -f1)  $path"
	done) >"$work/manifest"
	mv "$work/manifest" "$root/etc/manifest"
}

# GRUB's boot.img expects core.img in the sectors behind it. Its first 440
# bytes are code; the partition table follows.
write_loader() {
	local out=$1
	cat >"$work/grub.cfg" <<-'END'
		serial --unit=0 --speed=115200
		terminal_input serial
		terminal_output serial
		set root=(hd0,msdos1)
		configfile /boot/grub/grub.cfg
	END
	quietly grub-mkimage -O i386-pc -o "$work/core.img" \
		-c "$work/grub.cfg" -p '(hd0,msdos1)/boot/grub' \
		biosdisk part_msdos ext2 linux serial terminal configfile normal
	[ "$(stat -c %s "$work/core.img")" -lt $((start - 512)) ] ||
		die "GRUB does not fit before the first partition"
	dd if=$grub/boot.img of="$out" bs=440 count=1 conv=notrunc status=none
	dd if="$work/core.img" of="$out" bs=512 seek=1 conv=notrunc status=none
}

make_disk() {
	local out=$1 size=$2 root=$work/root kernel
	mkdir "$root"
	kernel=$(apt-cache depends linux-image-cloud-amd64 |
		awk '/Depends: linux-image/ { print $2; exit }')
	[ -n "$kernel" ] || die "apt knows no linux-image-cloud-amd64:" \
		"try apt-get update"
	fetch "$root" "$kernel" "${content[@]}"
	mv "$root"/boot/vmlinuz-* "$root/boot/vmlinuz"
	write_system "$root"
	write_initrd "$root"
	# the few that a small one needs are in its initrd
	[ ${#content[@]} -gt 1 ] || rm -r "$root/lib/modules" "$root"/boot/System.map-*
	write_manifest "$root"

	rm -f "$out"
	truncate -s "$size" "$out"
	echo "$((start / 512)),,L,*" | quietly sfdisk -q "$out"
	quietly mke2fs -q -t ext4 -F -L demo -d "$root" \
		-O ^metadata_csum_seed,^orphan_file \
		-E "offset=$start,root_owner=0:0" "$out" \
		$((($(stat -c %s "$out") - start) / 1024))k
	write_loader "$out"
}

# The changes are a debugfs script: directories, then files, then what goes.
next_day() {
	local out=$1 fs="$1?offset=$start" new=$work/new n
	mkdir -p "$new/etc" "$new/var/log"
	n=$(debugfs -R "cat /etc/generation" "$fs" 2>/dev/null)
	[ -n "$n" ] || die "$out: not a disk that this script made"
	fetch "$new" "${next_content[@]}"
	echo $((n + 1)) >"$new/etc/generation"
	debugfs -R "cat /var/log/app.log" "$fs" 2>/dev/null >"$new/var/log/app.log"
	seq -f "day $((n + 1)), request %.0f answered" 20000 \
		>>"$new/var/log/app.log"
	{
		debugfs -R "cat /etc/manifest" "$fs" 2>/dev/null |
			grep -v -e ' /etc/generation$' -e ' /usr/share/doc/git/'
		(cd "$new" && find . -type f ! -name '*.log' -printf '/%P\n') |
			while read -r path; do
				echo "$(md5sum <"$new$path" |
					cut -d' ' -f1)  $path"
			done
	} | LC_ALL=C sort -u -k 2 >"$work/manifest"
	mv "$work/manifest" "$new/etc/manifest"
	{
		(cd "$new" && find . -mindepth 1 -type d -printf 'mkdir /%P\n')
		(cd "$new" && find . -type f \
			-printf "rm /%P\nwrite $new/%P /%P\n")
		debugfs -R "ls -p /usr/share/doc/git" "$fs" 2>/dev/null |
			awk -F/ '$3 ~ /^10/ { print "rm /usr/share/doc/git/" $6 }'
	} >"$work/script"
	quietly debugfs -w -f "$work/script" "$fs"
	quietly e2fsck -f -n "$fs"
}

usage() {
	echo "usage: demo-disk.sh [--small] OUT.img [SIZE] | --next OUT.img" >&2
	exit 2
}

for tool in sfdisk mke2fs debugfs grub-mkimage apt-get dpkg-deb; do
	command -v $tool >/dev/null ||
		die "$tool is missing: run tools/setup.sh demo"
done
[ -e $grub/boot.img ] || die "$grub is missing: run tools/setup.sh demo"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'echo "demo-disk: failed at line $LINENO: $BASH_COMMAND" >&2' ERR

if [ "${1-}" = --small ]; then
	content=(busybox-static)
	shift
fi
case ${1-} in
--next)
	[ $# = 2 ] || usage
	[ -f "$2" ] || die "$2: no such file"
	next_day "$2"
	;;
-* | '')
	usage
	;;
*)
	[ $# -le 2 ] || usage
	make_disk "$1" "${2:-2G}"
	;;
esac
