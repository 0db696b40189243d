# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# members - the three members of a replica set on this host, by number: mongod
# each, or, where the set has a file "server", member.py before the server at that
# port. What a test does to them is the same to both.
#
#   $MONGO_SET                  its directory; here are N.pid and N.log
#   members_new DIRECTORY       a new set, none of which runs
#   member_start N, member_start_all
#   members_initiate            waits for a first primary; fails if there is none
#   members_uri
#   member_primary              prints the number of the primary; nothing
#                               if there is none
#   other_primary N             waits until it is another than N; prints it
#   member_kill N               kill -9
#   member_cut_off N            stops it: it neither answers nor closes
#   member_back N               starts one that was killed, or goes on
#   members_end                 all of them end

set_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Below those that the kernel gives out, so that one that is killed gets its
# port back.
free_ports() {
	local n first=0
	until [ $first != 0 ]; do
		first=$((20000 + RANDOM % 12000))
		for n in 0 1 2; do
			! (: <"/dev/tcp/127.0.0.1/$((first + n))") 2>/dev/null ||
				first=0
		done
	done
	echo $first
}

members_new() {
	local n first
	first=$(free_ports)
	export MONGO_SET=$1
	mkdir "$MONGO_SET"
	for n in 1 2 3; do
		mkdir "$MONGO_SET/$n"
		echo $((first + n - 1))
	done >"$MONGO_SET/ports"
}

member_port() {
	sed -n "$1p" "$MONGO_SET/ports"
}

# the program itself, so that its process id is what is killed
member_run() {
	if [ -e "$MONGO_SET/server" ]; then
		exec python3 "$set_here/member.py" "$(member_port "$1")" \
			"$(paste -s -d , "$MONGO_SET/ports")" \
			"$(cat "$MONGO_SET/server")" "$MONGO_SET"
	fi
	exec mongod --replSet rs --bind_ip 127.0.0.1 \
		--port "$(member_port "$1")" --dbpath "$MONGO_SET/$1" \
		--wiredTigerCacheSizeGB 0.25 --oplogSize 128
}

member_start() {
	member_run "$1" <"$MONGO_ALIVE" >>"$MONGO_SET/$1.log" 2>&1 \
		{MONGO_ALIVE_FD}>&- &
	echo $! >"$MONGO_SET/$1.pid"
	disown $!
}

member_start_all() {
	local n
	for n in 1 2 3; do
		member_start $n
	done
}

# member_command N JSON
member_command() {
	"$MONGO_COMMAND" "mongodb://127.0.0.1:$(member_port "$1")/admin?$(
	)directConnection=true&serverSelectionTimeoutMS=1000&$(
	)connectTimeoutMS=1000&socketTimeoutMS=5000" "$2"
}

members_initiate() {
	local n hosts=
	for n in 1 2 3; do
		hosts+="${hosts:+,}{\"_id\": $n, \"host\": \"127.0.0.1:$(
			member_port $n)\"}"
	done
	for ((n = 0; n < 60; n++)); do
		! member_command 1 "{\"replSetInitiate\": {\"_id\": \"rs\",
			\"members\": [$hosts]}}" >/dev/null 2>&1 || break
		sleep 0.5
	done
	[ -n "$(other_primary 0)" ]
}

members_uri() {
	local n hosts=
	for n in 1 2 3; do
		hosts+=${hosts:+,}127.0.0.1:$(member_port $n)
	done
	echo "mongodb://$hosts/?replicaSet=rs"
}

member_primary() {
	local n
	for n in 1 2 3; do
		! member_command $n '{"isMaster": 1}' 2>/dev/null |
			grep -q '"ismaster" : true' || echo $n
	done | tail -n 1
}

# One that is cut off may still think that it is: what others say counts.
other_primary() {
	local n now
	for ((n = 0; n < 600; n++)); do
		now=$(member_primary)
		if [ -n "$now" ] && [ "$now" != "$1" ]; then
			echo "$now"
			return
		fi
		sleep 0.1
	done
	return 1
}

member_pid() {
	cat "$MONGO_SET/$1.pid"
}

member_gone() {
	local pid
	pid=$(member_pid "$1")
	! kill -0 "$pid" 2>/dev/null ||
		grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null
}

member_kill() {
	kill -9 "$(member_pid "$1")"
	until member_gone "$1"; do
		sleep 0.02
	done
}

# The lock is free where a member of ours is not just passing a message on.
member_cut_off() {
	local pid
	pid=$(member_pid "$1")
	kill -STOP "$pid"
	until flock -n -x "$MONGO_SET/lock" true; do
		kill -CONT "$pid"
		sleep 0.02
		kill -STOP "$pid"
	done
}

member_back() {
	if member_gone "$1"; then
		member_start "$1"
	else
		kill -CONT "$(member_pid "$1")"
	fi
}

members_end() {
	local n k
	for n in 1 2 3; do
		# it may end between a look and a signal
		member_gone $n || kill -CONT "$(member_pid $n)" 2>/dev/null || true
		member_gone $n || kill "$(member_pid $n)" 2>/dev/null || true
	done
	for n in 1 2 3; do
		for ((k = 0; k < 100; k++)); do
			! member_gone $n || break
			sleep 0.1
		done
		member_gone $n || kill -9 "$(member_pid $n)" 2>/dev/null || true
	done
	unset MONGO_SET
}
