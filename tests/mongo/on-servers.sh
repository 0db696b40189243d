#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# on-servers - runs a test on every MongoDB server that there is.
#
#   on-servers.sh [--only NAME[,NAME]...] CMD ARG...
#
# CMD finds a server's URI in $HIVEFS_TEST_MONGODB and uses databases of its own
# there. The servers, each named as the test begins on it:
#
#   given     $HIVEFS_TEST_MONGODB, if it is set
#   mongod    where that program is on PATH, one node
#   replica   three of them that are a replica set
#   java      mongo-java-server, in memory; needs Maven and a JDK
#   ferretdb  FerretDB over SQLite; needs Go 1.21
#   members   java behind three members of a replica set that has only this one
#             to keep what it is told: member.py
#
# java and ferretdb are built once, in $MONGO_BUILD; after that no network is
# needed. CMD runs on the first four, or on those of --only. A test may stop and
# start the members of a set: members.sh. Exit 77 if there is none; else that of
# the first CMD that failed.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
MONGO_BUILD=${MONGO_BUILD:-$here/../../build/tests/mongo}
mkdir -p "$MONGO_BUILD"
MONGO_BUILD=$(cd "$MONGO_BUILD" && pwd)
export MONGO_BUILD MONGO_COMMAND=${MONGO_COMMAND:-$MONGO_BUILD/mongo_command}
given=${HIVEFS_TEST_MONGODB-}
only=given,mongod,replica,java
if [ "${1-}" = --only ]; then
	only=$2
	shift 2
fi

scratch=$(mktemp -d "${TMPDIR:-/tmp}/hivefs-mongo.XXXXXX")
# shellcheck source=tests/mongo/members.sh
. "$here/members.sh"
server=
# servers end with this pipe, should we be killed
mkfifo "$scratch/alive"
exec {alive}<>"$scratch/alive"
export MONGO_ALIVE=$scratch/alive MONGO_ALIVE_FD=$alive
end() {
	local status=$?
	trap - EXIT
	stop
	rm -rf "$scratch"
	exit $status
}

# stop: by its process id, and it is given time to end
stop() {
	local n
	[ -z "${MONGO_SET-}" ] || members_end
	[ -n "$server" ] || return 0
	kill "$server" 2>/dev/null || true
	for ((n = 0; n < 50; n++)); do
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	kill -9 "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	server=
}
trap end EXIT
trap 'exit 130' INT TERM

missing() {
	echo "server $1: skipped: $2"
	return 1
}

# once NAME CMD...: CMD once for all tests, whoever comes first
once() {
	local name=$1
	shift
	(
		flock 9
		[ -e "$MONGO_BUILD/$name.done" ] && exit 0
		"$@" >"$MONGO_BUILD/$name.log" 2>&1 && touch "$MONGO_BUILD/$name.done"
	) 9>"$MONGO_BUILD/$name.lock"
}

build_java() {
	local mvn=(mvn -q -B -f "$here/java/pom.xml" "-Dout=$MONGO_BUILD/java"
		compile dependency:copy-dependencies -DincludeScope=runtime)
	"${mvn[@]}" -o || "${mvn[@]}"
}

build_ferretdb() {
	(cd "$here/ferret" && GOFLAGS=-mod=mod GOTOOLCHAIN=local \
		go build -o "$MONGO_BUILD/ferretdb" .)
}

# first_line FILE: what a server says once it listens
first_line() {
	local n
	for ((n = 0; n < 300; n++)); do
		if [ -s "$1" ]; then
			head -n 1 "$1"
			return
		fi
		kill -0 "$server" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}

# Each sets $server and $uri, or says why it is not there.
start_given() {
	[ -n "$given" ] || return 1
	uri=$given
}

start_mongod() {
	command -v mongod >/dev/null || missing mongod "it is not on PATH" ||
		return 1
	local port=$((20000 + RANDOM % 20000))
	mkdir "$scratch/mongod"
	mongod --dbpath "$scratch/mongod" --bind_ip 127.0.0.1 --port $port \
		>"$scratch/mongod.log" 2>&1 &
	server=$!
	uri=mongodb://127.0.0.1:$port
}

start_replica() {
	command -v mongod >/dev/null || missing "replica set" \
		"mongod is not on PATH" || return 1
	members_new "$scratch/$name"
	member_start_all
	members_initiate || missing "replica set" \
		"it has no primary: $(tail -n 3 "$MONGO_SET/1.log")" || return 1
	uri=$(members_uri)
}

start_members() {
	start_java || return 1
	members_new "$scratch/$name"
	echo "${uri##*:}" >"$MONGO_SET/server"
	member_start_all
	members_initiate || missing members \
		"they have no primary: $(cat "$MONGO_SET"/*.log)" || return 1
	uri=$(members_uri)
}

start_java() {
	local port
	command -v java >/dev/null || missing java "there is no java" || return 1
	command -v mvn >/dev/null || missing java "there is no mvn" || return 1
	once java build_java ||
		missing java "it cannot be built: $MONGO_BUILD/java.log" ||
		return 1
	java -Xmx1500m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
		-cp "$MONGO_BUILD/java/classes:$MONGO_BUILD/java/dependency/*" \
		Server >"$scratch/java.port" 2>"$scratch/java.log" \
		<"$scratch/alive" {alive}>&- &
	server=$!
	port=$(first_line "$scratch/java.port") ||
		missing java "it does not start" || return 1
	uri=mongodb://127.0.0.1:$port
}

start_ferretdb() {
	local version address
	version=$(go env GOVERSION 2>/dev/null) ||
		missing ferretdb "there is no go" || return 1
	version=${version#go1.}
	[ "${version%%.*}" -ge 21 ] 2>/dev/null ||
		missing ferretdb "go 1.$version is older than 1.21" || return 1
	once ferretdb build_ferretdb ||
		missing ferretdb "it cannot be built: $MONGO_BUILD/ferretdb.log" ||
		return 1
	mkdir "$scratch/ferretdb"
	"$MONGO_BUILD/ferretdb" "$scratch/ferretdb" >"$scratch/ferretdb.port" \
		2>"$scratch/ferretdb.log" <"$scratch/alive" {alive}>&- &
	server=$!
	address=$(first_line "$scratch/ferretdb.port") ||
		missing ferretdb "it does not start" || return 1
	uri=mongodb://$address
}

ran=0
for name in given mongod replica java ferretdb members; do
	[[ ",$only," == *",$name,"* ]] || continue
	"start_$name" || continue
	echo "server $name: $*"
	status=0
	HIVEFS_TEST_MONGODB=$uri MONGO_SERVER=$name MONGO_SERVER_PID=$server \
		MONGO_SERVER_DIR=$scratch/$name "$@" || status=$?
	stop
	[ $status = 0 ] || [ $status = 77 ] || exit $status
	[ $status = 77 ] || ran=1
done
[ $ran = 1 ] || exit 77
