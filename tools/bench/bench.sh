#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# bench - hivefs against what this machine can do at the best, measured in the
# same run.
#
#   tools/bench/bench.sh [IMAGE] [--scratch DIR] [--repeat N] [--only PART,...]
#                        [--store mongodb://...] [--json]
#
# Without an IMAGE one of some 2 GiB is made of this system's own files. PARTs
# are write zero verify gc warm cold clone scatter open cloneboot formats boot points
# huge;
# without --only it is all of them. DIR (else $TMPDIR or /tmp) needs three times
# the size of the image, and 10 GiB. With --store it is the part mongo only:
# backup and restore on that server, in a database of its own, against inserting
# and finding the same documents without hivefs, and backups of one, two and four
# processes. Without an IMAGE that is done with 512 MiB that do not compress, so
# that both sides move the same bytes; the server has them twice for a while.
#
# Each hivefs figure is taken next to its baseline, N times (3) in turns; shown
# are the medians of both and the median of the N ratios. Where a source is
# warm it was read just before by either side; where it is cold, its pages were
# dropped before each. Baselines are what tools/bench/*.c say: bare loops with
# as many threads as there are processors, and a FUSE file of plain memory.
#
# This is no test: it exits 0 however slow things are, else something broke.

set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

parts=(write zero verify gc warm cold clone scatter open cloneboot formats boot points
	huge mongo)
image=
store=
scratch=${TMPDIR:-/tmp}
repeat=3
only=
json=no
build=${HIVEFS_BUILD:-build}

usage() {
	echo "usage: bench.sh [IMAGE] [--scratch DIR] [--repeat N]" \
		"[--only PART,...] [--store mongodb://...] [--json]" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case $1 in
	--scratch | --repeat | --only | --store)
		[ $# -gt 1 ] || usage
		printf -v "${1#--}" %s "$2"
		shift
		;;
	--json) json=yes ;;
	-*) usage ;;
	*)
		[ -z "$image" ] || usage
		image=$(realpath "$1")
		;;
	esac
	shift
