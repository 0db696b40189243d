#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# setup - installs the Debian packages that are missing and builds into build/.
#
#   tools/setup.sh [--no-build] [build|demo|test]...
#
# build is always part of it: what compiles and runs hivefs. demo adds what the
# demo disk is made of, test (which includes demo) what tools/test.sh runs. Only
# with test are the tests compiled too. The second run has nothing to do and
# takes a second.

set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

cd "$(dirname "$0")/.."

packages=(
	gcc libc6-dev meson ninja-build pkg-config
	libfuse3-dev liblmdb-dev libbson-dev libzstd-dev libssl-dev
	libxxhash-dev libnbd-dev libmongoc-dev libjansson-dev libblkid-dev zlib1g-dev scdoc
	fuse3 qemu-utils
)
demo=(qemu-system-x86 grub-pc-bin e2fsprogs fdisk)
tests=(
	libcmocka-dev python3 openssl nbdkit libnbd-bin jq strace fio xfsprogs
	zstd ovmf grub-efi-amd64-bin mtools libvirt0 libxml2-utils
	p7zip-full libvmdk-utils libvhdi-utils libqcow-utils
	python3-libvmdk python3-libvhdi python3-libqcow
	clang libclang-rt-14-dev llvm clang-tidy clang-format
	cppcheck shellcheck spin
	maven default-jdk-headless
)

build=yes
targets=(hivefs)
for arg; do
	case $arg in
	--no-build) build=no ;;
	build) ;;
	demo) packages+=("${demo[@]}") ;;
	test)
		packages+=("${demo[@]}" "${tests[@]}")
		targets=(all)
		;;
	*)
		echo "usage: setup.sh [--no-build] [build|demo|test]..." >&2
		exit 2
		;;
	esac
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# quietly WHAT CMD...: its output only when it fails
quietly() {
	local what=$1
	shift
	"$@" >"$log" 2>&1 || {
		tail -n 60 "$log" >&2
		echo "setup: $what failed: $*" >&2
		exit 1
	}
}

missing=()
for package in "${packages[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = \
		installed ] || missing+=("$package")
done

# The demo disk downloads packages too, so it needs a list that is not stale.
stale() {
	[ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*_InRelease' \
		-mmin -1440 2>/dev/null)" ]
}

if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" != 0 ]; then
		echo "setup: packages are missing. Please run" >&2
		echo "  sudo apt-get update && sudo apt-get install" \
			"--no-install-recommends ${missing[*]}" >&2
		exit 1
	fi
	echo "setup: installing ${#missing[@]} packages: ${missing[*]}"
	# one dead third-party source must not stop us: the install will tell
	apt-get -q update >"$log" 2>&1 || true
	quietly "installing" apt-get -q -y --no-install-recommends \
		-o Dpkg::Use-Pty=0 install "${missing[@]}"
elif [[ " $* " == *" demo "* || " $* " == *" test "* ]] && stale &&
	[ "$(id -u)" = 0 ]; then
	apt-get -q update >"$log" 2>&1 || true
fi

[ $build = yes ] || exit 0
if [ ! -e build/build.ninja ]; then
	echo "setup: configuring build/"
	quietly "configuring" meson setup build
fi
[ "$(ninja -C build -n "${targets[@]}" | tail -n 1)" = "ninja: no work to do." ] ||
	echo "setup: building"
quietly "the build" ninja -C build "${targets[@]}"
