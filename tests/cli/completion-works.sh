#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What bash offers after a beginning: verbs, options and their values, machines
# and addresses.

. "$(dirname "$0")/common.sh"

cd "$scratch"
truncate -s 1M image.raw
"$HIVEFS" init -q
"$HIVEFS" backup -q web image.raw
PATH="$(dirname "$HIVEFS"):$PATH"
[ "$(basename "$HIVEFS")" = hivefs ] || skip "not called hivefs"
# shellcheck disable=SC1090 # made by the program
. <("$HIVEFS" completion bash)
compopt() { :; }

# offers LINE WORD...: exactly these, in any order
offers() {
	COMP_LINE=$1 COMP_POINT=${#1}
	export COMP_LINE COMP_POINT
	shift
	set +eE # as in an interactive shell
	_hivefs
	set -eE
	[ "$(printf '%s\n' "${COMPREPLY[@]}" | sort)" = \
		"$(printf '%s\n' "$@" | sort)" ] ||
		fail "'$COMP_LINE': ${COMPREPLY[*]}"
}

offers 'hivefs re' restore repair
offers 'hivefs backup --form' --format
offers 'hivefs backup --format v' vmdk vhd vhdx vdi
offers 'hivefs backup w' web
offers 'hivefs backup web im' image.raw
offers 'hivefs backup web root=im' image.raw
offers 'hivefs completion z' zsh
offers 'hivefs help ba' backup
offers 'hivefs points --progress n' never
stamp=$("$HIVEFS" points | awk 'END { print $1 }')
offers 'hivefs show web' "web@$stamp"
offers "hivefs show web@${stamp%%:*}" "$stamp"
offers "hivefs show web@${stamp%%:*}:" "${stamp#*:}"
offers 'hivefs -r /nowhere show w' ''
