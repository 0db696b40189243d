#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The verbs on clones that a mount has open, and on those it has let go of:
# commit goes by way of the mount, everything else is refused and says who has
# it; a point that was written to is kept.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
random_image a 8M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
base=$("$HIVEFS" points --json | jq -r 'select(.type == "point").address')
"$HIVEFS" clone -q web@latest named
mount_repo
points=("$mnt"/web/2*)
own=${points[0]}

# DIRECTORY OFFSET FILE: 70,000 bytes into a clone's disk, and into a file
write_both() {
	random_bytes 70000 "$2" >piece
	dd if=piece of="$1/disk0.img" bs=70000 seek="$2" oflag=seek_bytes \
		conv=notrunc,fsync status=none
	dd if=piece of="$3" bs=70000 seek="$2" oflag=seek_bytes conv=notrunc \
		status=none
}

# CLONE DIRECTORY: from the first write to the last byte
one_clone() {
	local clone=$1 directory=$2
	cp a want
	write_both "$directory" 123456 want
	exec 7<>"$directory/disk0.img"
	expect_exit 0 "$HIVEFS" clones
	expect_said "^$clone  .*, process $daemon, $mnt$"
	refused 11 "in use by .*, process $daemon, $mnt" \
		"$HIVEFS" discard "$clone"
	refused 11 "in use by .*, process $daemon, $mnt" \
		"$HIVEFS" discard --dry-run "$clone"
	json_of "$HIVEFS" commit "$clone" --json
	[ "$(summary '.verb == "commit" and .read > 0 and .new < 1000000 and .changed == 4194304')" = \
		true ] || fail "commit: $(<json)"
	cp want committed
	write_both "$directory" 1234567 want
	"$HIVEFS" restore -q "web@$(summary .alias)" out
	same committed out
	exec 7>&-
	# let go of: the verb does it itself
	json_of "$HIVEFS" clones --json
	for ((n = 0; n < 50; n++)); do
		[ "$(jq -s 'map(select(.owner)) | length' json)" != 0 ] || break
		sleep 0.1
		json_of "$HIVEFS" clones --json
	done
	json_of "$HIVEFS" commit "$clone" --json
	"$HIVEFS" restore -q --overwrite "web@$(summary .alias)" out
	same want out
	same want "$directory/disk0.img"
	"$HIVEFS" verify -q
	json_of "$HIVEFS" discard "$clone" --json
	rm out
}

one_clone named "$mnt/clones/named"
[ ! -e "$mnt/clones/named" ] || {
	sleep 1.2
	[ ! -e "$mnt/clones/named" ] || fail "discarded, and still there"
}

write_both "$own" 4096 other
refused 14 "$base: was written to, .*: hivefs discard $base " \
	"$HIVEFS" rm "$base"
refused 14 "was written to" "$HIVEFS" rm --dry-run "$base"
json_of "$HIVEFS" show "$base" --json
[ "$(jq -r 'select(.type == "point").own_clone' json)" = true ] || fail "show"
expect_exit 0 "$HIVEFS" show "$base"
expect_said '^written to +yes'
"$HIVEFS" discard -q "$base"
one_clone "$base" "$own"
same a "$own/ro/disk0.img"
expect_exit 0 "$HIVEFS" rm "$base"

# one that is gone has nobody in the way
"$HIVEFS" clone -q web@latest late
exec 7<>"$mnt/clones/late/disk0.img"
kill -9 "$daemon"
wait "$daemon" || true
exec 7>&-
json_of "$HIVEFS" commit late --json
json_of "$HIVEFS" discard late --json
"$HIVEFS" verify -q
