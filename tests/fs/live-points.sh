#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A mount lives on while the repository changes: a backup is there when it has
# ended, latest follows, and a point that is removed goes, but not from under
# who reads it; nor does it keep the space that gc frees.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires jq

random_image "$scratch/a.img" 20M 1
random_image "$scratch/b.img" 20M 2
"$HIVEFS" init
mount_repo
[ "$(ls "$mnt")" = clones ] || fail "not empty: $(ls "$mnt")"
[ ! -e "$mnt/web" ] || fail "there is a machine"

# looked up in vain just now, so a name remembered as absent would show
"$HIVEFS" backup web "$scratch/a.img"
old=$(basename "$mnt"/web/2*)
same "$scratch/a.img" "$mnt/web/$old/disk0.img"
! ls "$mnt/web/$old-00000000" 2>/dev/null || fail "there is an alias"

sleep 1
"$HIVEFS" backup web "$scratch/b.img"
[ "$(ls "$mnt/web")" = "$(cd "$mnt/web" && echo 2* latest | tr ' ' '\n')" ]
[ "$(find "$mnt/web" -name '2*' | wc -l)" = 2 ] || fail "not two points"
same "$scratch/b.img" "$mnt/web/latest/disk0.img"
same "$scratch/a.img" "$mnt/web/$old/disk0.img"

# a reader in the midst of it
exec 9<"$mnt/web/$old/disk0.img"
head -c 1000000 <&9 | cmp -n 1000000 "$scratch/a.img" -
"$HIVEFS" rm "web@$old"
sleep 1.1 # as long as the kernel may remember a point's name
[ "$(find "$mnt/web" -name '2*' | wc -l)" = 1 ] || fail "it is still listed"
[ ! -e "$mnt/web/$old" ] || fail "it can still be looked up"
[ ! -e "$mnt/web/$old/disk0.img" ] || fail "its disk can be looked up"
cmp <(tail -c +1000001 "$scratch/a.img") <(tail -c +1 <&9) ||
	fail "its reader was cut off"
exec 9<&-

"$HIVEFS" rm --last web@latest
sleep 1.1
[ ! -L "$mnt/web/latest" ] || fail "latest of nothing"
[ -z "$(ls "$mnt/web")" ] || fail "not empty: $(ls "$mnt/web")"

# nobody reads any more, and what gc removes is not kept from being freed
if ! on_server; then
	held() {
		find "/proc/$daemon/fd" -lname "*$1" | wc -l
	}
	[ "$(held .seg)" -gt 0 ] || fail "has no segment open"
	"$HIVEFS" gc --json >"$scratch/gc"
	jq -e 'select(.type == "summary") | .segments_removed > 0' "$scratch/gc" \
		>/dev/null || fail "$(cat "$scratch/gc")"
	for ((n = 0; n < 300; n++)); do
		[ "$(held ' (deleted)')" != 0 ] || break
		sleep 0.1
	done
	[ "$(held ' (deleted)')" = 0 ] || fail "has removed files open"
fi

# three at once share a second, or two of them do
for n in 1 2 3; do
	"$HIVEFS" backup "same" "$scratch/a.img"
done
[ "$(find "$mnt/same" -name '2*' | wc -l)" = 3 ] || fail "not three points"
for point in "$mnt"/same/2*; do
	same "$scratch/a.img" "$point/disk0.img"
done
"$HIVEFS" show --json same@latest >"$scratch/latest"
grep -q "$(jq .alias "$mnt/same/latest/point.json")" "$scratch/latest" ||
	fail "another latest: $(cat "$scratch/latest")"
unmount_repo
