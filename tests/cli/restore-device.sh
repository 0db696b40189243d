#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Onto a block device: equal afterwards, and refused where it holds something,
# is mounted, or is too small.

. "$(dirname "$0")/common.sh"
requires losetup mkfs.ext4 sfdisk jq
[ "$(id -u)" = 0 ] || skip "needs root"

cd "$scratch"
sparse_image a 16M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a

# attach VAR FILE
attach() {
	local -n ret=$1
	ret=$(losetup -f --show "$2" 2>/dev/null) || skip "no loop device"
	at_exit losetup -d "$ret"
}

dev='' tiny=''
random_image store 20M 4 # no signature, but data everywhere
attach dev store
"$HIVEFS" restore -q web@latest "$dev"
cmp -n $((16 << 20)) a "$dev" || fail "not equal"
random_image tail 20M 4
cmp -i $((16 << 20)) tail "$dev" || fail "what is behind the disk changed"

mkfs.ext4 -q "$dev"
refused 1 "$dev: holds data \(ext4\).*--overwrite" \
	"$HIVEFS" restore web@latest "$dev"
printf 'label: gpt\n,\n' |
	sfdisk -q --no-reread --no-tell-kernel --wipe always "$dev"
refused 1 "$dev: holds data \(gpt\)" "$HIVEFS" restore web@latest "$dev"

mkfs.ext4 -qF "$dev"
mkdir mnt
mount "$dev" mnt
at_exit sh -c "! mountpoint -q mnt || umount mnt"
refused 11 "$dev: is mounted" "$HIVEFS" restore web@latest "$dev"
refused 11 "$dev: is mounted" "$HIVEFS" restore --overwrite web@latest "$dev"
umount mnt
"$HIVEFS" restore -q --overwrite web@latest "$dev"
cmp -n $((16 << 20)) a "$dev" || fail "not equal over a file system"
json_of "$HIVEFS" restore --resume --overwrite --json web@latest "$dev"
[ "$(summary .written)" -le $((1 << 20)) ] || fail "equal, but written again"

truncate -s 15M small
attach tiny small
refused 13 "$tiny: has 15.0 MiB" "$HIVEFS" restore web@latest "$tiny"
refused 13 "$tiny: has" "$HIVEFS" restore --overwrite web@latest "$tiny"
is_zero=$(tr -d '\0' <small | wc -c)
[ "$is_zero" = 0 ] || fail "written though too small"

# a backup of a device is one of its bytes
"$HIVEFS" backup -q device "$dev"
"$HIVEFS" restore -q device@latest - | cmp - "$dev"
