#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# SIGINT, SIGTERM and SIGHUP end a backup, a restore and a verify in good order: exit
# code 128 + n, no point, no file under its name, nothing that is in the way.

. "$(dirname "$0")/common.sh"
requires nbdkit python3

cd "$scratch"
random_image a 64M
"$HIVEFS" init -q
serve --filter=rate file a rate=80M

# hears PID SIGNAL: it has a handler for it
hears() {
	local mask
	mask=$(sed -n 's/^SigCgt:\t//p' "/proc/$1/status")
	[ $((0x$mask >> ($(kill -l "$2") - 1) & 1)) = 1 ]
}

# stopped SIGNAL CODE CMD...
stopped() {
	local signal=$1 want=$2 code=0 n
	shift 2
	"$@" 2>said &
	for ((n = 0; n < 200; n++)); do
		! [ "/proc/$!/exe" -ef "$HIVEFS" ] || ! hears $! "$signal" ||
			break
		sleep 0.02
	done
	sleep 0.2
	kill "-$signal" $!
	wait $! || code=$?
	[ $code = "$want" ] || {
		cat said >&2
		fail "exit $code, not $want: $*"
	}
	[ "$(grep -c interrupted said)" = 1 ] || fail "does not say so"
}

# a background job of a shell ignores SIGINT, unless it is told otherwise, and
# whoever runs this may ignore SIGHUP
cat >hearing.py <<'PY'
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
PY
stopped TERM 143 "$HIVEFS" backup web "$uri"
stopped INT 130 python3 hearing.py "$HIVEFS" backup web "$uri"
# a terminal that is closed
stopped HUP 129 python3 hearing.py "$HIVEFS" backup web "$uri"
[ -z "$(find repo -name '*.tmp')" ] || fail "left something: $(find repo)"
[ "$(points)" = 0 ] || fail "an interrupted backup made a point"
"$HIVEFS" backup -q web a

# unless it is not to be minded
nohup "$HIVEFS" backup -q web "$uri" >said 2>&1 &
sleep 0.3
kill -HUP $!
wait $! || fail "nohup: exit $?: $(cat said)"

# a reader that reads nothing
mkfifo pipe
sleep 60 <>pipe &
disown
at_exit gone $!
stopped TERM 143 sh -c "exec '$HIVEFS' restore web@latest - >pipe"

# to a file: at whatever moment, it does not have its name before it is whole
for delay in 0 0.02 0.05 0.1; do
	code=0
	"$HIVEFS" restore -q --threads 1 web@latest out 2>said &
	sleep $delay
	kill -TERM $! 2>/dev/null || true
	wait $! 2>/dev/null || code=$?
	[ $code = 0 ] || [ $code = 143 ] || fail "exit $code"
	[ $code = 0 ] || [ ! -e out ] || fail "incomplete under its name"
	"$HIVEFS" restore -q --resume --overwrite web@latest out
	same a out
	rm out
done
expect_exit 0 "$HIVEFS" verify
