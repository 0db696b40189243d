#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards that the roles of hivefs-mongodb(7) are enough for what they are for,
# and for nothing else: a backup host can neither remove nor overwrite what is
# there, and does not need to where a gc is under way.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$top/tests/fs/common.sh"
# shellcheck source=tests/mongo/proxy.sh
. "$top/tests/mongo/proxy.sh"
requires jq

never=100000000
random_image "$scratch/a" 9M 1
cp "$scratch/a" "$scratch/b"
change_image "$scratch/b" 3
random_image "$scratch/c" 9M 2
cp "$scratch/a" "$oracle"
"$HIVEFS" init -q

denied() {
	expect_exit 1 "$@"
	expect_said 'the user has no permission'
}

proxy $never 0 as-Backup
"$HIVEFS" backup -q web "$scratch/a"
"$HIVEFS" backup -q web "$scratch/b"
"$HIVEFS" backup -q db "$scratch/c"
"$HIVEFS" restore -q web@latest - | cmp - "$scratch/b"
"$HIVEFS" status >/dev/null
denied "$HIVEFS" rm web@latest
denied "$HIVEFS" tag web@latest gold
denied "$HIVEFS" clone web@latest side
denied "$HIVEFS" gc
proxy_end
[ "$("$HIVEFS" points --json | grep -c '"type":"point"')" = 3 ] || fail "points"
"$HIVEFS" verify -q

proxy $never 0 as-Mount
mount_clone
put 5000 100000 1 conv=notrunc,fsync
same_disk
unmount_repo
mount_clone
same "$oracle" "$view"
unmount_repo
"$HIVEFS" commit -q "web@$(basename "$point")"
denied "$HIVEFS" gc
proxy_end
"$HIVEFS" restore -q web@latest - | cmp - "$oracle"

proxy $never 0 as-Restore
"$HIVEFS" points >/dev/null
"$HIVEFS" restore -q web@latest - | cmp - "$oracle"
"$HIVEFS" verify -q --report-only
mount_repo -o ro
same "$scratch/c" "$mnt/db/latest/disk0.img"
unmount_repo
denied "$HIVEFS" backup web "$scratch/a"
proxy_end

# a gc that is not let through dies in its sweep; a backup of what it was about
# to remove waits for the next gc
"$HIVEFS" rm -q --last db@latest
python3 "$top/tests/mongo/proxy.py" "${HIVEFS_TEST_MONGODB##*:}" $never 0 \
	no-sweep <"$scratch/alive" >"$scratch/sweep" &
at_exit kill $!
until [ -s "$scratch/sweep" ]; do
	sleep 0.02
done
denied "$HIVEFS" gc -r "${direct/"$HIVEFS_TEST_MONGODB"/mongodb://127.0.0.1:$(
	cat "$scratch/sweep")}"
proxy $never 0 as-Backup
"$HIVEFS" backup db "$scratch/c" >"$scratch/out" 2>"$scratch/said" &
backup=$!
for ((n = 0; n < 200; n++)); do
	! grep -q 'waiting for what it removes' "$scratch/said" || break
	kill -0 $backup || fail "it did not wait: $(cat "$scratch/said")"
	sleep 0.1
done
HIVEFS_REPO=$direct "$HIVEFS" gc -q &
gc=$!
wait $backup || fail "the backup: $(cat "$scratch/said")"
wait $gc || fail "the gc"
proxy_end
"$HIVEFS" verify -q
"$HIVEFS" restore -q db@latest - | cmp - "$scratch/c"
