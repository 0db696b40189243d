#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# demo - the whole of hivefs on one page, on a fresh Debian 12, in one command:
# a machine that boots is backed up on two days, both days are mounted, the old
# one is booted from its .img, restored and found equal. Then it is booted to be
# written to, the daemon dies in the midst of it, and what the guest had synced
# is there after the next boot and in a new point, while the old one is as it was.
#
#   tools/demo.sh           cleans up after itself
#   tools/demo.sh --keep    leaves the disk and the repository to play with
#
# Needs about 1.5 GB below $TMPDIR (or /tmp), and root to install packages (if
# any is missing) and to mount (unless the user may use FUSE).

set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

keep=no
case ${1-} in
'') ;;
--keep) keep=yes ;;
*)
	echo "usage: demo.sh [--keep]" >&2
	exit 2
	;;
esac

dir=
table=()
began=$EPOCHREALTIME

die() {
	printf '\nThe demo FAILED: %s\n' "$*" >&2
	exit 1
}

# Whatever happened: no mount, no process, no file stays behind.
clean_up() {
	local status=$? n pid
	trap - EXIT INT TERM
	[ -n "$dir" ] || exit $status
	# mountpoint(1) would not see a mount whose daemon has died
	if grep -q -F " $dir/mnt " /proc/self/mountinfo; then
		fusermount3 -q -u "$dir/mnt" || umount -l "$dir/mnt" || true
	fi
	for ((n = 0; n < 50; n++)); do
		pid=$(daemons)
		[ -n "$pid" ] || break
		sleep 0.1
	done
	for pid in $(daemons); do
		kill -9 "$pid" 2>/dev/null || true
	done
	if [ $keep = no ] || [ $status != 0 ]; then
		rm -rf --one-file-system "$dir"
	fi
	exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The processes that were started for this run's mount point, by their id.
daemons() {
	local proc
	for proc in /proc/[0-9]*; do
		tr '\0' ' ' 2>/dev/null <"$proc/cmdline" |
			grep -q -F "hivefs $dir/mnt" && echo "${proc#/proc/}"
	done
	true
}

step() {
	printf '\n\e[1m%s\e[0m\n' "$*" | plain
}

# Colours are for terminals whose owner wants them.
plain() {
	if [ -t 1 ] && [ -z "${NO_COLOR-}" ] && [ "${TERM:-dumb}" != dumb ]; then
		cat
	else
		sed 's/\x1b\[[0-9]*m//g'
	fi
}

# timed CMD...: sets $took
timed() {
	local t0=$EPOCHREALTIME
	"$@"
	took=$(calc "$EPOCHREALTIME - $t0")
}

# run CMD...: shows the command as one would type it, then runs it, timed
run() {
	local words="$*"
	printf '  $ %s\n' "${words//$dir\//}"
	timed checked "$@"
}

# Through a file: a pipe would stay open as long as a daemon holds it.
checked() {
	local status=0
	"$@" >"$dir/output" 2>&1 || status=$?
	sed "s,$dir/,,g; s/^/    /" "$dir/output"
	[ $status = 0 ] || die "exit code $status from: $*"
}


calc() {
	awk "BEGIN { printf \"%.2f\", $1 }"
}

human() {
	numfmt --to=iec --format=%.1f "$1" | sed 's/[KMGT]$/ &iB/'
}

# row WHAT BYTES SECONDS: a line of the table, with the rate
row() {
	table+=("$(printf '%-48s %10s %8s s %7s MB/s' "$1" "$(human "$2")" \
		"$3" "$(calc "$2 / 1000000 / ($3 + 0.001)" | cut -d. -f1)")")
}

note() {
	table+=("$(printf '%-48s %10s' "$1" "$2")")
}

# Bytes on the disk below a path, holes not counted.
used() {
	du -s --block-size=1 "$1" | cut -f1
}

boots() {
	local said
	printf '  $ qemu-system-x86_64 … -drive file=%s,format=raw,snapshot=on\n' \
		"${1#"$dir"/}"
	timed boot "$1"
	printf '    console: %s\n' "$said"
	[[ $said == *"/etc/generation says $2, "* ]] ||
		die "${1#"$dir"/} should be generation $2"
}

boot() {
	said=$(tools/demo-boot.sh "$@") || die "${*: -1} does not boot"
}

# boots_to_write DISK COMMANDS [--crash PID]: what the guest does is kept
boots_to_write() {
	local said
	printf '  $ qemu-system-x86_64 … -drive file=%s,format=raw,cache=none\n' \
		"${1#"$dir"/}"
	timed boot --run "$2" "${@:3}" "$1" cache=none
	printf '    console: %s\n' "${said//$'\n'/$'\n    console: '}"
	guest=$said
}

printf 'hivefs demo: a repository of disk backups that is a file system\n'

step "1. Packages and build"
timed tools/setup.sh demo
printf '    done in %s s\n' "$took"

dir=$(mktemp -d "${TMPDIR:-/tmp}/hivefs-demo.XXXXXX")
mkdir "$dir/mnt"
free=$(df --output=avail -B 1 "$dir" | tail -n 1)
[ "$free" -gt 1500000000 ] ||
	die "${dir%/*} has $(human "$free") free, 1.5 GB are needed (set TMPDIR)"
hivefs=$PWD/build/hivefs
export HIVEFS_REPO=$dir/backups
hivefs() {
	"$hivefs" "$@"
}
disk=$dir/web.img

step "2. A machine: GRUB, Debian's kernel, ext4 with 6,000 files, day 1"
timed tools/demo-disk.sh "$disk"
cp --sparse=always "$disk" "$dir/day1.img"
size=$(stat -c %s "$disk")
data=$(used "$disk")
printf '    %s disk, %s of it in use, made in %s s\n' "$(human "$size")" \
	"$(human "$data")" "$took"
note "disk" "$(human "$size")"
note "of it in use" "$(human "$data")"

step "3. The first backup"
run hivefs init
run hivefs backup web "$disk"
first=$(used "$dir/backups")
row "first backup" "$data" "$took"
note "  the repository grew by" "$(human "$first")"

step "4. Day 2: a package more, a log grown, files gone. The second backup"
tools/demo-disk.sh --next "$disk"
run hivefs backup web "$disk"
second=$(($(used "$dir/backups") - first))
data2=$(used "$disk")
row "second backup (all is read, the new is stored)" "$data2" "$took"
note "  the repository grew by" "$(human "$second")"
[ "$second" -lt $((first / 4)) ] ||
	die "the second backup stored $(human "$second"): that is not only what is new"

step "5. Both are full backups"
run hivefs points web

step "6. Every point is a directory of disk images"
run hivefs "$dir/mnt"
note "mount" "$took s"
points=("$dir"/mnt/web/2*)
[ ${#points[@]} = 2 ] || die "there are ${#points[@]} points, not 2"
old=${points[0]}
latest=$dir/mnt/web/latest
run ls -lsh "$old" "$latest/"
timed cmp "$old/disk0.img" "$dir/day1.img" ||
	die "the mounted day 1 differs from the disk of day 1"
row "day 1 read through the mount and compared" "$size" "$took"

step "7. Day 1 boots from its .img, with no restore"
boots "$old/disk0.img" 1
note "boot of day 1 (emulated CPU)" "$took s"

step "8. So does the latest"
boots "$latest/disk0.img" 2
note "boot of day 2" "$took s"

step "9. Day 1 restored, and compared with what it was"
run hivefs restore web/disk0@latest~1 "$dir/restored.img"
row "restore of day 1" "$data" "$took"
cmp "$dir/restored.img" "$dir/day1.img" ||
	die "the restored disk differs from the original"
printf '    equal to the last byte\n'

step "10. Day 1 boots to be written to; the daemon is killed right after a sync"
pid=$(daemons)
[ "$(wc -w <<<"$pid")" = 1 ] || die "there is not one daemon but: $pid"
boots_to_write "$old/disk0.img" 'busybox echo written on day 1 >/root/note
busybox sync
busybox echo "hivefs demo: synced /root/note"
busybox sleep 60' --crash "$pid"
printf '  $ kill -9 %s                      # hivefs; QEMU went with it\n' "$pid"
! ls "$dir/mnt" >/dev/null 2>&1 || die "the mount lives, but its daemon was killed"
printf '    the mount is dead\n'

step "11. Mounted again, booted again: the file is there"
run fusermount3 -u "$dir/mnt"
run hivefs "$dir/mnt"
note "mount after the crash" "$took s"
boots_to_write "$old/disk0.img" \
	'busybox echo "hivefs demo: /root/note: $(busybox cat /root/note)"'
[[ $guest == *"/root/note: written on day 1" ]] ||
	die "what the guest had synced is lost"
note "boot of what was written, after the crash" "$took s"
run hivefs clones

step "12. The point itself is what it was"
timed cmp "$old/ro/disk0.img" "$dir/day1.img" ||
	die "the point has changed"
printf '    %s equals the disk of day 1 to the last byte\n' \
	"${old#"$dir"/}/ro/disk0.img"

step "13. What was written becomes a recovery point of its own"
before=$(used "$dir/backups")
run hivefs commit "web@${old##*/}"
note "commit" "$took s"
note "  the repository grew by" "$(human $(($(used "$dir/backups") - before)))"
run hivefs points web
sleep 1 # the kernel may know the old latest for as long
cmp "$latest/ro/disk0.img" "$old/disk0.img" ||
	die "the new point is not what was written"
boots "$latest/disk0.img" 1

step "14. Every stored byte re-hashed, and the mount taken down"
run hivefs verify
row "verify" "$(used "$dir/backups")" "$took"
run fusermount3 -u "$dir/mnt"

step "What was measured on this machine ($(nproc) cores)"
printf '  %s\n' "${table[@]}"
printf '  %-48s %10s\n' "the whole demo" "$(calc "$EPOCHREALTIME - $began") s"

step "What to try next"
if [ $keep = yes ]; then
	cat <<-END
		  export PATH=\$PATH:$PWD/build HIVEFS_REPO=$dir/backups
	END
else
	cat <<-END
		  export PATH=\$PATH:$PWD/build HIVEFS_REPO=/tmp/backups
		  tools/demo-disk.sh /tmp/web.img            # or an image, disk or /dev/… of yours
		  hivefs init
		  hivefs backup web /tmp/web.img             # raw; --format qcow2, vmdk, vhdx…
		  tools/demo-disk.sh --next /tmp/web.img
		  hivefs backup web /tmp/web.img
	END
fi
cat <<-END
	  hivefs points
	  hivefs diff web@latest~1 web@latest        # what changed in between
	  mkdir -p /tmp/mnt && hivefs /tmp/mnt && ls -lsR /tmp/mnt
	  tools/demo-boot.sh /tmp/mnt/web/latest/disk0.img
	  hivefs clone web@latest test               # a disk to break, below /tmp/mnt/clones/test
	  hivefs restore web/disk0@latest - | sha256sum
	  fusermount3 -u /tmp/mnt
END
if [ $keep = yes ]; then
	printf '  rm -r %-37s # web.img, day1.img, backups/\n' "$dir"
else
	printf '  tools/demo.sh --keep                       # %s\n' \
		"leaves its disk and its repository"
fi
