#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A view can be written to: the first open for writing forks the point's own
# clone, which lasts over a remount and over kill -9, with or without a sync and
# with the page cache or without it. The point, its ro/ and -o ro never change.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires jq python3

sparse_image "$scratch/a.img" 21M
truncate -s +1536 "$scratch/a.img"
back_up "$scratch/a.img"
mount_clone

# opened before there is a clone, it shows what is written later
exec 8<"$view"
cmp "$scratch/a.img" - <&8
[ ! -e "$point/clone.json" ] || fail "reading has forked it"
put 4096 4096 1
put 12288 5000 2
put 9000000 1000000 3
put $((21 << 20)) 1536 4 # the end, which is no whole page
same_disk
cmp <(head -c 5000000 "$oracle") <(dd bs=5000000 count=1 iflag=fullblock \
	status=none <"/proc/self/fd/8") || fail "who had it open sees the past"
exec 8<&-

jq -e '.type == "clone" and .name == null and .machine == "web"' \
	"$point/clone.json" >/dev/null || fail "clone.json"
same "$scratch/a.img" "$point/ro/disk0.img"
[ "$(stat -c %a "$view" "$point/ro/disk0.img" | xargs)" = "644 444" ] ||
	fail "permissions: $(stat -c %a "$view" "$point/ro/disk0.img")"
for where in "$point/ro/disk0.img" "$point/point.json"; do
	# shellcheck disable=SC2016
	expect_exit 1 bash -c 'echo >>"$1"' bash "$where"
done

# it does not grow, shrink or go
expect_exit 1 dd if=/dev/urandom of="$view" bs=512 count=1 seek=100000 \
	conv=notrunc
expect_exit 1 truncate -s 1M "$view"
expect_exit 1 rm -f "$view"
dd if=/dev/zero of="$view" bs=1M seek=22 count=1 conv=notrunc status=none
truncate -s "$(stat -c %s "$oracle")" "$view"
same_disk
unmount_repo

mount_clone -o ro
same "$scratch/a.img" "$view"
expect_exit 1 dd if=/dev/zero of="$view" bs=512 count=1 conv=notrunc
unmount_repo

seed=10
for how in oflag=seek_bytes conv=fsync conv=fdatasync oflag=dsync oflag=sync \
	oflag=direct oflag=direct,dsync; do
	mount_clone
	same_disk
	put $((seed * 40960)) 4096 $seed "$how"
	put $((seed * 512000)) 512000 $((seed + 1)) "$how"
	kill_mount
	seed=$((seed + 2))
done
mount_clone
same_disk
"$HIVEFS" verify
unmount_repo
