# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# common - what the tests of the command line share, on top of lib.sh.
#
#   refused CODE PATTERN CMD...     exits so, with nothing on stdout and one
#                                   sentence on stderr that matches PATTERN
#   json_of CMD...                  its JSON lines, checked, in $scratch/json
#   summary FILTER                  jq of the last of them
#   points                          how many points the repository has
#   serve NBDKIT-ARG...             an export at $uri, until serve_end
#   serve_bad IMAGE OFFSET          the same, of a disk with 64 KiB that cannot
#                                   be read

# shellcheck disable=SC2154 # of lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

refused() {
	local code=$1 pattern=$2
	shift 2
	expect_exit "$code" "$@"
	[ ! -s "$scratch/stdout" ] || fail "it also has results: $*"
	[ "$(wc -l <"$scratch/stderr")" = 1 ] || {
		cat "$scratch/stderr" >&2
		fail "not one sentence: $*"
	}
	grep -qE -e "^hivefs: .*$pattern" "$scratch/stderr" || {
		cat "$scratch/stderr" >&2
		fail "says no '$pattern': $*"
	}
	! grep -qE '\.$' "$scratch/stderr" || fail "a full stop: $*"
}

json_of() {
	"$@" >"$scratch/json" 2>"$scratch/stderr" || fail "exit $?: $*"
	jq -e -s 'length > 0 and all(type == "object" and has("type"))
		and (last.type == "summary")
		and (map(select(.type == "summary")) | length == 1)' \
		"$scratch/json" >"$scratch/jq" || {
		cat "$scratch/json" >&2
		fail "no JSON lines with a summary: $*"
	}
	! grep -qE '^\{"type": ' "$scratch/json" || fail "not compact: $*"
}

summary() {
	jq -r -s "last | $1" "$scratch/json"
}

points() {
	"$HIVEFS" points --json | grep -c '^{"type":"point"' || true
}

# shellcheck disable=SC2034 # used by those that serve
uri="nbd+unix:///?socket=$scratch/socket"
server=

serve() {
	rm -f "$scratch/socket"
	nbdkit -f -r -U "$scratch/socket" "$@" 2>"$scratch/server.log" &
	server=$!
	disown $server
	at_exit gone "$server"
	local n
	for ((n = 0; n < 50; n++)); do
		[ ! -S "$scratch/socket" ] || return 0
		sleep 0.1
	done
	cat "$scratch/server.log" >&2
	fail "nbdkit does not serve"
}

serve_bad() {
	cat >bad.sh <<-'SCRIPT'
		#!/bin/sh
		case $1 in
		get_size) stat -c %s "$IMAGE" ;;
		can_write) exit 3 ;;
		pread)
			if [ "$4" -lt $((BAD + 65536)) ] && [ $(($4 + $3)) -gt "$BAD" ]; then
				echo EIO bad sector >&2
				exit 1
			fi
			dd if="$IMAGE" bs="$3" count=1 skip="$4" \
				iflag=skip_bytes,fullblock status=none
			;;
		*) exit 2 ;;
		esac
	SCRIPT
	chmod +x bad.sh
	IMAGE=$1 BAD=$2 serve sh ./bad.sh
}

gone() {
	kill -9 "$1" 2>/dev/null || true
}

serve_end() {
	gone "$server"
	rm -f "$scratch/socket"
}
