#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Zeroes of a disk are holes of its view, for lseek(2), cp and qemu; its blocks
# are what it holds. A disk of a TiB with little in it costs what is in it.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires qemu-img jq

sparse_image "$scratch/a.img" 33M
truncate -s 1T "$scratch/huge.img"
random_image "$scratch/mib" 1M
for at in 0 4097 700000 1048575; do # MiB
	dd if="$scratch/mib" of="$scratch/huge.img" bs=1M seek=$at conv=notrunc \
		status=none
done
truncate -s 7M "$scratch/zero.img"
"$HIVEFS" init
"$HIVEFS" backup web a="$scratch/a.img" huge="$scratch/huge.img" \
	zero="$scratch/zero.img"

mount_repo -o ro,formats=img
view=$mnt/web/latest
map() {
	qemu-img map --output=json -f raw "$1" | jq -c '.[] | [.start, .length, .data]'
}
diff <(map "$scratch/huge.img") <(map "$view/huge.img") || fail "map of 1 TiB"
[ "$(map "$view/zero.img")" = '[0,7340032,false]' ] || fail "map of zeroes"

# of a.img each fourth MiB is data, from the first on; the rest is holes or
# zeroes, which the source's own map tells apart and ours need not
[ "$(map "$view/a.img" | grep -c true)" = 9 ] || fail "map of a.img"
[ "$(stat -c %b "$view/a.img")" = $((9 * 2048)) ] || fail "blocks of a.img"
[ "$(stat -c %b "$view/huge.img")" = $((4 * 2048)) ] || fail "blocks of 1 TiB"
[ "$(stat -c %b "$view/zero.img")" = 0 ] || fail "blocks of zeroes"
# in the point and in ro/ it is one file
[ "$(du -s "$view/" | cut -f1)" -lt $((14 << 10)) ] || fail "du counts twice"

cp --sparse=auto "$view/huge.img" "$scratch/copy.img"
[ "$(stat -c %b "$scratch/copy.img")" -lt $((6 * 2048)) ] || fail "cp filled it"
qemu-img compare -q -f raw -F raw "$scratch/huge.img" "$scratch/copy.img"
cp --sparse=auto "$view/a.img" "$scratch/copy.img"
same "$scratch/a.img" "$scratch/copy.img"
unmount_repo
