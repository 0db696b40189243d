#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A copy to a disk that is full: exit code 13, without the point that did not
# fit and with those that did, and once there is space it goes on.

. "$(dirname "$0")/common.sh"
requires jq mkfs.ext4 losetup
[ "$(id -u)" = 0 ] || skip "needs root"

cd "$scratch"
truncate -s 128M disk
mkfs.ext4 -qF disk
mkdir small
mount -o loop disk small 2>/dev/null || skip "no loop device"
at_exit umount "$scratch/small"
random_image a 8M
random_image big 40M 2
"$HIVEFS" init -q
"$HIVEFS" init -q -r small/repo
"$HIVEFS" backup -q a a
sleep 1.1 # the older machine goes first
"$HIVEFS" backup -q b big
avail=$(df --output=avail -k small | tail -1)
head -c $((avail - 34000))K /dev/zero >small/fill
for _ in 1 2; do
	expect_exit 13 "$HIVEFS" copy --to small/repo
	[ "$(wc -l <stderr)" = 1 ] || fail "not one sentence: $(<stderr)"
	[ "$(HIVEFS_REPO=small/repo points)" = 1 ] || fail "not the one that fits"
	"$HIVEFS" verify -q -r small/repo
done
rm small/fill
json_of "$HIVEFS" copy --to small/repo --json
[ "$(summary '"\(.copied) \(.there)"')" = "1 1" ] || fail "$(summary .)"
"$HIVEFS" verify -q -r small/repo
"$HIVEFS" restore -q -r small/repo b@latest out
same big out

mount -o remount,ro small
sleep 1.1
"$HIVEFS" backup -q a a
expect_exit 1 "$HIVEFS" copy --to small/repo
expect_said 'read-only'
json_of "$HIVEFS" copy --to small/repo --dry-run --json
[ "$(summary '"\(.copied) \(.there)"')" = "1 2" ] || fail "$(summary .)"
# what is on a read-only file system can be copied from
"$HIVEFS" init -q -r elsewhere
"$HIVEFS" copy -q --from small/repo -r elsewhere
"$HIVEFS" verify -q -r elsewhere
