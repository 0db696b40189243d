#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A server whose documents survive kill -9 is killed and started again, under
# backups, while a clone is written to and while gc works: what was acknowledged
# is there, and what was under way goes on. Small: FerretDB looks chunks up by
# reading all of them.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$top/tests/fs/common.sh"
# shellcheck source=tests/mongo/killable.sh
. "$top/tests/mongo/killable.sh"
is_killable || skip "not a server that may be killed"
requires jq

# killed_after MS CMD...: what it does holds, though the server is killed in it
killed_after() {
	local ms=$1 pid
	shift
	"$@" &
	pid=$!
	sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
	kill_server
	sleep 0.3
	start_server
	wait $pid || fail "$*: exit $?"
}

for n in 1 2 3; do
	random_image "$scratch/$n" 2M $n
done
cp "$scratch/1" "$oracle"
"$HIVEFS" init -q
"$HIVEFS" backup -q web "$scratch/1"
for n in 2 3; do
	killed_after $((n * 60)) "$HIVEFS" backup -q db "$scratch/$n"
	"$HIVEFS" restore -q db@latest - | cmp - "$scratch/$n"
done
[ "$("$HIVEFS" points db --json | grep -c '"point"')" = 2 ] || fail "points"

mount_clone
hold "$view"
pieces() {
	local i
	for ((i = 0; i < 12; i++)); do
		put $((1 + i * 150000)) 6000 "$i" conv=notrunc,fsync
	done
}
killed_after 150 pieces
same_disk
let_go
unmount_repo
mount_clone
same_disk
unmount_repo

"$HIVEFS" rm -q db@latest~1
killed_after 100 "$HIVEFS" gc -q --patience 1
"$HIVEFS" gc -q --patience 1
"$HIVEFS" verify -q
"$HIVEFS" restore -q db@latest - | cmp - "$scratch/3"
[ "$("$HIVEFS" gc --dry-run --json | jq -s 'last | .chunks_removed')" = 0 ] ||
	fail "something is left"
