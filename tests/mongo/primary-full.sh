#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards what is said where the disk of a replica set's primary is full: the
# backup goes on with another primary, or says that there is no space; what was
# there is whole, and once there is room the next backup is, too.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/mongo/members.sh
. "$top/tests/mongo/members.sh"
[ "${MONGO_SERVER-}" = replica ] || skip "not a replica set of mongod"
mkdir "$scratch/try"
requires_that mount -t tmpfs tmpfs "$scratch/try"
umount "$scratch/try"

for n in 1 2; do
	random_image "$scratch/$n" 64M $n
done
"$HIVEFS" init -q
"$HIVEFS" backup -q web "$scratch/1"

# a member begins again, with what the others have, on a small disk
small=$(other_primary 0)
member_kill "$small"
disk=$MONGO_SET/$small
rm -rf "${disk:?}"/*
mount -t tmpfs -o size=1500M tmpfs "$disk"
at_exit umount -l "$disk"
member_back "$small"
for ((n = 0; n < 60; n++)); do
	now=$(other_primary 0)
	[ "$now" != "$small" ] || break
	member_command "$now" '{"replSetStepDown": 60}' >"$scratch/said" 2>&1 ||
		true
	sleep 2
done
[ "$(member_primary)" = "$small" ] || fail "it does not get primary"

dd if=/dev/zero of="$disk/filler" bs=1M status=none 2>"$scratch/said" || true
status=0
"$HIVEFS" backup -q db "$scratch/2" 2>"$scratch/stderr" || status=$?
case $status in
0) ;;
13) grep 'the server has no space left' "$scratch/stderr" >/dev/null ||
	fail "$(cat "$scratch/stderr")" ;;
*) fail "exit $status: $(cat "$scratch/stderr")" ;;
esac
rm "$disk/filler"
! member_gone "$small" || member_back "$small"
"$HIVEFS" backup -q db "$scratch/2"
"$HIVEFS" verify -q
"$HIVEFS" restore -q web@latest - | cmp - "$scratch/1"
"$HIVEFS" restore -q db@latest - | cmp - "$scratch/2"
