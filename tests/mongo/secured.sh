#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guards what users of a server with TLS and passwords meet: backup, restore and a
# mount work; whatever is wrong with a certificate, a user or an address is one
# sentence, from doctor, too; and a password is seen nowhere.
. "$(dirname "$0")/../cli/common.sh"
# shellcheck source=tests/mongo/proxy.sh
. "$top/tests/mongo/proxy.sh"
requires python3 openssl jq

path=/${direct##*/}
path="${path%%\?*}?serverSelectionTimeoutMS=20000"

# front ARG...: sets $port, of one before the server
front() {
	rm -f "$scratch/port"
	python3 "$top/tests/mongo/front.py" "${HIVEFS_TEST_MONGODB##*:}" "$@" \
		<"$scratch/alive" >"$scratch/port" {alive}>&- &
	at_exit kill $!
	until [ -s "$scratch/port" ]; do
		kill -0 $! || fail "the front does not start"
		sleep 0.02
	done
	port=$(cat "$scratch/port")
}

authority() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-days 9 -subj "/CN=$1" -keyout "$scratch/$1.key" \
		-out "$scratch/$1.ca" 2>"$scratch/openssl"
}

# certificate NAME ALTERNATIVE-NAME DAYS: with its key in NAME.pem
certificate() {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-subj "/CN=$1" -keyout "$scratch/$1.key" -out "$scratch/$1.csr" \
		2>"$scratch/openssl"
	echo "subjectAltName=$2" >"$scratch/$1.ext"
	openssl x509 -req -in "$scratch/$1.csr" -CA "$scratch/ours.ca" \
		-CAkey "$scratch/ours.key" -CAcreateserial -days "$3" \
		-extfile "$scratch/$1.ext" -out "$scratch/$1.crt" \
		2>"$scratch/openssl"
	cat "$scratch/$1.crt" "$scratch/$1.key" >"$scratch/$1.pem"
}

# wrong CODE PATTERN URI: so says a verb, and doctor; neither tells a password.
# As each waits for a server, they do it side by side, until all_wrong.
checks=()
wrong() {
	(
		scratch=$scratch/${#checks[@]}
		mkdir "$scratch"
		is_wrong "$1" "$2" "${3/=20000/=2500}"
	) &
	checks+=($!)
}

all_wrong() {
	local check
	for check in "${checks[@]}"; do
		wait "$check" || fail "see above"
	done
}

is_wrong() {
	refused "$1" "$2" timeout 25 "$HIVEFS" points -r "$3"
	! grep -E 'pass-word|mongodb.*@' "$scratch/stderr" || fail "a secret"
	expect_exit "$1" timeout 25 "$HIVEFS" doctor --store -r "$3"
	grep -E "^FAILED .*$2" "$scratch/stdout" >/dev/null || {
		cat "$scratch/stdout"
		fail "doctor does not say: $2"
	}
	! grep -E 'pass-word|mongodb.*@' "$scratch/stdout" "$scratch/stderr" ||
		fail "a secret"
}

authority ours
authority theirs
certificate good IP:127.0.0.1 9
certificate elsewhere DNS:elsewhere.example 9
certificate old IP:127.0.0.1 -1
random_image "$scratch/a" 9M 1
"$HIVEFS" init -q

front --cert "$scratch/good.pem" --user 'web:pass-word'
tls="&tls=true&tlsCAFile=$scratch/ours.ca"
echo "mongodb://web:pass-word@127.0.0.1:$port$path$tls" >"$scratch/uri"
export HIVEFS_REPO_FILE=$scratch/uri
unset HIVEFS_REPO
"$HIVEFS" backup -q web "$scratch/a"
"$HIVEFS" restore -q web@latest - | cmp - "$scratch/a"
HIVEFS_DEBUG=all mount_repo
same "$scratch/a" "$mnt/web/latest/disk0.img"
echo written | dd of="$mnt/web/latest/disk0.img" conv=notrunc,fsync status=none
expect_exit 0 cat "$mnt/.hivefs/status.json" "$mnt/.hivefs/metrics" \
	"/proc/$daemon/cmdline" /proc/self/mountinfo "$scratch/daemon.log"
! grep -a pass-word "$scratch/stdout" || fail "a password is to be seen"
unmount_repo
"$HIVEFS" doctor --store >"$scratch/stdout"
expect_said '^ok  *permissions: .*hivefsMaintain'

here=127.0.0.1:$port$path
wrong 1 'does not accept the user or the password' \
	"mongodb://web:pass-word2@$here$tls"
wrong 1 'does not accept the user or the password' \
	"mongodb://nobody:pass-word@$here$tls&authMechanism=SCRAM-SHA-256"
wrong 1 'wants a user and a password, and the URI has none' "mongodb://$here$tls"
wrong 1 'certificate is not accepted: unable to get local issuer' \
	"mongodb://web:pass-word@$here&tls=true&tlsCAFile=$scratch/theirs.ca"
wrong 1 "tlscafile: $scratch/none cannot be read" \
	"mongodb://web:pass-word@$here&tls=true&tlsCAFile=$scratch/none"
wrong 1 'no server answers: .*may want TLS \(tls=true\)' \
	"mongodb://web:pass-word@$here"
wrong 1 'no server answers: .*may not speak TLS' "mongodb://${direct#*//}$tls"
wrong 1 'DNS does not say which servers these are: ' \
	"mongodb+srv://web:pass-word@db.no-such-host.invalid$path"
wrong 2 'is no valid URI of a MongoDB server' \
	"mongodb+srv://web:pass-word@127.0.0.1:$port$path"

front --cert "$scratch/elsewhere.pem"
wrong 1 'certificate is not accepted: IP address mismatch' \
	"mongodb://127.0.0.1:$port$path$tls"
front --cert "$scratch/old.pem"
wrong 1 'certificate is not accepted: certificate has expired' \
	"mongodb://127.0.0.1:$port$path$tls"
front --cert "$scratch/good.pem" --client-ca "$scratch/ours.ca"
wrong 1 'may want a certificate of this client \(tlsCertificateKeyFile\)' \
	"mongodb://127.0.0.1:$port$path$tls"
"$HIVEFS" restore -q web@latest - -r "mongodb://127.0.0.1:$port$path$tls&$(
	)tlsCertificateKeyFile=$scratch/good.pem" >"$scratch/restored"
same "$scratch/a" "$scratch/restored"
all_wrong

# a reply that never comes is waited for as long as the URI says, and asked for
# once more
proxy 3 100000000 stall
timeout 25 "$HIVEFS" restore -q web@latest - \
	-r "$HIVEFS_REPO&socketTimeoutMS=300" | cmp - "$scratch/a"
proxy_end
[ "$n_faults" = 1 ] || fail "nothing stalled"
