#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A clone with a name is in /clones, also after its point was removed, and stays
# when nothing was written to it. Another mount, also one with -o ro, shows it as
# it is, also while its owner folds what is being read.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/fs/common.sh
. "$(dirname "$0")/common.sh"
requires jq python3

sparse_image "$scratch/a.img" 24M
back_up "$scratch/a.img"
mount_clone -o formats=img
[ -z "$(ls "$mnt/clones")" ] || fail "there is $(ls "$mnt/clones")"
"$HIVEFS" clone web@latest try
sleep 1
"$HIVEFS" backup web "$scratch/a.img"
"$HIVEFS" rm "web@$(basename "$point")"

clone=$mnt/clones/try
view=$clone/disk0.img
[ "$(ls "$mnt/clones") $(echo "$clone"/*)" = \
	"try $clone/clone.json $clone/disk0.img" ] ||
	fail "$(ls "$mnt/clones" "$clone")"
jq -e '.name == "try" and .machine == "web" and .disks[0].size == 25165824' \
	"$clone/clone.json" >/dev/null || fail "$(cat "$clone/clone.json")"
hold "$view"
let_go
put 5000 100000 1
same_disk
[ "$(stat -c %b "$view")" -gt $((5 << 11)) ] || fail "blocks"

mount_again -o ro
view2=$mnt2${view#"$mnt"}
same "$oracle" "$view2"
[ "$(stat -c %a "$view2")" = 444 ] || fail "may be written to with -o ro"
exec 8<"$view2"
hold "$view"
for ((n = 2; n < 6; n++)); do
	put $((n * 3000000)) 1000000 $n
	put $((n * 50000)) 5000 $n
	same "$oracle" "$view2"
	attribute set "$clone" commit
	same "$oracle" "$view2"
	# whoever has it open reads what was there then, or is there now
	[ "$(dd bs=1M iflag=direct status=none <"/proc/$$/fd/8" | wc -c)" = \
		25165824 ] || fail "who has it open, round $n"
done
exec 8<&-
let_go
unmount_again

sleep 0.5
attribute set "$clone" discard
[ -z "$(ls "$mnt/clones")" ] || fail "it is still listed"
[ ! -e "$view" ] || fail "it is still there"
"$HIVEFS" clone web@latest try
same "$oracle" "$view" # as it was committed last
unmount_repo
