#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards that the contract of stores and streams holds, word by word, while
# connections are cut before and after messages arrive, servers are not the
# primary any more or shut down, and majorities fail.
#
#   broken-contract.sh PROGRAM FIRST EVERY
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/hivefs-broken.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
port=${HIVEFS_TEST_MONGODB##*:}
[[ $HIVEFS_TEST_MONGODB =~ ^mongodb://127\.0\.0\.1:[0-9]+$ ]] || {
	echo "not a server on this host: skipped"
	exit 77
}

mkfifo "$scratch/alive"
exec {alive}<>"$scratch/alive"
python3 "$here/proxy.py" "$port" "$2" "$3" before,after,primary,concern,closing \
	<"$scratch/alive" >"$scratch/proxy" {alive}>&- &
proxy=$!
until [ -s "$scratch/proxy" ]; do
	kill -0 $proxy
	sleep 0.05
done
status=0
HIVEFS_TEST_MONGODB=mongodb://127.0.0.1:$(head -n 1 "$scratch/proxy") "$1" ||
	status=$?
exec {alive}>&-
wait $proxy
echo "messages and faults: $(tail -n 1 "$scratch/proxy")"
read -r _ faults _ < <(tail -n 1 "$scratch/proxy")
[ "$faults" -gt 4 ] || {
	echo "FAIL: too few faults to tell"
	exit 1
}
exit $status
