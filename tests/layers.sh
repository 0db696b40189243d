#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# layers - guards the one-way layers: src <- {formats, repo} <- {fs, tools}.
# Sisters (formats and repo, fs and tools) never include each other, and only
# src/main.c sees both tops.

set -euo pipefail
cd "${1:-$(dirname "$0")/..}"

declare -A may=(
	[src]='src'
	[formats]='formats src'
	[repo]='repo src'
	[fs]='fs formats repo src'
	[tools]='tools formats repo src'
)
bad=0
seen=0

for layer in "${!may[@]}"; do
	while IFS=: read -r file line text; do
		seen=$((seen + 1))
		target=${text#*\"}
		target=${target%%\"*}
		case $file:$target in
		src/main.c:fs/* | src/main.c:tools/*) continue ;;
		esac
		from=${target%%/*}
		if [ "$from" = "$target" ] || [ "$from" = .. ]; then
			echo "$file:$line: \"$target\": say the folder too"
			bad=1
		elif [[ " ${may[$layer]} " != *" $from "* ]]; then
			echo "$file:$line: $layer/ must not include $target"
			bad=1
		fi
	done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' \
		--include='*.[ch]' "$layer" || true)
done

[ $seen -gt 0 ] || {
	echo "layers: no #include found: wrong directory?"
	exit 1
}
exit $bad
