#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The table of verbs, --help, the manual pages and the completions agree:
# nothing is in one and not in the others.

. "$(dirname "$0")/common.sh"
requires jq

cd "$scratch"
page_of() {
	local folder
	for folder in tools fs; do
		[ ! -e "$top/$folder/hivefs-$1.1.scd" ] || {
			echo "$top/$folder/hivefs-$1.1.scd"
			return
		}
	done
	fail "$1 has no manual page"
}

"$HIVEFS" help --json >verbs
"$HIVEFS" help >overview
for shell in bash zsh fish; do
	"$HIVEFS" completion $shell >complete.$shell
done
bash -n complete.bash
! command -v zsh >/dev/null || zsh -n complete.zsh
! command -v fish >/dev/null || fish -n complete.fish

jq -r 'select(.type == "verb") | .verb' verbs >names
for verb in $(<names); do
	page=$(page_of "$verb")
	grep -q "^hivefs-$verb(1)$" "$page" || fail "$page: its title"
	grep -qE "^  $verb +[A-Z]" overview || fail "$verb: not in the overview"
	"$HIVEFS" help "$verb" >said
	grep -q "^Usage: hivefs $verb " said || fail "help $verb"
	[ "$verb" = mount ] || "$HIVEFS" "$verb" --help | cmp - said
	grep -qE "\*hivefs-$verb\*" "$top/tools/hivefs.1.scd" ||
		fail "hivefs(1) does not name hivefs-$verb(1)"
	for shell in bash zsh fish; do
		grep -q "\b$verb\b" complete.$shell || fail "$shell: $verb"
	done
	jq -r --arg v "$verb" 'select(.verb == $v and .type == "verb") |
		.options[] | "\(.name) \(.letter)"' verbs >options
	while read -r option letter; do
		grep -q -e "--$option\*" -e "^\*-$letter\*" "$page" ||
			fail "$page: --$option"
		grep -q -e "--$option\b" said || fail "$verb --help: --$option"
		for shell in bash zsh; do
			grep -q -e "--$option\b" complete.$shell ||
				fail "$shell: $verb --$option"
		done
		grep -q -e "-l $option\b" complete.fish || fail "fish: $option"
	done <options
	# and the other way round: a page explains no option that is not there
	grep -oE '^\*.*--[a-z-]+\*' "$page" | grep -oE -e '--[a-z-]+' >explained ||
		true
	while read -r option; do
		grep -q -e "$option\b" said || fail "$page: $option"
	done <explained
done
for option in $(jq -r 'select(.type == "summary") | .options[].name' verbs); do
	grep -q -e "^\*.*--$option\*" "$top/tools/hivefs.1.scd" ||
		fail "hivefs(1): --$option"
done
for page in "$top"/tools/hivefs-*.1.scd; do
	verb=${page##*/hivefs-}
	grep -qx "${verb%.1.scd}" names || fail "$page: no such verb"
done
