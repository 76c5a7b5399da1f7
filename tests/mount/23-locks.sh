#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# flock, POSIX and open file description locks, leases: the kernel's, as on any local filesystem;
# also on a read-only mount, and SQLite, which lives on them.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

read_only_files_are_locked() {
	exec 7<"$mnt/kept" && flock -n 7 &&
		! flock -n "$mnt/kept" true && flock -u 7 && flock -n "$mnt/kept" true
	local status=$?
	exec 7<&-
	return "$status"
}

check "a volume is created" mk_volume --size 64M "$volume" || done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
subtests python3 "$tests_dir/locks.py" "$mnt"
touch "$mnt/kept"
check "it is unmounted, whatever was locked" unmount "$mnt"
check "it is mounted read-only" mount_volume -o ro "$volume" "$mnt" || done_testing
check "files of a read-only mount are locked" read_only_files_are_locked
check "it is unmounted" unmount "$mnt"

done_testing
