#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What export cannot or must not do is said before anything is touched; damage
# and lost ranges show in its exit code.

. "$(dirname "$0")/common.sh"
requires jq python3 nbdkit qemu-img

cd "$scratch"
sparse_image a 9M
random_image b 5M
"$HIVEFS" init -q
"$HIVEFS" backup -q web a
"$HIVEFS" backup -q two x=a y=b

refused 2 'x.iso: its ending must be' "$HIVEFS" export web@latest x.iso
refused 2 'its ending must be' "$HIVEFS" export web@latest .vmdk
refused 2 'its ending must be' "$HIVEFS" export web@latest -
refused 2 'x.vdi: can be dynamic or static, not fixed' \
	"$HIVEFS" export web@latest x.vdi --subformat fixed
refused 2 'x.qcow2: there is only one kind' \
	"$HIVEFS" export web@latest x.qcow2 --subformat dynamic
refused 2 'subformat' "$HIVEFS" export web@latest x.vdi --subformat other
refused 2 'cannot name itself so' "$HIVEFS" export web@latest 'a"b.vmdk'
refused 2 'has 2 disks' "$HIVEFS" export two@latest x.vdi
refused 1 'no machine' "$HIVEFS" export nobody@latest x.vdi
on_server || refused 2 'inside the repository' "$HIVEFS" export web@latest repo/x.vdi
refused 1 'nowhere' "$HIVEFS" export web@latest nowhere/x.vdi
refused 1 'proc/x.vdi' "$HIVEFS" export web@latest /proc/x.vdi
mkdir dir.vdi
refused 2 'dir.vdi: neither' "$HIVEFS" export web@latest dir.vdi

cp b full.vhdx
cp b flat-flat.vmdk
refused 1 'full.vhdx: .*--overwrite' "$HIVEFS" export web@latest full.vhdx
refused 1 'flat-flat.vmdk: .*--overwrite' \
	"$HIVEFS" export web@latest flat.vmdk --subformat monolithicFlat
[ ! -e flat.vmdk ] || fail "one of a pair was written"
expect_exit 0 "$HIVEFS" export --dry-run --overwrite web@latest full.vhdx
same b full.vhdx
same b flat-flat.vmdk
ln -s flat.vmdk link.vmdk
: >flat.vmdk
refused 2 'link.vmdk: is a link' \
	"$HIVEFS" export web@latest link.vmdk --subformat vmfs
expect_exit 0 "$HIVEFS" export --dry-run web@latest fresh.vmdk
[ ! -e fresh.vmdk ] && [ ! -e fresh.vmdk.partial ] || fail "a dry run wrote"

# what an interrupted one has left
cp b left.qcow2.partial
refused 1 'left.qcow2.partial: left by an interrupted export; --overwrite' \
	"$HIVEFS" export web@latest left.qcow2
expect_exit 0 "$HIVEFS" export --overwrite web@latest left.qcow2
[ ! -e left.qcow2.partial ] || fail "it is still there"
qemu-img compare -q -f qcow2 -F raw left.qcow2 a || fail "from what was left"

# too large for the format
truncate -s 3T huge
"$HIVEFS" backup -q huge huge
refused 2 'x.vhd: the disk has 3.00 TiB .* at most 2040 GiB' \
	"$HIVEFS" export huge@latest x.vhd
refused 2 'x.vmdk: .* at most 2 TiB' "$HIVEFS" export huge@latest x.vmdk
refused 2 'x.vmdk: .* at most 2 TiB' \
	"$HIVEFS" export huge@latest x.vmdk --subformat streamOptimized
for kind in x.vhdx x.vdi x.qcow2 'flat.vmdk --overwrite --subformat vmfs'; do
	# shellcheck disable=SC2086 # options
	"$HIVEFS" export -q huge@latest $kind
done
qemu-img compare -q -f vdi -F qcow2 x.vdi x.qcow2 || fail "3 TiB"
[ "$(du -k x.qcow2 | cut -f1)" -lt 1024 ] || fail "of nothing, too much"

# a range that a dying source could not give
serve_bad "$scratch/b" 2097152
expect_exit 3 "$HIVEFS" backup -q --skip-errors bad "$uri"
serve_end
expect_exit 3 "$HIVEFS" restore -q bad@latest bad.raw
for file in bad.vhd bad.qcow2 'bad.vmdk --subformat streamOptimized' \
	'bad.vdi --subformat static'; do
	# shellcheck disable=SC2086 # options
	expect_exit 3 "$HIVEFS" export --json bad@latest $file
	[ "$(jq -s 'last.lost' stdout)" = \
		"$(jq -s 'map(select(.type == "lost").length) | add' stdout)" ] ||
		fail "$file: what is lost"
	[ "$(jq -s 'last.lost > 0' stdout)" = true ] || fail "$file: not told"
	file=${file%% *}
	format=${file#*.}
	qemu-img compare -q -F raw -f "${format/vhd/vpc}" "$file" bad.raw ||
		fail "$file: not as restored"
done

if on_server; then
	exit # damage would be done to files
fi

# a damaged chunk
python3 - <<'PY'
import glob
need = open('b', 'rb').read()[3 << 20:][:4096]
for name in glob.glob('repo/**/*', recursive=True):
    try: data = open(name, 'rb').read()
    except IsADirectoryError: continue
    at = data.find(need)
    if at < 0: continue
    with open(name, 'r+b') as f:
        f.seek(at + 100)
        f.write(bytes([data[at + 100] ^ 1]))
    break
else:
    raise SystemExit('not found')
PY
for file in y.vdi y.img 'y.vmdk --subformat streamOptimized'; do
	# shellcheck disable=SC2086 # options
	expect_exit 4 "$HIVEFS" export two/y@latest $file
	[ ! -e "${file%% *}" ] || fail "$file: not whole, but has its name"
	rm -f y.*
done
