#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A daemon that is killed goes, and its mount fails, also where one of its own threads waits for the
# kernel, which waits for what the daemon was to serve. A member that hangs keeps that moment open.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

begin_hanging() {
	mk_volume --level raid5 --members 4 --pi t10 --size 64M --write-hole bitmap "$volume" &&
		mount_volume -o inject "$volume" "$mnt" && dd if=/dev/zero of="$mnt/f" bs=1M count=1 \
		conv=fsync status=none && stablefs inject "$mnt" 'hang file=/f offset=512K len=4K'
}

# The daemon has thread NAME in a call that nobody ends.
waits_for_ever() {
	local deadline=$((SECONDS + 20)) task
	while ((SECONDS < deadline)); do
		for task in "/proc/${daemons[$mnt]}/task"/*; do
			[[ $(awk '{ print $3 }' "$task/stat") != D ]] || return 0
		done
		sleep 0.1
	done
	echo "no thread of the daemon waits for its mount"
	return 1
}

# killed PID: it has gone for good within a few seconds.
killed() {
	local pid=${daemons[$mnt]} deadline=$((SECONDS + 10))
	kill -KILL "$pid"
	while [[ -e /proc/$pid/stat ]]; do
		# A leader whose threads are left is a zombie as well, but nobody can wait for it.
		if [[ $(cat "/proc/$pid/task"/*/stat 2>/dev/null | awk '$3 != "Z"' | wc -l) == 0 ]]; then
			break
		fi
		if ((SECONDS > deadline)); then
			cat "/proc/$pid/task"/*/stack
			umount -f "$mnt"
			return 1
		fi
		sleep 0.1
	done
	wait "$pid" 2>/dev/null
	unset "daemons[$mnt]"
}

# Pages of one block are being written back, and hang; a direct write elsewhere in the file has the
# daemon drop the pages around it, since it knows that some of them were read.
while_dropping() {
	python3 - "$mnt/f" 2>"$scratch/writer.err" <<-'PY' &
		import ctypes, mmap, os, sys
		plain, direct = os.open(sys.argv[1], os.O_RDWR), os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
		os.posix_fadvise(plain, 0, 0, os.POSIX_FADV_DONTNEED)
		os.pread(plain, 4096, 65536)
		os.pwrite(plain, b"x" * 4096, 512 << 10)
		ctypes.CDLL(None).sync_file_range(plain, ctypes.c_int64(512 << 10), ctypes.c_int64(4096), 2)
		os.pwrite(direct, mmap.mmap(-1, 4096), 0)
	PY
	writer=$!
	waits_for_ever && killed
}

writer_was_told() {
	wait "$writer"
	grep -E -q 'abort|not connected' "$scratch/writer.err" || { cat "$scratch/writer.err"; return 1; }
}

# What a file is, the kernel may still know; how full the volume is, it has to ask for.
mount_is_dead() { refused_with 1 'not connected|aborted' stat -f "$mnt"; }

check "a volume is mounted, and a block of a file hangs" begin_hanging || done_testing
check "killed while it has pages dropped, the daemon goes" while_dropping
check "whoever waited for it has an error" writer_was_told
check "the mount is dead, not hanging" mount_is_dead
umount -l "$mnt"
check "it can be mounted again" mount_volume "$volume" "$mnt"
check "it is unmounted" unmount "$mnt"
check "a scrub finds nothing" expect_clean "$volume"

done_testing
