#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A boot test of a clone runs on a clone of that: as it is at that moment, all
# its disks at once, also while it is written to, folded and collected. Neither
# has what is written to the other, and nothing is left of it.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires qemu-system-x86_64 jq python3

sparse_image "$scratch/a.img" 24M
sparse_image "$scratch/b.img" 12M 2
"$HIVEFS" init
"$HIVEFS" backup web "$scratch/a.img" "$scratch/b.img"
cp "$scratch/a.img" "$oracle"
export TMPDIR=$scratch XDG_RUNTIME_DIR=$scratch/run
mkdir "$XDG_RUNTIME_DIR"
mount_clone
"$HIVEFS" clone web@latest kept
test_boot() {
	"$HIVEFS" boot kept --headless --memory 64 --accel tcg "$@"
}
clones() {
	"$HIVEFS" clones --json | jq -r 'select(.type == "clone").clone'
}

# nobody ever wrote to it; and to its views' metadata, too
expect_exit 0 test_boot --until "No bootable device"
view=$mnt/clones/kept/disk0.img
put 5000 100000 1
expect_exit 0 test_boot --until "No bootable device" --format vhdx
same_disk

# folded once, then written to by somebody who has it open
attribute set "$mnt/clones/kept" commit
hold "$view"
for ((n = 1; n < 9; n++)); do put $((n * 2500000)) 90000 $n; done
sync "$view"
cp --sparse=always "$oracle" "$scratch/then.img"
"$HIVEFS" boot kept --headless --memory 64 --accel tcg --until never \
	--timeout 200 -- -boot reboot-timeout=-1 2>"$scratch/said" &
pid=$!
until pgrep -f "qemu-system.*$mnt/clones/boot-" >/dev/null; do
	kill -0 $pid || fail "$(cat "$scratch/said")"
	sleep 0.05
done
copies=("$mnt"/clones/boot-*)
copy=${copies[0]}
same "$scratch/then.img" "$copy/disk0.img"
same "$scratch/b.img" "$copy/disk1.img"

# written to, folded, its old maps collected: the copy has its own
for ((n = 1; n < 9; n++)); do put $((n * 2500000 + 4096)) 90000 1$n; done
attribute set "$mnt/clones/kept" commit
"$HIVEFS" rm web@latest~1
"$HIVEFS" gc
same_disk
mount_again -o ro
same "$scratch/then.img" "$mnt2/clones/$(basename "$copy")/disk0.img"
unmount_again
random_bytes 1000000 77 |
	dd of="$copy/disk0.img" bs=1M conv=notrunc,fsync status=none
same_disk

kill $pid
status=0
wait $pid || status=$?
[ $status = 143 ] || fail "exit $status: $(cat "$scratch/said")"
[ "$(clones)" = kept ] || fail "is left: $(clones)"
same_disk
let_go
"$HIVEFS" gc
same_disk
[ -z "$(ls "$XDG_RUNTIME_DIR")" ] || fail "left: $(ls "$XDG_RUNTIME_DIR")"
unmount_repo
"$HIVEFS" verify
