#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The tree of a mount: what is there, under which names and with which
# attributes, and that no other name is. Inode numbers are those of the mount
# before. Of formats only one is shown: formats-shown.sh has the others.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
requires jq

sparse_image "$scratch/a.img" 9M 1
random_image "$scratch/b.img" 1M 2
"$HIVEFS" init
"$HIVEFS" backup web "$scratch/a.img" data="$scratch/b.img"
"$HIVEFS" backup db.example-1 "$scratch/b.img"
sleep 1
"$HIVEFS" backup web "$scratch/a.img" data="$scratch/b.img"

tree() {
	(cd "$mnt" && find . -mindepth 1 -printf '%P %y %m %n %U:%G\n') |
		sed 's/20[0-9-]*T[0-9]\{6\}Z/POINT/' | sort -u
}
mount_repo -o formats=img,ro,uid=1234,gid=5678,umask=0027
tree >"$scratch/found"
diff - "$scratch/found" <<'END' || fail "another tree with -o ro"
.hivefs d 550 2 1234:5678
.hivefs/metrics f 440 1 1234:5678
.hivefs/status.json f 440 1 1234:5678
clones d 550 2 1234:5678
db.example-1 d 550 2 1234:5678
db.example-1/POINT d 550 2 1234:5678
db.example-1/POINT/disk0.img f 440 2 1234:5678
db.example-1/POINT/point.json f 440 1 1234:5678
db.example-1/POINT/ro d 550 2 1234:5678
db.example-1/POINT/ro/disk0.img f 440 2 1234:5678
db.example-1/latest l 777 1 1234:5678
web d 550 2 1234:5678
web/POINT d 550 2 1234:5678
web/POINT/data.img f 440 2 1234:5678
web/POINT/disk0.img f 440 2 1234:5678
web/POINT/point.json f 440 1 1234:5678
web/POINT/ro d 550 2 1234:5678
web/POINT/ro/data.img f 440 2 1234:5678
web/POINT/ro/disk0.img f 440 2 1234:5678
web/latest l 777 1 1234:5678
END
[ "$mnt/web/latest/disk0.img" -ef "$mnt/web/latest/ro/disk0.img" ] ||
	fail "ro/ has another file"
unmount_repo

# what may be written to is another file than the one in ro/
mount_repo -o formats=img,uid=1234,gid=5678,umask=0027
sed -e 's/\(POINT\) d 550/\1 d 750/' -e 's/img f 440 2/img f 440 1/' \
	-e '/ro\//!s/img f 440/img f 640/' "$scratch/found" | diff - <(tree) ||
	fail "another tree"

points=("$mnt"/web/2*)
[ ${#points[@]} = 2 ] || fail "not two points: ${points[*]}"
new=$(basename "${points[1]}")
[ "$(readlink "$mnt/web/latest")" = "$new" ] || fail "latest is not $new"
[ "$(stat -c %s "$mnt/web/latest")" = ${#new} ] || fail "length of the link"

# times are those of the point
colons=${new:0:13}:${new:13:2}:${new:15}
for path in "" /disk0.img /point.json /ro; do
	[ "$(stat -c %Y "${points[1]}$path")" = "$(date -d "$colons" +%s)" ] ||
		fail "time of $new$path"
done
[ "$(stat -c %Y "$mnt/web")" = "$(date -d "$colons" +%s)" ] ||
	fail "time of the machine"

for name in nobody latest clones/x web/2020-01-01T000000Z "web/$colons" \
	"web/$new/clone.json" \
	"web/$new-" "web/$new-00000000" "web/$new/disk1.img" \
	"web/$new/disk0.vmdkx" "web/$new/disk0" "web/$new/files" \
	"web/$new/ro/point.json" "web/$new/ro/ro" .hivefs/x; do
	[ ! -e "$mnt/$name" ] || fail "there is a $name"
done

# .hivefs and point.json say what they should
jq -e --arg t "$colons" '.type == "point" and .machine == "web" and
	.time == $t and .parent != null and (.disks | map(.name)) ==
	["disk0", "data"] and .disks[0].size == 9437184' \
	"${points[1]}/point.json" >/dev/null || fail "point.json"
jq -e --arg t "$colons" '.machines | map(select(.name == "web"))[0] |
	.last_point == $t and .last_point_age_seconds < 600' \
	"$mnt/.hivefs/status.json" >/dev/null || fail "status.json"
grep -q "^hivefs_last_point_timestamp_seconds{machine=\"web\"} $(
	date -d "$colons" +%s)\$" "$mnt/.hivefs/metrics" || fail "metrics"

inodes() {
	(cd "$mnt" && find . -printf '%i %P\n' | sort)
}
inodes >"$scratch/inodes"
unmount_repo
mount_repo -o formats=img
inodes | diff "$scratch/inodes" - || fail "other inode numbers"
unmount_repo
