#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What is written to a view's metadata: a write is split where the disk's bytes
# begin and end; what would move the disk within its file is refused, once in
# the log; no file grows, but for a VMDK descriptor, which may be rewritten, cut,
# made longer and replaced. All of it lasts over kill -9 and belongs to the one
# view; the point has none of it.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires python3 qemu-img

sparse_image "$scratch/a.img" 9M
truncate -s +512 "$scratch/a.img"
back_up "$scratch/a.img"
mount_clone

cat >"$scratch/write.py" <<'END'
import errno, os, sys, time
point = sys.argv[1]
size = (9 << 20) + 512

def error(call, *args):
    try:
        call(*args)
    except OSError as e:
        return errno.errorcode[e.errno]

# before the disk, across its first byte, across its last one, behind it
layouts = {'vhdx': (4 << 20, 32 << 20), 'vdi': (2 << 20, 10 << 20),
           'vhd': (0, size + 512)}
for k, (ending, (prefix, room)) in enumerate(layouts.items()):
    fd = os.open(f'{point}/disk0.{ending}', os.O_RDWR)
    img = os.open(f'{point}/disk0.img', os.O_RDONLY)
    end = os.fstat(fd).st_size
    assert end == prefix + room, (ending, end)

    def put(off, data):
        assert os.pwrite(fd, data, off) == len(data)
        assert os.pread(fd, len(data), off) == data

    first = bytes([65 + k]) * 1000
    if prefix:
        # the creator's name, of which no program relies on
        at = 8 if ending == 'vhdx' else 0x54
        put(at, first[:200])
        # the last bytes before the disk are zeroes of a table
        across = os.pread(fd, 100, prefix - 100) + first
        put(prefix - 100, across)
        assert os.pread(img, 1000, 0) == first
    last = bytes([97 + k]) * 700
    # the footer of a VHD, the padding of the others
    behind = os.pread(fd, 300, prefix + size)
    put(prefix + size - 700, last + behind)
    assert os.pread(img, 1000, size - 700) == last
    # behind the end: zeroes are nothing, others too much
    assert os.pwrite(fd, bytes(4096), end) == 4096
    assert os.pwrite(fd, behind + bytes(4096), end - len(behind))
    assert os.fstat(fd).st_size == end
    assert error(os.pwrite, fd, b'x', end) == 'EFBIG'
    assert error(os.ftruncate, fd, end + 512) == 'EPERM'
    assert error(os.ftruncate, fd, end - 512) == 'EPERM'
    os.fsync(fd)
    os.close(fd)
    os.close(img)

# the block tables: to where the block is not
for ending, off in ('vhdx', 3 << 20), ('vdi', 1 << 20):
    fd = os.open(f'{point}/disk0.{ending}', os.O_RDWR)
    was = os.pread(fd, 64, off)
    for i in range(3):
        assert error(os.pwrite, fd, b'\xaa' * 8, off) == 'EIO'
    assert os.pread(fd, 64, off) == was
    assert os.pwrite(fd, was, off) == 64
    os.close(fd)

# the descriptor
path = f'{point}/disk0.vmdk'
was = open(path, 'rb').read()
fd = os.open(path, os.O_RDWR)
assert os.pwrite(fd, b'#' * 512, 0) == 512
assert os.pread(fd, 1024, 0) == b'#' * 512 + was[512:1024]
os.ftruncate(fd, 700)
assert os.pread(fd, 4096, 0) == b'#' * 512 + was[512:700]
os.ftruncate(fd, 900)
assert os.pread(fd, 4096, 0) == b'#' * 512 + was[512:700] + bytes(200)
assert os.pwrite(fd, b'end', 5000) == 3
assert os.fstat(fd).st_size == 5003 == os.stat(path).st_size
assert os.pread(fd, 8192, 900) == bytes(4100) + b'end'
assert os.pwrite(fd, b'z', (1 << 20) - 1) == 1
assert error(os.pwrite, fd, b'z', 1 << 20) == 'EFBIG'
assert error(os.ftruncate, fd, (1 << 20) + 1) == 'EFBIG'
os.ftruncate(fd, 0)
assert open(path, 'rb').read() == b''
# closed without what leads to the disk, it is as it was, once that is known
def becomes(want):
    for _ in range(300):
        if open(path, 'rb').read() == want:
            return
        time.sleep(0.1)
    assert False, open(path, 'rb').read()
