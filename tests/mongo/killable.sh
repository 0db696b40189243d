# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# killable - a server that on-servers.sh has started, on top of lib.sh; skips
# where it is another.
#
#   stop_server, go_on_server   it answers nobody, and does again
#   is_killable                 do its documents survive its end? If so:
#   kill_server                 kill -9; returns when it is gone
#   start_server                again, with the same documents, at its port

[ -n "${MONGO_SERVER_PID-}" ] || skip "not a server of ours"

# a server that is away for long is waited for longer
HIVEFS_REPO=${HIVEFS_REPO/=3000/=20000}
server=$MONGO_SERVER_PID
mkfifo "$scratch/alive"
exec {alive}<>"$scratch/alive"

is_killable() {
	[ "$MONGO_SERVER" = ferretdb ]
}

stop_server() {
	kill -STOP "$server"
}

go_on_server() {
	kill -CONT "$server" 2>/dev/null || true
}
at_exit go_on_server

kill_server() {
	kill -9 "$server"
	while kill -0 "$server" 2>/dev/null &&
		! grep -q '^State:.Z' "/proc/$server/status"; do
		sleep 0.02
	done
}

start_server() {
	FERRET_LISTEN=${HIVEFS_TEST_MONGODB#mongodb://} "$MONGO_BUILD/ferretdb" \
		"$MONGO_SERVER_DIR" <"$scratch/alive" >"$scratch/ferretdb" \
		2>&1 {alive}>&- &
	server=$!
}
