# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# proxy - the proxy in shell tests, on top of lib.sh.
#
#   proxy FIRST EVERY FAULTS [DELAY [PORT]]
#                                       $HIVEFS_REPO goes through it; $direct
#                                       does not
#   proxy_end                           and back; sets $n_messages, $n_faults
#                                       and $n_waiting

direct=$HIVEFS_REPO
[[ ${HIVEFS_TEST_MONGODB-} =~ ^mongodb://127\.0\.0\.1:[0-9]+$ ]] ||
	skip "not a server on this host"

mkfifo "$scratch/alive"
exec {alive}<>"$scratch/alive"
proxy=

proxy() {
	: >"$scratch/proxy"
	rm -f "$scratch/open"
	mkfifo "$scratch/open"
	exec {open}<>"$scratch/open"
	python3 "$top/tests/mongo/proxy.py" "${HIVEFS_TEST_MONGODB##*:}" "$@" \
		<"$scratch/open" >"$scratch/proxy" {open}>&- {alive}>&- &
	proxy=$!
	until [ -s "$scratch/proxy" ]; do
		kill -0 $proxy || fail "the proxy does not start"
		sleep 0.02
	done
	HIVEFS_REPO=${direct/"$HIVEFS_TEST_MONGODB"/mongodb://127.0.0.1:$(
		head -n 1 "$scratch/proxy")}
}

proxy_end() {
	exec {open}>&-
	wait $proxy
	read -r n_messages n_faults n_waiting < <(tail -n 1 "$scratch/proxy")
	# shellcheck disable=SC2034 # for the tests
	export n_messages n_faults n_waiting
	HIVEFS_REPO=$direct
}
