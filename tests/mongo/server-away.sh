#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards what is said of servers that cannot be worked with: none there, too old,
# another password, no permission; that a slow one is only slow; and that reads
# and writes of a mount wait for one that is gone and go on when it is back.
. "$(dirname "$0")/../cli/common.sh"
# shellcheck source=tests/mongo/proxy.sh
. "$top/tests/mongo/proxy.sh"

# said after some seconds, in one line, and then how it ended
expect_exit 1 "$HIVEFS" status \
	-r 'mongodb://u:secret@127.0.0.1:1/x?serverSelectionTimeoutMS=6000'
expect_said '^hivefs: warning: mongodb://127.0.0.1:1/x: no server answers; waiting for 6 s'
expect_said '^hivefs: mongodb://127.0.0.1:1/x: open: no server answers: '
[ "$(wc -l <"$scratch/stderr")" = 2 ] || fail "$(cat "$scratch/stderr")"
! grep secret "$scratch/stderr" || fail "says the password"

never=100000000
"$HIVEFS" init -q
random_image "$scratch/a" 9M 1
"$HIVEFS" backup -q web "$scratch/a"

proxy $never 0 old
refused 1 'is of a version that this hivefs cannot work with' "$HIVEFS" points
proxy_end
proxy $never 0 password
refused 1 'does not accept the user or the password' "$HIVEFS" points \
	-r "${HIVEFS_REPO/:\/\//:\/\/u:secret@}"
! grep secret "$scratch/stderr" || fail "says the password"
proxy_end
proxy $never 0 denied
refused 1 'the user has no permission' "$HIVEFS" points
proxy_end
# at the very first messages, more often than the library tries by itself: the
# server steps down, or ends
then=$(printf ',none%.0s' {1..50})
for fault in primary closing before; do
	proxy 1 1 "$fault,$fault,$fault$then"
	"$HIVEFS" points >"$scratch/points"
	proxy_end
	[ "$n_messages" -gt 3 ] || fail "$fault: only $n_messages messages"
done
proxy $never 0 before 200
"$HIVEFS" restore -q web@latest - | cmp - "$scratch/a"
proxy_end

# nothing listens for seconds, and then the same server again
HIVEFS_REPO=${direct/=3000/=20000}
direct=$HIVEFS_REPO
proxy $never 0 before
port=$(head -n 1 "$scratch/proxy")
mount_repo -o cache=16M
view=("$mnt"/web/2*/disk0.img)
dd if="${view[0]}" of=/dev/null bs=1M count=1 status=none
echo before | dd of="${view[0]}" conv=notrunc,fsync status=none
# the mount has what its end waits for
kill "$proxy"
wait "$proxy" || true
cmp -i 1048576 "${view[0]}" "$scratch/a" >"$scratch/said" 2>&1 &
reader=$!
echo while | dd of="${view[0]}" bs=1 seek=100 conv=notrunc,fsync status=none &
writer=$!
sleep 5
kill -0 $reader && kill -0 $writer || fail "they did not wait"
proxy $never 0 before 0 "$port"
wait $writer || fail "the write failed"
wait $reader || fail "other bytes: $(cat "$scratch/said")"
grep 'no server answers; what needs one waits' "$scratch/daemon.log" >/dev/null ||
	fail "says nothing of it: $(cat "$scratch/daemon.log")"
grep 'a server answers' "$scratch/daemon.log" >/dev/null ||
	fail "does not say that it is over: $(cat "$scratch/daemon.log")"
unmount_repo
proxy_end
{ echo before && tail -c +8 "$scratch/a"; } >"$scratch/want"
echo while | dd of="$scratch/want" bs=1 seek=100 conv=notrunc status=none
mount_repo
view=("$mnt"/web/2*/disk0.img)
same "$scratch/want" "${view[0]}"
unmount_repo
