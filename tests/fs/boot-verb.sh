#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# hivefs boot: a guest comes up, also where the repository is not mounted; one that does not come up is told by the exit code;
# and of a boot test nothing is left, whoever is killed in the middle of it.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires qemu-system-x86_64 grub-mkimage mke2fs debugfs sfdisk jq
requires_that test -w /dev/fuse

disk=$scratch/disk.img
"$top/tools/demo-disk.sh" "$disk"
back_up "$disk"
export TMPDIR=$scratch XDG_RUNTIME_DIR=$scratch/run
mkdir "$XDG_RUNTIME_DIR"

nothing_left() {
	local n
	for ((n = 0; n < 300; n++)); do
		[ -n "$("$HIVEFS" clones --json | grep '"type":"clone"')" ] ||
			[ -n "$(ls "$XDG_RUNTIME_DIR")" ] ||
			grep -q -F "$scratch" /proc/self/mounts || return 0
		sleep 0.1
	done
	"$HIVEFS" clones >&2
	fail "something is left: $(ls "$XDG_RUNTIME_DIR")"
}
test_boot() {
	"$HIVEFS" boot web@latest --headless --memory 256 --accel tcg "$@"
}

# none is mounted: one is, for the time
expect_exit 0 test_boot --until "hivefs demo: booted" --timeout 200 --json
jq -e '.type == "summary" and .up and .seconds > 0 and
	(.line | startswith("hivefs demo: booted, /etc/generation says 1"))' \
	"$scratch/stdout" >/dev/null || fail "$(cat "$scratch/stdout")"
nothing_left

expect_exit 1 test_boot --until "no guest says this" --timeout 200
expect_said "ended before it was up.*Power down"
expect_exit 1 test_boot --until "hivefs demo" --timeout 1
expect_said "not up in time"
expect_exit 1 test_boot --until "hivefs demo" -- -no-such-option
# what QEMU says of itself is not what a guest says
expect_exit 1 test_boot --until "no-such-option" -- -no-such-option
expect_said "the last it said: nothing; QEMU: .*no-such-option"
expect_exit 2 test_boot
expect_exit 2 "$HIVEFS" boot web/disk0@latest
expect_exit 1 "$HIVEFS" boot web@latest~7
expect_exit 1 "$HIVEFS" boot web
expect_said "no clone of this name"
expect_exit 1 "$HIVEFS" boot web@latest --libvirt
expect_said "is not mounted here"
nothing_left
# shown is a script that mounts, too, and does what it says
"$HIVEFS" boot web@latest --print -- -version >"$scratch/script"
nothing_left
PATH=$(dirname "$HIVEFS"):$PATH expect_exit 0 bash -euxc ". '$scratch/script'"
expect_said "^\++ hivefs mount $HIVEFS_REPO $XDG_RUNTIME_DIR/hivefs-boot"
expect_said "^QEMU emulator version"
nothing_left
"$HIVEFS" boot web@latest --print --json -- -version |
	jq -e '.command[-1] == "-version" and (.mounted | not)' >/dev/null

# the same as a part of verify: in its report and its exit code
test_verify() {
	"$HIVEFS" verify --boot web@latest "$@" -- --memory 256 --accel tcg
}
expect_exit 0 test_verify --until "hivefs demo: booted" --timeout 200 --json
jq -e -s '(.[0] | .type == "boot" and .up and .seconds > 0) and
	(last | .type == "summary" and .verb == "verify" and .up and
	.chunks > 0 and .damaged == 0)' "$scratch/stdout" >/dev/null ||
	fail "$(cat "$scratch/stdout")"
expect_exit 4 test_verify --metadata --until never --timeout 1
expect_said "^hivefs: web@.* not up in time"
expect_said "no damage"
expect_exit 1 "$HIVEFS" verify --boot web@latest~3 --until x
expect_exit 2 "$HIVEFS" verify --boot web@latest
expect_exit 2 "$HIVEFS" verify --timeout 3
expect_exit 2 "$HIVEFS" verify -- --memory 3
nothing_left

# killed in the middle: hivefs itself, with and without a mount of its own
for signal in INT TERM KILL; do
	"$HIVEFS" boot web@latest --headless --memory 256 --accel tcg \
		--until never --timeout 100 2>"$scratch/said" &
	pid=$!
	until "$HIVEFS" clones 2>/dev/null | grep -q '^boot-'; do
		kill -0 $pid || fail "$(cat "$scratch/said")"
		sleep 0.05
	done
	until pgrep -f "qemu-system.*$XDG_RUNTIME_DIR" >/dev/null; do
		kill -0 $pid || fail "$(cat "$scratch/said")"
		sleep 0.05
	done
	kill -$signal $pid
	status=0
	wait $pid 2>/dev/null || status=$?
	[ $status = $((128 + $(kill -l $signal))) ] || fail "$signal: $status"
	nothing_left
	! pgrep -f "qemu-system.*$XDG_RUNTIME_DIR" || fail "QEMU is left"
done

mount_clone

# killed with what should clean up behind it: the next collection does, or the
# next boot
for next in gc boot; do
	"$HIVEFS" boot web@latest --headless --memory 256 --accel tcg \
		--until never --timeout 100 2>"$scratch/said" &
	pid=$!
	until pgrep -f "qemu-system.*$mnt/clones" >/dev/null; do
		kill -0 $pid || fail "$(cat "$scratch/said")"
		sleep 0.05
	done
	mapfile -t helpers < <(pgrep -P $pid -x hivefs)
	[ ${#helpers[@]} = 1 ] || fail "helpers: ${helpers[*]}"
	kill -9 "${helpers[0]}" $pid
	wait $pid 2>/dev/null || true
	while pgrep -f "qemu-system.*$mnt/clones" >/dev/null; do sleep 0.05; done
	"$HIVEFS" clones --json | jq -s -e '.[0].temporary' >/dev/null ||
		fail "it is gone already: $("$HIVEFS" clones --json)"
	if [ $next = gc ]; then
		expect_exit 0 "$HIVEFS" gc
		expect_said "boot-.*: discarded: it was temporary"
		[ -z "$(ls "$mnt/clones")" ] || fail "gc has left the clone"
	fi
done
expect_exit 0 test_boot --format vhdx --timeout 200 --until "demo: booted"
[ ! -e "$point/clone.json" ] || fail "a boot test has forked the point"
[ -z "$(ls "$mnt/clones")" ] || fail "a clone is left: $(ls "$mnt/clones")"

"$HIVEFS" boot web@latest --print --format vhd -- -display none >"$scratch/line"
grep -q "file=$point/disk0.vhd,format=vpc,force_size_calc=current_size" \
	"$scratch/line" || fail "$(cat "$scratch/line")"
grep -q -- "-nic none" "$scratch/line" || fail "it has a network"
grep -q -- "-display none\$" "$scratch/line" || fail "without my options"
"$HIVEFS" boot web@latest --libvirt --network --memory 512 >"$scratch/xml"
python3 - "$scratch/xml" "$point/disk0.img" <<'END'
import sys
from xml.etree import ElementTree
domain = ElementTree.parse(sys.argv[1]).getroot()
assert domain.find('memory').text == '512'
disk, = domain.findall('devices/disk')
assert disk.find('source').get('file') == sys.argv[2]
assert disk.find('driver').get('type') == 'raw'
assert domain.find('devices/interface').get('type') == 'user'
END
unmount_repo
