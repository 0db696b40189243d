#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Where a machine's newest point is damaged, `latest` in the mount is an older
# one, and that is no secret: a message, the status and the metrics say so. No
# damaged point hides another machine, nor makes the status unreadable.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires jq python3

cd "$scratch"
random_image a 1M
"$HIVEFS" init
"$HIVEFS" backup web old=a
"$HIVEFS" backup web damaged=a
"$HIVEFS" backup db lonely=a
"$HIVEFS" backup ok a

# of LOG machine web's and db's newest
for name in damaged lonely; do
	damage_point $name
done

mount_repo
[ -e "$mnt/web/latest/old.img" ] || fail "latest: $(ls "$mnt/web/latest/")"
same a "$mnt/web/latest/old.img"
same a "$mnt/ok/latest/disk0.img"
[ -d "$mnt/db" ] || fail "a machine is gone"
[ ! -e "$mnt/db/latest" ] || fail "a latest of damaged points alone"
expect_exit 0 cat "$mnt/.hivefs/status.json"
jq -e '.machines | map({key: .name, value: .}) | from_entries |
	.web.last_point_age_seconds == -1 and .web.newest_damaged and
	.db.last_point_age_seconds == -1 and .db.newest_damaged and
	(.db | has("last_point") | not) and
	.ok.last_point_age_seconds >= 0 and (.ok.newest_damaged | not)' \
	stdout >/dev/null || fail "status: $(cat stdout)"
expect_exit 0 cat "$mnt/.hivefs/metrics"
for name in web db; do
	expect_said "^hivefs_last_point_timestamp_seconds{machine=\"$name\"} -1$"
done
expect_said '^hivefs_last_point_timestamp_seconds{machine="ok"} [0-9]+$'
grep -E '^hivefs: web: latest is the point of 20.*, since a newer one is damaged' \
	daemon.log || fail "no word of it"

# looked at often, it does not flood the log
for n in $(seq 40); do
	cat "$mnt/.hivefs/metrics" >/dev/null
done
[ "$(wc -l <daemon.log)" -lt 60 ] || fail "$(wc -l <daemon.log) messages"

# the next backup makes it good, in a second of its own: that of the damaged one
# may have been ahead of the clock
sleep 2.1
"$HIVEFS" backup web new=a 2>said
sleep 1.1
[ -e "$mnt/web/latest/new.img" ] || fail "latest is not the newest"
jq -e '.machines[] | select(.name == "web") | .last_point_age_seconds >= 0' \
	"$mnt/.hivefs/status.json" >/dev/null || fail "status afterwards"
unmount_repo
