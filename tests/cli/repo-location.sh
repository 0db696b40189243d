#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Which repository is meant: --repo, $HIVEFS_REPO, the file that
# $HIVEFS_REPO_FILE names, in this order, else the user's own.

. "$(dirname "$0")/common.sh"
requires jq
needs_files

cd "$scratch"
unset HIVEFS_REPO HIVEFS_REPO_FILE
export HOME=$scratch/home
for name in option variable file; do
	"$HIVEFS" init -q $name
done
printf '%s\r\nignored\n' "$scratch/file" >name

which_one() {
	"$HIVEFS" status --json "$@" | jq -r .repository
}
[ "$(HIVEFS_REPO_FILE=name which_one)" = "$scratch/file" ] ||
	fail "the file"
export HIVEFS_REPO_FILE=$scratch/name
[ "$(HIVEFS_REPO=variable which_one)" = "$scratch/variable" ] ||
	fail "the variable"
[ "$(HIVEFS_REPO='' which_one)" = "$scratch/file" ] ||
	fail "an empty variable is none"
export HIVEFS_REPO=variable
for words in '-r option' '-roption' '--repo option' '--repo=option'; do
	# shellcheck disable=SC2086 # two words are meant
	[ "$(which_one $words)" = "$scratch/option" ] || fail "$words"
done
[ "$("$HIVEFS" --repo=option status --json | jq -r .repository)" = \
	"$scratch/option" ] || fail "before the verb"
for words in '-roption --json' '--json -q -r option' \
	'--progress never --json --repo option'; do
	# shellcheck disable=SC2086 # several words are meant
	[ "$("$HIVEFS" $words status | jq -r .repository)" = \
		"$scratch/option" ] || fail "$words before the verb"
done
[ "$(which_one -r "file://$scratch/option")" = "file://$scratch/option" ] ||
	fail "a URL"

unset HIVEFS_REPO
: >nothing
HIVEFS_REPO_FILE=nothing refused 2 'nothing: .*names no' "$HIVEFS" status
HIVEFS_REPO_FILE=missing refused 1 'missing: ' "$HIVEFS" status
refused 2 'empty' "$HIVEFS" status -r ''
unset HIVEFS_REPO_FILE
if [ "$(id -u)" != 0 ]; then
	refused 10 "$HOME/.local/share/hivefs: " "$HIVEFS" status
	XDG_DATA_HOME=$scratch/data refused 10 "$scratch/data/hivefs: " \
		"$HIVEFS" status
elif [ ! -e /var/lib/hivefs ]; then
	refused 10 '/var/lib/hivefs: ' "$HIVEFS" status
fi
