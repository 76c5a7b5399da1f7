#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# fio with verify, by every engine that reads and writes files: direct and buffered, blocks of 512
# bytes to 16 MiB, depth to 256.
. "$(dirname "$0")/lib.sh"

program fio "$(fio --version)"
begin 2G

runs=0

# job NAME ARG...: random writes to a file of its own, then all of it is read and verified.
job() {
	local name=$1
	shift
	runs=$((runs + 1))
	limit 300 fio --name=j --filename="$mnt/file" --size=32M --rw=randwrite --verify=crc32c \
		--verify_fatal=1 --do_verify=1 --verify_state_save=0 --randseed="$SEED" --group_reporting --output-format=terse \
		--output="$scratch/fio.out" "$@" >"$scratch/fio.log" 2>&1 || {
		cut -c1-200 "$scratch/fio.log" | head -n 12
		return 1
	}
	rm -f "$mnt/file"
}

# sizes_of ENGINE DIRECT DEPTH [ARG...]: blocks of many sizes, each with as much data as it wants.
sizes_of() {
	local engine=$1 direct=$2 depth=$3 bs size
	shift 3
	for bs in 512 4k 12k 64k 100k 1m 3m 16m; do
		[[ $bs != 100k || $direct == 0 ]] || bs=101376 # 99 KiB: a multiple of 512
		case $bs in
		512) size=512k ;;
		4k) size=4m ;;
		16m) size=48m ;;
		*) size=12m ;;
		esac
		job x --ioengine="$engine" --direct="$direct" --iodepth="$depth" --bs="$bs" --size="$size" \
			"$@" || { echo "engine $engine, direct $direct, depth $depth, bs $bs, $*"; return 1; }
	done
}

for engine in sync psync vsync pvsync pvsync2 splice mmap; do
	check "$engine, buffered" sizes_of "$engine" 0 1
	# A mapping goes through the page cache, and splice cannot be direct.
	[[ $engine == mmap || $engine == splice ]] || check "$engine, direct" sizes_of "$engine" 1 1
done
for engine in libaio posixaio io_uring; do
	for depth in 1 32 256; do
		check "$engine, direct, depth $depth" sizes_of "$engine" 1 "$depth"
	done
	check "$engine, buffered, depth 16" sizes_of "$engine" 0 16
done
check "pvsync2 with RWF_HIPRI" sizes_of pvsync2 1 1 --hipri
check "io_uring with fixed buffers" sizes_of io_uring 1 64 --fixedbufs
check "io_uring with registered files" sizes_of io_uring 1 64 --registerfiles
check "io_uring with a polling kernel thread" sizes_of io_uring 1 64 --sqthread_poll
check "io_uring with all three" sizes_of io_uring 1 256 --fixedbufs --registerfiles --sqthread_poll
check "io_uring, buffered, with all three" sizes_of io_uring 0 64 --fixedbufs --registerfiles \
	--sqthread_poll
check "io_uring, all requests by threads of the kernel" sizes_of io_uring 1 64 --force_async=1

# Mixed loads: reads beside writes, several processes, flushes on the way.
mixed() {
	job x --rw=randrw --bsrange=512-1m --bs_unaligned=0 --blockalign=512 --size=64m \
		--time_based --runtime="$((APPS_SECONDS / 12 + 1))" --norandommap "$@"
}
several() {
	limit 300 fio --name=s --directory="$mnt" --numjobs=4 --size=32M --rw=randwrite --bs=16k \
		--verify=sha256 --verify_fatal=1 --verify_state_save=0 --randseed="$SEED" --fsync=64 --group_reporting \
		--output="$scratch/fio.out" "$@" || { tail -n 40 "$scratch/fio.out"; return 1; }
	rm -f "$mnt"/s.*
}
check "io_uring, four processes, direct, an fsync every 64 writes" several --ioengine=io_uring \
	--iodepth=32 --direct=1
check "libaio, four processes, direct, O_DSYNC" several --ioengine=libaio --iodepth=16 --direct=1 \
	--sync=dsync
check "psync, four processes, buffered, an fdatasync every 16 writes" several --ioengine=psync \
	--fsync=0 --fdatasync=16
check "mmap, four processes, an msync every 64 writes" several --ioengine=mmap
check "psync, preallocated, trimmed" several --ioengine=psync --fallocate=posix --direct=1
check "libaio, verified while it writes" several --ioengine=libaio --iodepth=32 --direct=1 \
	--verify_backlog=64 --verify_async=2
check "io_uring, mixed sizes, reads beside writes" mixed --ioengine=io_uring --iodepth=64 \
	--direct=1 --verify=0
check "libaio, written over and over, then verified" several --ioengine=libaio --iodepth=64 \
	--direct=1 --loops=2

finish "$runs jobs with verify: 11 engines and variants, direct and buffered, 512 bytes to 16 MiB, depth 1 to 256"
