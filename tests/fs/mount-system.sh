#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a system has around a mount: a line of fstab, syslog, and users that are
# not root, who may or may not let others in. In mount namespaces of its own, with
# a /dev, an fstab and a fuse.conf of its own.

if [ -z "${HIVEFS_TEST_INSIDE-}" ] && unshare -m true 2>/dev/null; then
	HIVEFS_TEST_INSIDE=yes exec unshare -m --propagation private \
		bash "$0" "$@"
fi

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires unshare fusermount3 mount.fuse3 python3 setpriv
[ "$(id -u)" = 0 ] || skip "only root can make such a namespace"

# copies of mounts that others have, which would keep their daemons here
while read -r other; do
	umount -l "$other"
done < <(findmnt -l -n -o TARGET -t fuse.hivefs)

cd "$scratch"
chmod 711 .
mkdir dev bin
mount -t tmpfs dev dev
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 fuse:10:229; do
	IFS=: read -r name major minor <<<"$node"
	mknod -m 666 "dev/$name" c "$major" "$minor"
done
ln -s /proc/self/fd dev/fd
mkdir -m 1777 dev/shm # libmongoc warns without it
mount --move dev /dev
cp "$HIVEFS" bin/hivefs
chmod 755 bin bin/hivefs
PATH=$PWD/bin:$PATH

python3 -u - /dev/log >syslog <<'PY' &
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
while True:
    print(s.recv(65536).decode(errors='replace').rstrip('\0'))
PY
at_exit kill $!
until [ -S /dev/log ]; do sleep 0.05; done

# logged PATTERN: within a moment
logged() {
	for ((n = 0; n < 50; n++)); do
		! grep -E -e "$1" syslog >/dev/null || return 0
		sleep 0.1
	done
	fail "not in syslog: $1: $(cat syslog)"
}

# running: a process of this very copy
running() {
	local exe
	for exe in /proc/[0-9]*/exe; do
		[ ! "$exe" -ef "$scratch/bin/hivefs" ] || return 0
	done
	return 1
}

# none keeps the namespace
leave_none() {
	local exe
	for exe in /proc/[0-9]*/exe; do
		[ ! "$exe" -ef "$scratch/bin/hivefs" ] ||
			kill -9 "$(basename "${exe%/exe}")"
	done
}
at_exit leave_none

# gone DIRECTORY: and its daemon
gone() {
	for ((n = 0; n < 300; n++)); do
		running || return 0
		sleep 0.1
	done
	fail "the daemon of $1 is still there"
}

random_image a 4M
hivefs init
hivefs backup web a

# a line of fstab
mkdir m
mount --bind bin /usr/local/bin # mount(8) keeps no PATH
cat >fstab <<-END
	$HIVEFS_REPO $PWD/m fuse.hivefs noauto,nofail,_netdev,ro,cache=32M 0 0
END
mount -T fstab "$PWD/m"
same a m/web/latest/disk0.img
grep -q " $PWD/m fuse.hivefs ro,nosuid,nodev" /proc/self/mounts ||
	fail "$(grep "$PWD/m" /proc/self/mounts)"
findmnt -n -o SOURCE "$PWD/m" | grep -q -F "${HIVEFS_REPO%%\?*}" || fail "its source"
when_free umount "$PWD/m"
gone "$PWD/m"
sed -i 's,fuse.hivefs noauto,fuse.hivefs nonsense,' fstab
! mount -T fstab "$PWD/m" 2>said || fail "an option that is none"
grep -q 'hivefs: .*nonsense' said || fail "says: $(cat said)"
# what fstab says of a repository that is not there is what mount says
sed -i "s,nonsense\\,,,; s,^[^ ]*,$PWD/nothing," fstab
! mount -T fstab "$PWD/m" 2>said || fail "no repository"
grep -q 'hivefs: .*/nothing: not a hivefs repository' said ||
	fail "says: $(cat said)"

umount /usr/local/bin

if on_server; then
	exit # damage would be done to files
fi

# the log of a daemon: who, and what went wrong
python3 - <<'PY'
import glob
for name in glob.glob('repo/segments/*.seg'):
    data = bytearray(open(name, 'rb').read())
    if len(data) > 1 << 20:
        data[1 << 19] ^= 1
        open(name, 'wb').write(data)
PY
hivefs m
! cat m/web/latest/disk0.img >/dev/null 2>said || fail "read what is damaged"
logged '^<27>.* hivefs\[[0-9]+\]: web/disk0@20.*: bytes [0-9]+ to [0-9]+: read'
when_free fusermount3 -u m
gone m

# somebody else
[ -e /etc/mtab ] || skip "there is no /etc/mtab, which fusermount3 needs"
user() {
	setpriv --reuid=nobody --regid=nogroup --clear-groups env -i \
		PATH="$PATH" LC_ALL=C HOME="$PWD/home" "$@"
}
mkdir home
chown nobody home
cp a home/a
chown nobody home/a
user hivefs init # in a home that has no .local/share yet
[ -d home/.local/share/hivefs ] || fail "not where others put such things"
user hivefs backup web home/a
user mkdir home/m
user hivefs home/m
user cmp home/a home/m/web/latest/disk0.img
[ "$(user stat -c %U home/m/web/latest/disk0.img)" = nobody ] || fail "owner"
! ls home/m 2>/dev/null || fail "root may look into it"
user dd if=/dev/zero of=home/m/web/latest/disk0.img bs=4k count=1 \
	conv=notrunc,fsync status=none
user hivefs clones | grep -q "^web@" || fail "no clone"
user hivefs commit "web@$(user readlink home/m/web/latest)"
when_free user fusermount3 -u home/m
gone home/m
expect_exit 1 user hivefs home/m -o allow_other
expect_said "user_allow_other.*/etc/fuse.conf"
[ "$(wc -l <stderr)" = 1 ] || fail "not one sentence: $(cat stderr)"
echo user_allow_other >fuse.conf
mount --bind fuse.conf /etc/fuse.conf
user hivefs home/m -o allow_other
ls home/m/web/latest >/dev/null || fail "others may not enter"
when_free user fusermount3 -u home/m
gone home/m
expect_exit 1 user hivefs /mnt
expect_said 'no write access to mountpoint /mnt'
[ "$(wc -l <stderr)" = 1 ] || fail "not one sentence: $(cat stderr)"
chmod 600 /dev/fuse
expect_exit 1 user hivefs home/m
expect_said '/dev/fuse: Permission denied'
