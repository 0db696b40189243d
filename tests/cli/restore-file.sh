#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A restored file is equal, sparse where it is new, and equal again where it
# held something else. What may still be needed is refused before it is touched.

. "$(dirname "$0")/common.sh"

cd "$scratch"
sparse_image a 16M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
"$HIVEFS" backup -q two x=a y=a

"$HIVEFS" restore -q web@latest new
same a new
[ "$(stat -c %a new)" = 600 ] || fail "others may read it"
[ "$(du -k new | cut -f1)" -le 4200 ] || fail "zeroes take space"
[ ! -e new.partial ] || fail "a partial file is left"

random_image full 20M 5
cp full kept
refused 1 'full: .*--overwrite' "$HIVEFS" restore web@latest full
same full kept
expect_exit 0 "$HIVEFS" restore --dry-run --overwrite web@latest full
same full kept
chmod 640 full
ln -s full link
"$HIVEFS" restore -q --overwrite web@latest link
same a full
[ -L link ] || fail "the link was replaced"
[ "$(stat -c %a full)" = 640 ] || fail "its mode changed"
[ "$(du -k full | cut -f1)" -le 6000 ] || fail "zeroes were not punched"
random_image short 1M 6
"$HIVEFS" restore -q --overwrite web@latest short
same a short
: >empty
"$HIVEFS" restore -q web@latest empty
same a empty

# several disks, and a directory
"$HIVEFS" restore -q two@latest both
same a both/x.img
same a both/y.img
refused 1 'both/x.img: .*--overwrite' "$HIVEFS" restore two@latest both
"$HIVEFS" restore -q two/y@latest both/one
same a both/one
mkdir there
"$HIVEFS" restore -q web@latest there
same a there/disk0.img
expect_exit 0 "$HIVEFS" restore --dry-run two@latest neither
[ ! -e neither ] || fail "a dry run made a directory"

if [[ $HIVEFS_REPO != *://* ]]; then
	refused 2 'inside the repository' "$HIVEFS" restore web@latest repo/x
	ln -s repo around
	refused 2 'inside the repository' "$HIVEFS" restore web@latest around/x
	refused 2 'inside the repository' "$HIVEFS" restore two@latest repo/new/
	[ ! -e repo/new ] || fail "a directory was made in the repository"
	mkdir repo/sub
	refused 2 'inside the repository' "$HIVEFS" restore two@latest repo/sub
	rmdir repo/sub
fi
"$HIVEFS" restore -q web@latest made/
same a made/disk0.img
refused 1 'nowhere' "$HIVEFS" restore web@latest nowhere/x
refused 2 'name is empty' "$HIVEFS" restore web@latest ''
refused 2 'name is empty' "$HIVEFS" restore two@latest ''
[ ! -e .partial ] || fail "a file without a name was made"
ln -s nothing dangling
refused 2 'dangling: is a link to nothing' \
	"$HIVEFS" restore web@latest dangling
[ -L dangling ] || fail "the dangling link was replaced"
refused 2 '/dev/null: neither' "$HIVEFS" restore web@latest /dev/null
truncate -s 1M locked
exec 9<>locked
python3 -c 'import fcntl, struct
fcntl.fcntl(9, 37, struct.pack("hhqqi", fcntl.F_RDLCK, 0, 100, 1, 0))' ||
	skip "no locks of open files"
refused 11 'locked: in use' "$HIVEFS" restore --overwrite web@latest locked
exec 9<&-
expect_exit 0 "$HIVEFS" verify
