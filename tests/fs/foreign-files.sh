#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Programs may put small files and directories beside views, as for locks: they
# never stand before what is ours, change no clone, are bounded, and are gone
# with the mount. With -o ro and in ro/ there are none.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires python3

random_image "$scratch/a.img" 1M
back_up "$scratch/a.img"
"$HIVEFS" clone web@latest work
mount_clone
work=$mnt/clones/work

for dir in "$point" "$work"; do
	mkdir "$dir/disk0.vmdk.lck"
	echo one >"$dir/disk0.vmdk.lck/M1.lck"
	echo two >>"$dir/disk0.vmdk.lck/M1.lck"
	[ "$(cat "$dir/disk0.vmdk.lck/M1.lck")" = $'one\ntwo' ] ||
		fail "other bytes"
	expect_exit 1 rmdir "$dir/disk0.vmdk.lck"
	mv "$dir/disk0.vmdk.lck/M1.lck" "$dir/.lck-1"
	mv "$dir/.lck-1" "$dir/.lck-2"
	truncate -s 3 "$dir/.lck-2"
	truncate -s 5 "$dir/.lck-2"
	cmp "$dir/.lck-2" <(printf 'one\0\0') || fail "not cut and zeroed"
	rmdir "$dir/disk0.vmdk.lck"
	(cd "$dir" && ls -A) | grep -q -x .lck-2 || fail "is not listed"
	[ ! -e "$dir/.lck-1" ] || fail "the old name is still there"
done
[ ! -e "$point/clone.json" ] || fail "a lock file has forked the point"
rm "$work/.lck-2"
[ ! -e "$work/.lck-2" ] || fail "is not removed"

# one that is open stays readable, and its place can be taken by another
python3 - "$point" <<'END'
import os, sys
os.chdir(sys.argv[1])
fd = os.open('x.lock', os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, b'first')
assert os.fstat(fd).st_mode & 0o777 == 0o600
os.unlink('x.lock')
other = os.open('x.lock', os.O_RDWR | os.O_CREAT | os.O_EXCL)
os.write(other, b'second')
assert os.pread(fd, 100, 0) == b'first'
os.write(fd, b'more')
assert os.pread(fd, 100, 0) == b'firstmore'
with open('y.lock', 'wb') as f:
    f.write(b'third')
os.rename('y.lock', 'x.lock')
assert open('x.lock', 'rb').read() == b'third'
assert os.pread(other, 100, 0) == b'second'
# as many as there may be, and each as long
def error(call, *args):
    try:
        call(*args)
    except OSError as e:
        return os.strerror(e.errno)
assert error(os.pwrite, fd, b'x', 1 << 20) == 'File too large'
os.pwrite(fd, b'x', (1 << 20) - 1)
n = 0
while not (said := error(lambda: os.truncate(
        os.open('big%d' % n, os.O_RDWR | os.O_CREAT), 1 << 20))):
    n += 1
assert said == 'No space left on device', said
assert 10 <= n <= 16, n
END

# what is ours stays so
for name in disk0.img ro clone.json point.json files; do
	expect_exit 1 mkdir "$point/$name"
	expect_exit 1 mv "$point/x.lock" "$point/$name"
done
expect_exit 1 mv "$point/disk0.img" "$point/other.img"
expect_exit 1 rm -f "$point/point.json"
expect_exit 1 ln "$point/x.lock" "$point/y.lock"
expect_exit 1 ln -s x.lock "$point/y.lock"
expect_exit 1 python3 -c 'import os, sys; os.rename(*sys.argv[1:])' \
	"$point/x.lock" "$work/x.lock"
expect_said "Invalid cross-device link"
for dir in "$mnt" "$mnt/web" "$point/ro" "$mnt/clones"; do
	expect_exit 1 mkdir "$dir/new"
	expect_exit 1 touch "$dir/new"
done
same "$scratch/a.img" "$point/disk0.img"
unmount_repo

mount_clone -o formats=img
expect_exit 1 touch "$point/disk0.vhd" # a name of ours, though not shown
[ "$(cd "$point" && echo *)" = "disk0.img point.json ro" ] ||
	fail "something was left: $(ls -A "$point")"
unmount_repo
mount_clone -o ro
expect_exit 1 touch "$point/x.lock"
expect_exit 1 mkdir "$mnt/clones/work/x.lck"
unmount_repo
