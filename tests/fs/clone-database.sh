#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Databases live on ext4 inside a clone. The daemon is killed in the midst of
# their transactions: the next mount has a file system that its journal makes
# whole, a database that its log makes whole, and every transaction that was
# acknowledged. SQLite with both kinds of journal; PostgreSQL where it is there.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires mkfs.ext4 e2fsck losetup python3 setpriv
requires_that losetup -f
requires_that python3 -c 'import sqlite3'

fs=$scratch/fs
mkdir "$fs"
at_exit unmount_fs
chmod 711 "$scratch"

unmount_fs() {
	! grep -q -F " $fs " /proc/self/mountinfo || umount -l "$fs"
	[ -z "${loop-}" ] || losetup -d "$loop" || true
	loop=
}

mount_fs() {
	mount_clone
	loop=$(losetup -f --show "$view")
	mount "$loop" "$fs"
}

# The plug is pulled: the daemon goes, and with it the disk below the database.
crash_fs() {
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null || true
	umount -l "$fs"
	losetup -d "$loop"
	loop=
	fusermount3 -u -z "$mnt"
}

# The journal's replay is the kernel's; after it nothing is amiss.
recover_fs() {
	mount_fs
	umount "$fs"
	e2fsck -f -n "$loop" >"$scratch/fsck" 2>&1 ||
		fail "the file system is damaged: $(cat "$scratch/fsck")"
	mount "$loop" "$fs"
}

# From number FIRST on, one a transaction; acknowledged ones to stdout.
sqlite_writer() {
	python3 -u - "$fs/db" "$1" "$2" <<-'PY'
		import sqlite3, sys
		db = sqlite3.connect(sys.argv[1], isolation_level=None)
		db.execute('pragma journal_mode=' + sys.argv[3])
		# less does not sync the directory that a journal is removed from
		db.execute('pragma synchronous=extra')
		db.execute('create table if not exists t (n integer primary key, x)')
		n = int(sys.argv[2])
		while True:
		    db.execute('begin')
		    db.execute('insert into t values (?, randomblob(?))',
		               (n, n * 37 % 9000))
		    db.execute('commit')
		    print(n)
		    n += 1
	PY
}

sqlite_check() {
	python3 - "$fs/db" "$1" <<-'PY'
		import sqlite3, sys
		db = sqlite3.connect(sys.argv[1])
		said, = db.execute('pragma integrity_check').fetchone()
		numbers = [n for n, in db.execute('select n from t order by n')]
		acknowledged = int(sys.argv[2])
		if said != 'ok' or numbers != list(range(len(numbers))) or \
		        len(numbers) <= acknowledged or \
		        len(numbers) > acknowledged + 2:
		    sys.exit(f'{said}: {len(numbers)} rows, {acknowledged} acknowledged')
		print(len(numbers))
	PY
}

truncate -s 400M "$scratch/a.img"
back_up "$scratch/a.img"
mount_clone
mkfs.ext4 -q -F "$view"
unmount_repo

rows=0
for journal in wal delete wal delete; do
	mount_fs
	sqlite_writer $rows $journal >"$scratch/acknowledged" 2>/dev/null &
	writer=$!
	sleep 1
	crash_fs
	wait $writer || true
	last=$(tail -n 1 "$scratch/acknowledged")
	[ "${last:-0}" -gt "$rows" ] || fail "no transaction in a second"
	recover_fs
	rows=$(sqlite_check "$last")
	echo "sqlite, $journal: $rows rows after a kill, $last acknowledged"
	umount "$fs"
	losetup -d "$loop"
	loop=
	unmount_repo
done

bin=$(find /usr/lib/postgresql -name initdb -printf '%h\n' 2>/dev/null |
	sort | tail -n 1)
if [ -z "$bin" ] || ! id postgres &>/dev/null; then
	echo "PostgreSQL is missing: not tried"
	exit 0
fi
as_postgres() {
	setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
}
sql() {
	as_postgres psql -h "$fs/pg" -d postgres -qAt "$@"
}
# other users may not enter a mount, but what is mounted from a loop device
mount_fs
mkdir "$fs/pg"
chown postgres: "$fs/pg"
as_postgres "$bin/initdb" -D "$fs/pg/data" >"$scratch/pg.log" 2>&1
start_postgres() {
	as_postgres "$bin/pg_ctl" -w -t 50 -D "$fs/pg/data" -l "$fs/pg/log" \
		-o "-h '' -k $fs/pg" start >>"$scratch/pg.log" 2>&1 ||
		fail "PostgreSQL does not start: $(cat "$fs/pg/log")"
}
start_postgres
postmaster=$(head -n 1 "$fs/pg/data/postmaster.pid")
sql -c 'create table t (n int primary key, x text)' -c 'create index on t (x)'
(
	n=0
	while echo "insert into t values ($n, md5('$n') || repeat('x', $n % 500))
		returning n;"; do
		n=$((n + 1))
	done
) 2>/dev/null | sql >"$scratch/acknowledged" 2>/dev/null &
sleep 3
crash_fs
kill -QUIT "$postmaster" 2>/dev/null || true
wait $! || true
for ((n = 0; n < 100; n++)); do
	kill -0 "$postmaster" 2>/dev/null || break
	sleep 0.1
done
kill -9 "$postmaster" 2>/dev/null || true
last=$(tail -n 1 "$scratch/acknowledged")
[ "${last:-0}" -gt 10 ] || fail "no transactions"
recover_fs
rm -f "$fs/pg/data/postmaster.pid"
start_postgres
read -r rows sum < <(sql -F ' ' -c "select count(*), sum(n) from t")
[ "$rows" -gt "$last" ] && [ "$rows" -le $((last + 2)) ] &&
	[ "$sum" = $((rows * (rows - 1) / 2)) ] ||
	fail "PostgreSQL: $rows rows, $last acknowledged"
# the heap and its indexes agree
[ "$(sql -c 'set enable_seqscan = off' -c "select count(*) from t where x > ''")" = \
	"$rows" ] || fail "an index has other rows"
echo "postgresql: $rows rows after a kill, $last acknowledged"
as_postgres "$bin/pg_ctl" -m fast -w -D "$fs/pg/data" stop >/dev/null
umount "$fs"
losetup -d "$loop"
loop=
unmount_repo
