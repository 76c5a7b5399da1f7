#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What fsync and its relatives acknowledge is there when the daemon was killed, when the power was
# cut, after an unmount; commit= is kept; errors reach each open file.
. "$(dirname "$0")/lib.sh"

mnt=$scratch/mnt
mkdir "$mnt"
durability() { limit "$COMMAND_LIMIT_S" python3 "$tests_dir/durability.py" "$@"; }

fresh() {
	rm -rf "$scratch/volume"
	mk_volume "$@" "$scratch/volume"
}

good_afterwards() {
	unmount "$mnt" && expect_status 0 stablefs fsck "$scratch/volume" &&
		expect_clean "$scratch/volume"
}

# --- the daemon is killed ---

fresh --level raid5 --members 3 --size 64M --pi t10 || bail "a volume"
check "mounted, to commit once an hour" mount_volume -o commit=1h "$scratch/volume" "$mnt"
subtests durability make "$mnt"
kill_daemon "$mnt"
check "mounted after the daemon was killed" mount_volume "$scratch/volume" "$mnt"
subtests durability check "$mnt"
check "all is in order then" good_afterwards

# --- the power is cut: nothing since then that was not flushed is on the members ---

# Each of the members' writes to the file's blocks lets the power go.
trigger() {
	dd if=/dev/zero of="$mnt/trigger" bs=4096 count=4 oflag=direct conv=notrunc 2>/dev/null
	python3 -c 'import json, sys; sys.exit(not json.load(open(sys.argv[1]))["power_cut"])' \
		"$mnt/.stablefs/inject"
}

arm_power_cut() {
	dd if=/dev/urandom of="$mnt/trigger" bs=4096 count=4 conv=fsync status=none &&
		stablefs inject --seed=7 "$mnt" 'power-cut file=/trigger'
}

fresh --level raid5 --members 3 --size 64M --pi t10 || bail "a volume"
check "mounted with faults" mount_volume -o inject,commit=1h "$scratch/volume" "$mnt"
check "a power cut is armed" arm_power_cut
subtests durability make "$mnt"
check "the power goes" trigger
kill_daemon "$mnt"
check "mounted when it is back" mount_volume "$scratch/volume" "$mnt"
subtests durability check "$mnt"
check "all is in order after that" good_afterwards

# --- a clean unmount, and a commit by time ---

fresh --level raid1 --members 2 --size 64M --pi crc32c || bail "a volume"

unmounted() {
	mount_volume -o commit=1h "$scratch/volume" "$mnt" && mkdir "$mnt/d" && echo one >"$mnt/d/f" &&
		remount "$scratch/volume" "$mnt" && [[ $(<"$mnt/d/f") == one ]]
}

commits() {
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["files"]["commits"])' \
		"$mnt/.stablefs/stats.json"
}

committed_after() {
	local deadline=$((SECONDS + 30))
	until (($(commits) > $1)); do
		((SECONDS < deadline)) || return 1
		sleep 0.1
	done
}

# Nobody syncs: the mount does, in its time. The first commit may have begun before the first mkdir,
# the second one did not.
by_time() {
	local name before
	unmount "$mnt" && mount_volume -o commit=500ms "$scratch/volume" "$mnt" || return 1
	for name in first second; do
		before=$(commits) && mkdir "$mnt/$name" && committed_after "$before" || return 1
	done
	kill_daemon "$mnt"
	mount_volume "$scratch/volume" "$mnt" && [[ -d $mnt/first ]]
}

check "a clean unmount keeps everything" unmounted
check "what nobody syncs is committed after commit=" by_time
check "and in order" good_afterwards

# --- errors, and what a sync costs ---

fresh --level single --members 1 --size 64M || bail "a volume"
check "mounted without redundancy" mount_volume -o inject,commit=1h "$scratch/volume" "$mnt"
subtests durability errors "$mnt"
subtests durability commits "$mnt"
check "in order at the end" good_afterwards

done_testing
