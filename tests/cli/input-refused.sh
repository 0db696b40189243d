#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Bad input is one clear sentence and the documented exit code, and leaves
# everything as it was.

. "$(dirname "$0")/common.sh"

cd "$scratch"
truncate -s 1M a
: >empty
head -c 1000 a >odd
cp a image.qcow2
mkfifo pipe
mkdir directory

refused 10 "${HIVEFS_REPO%%\?*}: " "$HIVEFS" points
refused 10 "${HIVEFS_REPO%%\?*}: " "$HIVEFS" backup web a
[ ! -e repo ] || fail "a backup made the repository"
refused 10 'directory: ' "$HIVEFS" -r directory status
refused 10 'empty: ' "$HIVEFS" -r empty status
refused 2 'file URL' "$HIVEFS" -r file://host/repo status

"$HIVEFS" init -q
refused 1 'repository already' "$HIVEFS" init
mkdir other && touch other/file
refused 1 'other' "$HIVEFS" init other
refused 1 'no/such/place' "$HIVEFS" init no/such/place/empty/x
refused 1 'empty: is not a directory' "$HIVEFS" init empty
"$HIVEFS" backup -q web a

refused 1 'nothing: ' "$HIVEFS" backup web nothing
refused 1 'd=nothing|nothing: ' "$HIVEFS" backup web d=nothing
refused 2 'empty: is empty' "$HIVEFS" backup web empty
refused 2 'odd: .*512' "$HIVEFS" backup web odd
refused 2 'pipe: ' "$HIVEFS" backup web pipe
refused 2 'directory: ' "$HIVEFS" backup web directory
refused 2 'image.qcow2: ' "$HIVEFS" backup web image.qcow2
if [ "$(id -u)" != 0 ]; then
	cp a secret && chmod 0 secret
	refused 1 'secret: ' "$HIVEFS" backup web secret
fi

refused 1 'nobody' "$HIVEFS" points nobody
refused 1 'no machine nobody' "$HIVEFS" show nobody@latest
refused 1 'no disk disk7' "$HIVEFS" show web/disk7@latest
refused 1 'web@latest~3' "$HIVEFS" show web@latest~3
refused 1 'web@2001' "$HIVEFS" show web@2001-01-01T00:00:00Z
refused 1 'ffffffff' "$HIVEFS" show ffffffff
refused 1 'nobody' "$HIVEFS" restore nobody@latest out
refused 1 'nobody' "$HIVEFS" rm web@latest nobody@latest --last
[ ! -e out ] || fail "a restore of nothing made a file"

"$HIVEFS" backup -q two x=a y=a
refused 2 'disk x: ' "$HIVEFS" diff two@latest web@latest
refused 2 'disk x: ' "$HIVEFS" diff two/x@latest web@latest
refused 2 'has 2 disks' "$HIVEFS" restore two@latest a
refused 2 'has 2 disks' "$HIVEFS" restore two@latest -
[ "$(points)" = 2 ] || fail "something was done all the same"