os.close(fd)
becomes(was)
os.truncate(path, 0)
becomes(was)
# but not while anybody is about to write it
with open(path, 'wb') as f:
    with open(path, 'r+b') as g:
        g.write(b'#')
    assert open(path, 'rb').read() == b'#'
    f.write(was[:600])
assert open(path, 'rb').read() == was[:600]
with open(f'{point}/junk', 'wb') as f:
    f.write(b'junk')
assert error(os.rename, f'{point}/junk', path) == 'EIO'
assert open(path, 'rb').read() == was[:600]
os.unlink(f'{point}/junk')
with open(f'{point}/disk0.vmdk~', 'wb') as f:
    f.write(was + b'# replaced\n')
os.rename(f'{point}/disk0.vmdk~', path)
assert open(path, 'rb').read() == was + b'# replaced\n'
assert not os.path.exists(f'{point}/disk0.vmdk~')
assert error(os.unlink, f'{point}/disk0.vdi') == 'EPERM'
assert error(os.unlink, f'{point}/disk0-flat.vmdk') == 'EPERM'
# removed, and made anew
fd = os.open(path, os.O_RDONLY)
os.unlink(path)
assert error(os.stat, path) == 'ENOENT'
assert 'disk0.vmdk' not in os.listdir(point)
assert os.pread(fd, 1 << 20, 0) == was
os.close(fd)
assert error(os.mkdir, path) == 'EPERM'
fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
assert os.fstat(fd).st_size == 0
assert os.write(fd, was[:800]) == 800
os.close(fd)
assert open(path, 'rb').read() == was[:800]
os.unlink(path)
with open(f'{point}/disk0.vmdk.new', 'wb') as f:
    f.write(was + b'# again\n')
os.rename(f'{point}/disk0.vmdk.new', path)
assert open(path, 'rb').read() == was + b'# again\n'
assert error(os.rename, path, f'{point}/x') == 'EPERM'
with open(f'{point}/x', 'wb') as f:
    f.write(b'x')
assert error(os.rename, f'{point}/x', f'{point}/disk0.vdi') == 'EPERM'
os.unlink(f'{point}/x')
END
python3 "$scratch/write.py" "$point"
[ "$(grep -c "would move the disk within the file" "$scratch/daemon.log")" \
	= 2 ] || fail "the log: $(cat "$scratch/daemon.log")"

state() {
	(cd "$point" && sha256sum disk0.{vmdk,vhd,vhdx,vdi,img} && stat -c %s disk0.vmdk)
}
state >"$scratch/state"
for how in kill commit kill commit; do
	[ $how = kill ] || attribute set "$point" commit
	kill_mount
	mount_clone
	state | diff "$scratch/state" - || fail "another after $how"
done
mount_again -o ro
for ending in vmdk vhd vhdx vdi; do
	qemu-img info "$mnt2/web/latest/ro/disk0.$ending" >/dev/null
	! cmp -s "$point/disk0.$ending" "$point/ro/disk0.$ending" ||
		fail "ro/disk0.$ending has what was written"
done
# another mount sees what the first has
(cd "$mnt2/web/$(basename "$point")" && cmp disk0.vmdk ro/disk0.vmdk) ||
	fail "with -o ro a point shows what was written to it"
unmount_again
same "$scratch/a.img" "$point/ro/disk0.img"
unmount_repo
"$HIVEFS" discard "web@$(basename "$point")"
mount_clone
for ending in vmdk vhd vhdx vdi; do
	same "$point/disk0.$ending" "$point/ro/disk0.$ending"
done
unmount_repo
