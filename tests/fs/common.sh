# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# common - what tests of clones share. $view is a file of a clone, $oracle a
# plain file that was written to in the same way.
#
#   back_up IMAGE               a repository with it as the machine web
#   mount_clone [OPTION]...     mounts; $point and $view are the first point's
#   mount_again                 another mount of the repository: $mnt2, $daemon2
#   unmount_again               and back
#   kill_mount                  kill -9, and the dead mount goes
#   put OFF LEN SEED [OPERAND]...  writes the same bytes to both, by dd(1)
#   attribute set|get PATH NAME user.hivefs.NAME of a directory
#   hold FILE, let_go           has it open for writing until then
#   same_disk                   fails unless both are equal, cached and direct

export top oracle=$scratch/oracle.img

back_up() {
	"$HIVEFS" init
	"$HIVEFS" backup web "$1"
	cp --sparse=always "$1" "$oracle"
}

mount_clone() {
	mount_repo "$@"
	local points=("$mnt"/web/2*)
	point=${points[0]}
	view=$point/disk0.img
}

mount_again() {
	local first=$mnt first_daemon=$daemon
	mount_repo "$@"
	mnt2=$mnt daemon2=$daemon
	mnt=$first daemon=$first_daemon
}

unmount_again() {
	local first=$mnt first_daemon=$daemon
	mnt=$mnt2 daemon=$daemon2
	unmount_repo
	mnt=$first daemon=$first_daemon
}

kill_mount() {
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null || true
	fusermount3 -u -z "$mnt"
}

put() {
	local off=$1 len=$2 seed=$3
	shift 3
	random_bytes "$len" "$seed" >"$scratch/put"
	dd if="$scratch/put" of="$oracle" bs=1M seek="$off" \
		oflag=seek_bytes conv=notrunc status=none
	# one write(2), whatever its size
	dd if="$scratch/put" of="$view" bs="$len" seek="$off" \
		oflag=seek_bytes conv=notrunc status=none "$@"
}

attribute() {
	python3 - "$1" "$2" "user.hivefs.$3" <<'END'
import os, sys
how, path, name = sys.argv[1:]
if how == 'set':
    os.setxattr(path, name, b'')
else:
    print(os.getxattr(path, name).decode())
END
}

same_disk() {
	same "$oracle" "$view"
	dd if="$view" bs=1M iflag=direct status=none | cmp - "$oracle" ||
		fail "other bytes with direct I/O"
}

# A process that has FILE open for writing, since the shell's own descriptors
# would be in all others, too.
hold() {
	sleep 60 8<>"$1" >/dev/null 2>&1 &
	holder=$!
	until [ "$(readlink "/proc/$holder/fd/8")" = "$1" ]; do
		kill -0 "$holder" || fail "cannot open $1 for writing"
		sleep 0.02
	done
}

let_go() {
	kill "$holder"
	wait "$holder" 2>/dev/null || true
}