done
[[ $repeat =~ ^[1-9][0-9]*$ ]] || usage
[ -z "$store" ] || [ -n "$only" ] || only=mongo
[[ ,$only, != *,mongo,* ]] || [ -n "$store" ] || usage
for part in ${only//,/ }; do
	[[ " ${parts[*]} " == *" $part "* ]] || usage
done

for program in fio jq mke2fs mountpoint; do
	command -v $program >/dev/null || {
		echo "bench: $program is missing (apt: fio jq e2fsprogs" \
			"util-linux)" >&2
		exit 1
	}
done

dir=$(mktemp -d "$scratch/hivefs-bench.XXXXXX")
huge=
threads=$(nproc)
pids=() # of what runs in the background
mnt=$dir/mnt
null=$dir/null
repo=$dir/repo
mongo=
[ -z "$store" ] || mongo=$(
	server=${store%%\?*} options=${store#"${store%%\?*}"}
	server=${server%/}
	echo "$server/hivefs_bench_${dir##*.}$options"
)

unmount() {
	! mountpoint -q "$1" || fusermount3 -q -u "$1" || umount -l "$1"
}

clean_up() {
	local status=$? pid
	trap - EXIT INT TERM
	set +e
	unmount "$mnt"
	unmount "$null"
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	for pid in $(daemons); do
		kill "$pid"
	done
	[ -z "$mongo" ] || [ -z "${tools-}" ] || "$tools/mongo-raw" "$mongo" drop
	rm -rf --one-file-system "$dir"
	[ -z "$huge" ] || rm -rf --one-file-system "$huge"
	exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What went into the background by itself, known by its mount point.
daemons() {
	local proc
	for proc in /proc/[0-9]*; do
		tr '\0' ' ' 2>/dev/null <"$proc/cmdline" |
			grep -q -F "hivefs $mnt" && echo "${proc#/proc/}"
	done
	true
}

wanted() {
	[ -z "$only" ] || [[ ,$only, == *,$1,* ]]
}

say() {
	printf '%s\n' "$*" >&2
}

calc() {
	awk "BEGIN { printf \"%.6f\", $1 }"
}

{
	[ -e "$build/build.ninja" ] || meson setup "$build"
	ninja -C "$build" hivefs \
		tools/bench/{ceiling,fuse-null,measure,mongo-raw,scatter}
} >"$dir/build.log" 2>&1 || {
	cat "$dir/build.log" >&2
	exit 1
}
hivefs=$(realpath "$build/hivefs")
tools=$(realpath "$build/tools/bench")
export HIVEFS_REPO=$repo
mkdir "$mnt" "$null" "$dir/samples"

# --- measuring

# note KEY HIVEFS BASELINE: one round's two figures, more being better
note() {
	echo "$2 $3" >>"$dir/samples/$1"
}

# note_value KEY VALUE: a figure that has no baseline
note_value() {
	echo "$2" >>"$dir/samples/$1"
}

# timed CMD...: sets $seconds, $cpu and $rss
timed() {
	"$tools/measure" "$dir/measured" "$@" >"$dir/out" 2>&1 || {
		cat "$dir/out" >&2
		say "failed: $*"
		exit 1
	}
	read -r seconds cpu rss <"$dir/measured"
}

# ceiling MODE FILE [OFF LEN]: sets $bytes and $ceiling, in bytes a second
ceiling() {
	local took
	read -r bytes took < <("$tools/ceiling" "$1" "$2" "$threads" "${@:3}")
	ceiling=$(calc "$bytes / $took")
}

warm() {
	cat "$@" >/dev/null
}

# Drops the pages of files, which needs no root and leaves all others alone.
cold() {
	local file
	sync -f "$dir"
	for file; do
		dd if="$file" iflag=nocache count=0 status=none
	done
}

# fio_read FILE BS JOBS RANDOM DIRECT OFF LEN SECONDS: sets $rate, bytes a
# second. SECONDS 0: each byte once. Jobs share the range out among themselves.
fio_read() {
	local rw=read share=$(($7 / $3)) time=()
	[ "$4" = 0 ] || rw=randread
	[ "$8" = 0 ] || time=(--time_based "--runtime=$8")
	fio --name=read --filename="$1" --readonly --rw=$rw --bs="$2" \
		--direct="$5" --numjobs="$3" --thread --group_reporting \
		--offset="$6" --size="$share" --offset_increment="$share" \
		--ioengine=psync --invalidate=1 --randrepeat=0 \
		--allow_file_create=0 "${time[@]}" --output-format=json \
		>"$dir/fio" 2>"$dir/out" || {
		cat "$dir/out" "$dir/fio" >&2
		exit 1
	}
	rate=$(jq '.jobs[0].read.bw_bytes' "$dir/fio")
}

# A mount of either kind is served by a child of this shell.
wait_mounted() {
	local n
	for ((n = 0; n < 500; n++)); do
		! mountpoint -q "$1" || return 0
		kill -0 "$2" 2>/dev/null || break
		sleep 0.01
	done
	cat "$dir/daemon.log" >&2
	exit 1
}

mount_hivefs() {
	"$hivefs" "$mnt" -f "$@" 2>"$dir/daemon.log" &
	daemon=$!
	pids+=("$daemon")
	wait_mounted "$mnt" $daemon
}

unmount_hivefs() {
	unmount "$mnt"
	wait $daemon
}

anon_mib() {
	awk '/^RssAnon/ { printf "%d", ($2 + 1023) / 1024 }' "/proc/$1/status"
}

# --- the image

system_image() {
	local stage=$dir/stage path kib total=0 limit=2200000
	say "making an image of this system's files ..."
	for path in /usr/bin /usr/include /usr/share/* /usr/lib/*/; do
		path=${path%/}
		[ -d "$path" ] && [ ! -L "$path" ] || continue
		kib=$(du -skx "$path" 2>/dev/null | cut -f1) || true
		[ $((total + ${kib:-limit})) -le $limit ] || continue
		mkdir -p "$stage${path%/*}"
		cp -a "$path" "$stage${path%/*}/"
		total=$((total + kib))
	done
	image=$dir/image
	mke2fs -q -t ext4 -d "$stage" "$image" 3G >"$dir/out" 2>&1 || {
		cat "$dir/out" >&2
		exit 1
	}
	rm -rf --one-file-system "$stage"
}

# --- the parts

fresh_repository() {
	rm -rf --one-file-system "$repo"
	"$hivefs" init >"$dir/out"
	sync -f "$dir"
}

backup() {
	timed "$hivefs" backup --quiet "$@"
}

part_write() {
	local t0
	fresh_repository
	backup vm "$image"
	sync -f "$dir"
	warm "$image"

	ceiling check "$image"
	fresh_repository
	backup vm "$image"
	note first_check "$(calc "$bytes / $seconds")" "$ceiling"
	note_value first_cpu "$cpu"
	note_value first_rss "$((rss / 1024))"
	ceiling compress "$image"
	note first "$(calc "$bytes / $seconds")" "$ceiling"

	ceiling hash "$image"
	backup vm "$image"
	note again "$(calc "$bytes / $seconds")" "$ceiling"
	note_value again_rss "$((rss / 1024))"
	cold "$image"
	ceiling hash "$image"
	cold "$image"
	backup vm "$image"
	note again_cold "$(calc "$bytes / $seconds")" "$ceiling"

	warm "$image" "$repo"/segments/*
	timed "$hivefs" restore --quiet vm@latest "$dir/restored"
	t0=$seconds
	rm "$dir/restored"
	timed sh -c 'cp "$1" "$2" && sync "$2"' - "$image" "$dir/copy"
	rm "$dir/copy"
	sync -f "$dir"
	note restore "$(calc "$bytes / $t0")" "$(calc "$bytes / $seconds")"
}

fresh_database() {
	"$tools/mongo-raw" "$mongo" drop
	"$hivefs" init -r "$mongo" >"$dir/out"
}

# raw MODE: sets $bytes and $ceiling, as ceiling does
raw() {
	local took
	read -r bytes took < <("$tools/mongo-raw" "$mongo" "$1" 4)
	ceiling=$(calc "$bytes / $took")
}

# and_then MODE: $ceiling becomes that of what raw did and of this, one after the
# other: what there is to gain where client and server share the processors
and_then() {
	local raw=$ceiling
	ceiling "$1" "$image"
	ceiling=$(calc "1 / (1 / $raw + 1 / $ceiling)")
}

# backups N: of four parts of the image by N processes; sets $rate
backups() {
	local len part
	len=$(($(stat -c %s "$image") / 4 >> 20 << 20))
	for part in 0 1 2 3; do
		[ -e "$dir/part$part" ] || dd if="$image" of="$dir/part$part" \
			bs=1M count=$((len >> 20)) skip=$((part * len >> 20)) \
			status=none
	done
	warm "$dir"/part?
	fresh_database
	# shellcheck disable=SC2016 # of the inner shell
	timed sh -c 'seq 0 3 | xargs -P "$1" -I{} "$2" backup -q -r "$3" m{} "$4{}"' \
		- "$1" "$hivefs" "$mongo" "$dir/part"
	rate=$(calc "4 * $len / $seconds")
}

part_mongo() {
	local t0 one
	warm "$image"
	fresh_database
	backup -r "$mongo" vm "$image"
	t0=$seconds
	raw insert
	note mongo_backup "$(calc "$bytes / $t0")" "$ceiling"
	and_then check
	note mongo_backup_work "$(calc "$bytes / $t0")" "$ceiling"
	# shellcheck disable=SC2016 # of the inner shell
	timed sh -c '"$1" restore -q -r "$2" vm@latest - >/dev/null' - \
		"$hivefs" "$mongo"
	t0=$seconds
	raw find
	note mongo_restore "$(calc "$bytes / $t0")" "$ceiling"
	and_then decode
	note mongo_restore_work "$(calc "$bytes / $t0")" "$ceiling"
	backups 1
	one=$rate
	backups 2
	note mongo_2 "$rate" "$one"
	backups 4
	note mongo_4 "$rate" "$one"
}

part_zero() {
	local zeroes=$dir/zeroes holes=$dir/holes len=$((4 << 30))
	if [ ! -e "$zeroes" ]; then
		head -c $len /dev/zero >"$zeroes"
		truncate -s $len "$holes"
		fresh_repository
	fi
	warm "$zeroes"
	ceiling read "$zeroes"
	backup "zeroes$round" "$zeroes"
	note zeroes "$(calc "$len / $seconds")" "$ceiling"
	ceiling read "$holes"
	backup "holes$round" "$holes"
	note holes "$(calc "$len / $seconds")" "$ceiling"
}

segment_bytes() {
	cat "$repo"/segments/* | wc -c
}

# How fast the segments can be read, in order: sets $bytes and $ceiling.
read_segments() {
	local t0=$EPOCHREALTIME
	bytes=$(segment_bytes)
	ceiling=$(calc "$bytes / ($EPOCHREALTIME - $t0)")
}

# Plain bytes, as the ceiling's; of the second row stored ones, as they are read.
part_verify() {
	local plain stored
	whole_repository
	plain=$("$hivefs" show vm@latest --json | head -1 | jq '.disks[0].new')
	warm "$image" "$repo"/segments/*
	ceiling decode "$image"
	timed "$hivefs" verify --quiet
	note verify "$(calc "$plain / $seconds")" "$ceiling"
	stored=$seconds
	read_segments
	note verify_read "$(calc "$bytes / $stored")" "$ceiling"
	ceiling decode "$image"
	timed "$hivefs" verify --quiet --sample 100%
	note verify_part "$(calc "$plain / $seconds")" "$ceiling"
	cold "$repo"/segments/* "$repo"/index/*
	timed "$hivefs" verify --quiet
	stored=$seconds
	cold "$repo"/segments/*
	read_segments
	note verify_disk "$(calc "$bytes / $stored")" "$ceiling"
}

# A repository twice as large, of which half goes.
part_gc() {
	local other=$dir/other
	fresh_repository
	backup vm "$image"
	sync -f "$dir"
	read_segments
	timed "$hivefs" gc --quiet
	note gc_idle "$(calc "$bytes / $seconds")" "$ceiling"
	# no chunk of it is one of the image's
	[ -e "$other" ] || openssl enc -aes-128-ctr -nosalt -pass pass:bench \
		-pbkdf2 -iter 1 -in "$image" -out "$other" 2>/dev/null
	backup other "$other"
	"$hivefs" rm --quiet --last other@latest
	sync -f "$dir"
	read_segments
	timed "$hivefs" gc --quiet
	note gc_half "$(calc "$bytes / $seconds")" "$ceiling"
	note_value gc_rss "$((rss / 1024))"
	[ "$round" != "$repeat" ] || rm -rf --one-file-system "$other" "$repo"
}

whole_repository() {
	"$hivefs" points vm >"$dir/out" 2>&1 || {
		fresh_repository
		backup vm "$image"
	}
	sync -f "$dir"
}

# reads KEY BS JOBS RANDOM DIRECT SECONDS
reads() {
	local hivefs_rate
	fio_read "$mnt/vm/latest/disk0.img" "${@:2:4}" "$warm_off" "$warm_len" "$6"
	hivefs_rate=$rate
	fio_read "$null/null" "${@:2:4}" 0 "$warm_len" "$6"
	note "$1" "$hivefs_rate" "$rate"
}

part_warm() {
	local bdi
	if ! mountpoint -q "$null"; then
		whole_repository
		warm_len=$((128 << 20))
		warm_off=$("$tools/ceiling" dense "$image" 1 0 $warm_len)
		mount_hivefs
		"$tools/fuse-null" "$null" 1024 2>"$dir/daemon.log" &
		pids+=("$!")
		wait_mounted "$null" $!
		# what hivefs sets itself, if it may
		bdi=/sys/class/bdi/$(mountpoint -d "$mnt")/read_ahead_kb
		[ ! -w "$bdi" ] ||
			cat "$bdi" >"/sys/class/bdi/$(mountpoint -d "$null")/read_ahead_kb"
		# into its cache
		fio_read "$mnt/vm/latest/disk0.img" 1M 1 0 1 "$warm_off" $warm_len 0
		fio_read "$mnt/vm/latest/disk0.img" 4k 1 1 1 "$warm_off" $warm_len 0
	fi
	reads rand_1 4k 1 1 1 2
	reads rand_16 4k 16 1 1 2
	reads rand_1_buffered 4k 1 1 0 0
	reads rand_16_buffered 4k 16 1 0 0
	reads seq 1M 1 0 1 2
	reads seq_buffered 1M 1 0 0 0
	if [ "$round" = "$repeat" ]; then
		unmount "$null"
		# more than it can cache, in order and not
		fio_read "$mnt/vm/latest/disk0.img" 1M 1 0 0 0 $((1 << 30)) 0
		fio_read "$mnt/vm/latest/disk0.img" 4k 16 1 1 0 $((2 << 30)) 5
		note_value anon_reads "$(anon_mib $daemon)"
		unmount_hivefs
	fi
}

# other_bytes OFF LEN: the daemon reads some outside of this range. The memory
# of its cache is the kernel's until then, which clears it page by page: a cost
# of the mount, not of what is read; cold_first is with it.
other_bytes() {
	local from=$(($1 + $2)) need=$((320 << 20))
	[ "$1" -lt $need ] || from=$(($1 - need))
	fio_read "$mnt/vm/latest/disk0.img" 1M 1 0 1 "$from" $need 0
}

part_cold() {
	local len=$((1 << 30)) off direct name
	whole_repository
	off=$("$tools/ceiling" dense "$image" 1 0 $len)
	for direct in 0 1; do
		name=cold
		[ $direct = 0 ] || name=cold_direct
		warm "$repo"/segments/*
		mount_hivefs
		other_bytes "$off" $len
		fio_read "$mnt/vm/latest/disk0.img" 1M 1 0 $direct "$off" $len 0
		unmount_hivefs
		ceiling decode "$image" "$off" $len
		note $name "$rate" "$ceiling"
	done
	warm "$repo"/segments/*
	mount_hivefs
	fio_read "$mnt/vm/latest/disk0.img" 1M 1 0 0 "$off" $len 0
	unmount_hivefs
	note cold_first "$rate" "$ceiling"
	cold "$repo"/segments/* "$image"
	mount_hivefs
	fio_read "$mnt/vm/latest/disk0.img" 1M 1 0 0 "$off" $len 0
	unmount_hivefs
	note cold_disk "$rate" "$ceiling"
	name=$rate
	fio_read "$image" 1M 1 0 0 "$off" $len 0
	note cold_raw "$name" "$rate"
	warm "$image"
}

# fio_write FILE BS DIRECT SIZE OPTION...: sets $rate, bytes a second. Buffers are
# where a guest's are: at pages.
fio_write() {
	fio --name=write --filename="$1" --bs="$2" --direct="$3" --size="$4" \
		--thread --group_reporting --ioengine=psync --iomem_align=4k \
		--invalidate=1 --randrepeat=0 --allow_file_create=0 \
		"${@:5}" --output-format=json >"$dir/fio" 2>"$dir/out" || {
		cat "$dir/out" "$dir/fio" >&2
		exit 1
	}
	rate=$(jq '.jobs[0].write.bw_bytes' "$dir/fio")
}

# Nobody has it once its files are closed, a moment later.
drop_clone() {
	local n
	for ((n = 0; n < 500; n++)); do
		! "$hivefs" discard bench >"$dir/out" 2>&1 || return 0
		sleep 0.01
	done
	cat "$dir/out" >&2
	exit 1
}

# fresh_clone POINT: $disk is its file, as nothing was ever written to it
fresh_clone() {
	[ ! -e "$mnt/clones/bench" ] || drop_clone
	"$hivefs" clone "$1" bench >"$dir/out"
	disk=$mnt/clones/bench/disk0.img
	sync -f "$dir"
}

clone_status() {
	jq ".clones[] | select(.clone == \"bench\") | $1" \
		"$mnt/.hivefs/status.json"
}

# raw_disk MIB: $raw is a file of that much of the image, all of it written
raw_disk() {
	raw=$dir/raw
	[ -e "$raw" ] || dd if="$image" of="$raw" bs=1M count="$1" status=none
	sync -f "$dir"
}

# Writes that nobody syncs, against memory; as a clone's file is opened.
clone_random() {
	local jobs time=(--rw=randwrite --time_based --runtime=1)
	for jobs in 1 4; do
		fresh_clone vm@latest
		fio_write "$disk" 4k 1 64M "${time[@]}" --numjobs=$jobs
		name=$rate
		fio_write "$null/clone" 4k 1 64M "${time[@]}" --numjobs=$jobs
		note clone_rand_$jobs "$name" "$rate"
	done
}

clone_synced() {
	local rw=(--rw=randwrite --time_based --runtime=2)
	raw_disk 512
	fresh_clone vm@latest
	fio_write "$disk" 4k 0 256M "${rw[@]}" --fsync=1
	name=$rate
	fio_write "$raw" 4k 0 256M "${rw[@]}" --fsync=1
	note clone_fsync "$name" "$rate"
	fio_write "$disk" 4k 1 256M "${rw[@]}" --sync=dsync
	name=$rate
	fio_write "$raw" 4k 1 256M "${rw[@]}" --sync=dsync
	note clone_dsync "$name" "$rate"
	fresh_clone vm@latest
	fio_write "$disk" 1M 0 256M --rw=write --end_fsync=1
	name=$rate
	sync -f "$dir"
	fio_write "$raw" 1M 0 256M --rw=write --end_fsync=1
	note clone_seq_over "$name" "$rate"
	truncate -s 512M "$dir/sparse"
	fio_write "$dir/sparse" 1M 0 256M --rw=write --end_fsync=1
	rm "$dir/sparse"
	note clone_seq "$name" "$rate"
}

# Windows that a fold which is under way has before it.
folding() {
	clone_status '.folding_windows - .folding_done'
}

# Reads of the point beside a clone that is written to and folded.
clone_beside() {
	local alone writer
	fresh_clone vm@latest
	fio_read "$mnt/vm/latest/ro/disk0.img" 4k 1 1 1 "$warm_off" "$warm_len" 3
	alone=$rate
	exec 8<>"$disk" # else the fold is given up as the writer goes
	fio_write "$disk" 4k 1 1G --rw=randwrite --io_size=270M
	fio --name=write --filename="$disk" --rw=randwrite --bs=4k --direct=1 \
		--size=1G --time_based --runtime=4 --rate=4m --thread \
		--ioengine=psync --randrepeat=0 --allow_file_create=0 \
		--output-format=json >"$dir/fio.beside" 2>&1 &
	writer=$!
	pids+=("$writer")
	sleep 0.5
	note_value clone_beside_windows "$(folding)"
	fio_read "$mnt/vm/latest/ro/disk0.img" 4k 1 1 1 "$warm_off" "$warm_len" 3
	note_value clone_beside_after "$(folding)"
	wait $writer
	exec 8>&-
	note clone_beside "$rate" "$alone"
	note_value clone_p99 "$(jq '.jobs[0].write.clat_ns.percentile["99.000000"]
		/ 1000' "$dir/fio.beside")"
}

part_clone() {
	local name
	if ! mountpoint -q "$mnt"; then
		whole_repository
		warm_len=$((128 << 20))
		warm_off=$("$tools/ceiling" dense "$image" 1 0 $warm_len)
		mount_hivefs
		"$tools/fuse-null" "$null" 1024 2>"$dir/daemon.log" &
		pids+=("$!")
		wait_mounted "$null" $!
	fi
	fio_read "$mnt/vm/latest/ro/disk0.img" 4k 1 1 1 "$warm_off" $warm_len 0
	clone_random
	clone_synced
	clone_beside
	if [ "$round" = "$repeat" ]; then
		drop_clone
		unmount "$null"
		unmount_hivefs
		rm "$raw"
	fi
}

# 100,000 writes all over a TiB, half of them into 128 KiB pieces of data.
part_scatter() {
	local n=100000 pieces=8192 took
	if ! mountpoint -q "$mnt"; then
		"$tools/scatter" make "$dir/tib" $pieces "$image"
		fresh_repository
		backup tib "$dir/tib"
		rm "$dir/tib"
		mount_hivefs
	fi
	fresh_clone tib@latest
	exec 8<>"$disk"
	took=$("$tools/scatter" write "$disk" $pieces $n "$round")
	note_value scatter_write "$(calc "$took / $n * 1e6")"
	timed "$hivefs" commit bench
	note_value scatter_commit "$(calc "$seconds / $n * 1e6")"
	note_value scatter_stored "$(clone_status '.folded | .new / .touched')"
	note_value scatter_read "$(clone_status '.folded | .read / .touched')"
	note_value scatter_rss "$(anon_mib $daemon)"
	exec 8>&-
	if [ "$round" = "$repeat" ]; then
		drop_clone
		unmount_hivefs
	fi
}

# As much unfolded as there may be, and none of it in memory.
part_open() {
	local t0 unfolded
	whole_repository
	mount_hivefs
	fresh_clone vm@latest
	exec 8<>"$disk"
	fio_write "$disk" 4k 1 1G --rw=randwrite --io_size=380M
	crash
	mount_hivefs
	exec 8<>"$disk"
	fio_write "$disk" 4k 1 1G --rw=randwrite --io_size=110M
	crash
	cold "$repo"/streams/*/* "$repo"/segments/*
	mount_hivefs
	t0=$EPOCHREALTIME
	exec 8<>"$disk"
	note_value open_ms "$(calc "($EPOCHREALTIME - $t0) * 1000")"
	unfolded=$(clone_status .unfolded_bytes)
	note_value open_unfolded "$((unfolded >> 20))"
	note_value open_memory "$(calc "$(clone_status .memory_bytes) / 1048576")"
	note_value open_rss "$(anon_mib $daemon)"
	exec 8>&-
	drop_clone
	unmount_hivefs
}

# The daemon goes, and what it has not synced stays where it was put.
crash() {
	kill -9 $daemon
	wait $daemon || true
	exec 8>&-
	umount -l "$mnt" 2>/dev/null || fusermount3 -q -u -z "$mnt"
}

# The demo's guest, from a clone and from a file.
part_cloneboot() {
	local boot=$dir/boot.img from_raw
	if ! mountpoint -q "$mnt"; then
		tools/demo-disk.sh "$boot" >"$dir/out" 2>&1 || {
			say "no boot: $(tail -n 1 "$dir/out")"
			return 0
		}
		fresh_repository
		backup boot "$boot"
		mount_hivefs
	fi
	timed tools/demo-boot.sh "$boot" snapshot=off
	from_raw=$seconds
	fresh_clone boot@latest
	timed tools/demo-boot.sh "$disk" snapshot=off
	note boot "$(calc "1 / $seconds")" "$(calc "1 / $from_raw")"
	note_value boot_clone "$seconds"
	if [ "$round" = "$repeat" ]; then
		drop_clone
		unmount_hivefs
	fi
}

# How many bytes of a view are before the disk's: its blocks are whole.
before_disk() {
	local size disk block
	size=$(stat -c %s "$1")
	disk=$(stat -c %s "${1%.*}.img")
	case $1 in
	*.vhdx) block=$((32 << 20)) ;;
	*.vdi) block=$((1 << 20)) ;;
	*.qcow2) block=$((2 << 20)) ;;
	*) block=$((size - disk)) disk=0 ;;
	esac
	echo $((size - (disk + block - 1) / block * block))
}

# Other files of the same disk, each between two times its .img.
part_formats() {
	local view ending skip img other
	if [ "$round" = 1 ]; then
		whole_repository
		warm_len=$((128 << 20))
		warm_off=$("$tools/ceiling" dense "$image" 1 0 $warm_len)
		mount_hivefs
		fio_read "$mnt/vm/latest/disk0.img" 1M 1 0 1 "$warm_off" $warm_len 0
		fio_read "$mnt/vm/latest/disk0.img" 4k 1 1 1 "$warm_off" $warm_len 0
	fi
	for ending in vhd vhdx vdi qcow2; do
		view=$mnt/vm/latest/disk0.$ending
		skip=0
		[ $ending = vhd ] || skip=$(before_disk "$view")
		fio_read "$mnt/vm/latest/disk0.img" 4k 1 1 1 "$warm_off" \
			$warm_len 1
		img=$rate
		fio_read "$view" 4k 1 1 1 $((skip + warm_off)) $warm_len 2
		other=$rate
		fio_read "$mnt/vm/latest/disk0.img" 4k 1 1 1 "$warm_off" \
			$warm_len 1
		note "rand_$ending" "$other" "$(calc "($img + $rate) / 2")"
	done
	[ "$round" != "$repeat" ] || unmount_hivefs
}

# boot FILE DRIVER: sets $seconds, from QEMU's start until the guest has checked
# its files and switched itself off
boot() {
	local t0=$EPOCHREALTIME more=
	[ "$2" != vpc ] || more=,force_size_calc=current_size
	timeout 600 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 256 \
		-smp 2 -nographic -nic none -no-reboot -drive \
		"file=$1,format=$2,if=virtio,snapshot=on$more" \
		</dev/null >"$dir/out" 2>&1 &&
		grep -a -q 'hivefs demo: booted,' "$dir/out" || {
		cat "$dir/out" >&2
		exit 1
	}
	seconds=$(calc "$EPOCHREALTIME - $t0")
}

part_boot() {
	local demo=$dir/demo.img driver ending raw
	if [ "$round" = 1 ]; then
		tools/demo-disk.sh "$demo" >"$dir/out" 2>&1 || {
			say "no disk that boots could be made: $(tail -1 "$dir/out")"
			return 0
		}
		"$hivefs" init >"$dir/out" 2>&1 || true
		backup demo "$demo"
		mount_hivefs
		# what both read is in memory then
		boot "$demo" raw
		boot "$mnt/demo/latest/disk0.img" raw
	fi
	[ -e "$demo" ] || return 0
	for driver in raw:img vmdk:vmdk vpc:vhd vhdx:vhdx vdi:vdi qcow2:qcow2; do
		ending=${driver#*:}
		boot "$demo" raw
		raw=$seconds
		boot "$mnt/demo/latest/disk0.$ending" "${driver%:*}"
		note "boot_$ending" "$(calc "1 / $seconds")" "$(calc "1 / $raw")"
	done
	[ "$round" != "$repeat" ] || unmount_hivefs
}

first_byte() {
	local t0=$EPOCHREALTIME
	"$hivefs" "$mnt"
	head -c 1 "$mnt/many/latest/disk0.img" >/dev/null
	note_value first_byte "$(calc "($EPOCHREALTIME - $t0) * 1000")"
}

part_points() {
	local disk=$dir/disk i pid
	if [ "$round" = 1 ]; then
		say "backing up a disk of 1 TiB 1,000 times ..."
		truncate -s 1T "$disk"
		fresh_repository
		for ((i = 0; i < 1000; i++)); do
			dd if=/dev/urandom of="$disk" bs=64k count=1 conv=notrunc \
				seek=$((RANDOM * 512 + RANDOM % 512)) status=none
			"$hivefs" backup --quiet many "$disk" >"$dir/out" 2>&1
		done
	fi
	cold "$repo"/segments/* "$repo"/index/*
	first_byte
	if [ "$round" = "$repeat" ]; then
		find "$mnt" -name '*.img' -not -path '*/ro/*' -print0 |
			xargs -0 -n 20 head -q -c 65536 >/dev/null
		pid=$(daemons)
		note_value anon_points "$(anon_mib "$pid")"
	fi
	unmount "$mnt"
	while [ -n "$(daemons)" ]; do
		sleep 0.05
	done
}

part_huge() {
	local disk i
	# ext4's files end at 16 TiB
	if [ -z "$huge" ]; then
		[ -w /dev/shm ] || return 0
		huge=$(mktemp -d /dev/shm/hivefs-bench.XXXXXX)
		truncate -s 64T "$huge/disk" 2>/dev/null || return 0
		for ((i = 0; i < 64; i++)); do
			dd if="$image" of="$huge/disk" bs=1M count=1 skip=$((i * 8)) \
				seek=$((i * 1048573)) conv=notrunc status=none
		done
	fi
	disk=$huge/disk
	[ -e "$disk" ] || return 0
	fresh_repository
	backup huge "$disk"
	note_value huge_first "$seconds"
	note_value huge_rss "$((rss / 1024))"
	backup huge "$disk"
	note_value huge_again "$seconds"
}

# --- the table

median() {
	sort -g | awk '{ v[NR] = $1 } END {
		n = int((NR + 1) / 2)
		print NR % 2 ? v[n] : (v[n] + v[n + 1]) / 2 }'
}

# show VALUE UNIT: for people
show() {
	awk -v v="$1" -v unit="$2" 'BEGIN {
		if (unit == "B/s" && v >= 1e9)
			printf "%.2f GB/s", v / 1e9
		else if (unit == "B/s")
			printf "%.0f MB/s", v / 1e6
		else if (unit == "4k/s")
			printf "%.1f k/s", v / 4096e0 / 1e3
		else if (unit == "1/s")
			printf "%.2f s", 1 / v
		else if (unit == "ms" || unit == "us")
			printf "%.0f %s", v, unit
		else if (unit == "x")
			printf "%.2f x", v
		else if (unit == "s")
			printf "%.2f s", v
		else
			printf "%d %s", v, unit
	}'
}

# line WHAT HIVEFS BASELINE RATIO GOAL VERDICT
line() {
	printf '%-46s %12s %12s %7s %6s  %s\n' "$@"
}

# row KEY UNIT GOAL WHAT: a ratio; GOAL - if it is only to be seen
row() {
	local key=$1 unit=$2 goal=$3 verdict='' h b ratio
	[ -e "$dir/samples/$key" ] || return 0
	h=$(cut -d' ' -f1 "$dir/samples/$key" | median)
	b=$(cut -d' ' -f2 "$dir/samples/$key" | median)
	ratio=$(awk '{ print $1 / $2 }' "$dir/samples/$key" | median)
	if [ "$goal" != - ]; then
		verdict=$(awk -v r="$ratio" -v g="$goal" \
			'BEGIN { print (r >= g) ? "ok" : "BELOW" }')
	fi
	if [ $json = yes ]; then
		printf '{"type":"ratio","name":"%s","what":"%s","unit":"%s",' \
			"$key" "$4" "$unit"
		printf '"hivefs":%s,"baseline":%s,"ratio":%s,"goal":%s,"verdict":"%s"}\n' \
			"$h" "$b" "$ratio" "${goal/#-/null}" "$verdict"
	else
		line "$4" "$(show "$h" "$unit")" "$(show "$b" "$unit")" \
			"$(printf %.2f "$ratio")" "$goal" "$verdict"
	fi
}

# value KEY UNIT MOST WHAT: a figure by itself; MOST - if it is only to be seen
value() {
	local key=$1 unit=$2 most=$3 verdict='' v
	[ -e "$dir/samples/$key" ] || return 0
	v=$(median <"$dir/samples/$key")
	if [ "$most" != - ]; then
		verdict=$(awk -v v="$v" -v m="$most" \
			'BEGIN { print (v <= m) ? "ok" : "ABOVE" }')
	fi
	if [ $json = yes ]; then
		printf '{"type":"value","name":"%s","what":"%s","unit":"%s",' \
			"$key" "$4" "$unit"
		printf '"hivefs":%s,"most":%s,"verdict":"%s"}\n' \
			"$v" "${most/#-/null}" "$verdict"
	else
		[ "$most" = - ] || most="<=$most"
		line "$4" "$(show "$v" "$unit")" - - "$most" "$verdict"
	fi
}

table() {
	local cache=256 # MiB, what a mount has unless told otherwise
	[ $json = yes ] || line what hivefs baseline ratio goal ''
	row first_check B/s 0.7 'first backup / hash, compress, check'
	row first B/s - '  / hash, compress alone'
	row again B/s 0.7 'unchanged again / hash'
	row again_cold B/s 0.7 '  of a cold source / the same, cold'
	row zeroes B/s 0.7 'zeroes / read'
	row holes B/s 0.7 'holes / read'
	row verify B/s 0.8 'verify / decompress, hash'
	row verify_part B/s - '  in parts by digest'
	row verify_read B/s - '  / read the segments'
	row verify_disk B/s - '  the disk cold / the same'
	row gc_idle B/s - 'gc, nothing to free / read the segments'
	row gc_half B/s - '  half of it to free'
	value gc_rss MiB - '  most memory'
	row restore B/s - 'restore / cp, both synced'
	value first_cpu s - 'first backup, processor time'
	value first_rss MiB - 'first backup, most memory'
	value again_rss MiB - 'unchanged again, most memory'
	row rand_1 4k/s 0.8 'warm 4 KiB random, direct, 1 job / FUSE'
	row rand_16 4k/s 0.8 '  16 jobs'
	row rand_1_buffered 4k/s 0.8 '  buffered, 1 job'
	row rand_16_buffered 4k/s 0.8 '  buffered, 16 jobs'
	row seq B/s 0.8 'warm 1 MiB in order, direct / FUSE'
	row seq_buffered B/s 0.8 '  buffered'
	row cold B/s 0.7 'cold in order / decompress, hash'
	row cold_direct B/s 0.7 '  direct'
	row cold_first B/s - '  a mount that read nothing before'
	row cold_disk B/s - '  the disk cold, too'
	row cold_raw B/s - '  the disk cold, too / the raw image'
	row rand_vhd 4k/s 0.9 'warm 4 KiB random, direct, .vhd / .img'
	row rand_vhdx 4k/s 0.9 '  .vhdx'
	row rand_vdi 4k/s 0.9 '  .vdi'
	row rand_qcow2 4k/s 0.9 '  .qcow2'
	row boot_img 1/s 0.87 'a guest starts from .img / a raw file'
	row boot_vmdk 1/s 0.87 '  .vmdk'
	row boot_vhd 1/s 0.87 '  .vhd'
	row boot_vhdx 1/s 0.87 '  .vhdx'
	row boot_vdi 1/s 0.87 '  .vdi'
	row boot_qcow2 1/s 0.87 '  .qcow2'
	value anon_reads MiB $((cache + 100)) 'daemon, RssAnon after reading 3 GiB'
	row clone_rand_1 4k/s 0.7 'clone: 4 KiB random writes, 1 job / FUSE'
	row clone_rand_4 4k/s 0.7 '  4 jobs'
	row clone_fsync 4k/s 0.7 '  with fsync each / raw file'
	row clone_dsync 4k/s - '  with O_DSYNC, direct / raw file'
	row clone_seq B/s 0.6 '  1 MiB in order, one fsync / sparse raw file'
	row clone_seq_over B/s - '  the same / raw file that has its blocks'
	row clone_beside 4k/s 0.8 '  reads beside a writing, folding one / without'
	value clone_p99 us - '  those writes, 99th percentile'
	value clone_beside_windows windows - '  to fold at the beginning'
	value clone_beside_after windows - '  and at the end'
	value scatter_stored x 2 '100,000 writes into 1 TiB: stored / touched'
	value scatter_read x 3 '  read / touched'
	value scatter_write us - '  time per write'
	value scatter_commit us - '  and of the commit'
	value scatter_rss MiB - '  daemon, RssAnon'
	value open_ms ms 1000 'opening a clone at the bound, disk cold'
	value open_unfolded MiB - '  unfolded'
	value open_memory MiB - '  memory that takes'
	value open_rss MiB - '  daemon, RssAnon'
	row boot 1/s 0.87 'boot from a clone / raw file'
	value first_byte ms 100 'mount to first byte, 1,000 points of 1 TiB'
	value anon_points MiB $((cache + 100)) 'daemon, RssAnon after all those points'
	value huge_first s - 'disk of 64 TiB with 64 MiB, first'
	value huge_again s - '  again'
	value huge_rss MiB - '  most memory'
	row mongo_backup B/s 0.8 'MongoDB: first backup / raw inserts'
	row mongo_backup_work B/s 0.8 '  / those, then hash, compress, check'
	row mongo_restore B/s 0.8 '  restore / raw finds'
	row mongo_restore_work B/s 0.8 '  / those, then decompress, hash'
	row mongo_2 B/s - '  four backups, two at a time / one'
	row mongo_4 B/s - '  all at a time / one'
}

if [ -z "$image" ] && [ "$only" = mongo ]; then
	image=$dir/image
	openssl enc -aes-128-ctr -nosalt -pass pass:bench -pbkdf2 -iter 1 \
		-in /dev/zero 2>/dev/null | head -c 512M >"$image" || true
fi
[ -n "$image" ] || system_image
say "$(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)," \
	"$(du -m "$image" | cut -f1) MiB of $image, $repeat rounds"
for part in "${parts[@]}"; do
	wanted "$part" || continue
	for ((round = 1; round <= repeat; round++)); do
		say "$part, round $round ..."
		"part_$part"
	done
done
table
say "load now $(cut -d' ' -f1 /proc/loadavg)"
