#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A guest that writes faster than folding gets on never has more unfolded than
# the bounds say. A fold that is under way at the last close, or when it is
# unmounted, is given up and loses nothing; the next one gets there, and what
# the clone holds is in its map then. A commit does not wait for one: it folds
# all by itself.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires jq python3

status() {
	attribute get "$point" status | jq ".$1"
}

truncate -s 900M "$scratch/a.img"
back_up "$scratch/a.img"
mount_clone
random_bytes $((8 << 20)) 1 >"$scratch/data"

# pieces of a MiB, here and there
python3 - "$view" "$oracle" "$scratch/data" "$point" <<'END' ||
import json, os, random, sys
view, oracle, data, point = sys.argv[1:]
data = open(data, 'rb').read()
fds = [os.open(p, os.O_RDWR) for p in (view, oracle)]
rng = random.Random(3)
most = 0
for i in range(700):
    off = rng.randrange(899 << 8) << 12
    at = rng.randrange(7 << 20)
    for fd in fds:
        assert os.pwrite(fd, data[at:at + (1 << 20)], off) == 1 << 20
    if i % 8 == 0:
        status = json.loads(os.getxattr(point, 'user.hivefs.status'))
        most = max(most, status['unfolded_bytes'])
os.fsync(fds[0])
print(f'at most {most >> 20} MiB unfolded', file=sys.stderr)
# 512 that may wait, 64 that a fold carries, and what is left of a file
sys.exit(most < 256 << 20 or most > 656 << 20)
END
	fail "the bounds were not kept"

# as it closed, one was under way: everything is still there
same_disk
unmount_repo
mount_clone
same_disk

hold "$view"
put 4096 5000 7
for ((n = 0; n < 600; n++)); do
	[ "$(status unfolded_bytes)" -ge $((128 << 20)) ] || break
	sleep 0.2
done
[ "$(status folded.windows)" -gt 0 ] || fail "nothing was folded"
[ "$(status unfolded_bytes)" -lt $((128 << 20)) ] || fail "it stays unfolded"
same_disk
let_go

# a fold is under way, and has done little of it yet
python3 - "$view" "$oracle" "$point" <<'END' || fail "not committed meanwhile"
import json, os, random, sys, time
view, oracle, point = sys.argv[1:]
fds = [os.open(p, os.O_RDWR) for p in (view, oracle)]
rng = random.Random(4)
def status():
    return json.loads(os.getxattr(point, 'user.hivefs.status'))
for off in range(0, 272 << 20, 1 << 20):
    data = rng.randbytes(1 << 20)
    for fd in fds:
        os.pwrite(fd, data, off)
for off in range(800 << 20, 900 << 20, 4096):
    if (now := status())['folding_windows']:
        break
    os.pwrite(fds[0], data[:4096], off)
    os.pwrite(fds[1], data[:4096], off)
assert now['folding_done'] < now['folding_windows'] // 2, now
os.setxattr(point, 'user.hivefs.commit', b'')
END
alias=$(attribute get "$point" commit | jq -r .alias)
# what the fold that was given up had stored already is not new
"$HIVEFS" show "web@$alias" --json | jq -s -e '.[0].disks[0] |
	.read > 200e6 and .new > 100e6' >/dev/null ||
	fail "$("$HIVEFS" show "web@$alias")"
same "$oracle" "$mnt/web/latest/ro/disk0.img"
kill_mount
mount_clone
same_disk
unmount_repo
"$HIVEFS" verify
