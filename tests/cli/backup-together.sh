#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Backups at once, of one machine and of several, with the same bytes, beside a
# verify: all points are there and whole, and every chunk is there once.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
random_image a 48M
cp a b
change_image b 2
"$HIVEFS" init -q

pids=()
for i in 1 2 3; do
	"$HIVEFS" backup -q same a &
	pids+=($!)
	"$HIVEFS" backup -q other$i b &
	pids+=($!)
done
"$HIVEFS" verify -q &
pids+=($!)
for pid in "${pids[@]}"; do
	wait "$pid" || fail "one failed"
done

[ "$(points)" = 6 ] || fail "points are missing"
[ "$("$HIVEFS" status --json | jq -s 'map(select(.machine == "same"))[0].points')" \
	= 3 ] || fail "the machine was made twice"
"$HIVEFS" points --json | jq -r 'select(.type == "point") |
	"\(.machine) \(.alias)"' >list
while read -r machine alias; do
	"$HIVEFS" restore -q "$machine@$alias" out --overwrite
	case $machine in
	same) same a out ;;
	*) same b out ;;
	esac
done <list
json_of "$HIVEFS" verify --json
json_of "$HIVEFS" status --json
[ "$(summary '.chunk_bytes < 52 * 1048576')" = true ] ||
	fail "chunks are there twice: $(summary .chunk_bytes)"
