#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# hivefs doctor finds what is wrong, says it in a line with what to do, changes
# nothing and leaves nothing behind: a directory that is not this user's, one
# others can read, one in memory, a full and a read-only disk, files and an index
# that are lost, who died, what is damaged, a clock that is wrong, and a host
# that cannot mount.

. "$(dirname "$0")/common.sh"
needs_files # of servers: tests/mongo/doctor.sh
requires jq python3 mkfs.ext4 losetup setpriv unshare
[ "$(id -u)" = 0 ] || skip "needs root"
[ -n "${CLOCK-}" ] || skip "no \$CLOCK"

cd "$scratch"
# said RESULT CHECK PATTERN
said() {
	jq -r 'select(.type == "check") | "\(.result) \(.check): \(.message)"' \
		stdout >lines
	grep -qE -e "^$1 $2: .*$3" lines || {
		cat lines stderr >&2
		fail "does not say: $1 $2: $3"
	}
}

# doctor CODE [CMD...]: by way of CMD
doctor() {
	local code=$1
	shift
	expect_exit "$code" "$@" "$HIVEFS" doctor --store --json
	[ "$(jq -s 'last.type == "summary"' stdout)" = true ] || fail "no summary"
}

doctor 10
said failed repository 'there is none: hivefs init'
truncate -s 2G large
mkfs.ext4 -qF large
mkdir disk
mount -o loop large disk 2>/dev/null || skip "no loop device"
at_exit umount "$scratch/disk"
export HIVEFS_REPO=$scratch/disk/repo
random_image a 4M
random_image b 4M 2
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
find disk | sort >before
doctor 0
find disk | sort | cmp before - || fail "it left something behind"
for check in 'file system' space permissions sync locks mapping repository \
	'round trip' durable 'unique keys' conditional order listings clock \
	others leftovers segments; do
	said ok "$check" .
done
said ok others '0 at work'
"$HIVEFS" doctor --store >text
grep -q '^ok       sync: 4 KiB' text && tail -n 1 text |
	grep -q ' ok, 0 warnings, 0 failed$' || fail "$(<text)"
[ -z "$("$HIVEFS" doctor --store -q)" ] || fail "not quiet"

# whose it is
chmod 755 disk/repo disk "$scratch"
doctor 3
said warning permissions 'other users can look into .*: chmod 700'
doctor 1 setpriv --reuid 65534 --regid 65534 --clear-groups
said failed permissions 'segments: Permission denied'
chmod 700 disk/repo
doctor 1 setpriv --reuid 65534 --regid 65534 --clear-groups
said failed permissions 'Permission denied'

# a copy that died
"$HIVEFS" init -q -r from
random_image c 24M 3
"$HIVEFS" backup -q -r from db c
"$HIVEFS" copy -q -r from --to "$HIVEFS_REPO" --limit 2M &
pid=$!
disown $pid
size=$(du -sm disk/repo/segments | cut -f 1)
for ((n = 0; n < 600; n++)); do
	[ "$(du -sm disk/repo/segments | cut -f 1)" = "$size" ] || break
	sleep 0.02
done
doctor 0
said ok others '1 at work'
kill -9 $pid
while kill -0 $pid 2>/dev/null; do sleep 0.02; done
doctor 3
said warning others '1 backup or clone that died is still registered: hivefs gc'
"$HIVEFS" gc -q 2>/dev/null
doctor 0

# clocks
CLOCK_SHIFT=-864000 doctor 3 env LD_PRELOAD="$CLOCK"
said warning clock 'set the clock'

# damage that verify has found, and files that nobody has missed yet
sleep 1.1
"$HIVEFS" backup -q mail b
cp -a disk/repo whole
python3 - <<-'PY'
	import glob
	need = open('b', 'rb').read()[1000000:][:4096]
	for name in glob.glob('disk/repo/segments/*.seg'):
	    data = bytearray(open(name, 'rb').read())
	    at = data.find(need)
	    if at >= 0:
	        data[at + 100] ^= 1
	        open(name, 'r+b').write(data)
PY
"$HIVEFS" verify -q >/dev/null 2>&1 && fail "no damage"
doctor 3
said warning quarantine '1 document is damaged or missing: hivefs verify'
rm "$(grep -L disks disk/repo/segments/*.seg | xargs ls -S | head -n 1)"
doctor 1
said failed segments 'documents are gone .*: hivefs verify'

# the index: interrupted, full of nonsense, gone; another format
again() {
	rm -rf disk/repo
	cp -a whole disk/repo
}
again
mkdir disk/repo/index.new
doctor 3
said warning index 'hivefs repair --index'
python3 - <<-'PY'
	import os
	name = 'disk/repo/index/data.mdb'
	size = os.path.getsize(name)
	with open(name, 'r+b') as f:
	    f.seek(8192)
	    f.write(os.urandom(1) * (size - 8192))
PY
code=0
"$HIVEFS" doctor --store --json >stdout 2>stderr || code=$?
[ $code = 1 ] || [ $code = 4 ] || fail "exit $code of an index of nonsense"
grep -q '"result":"failed".*index' stdout || fail "$(<stdout)"
rm -r disk/repo/index
doctor 1
said failed index 'hivefs repair --index'
again
sed -i 's/^format 1$/format 2/' disk/repo/hivefs
doctor 1
said failed repository 'hivefs'
again

# space, and where it is
avail=$(df --output=avail -k disk | tail -1)
fallocate -l $((avail - 80000))K disk/fill
doctor 3
said warning space 'less than a twentieth'
fallocate -l 30M disk/more
doctor 1
said failed space 'prune points and run hivefs gc'
rm disk/fill disk/more
mount -o remount,ro disk
doctor 3
said warning permissions 'read-only file system'
mount -o remount,rw disk
mkdir memory
mount -t tmpfs none memory
at_exit umount "$scratch/memory"
HIVEFS_REPO=$scratch/memory/repo
"$HIVEFS" init -q
doctor 3
said warning 'file system' 'is in memory'

# the host: without a device to mount with, without programs
HIVEFS_REPO=$scratch/disk/repo
expect_exit 1 unshare -m sh -c 'mount -t tmpfs none /dev && exec "$0" "$@"' \
	"$HIVEFS" doctor --json
said failed fuse 'there is no /dev/fuse.*modprobe fuse'
said warning kvm '/dev/kvm'
expect_exit 1 setpriv --bounding-set -sys_admin "$HIVEFS" doctor --json
said failed fuse 'capability SYS_ADMIN'
expect_exit 3 env PATH=/nowhere "$HIVEFS" doctor --json
for check in fusermount3 qemu-nbd qemu-system-x86_64; do
	said warning $check 'is not there'
done
