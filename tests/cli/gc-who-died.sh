#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards whom gc takes for dead, while others have the repository open: a backup
# whose process on this host has ended, at once; never one that is stopped, or
# whose process it cannot see: that is waited for.
. "$(dirname "$0")/common.sh"
requires nbdkit jq unshare setpriv

cd "$scratch"
random_image a 9M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
mount_repo
# a disk whose reads take longer than this test
serve --filter=log --filter=delay file a rdelay=600 logfile=log

# begin CMD...: a backup, or more around it, that hangs once it has registered
begin() {
	: >log
	"$@" backup -q db "$uri" 2>said &
	backup=$!
	disown $backup
	at_exit gone $backup
	until grep -q ' Read ' log; do
		kill -0 $backup || fail "the backup: $(cat said)"
		sleep 0.02
	done
}

others_are() {
	"$HIVEFS" doctor --store --json >doctor || true
	jq -e -s --arg text "$1" 'any(.check == "others" and
		.message == $text)' doctor >jq || fail "$(cat doctor)"
}

# waits CMD...: a collection waits for it, and does so for as long as it is there
waits() {
	"$@" gc --json --patience 10000 >json 2>said &
	gc=$!
	at_exit gone $gc
	until grep -q 'waiting for 1 backup' said; do
		kill -0 $gc || fail "it did not wait: $(cat said)"
		sleep 0.02
	done
	sleep 0.5
	kill -0 $gc || fail "it did not wait: $(cat said)"
}

died() {
	grep -q '"a backup that died is given up"' "$1" || fail "$(cat "$1")"
	[ "$(summary .writers_given_up)" = 1 ] || fail "$(cat json)"
}

begin "$HIVEFS"
others_are '1 at work'
kill -9 $backup
json_of "$HIVEFS" gc --json --patience 10000
died stderr

begin "$HIVEFS"
kill -STOP $backup
waits "$HIVEFS"
kill -9 $backup
wait $gc || fail "$(cat said)"
died said

# of another namespace, like a container's
unseen() {
	unshare --pid --fork --kill-child "$@"
}
if unseen true; then
	begin unseen "$HIVEFS"
	waits "$HIVEFS"
	kill $gc
	wait $gc || true
	json_of "$HIVEFS" gc --json --patience 1
	grep -q "a backup on $(uname -n) that was silent for 1 seconds is given up" \
		stderr || fail "$(cat stderr)"
	kill $backup
fi
others_are '0 at work'

# seen by nobody but those who may look into any process
hidden() {
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount sh -c 'mount -t proc -o hidepid=2,gid=65534 proc /proc &&
		exec setpriv --bounding-set -sys_ptrace "$@"' hidden "$@"
}
if hidden true; then
	begin "$HIVEFS"
	! hidden test -e /proc/$backup || fail "it is not hidden"
	waits hidden "$HIVEFS"
	kill -9 $backup
	wait $gc || fail "$(cat said)"
	died said
fi
unmount_repo
"$HIVEFS" verify -q
