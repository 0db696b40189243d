#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A source that something has open is refused; --in-use takes it, says so in
# the point and in the exit code.

. "$(dirname "$0")/common.sh"
requires qemu-io qemu-img jq

cd "$scratch"
random_image a.img 4M
qemu-img convert -O qcow2 a.img a.qcow2
"$HIVEFS" init -q

# open_in_qemu FORMAT FILE: until its input ends
open_in_qemu() {
	mkfifo input
	qemu-io -f "$1" "$2" <input >output 2>&1 &
	qemu=$!
	exec 8>input
	echo 'read 0 512' >&8
	for _ in {1..50}; do
		! grep 'read 512' output >/dev/null || break
		sleep 0.1
	done
}

for image in raw:a.img qcow2:a.qcow2; do
	file=${image#*:}
	open_in_qemu "${image%:*}" "$file"
	refused 11 "$file: is in use.*--in-use" "$HIVEFS" backup web "$file"
	sleep 1
	expect_exit 3 "$HIVEFS" backup --in-use --json web "$file"
	jq -e '.type == "summary" and .consistency == "none"' stdout \
		>/dev/null || fail "consistency"
	exec 8>&-
	wait $qemu
	rm input
	sleep 1
	expect_exit 0 "$HIVEFS" backup web "$file"
	"$HIVEFS" show web@latest | grep '^consistency *crash$' >said ||
		fail "not as after a crash"
done
[ "$(points)" = 4 ] || fail "points"
