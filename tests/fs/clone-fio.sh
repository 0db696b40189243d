#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# fio writes to a view in random mixes, several jobs at a time, and reads back
# what it wrote: with syncs among the writes, trims, direct I/O, and once more
# after a remount.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires fio python3

sparse_image "$scratch/a.img" 96M
back_up "$scratch/a.img"
mount_clone

run() {
	(cd "$scratch" && fio --name="$1" --filename="$view" --size=16M \
		--verify=crc32c --verify_fatal=1 --randseed=7 \
		--allow_file_create=0 --output="$scratch/fio.log" "${@:2}") || {
		cat "$scratch/fio.log"
		fail "fio: $1"
	}
}
run small --rw=randwrite --bs=4k --ioengine=psync --direct=1 --numjobs=3 \
	--offset_increment=32M --fsync=100
run mixed --rw=randrw --bsrange=512-128k --bs_unaligned --ioengine=psync \
	--numjobs=2 --offset_increment=32M --verify_backlog=64
# the order of writes that are under way together is nobody's
run queue --rw=randwrite --bsrange=4k-256k --blockalign=512 --ioengine=libaio \
	--direct=1 --iodepth=16 --serialize_overlap=1
run synced --rw=randwrite --bs=8k --ioengine=psync --sync=dsync --size=2M
run order --rw=write --bs=1M --ioengine=psync --end_fsync=1 --offset=64M
unmount_repo
mount_clone
run order --rw=write --bs=1M --ioengine=psync --offset=64M --verify_only
same "$scratch/a.img" "$point/ro/disk0.img"
unmount_repo
