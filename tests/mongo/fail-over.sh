#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards what is promised of a replica set: its primary is killed, or neither
# answers nor closes, and comes back, again and again, while backups run, a clone
# is written to with an fsync each time, and the mount is read. All three go on
# by themselves; every acknowledged byte is there, every point that was published
# is whole, and nothing was stored twice.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$top/tests/fs/common.sh"
# shellcheck source=tests/mongo/members.sh
. "$top/tests/mongo/members.sh"
[ -n "${MONGO_SET-}" ] || skip "not a replica set of this host"
requires jq python3

rounds=(kill cut_off) size=8M
if [ "${HIVEFS_TEST_ALL-}" = 1 ]; then
	rounds=(kill kill cut_off kill kill kill cut_off kill kill kill cut_off
		kill kill)
	size=32M
else
	# one that is cut off is waited for less long
	HIVEFS_REPO+="&socketTimeoutMS=3000"
fi

random_image "$scratch/base" 40M 1
random_image "$oracle" $size 2
random_image "$scratch/db" 4M 3
"$HIVEFS" init -q
"$HIVEFS" backup -q base "$scratch/base"
"$HIVEFS" backup -q web "$oracle"
mount_clone -o cache=16M
at_exit touch "$scratch/stop"

# what runs all the time; each says in a file how often it got on
backups() {
	local n=0
	mkdir "$scratch/points"
	until [ -e "$scratch/stop" ]; do
		"$HIVEFS" backup -q --json db "$scratch/db" >>"$scratch/stored"
		cp "$scratch/db" "$scratch/points/$n"
		echo $((n += 1)) >"$scratch/backups"
		change_image "$scratch/db" $n
		sleep 0.5
	done
}
work() {
	python3 "$top/tests/mongo/work.py" "$@" "$scratch/stop"
}
declare -A workers
work write "$view" "$oracle" "$scratch/writes" &
workers[writes]=$!
work read "$mnt/base/latest/ro/disk0.img" "$scratch/base" "$scratch/reads" &
workers[reads]=$!
backups &
workers[backups]=$!

# all of them have done something from here on
got_on() {
	local name n before
	for name in "${!workers[@]}"; do
		before=$(cat "$scratch/$name" 2>/dev/null) || before=
		for ((n = 0; n < 1800; n++)); do
			kill -0 "${workers[$name]}" || fail "$1: no more $name"
			[ "$before" = "$(cat "$scratch/$name" 2>/dev/null)" ] ||
				break
			sleep 0.1
		done
		[ $n -lt 1800 ] || fail "$1: no $name for minutes"
	done
}

got_on "at the beginning"
for how in "${rounds[@]}"; do
	old=$(other_primary 0)
	"member_$how" "$old"
	# with nobody to ask; and one that never answers holds up nothing
	timeout 100 "$HIVEFS" points -r "$HIVEFS_REPO&connectTimeoutMS=300000" \
		>"$scratch/listed"
	new=$(other_primary "$old") || fail "no other primary"
	got_on "member $old: $how, now $new"
	if [ "$how" = kill ] && [ ! -s "$scratch/doctor" ]; then
		expect_exit 3 "$HIVEFS" doctor --store
		cp "$scratch/stdout" "$scratch/doctor"
		expect_said "members: .*:$(member_port "$old") does not answer"
	fi
	member_back "$old"
	got_on "member $old is back"
done
touch "$scratch/stop"
for name in "${!workers[@]}"; do
	wait "${workers[$name]}" || fail "$name: exit $?"
	echo "$name: $(cat "$scratch/$name")"
done

same_disk
unmount_repo
mount_clone
same_disk
same "$scratch/base" "$mnt/base/latest/ro/disk0.img"
unmount_repo

"$HIVEFS" verify -q
n_points=$(cat "$scratch/backups")
[ "$("$HIVEFS" points db --json | grep -c '"point"')" = "$n_points" ] ||
	fail "not $n_points points"
# a repository where nothing ever failed says of each backup what was new in it
"$HIVEFS" init -q -r "$scratch/reference"
"$HIVEFS" backup -q -r "$scratch/reference" base "$scratch/base"
for ((n = 0; n < n_points; n++)); do
	"$HIVEFS" restore -q "db@latest~$((n_points - 1 - n))" - |
		cmp - "$scratch/points/$n" || fail "point $n"
	"$HIVEFS" backup -q --json -r "$scratch/reference" db \
		"$scratch/points/$n" >>"$scratch/want"
done
for file in stored want; do
	jq -c 'select(.type == "summary") | {new, chunks: .disks[0].chunks,
		maps: .disks[0].maps}' "$scratch/$file" >"$scratch/$file.new"
done
same "$scratch/want.new" "$scratch/stored.new"
"$HIVEFS" gc -q
[ "$("$HIVEFS" gc --dry-run --json | jq -s 'last | .chunks_removed')" = 0 ] ||
	fail "something is left"
"$MONGO_COMMAND" "$HIVEFS_REPO" '{"count": "writers"}' |
	grep -q '"n" : 0,' || fail "writers are left"
