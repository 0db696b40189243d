#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A clone is told through the mount to commit itself while it is written to: the
# new point is the disks as they were at one instant, and says so. It is told to
# go as well, but not while a file of it is open.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires jq python3

sparse_image "$scratch/a.img" 40M
"$HIVEFS" init
"$HIVEFS" backup web one="$scratch/a.img" two="$scratch/a.img"
mount_clone
(! attribute set "$point" commit) 2>/dev/null || fail "there is no clone yet"

# counts, on one disk and then on the other: the other is never ahead
python3 - "$point" "$scratch/stop" >"$scratch/counted" 2>&1 <<'END' &
import os, sys
one = os.open(sys.argv[1] + '/one.img', os.O_RDWR)
two = os.open(sys.argv[1] + '/two.img', os.O_RDWR)
n = 0
while not os.path.exists(sys.argv[2]):
    n += 1
    block = n.to_bytes(8, 'big') * 1024
    os.pwrite(one, block, 30000000)
    os.pwrite(two, block, 12345)
    os.pwrite(one, os.urandom(4096), n * 40961 % 29000000)
print(n)
END
writer=$!
while [ ! -e "$point/clone.json" ]; do sleep 0.1; done
sleep 0.5

last=0
for ((i = 0; i < 3; i++)); do
	sleep 1
	attribute set "$point" commit
	alias=$(attribute get "$point" commit | jq -r .alias)
	attribute get "$point" commit | jq -e '.type == "commit" and
		.machine == "web" and .error == null' >/dev/null ||
		fail "$(attribute get "$point" commit)"
	"$HIVEFS" show "web@$alias" >/dev/null
	new=$(grep -l "\"$alias\"" "$mnt"/web/2*/point.json)
	new=${new%/point.json}
	read -r one two <<<"$(python3 - "$new" <<'END'
import sys
def at(name, off):
    f = open(sys.argv[1] + name, 'rb')
    f.seek(off)
    got = [f.read(8) for _ in range(1024)]
    assert len(set(got)) == 1, 'torn write'
    return int.from_bytes(got[0], 'big')
print(at('/one.img', 30000000), at('/two.img', 12345))
END
	)"
	[ "$one" = "$two" ] || [ "$one" = $((two + 1)) ] || fail "$one, $two"
	[ "$two" -gt "$last" ] || fail "no later than the one before: $two"
	last=$two
done
(! attribute set "$point" discard) 2>"$scratch/said" ||
	fail "was dropped while it was open"
grep -q "Device or resource busy" "$scratch/said" || fail "not EBUSY"
touch "$scratch/stop"
wait $writer || fail "the writer: $(cat "$scratch/counted")"
[ "$(cat "$scratch/counted")" -ge "$last" ] || fail "$(cat "$scratch/counted")"

# closed, it can be committed, too; then it goes
sleep 1
attribute set "$point" commit
same "$point/one.img" "$mnt/web/latest/one.img"
attribute set "$point" discard
[ ! -e "$point/clone.json" ] || fail "it is still there"
same "$scratch/a.img" "$point/one.img"
"$HIVEFS" verify
unmount_repo
