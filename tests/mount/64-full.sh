#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Volumes that are full: of data, and of names. Nothing is lost, everything can be removed, and what
# it took is free again; fsck and scrub find nothing.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

# With the daemon killed while it is full; the rest of the files goes afterwards.
killed_when_full() {
	mkdir "$mnt/killed" && sync "$mnt/killed"
	dd if=/dev/zero of="$mnt/killed/big" bs=1M count=64 conv=fsync status=none 2>"$scratch/dd.err"
	grep -q 'No space left' "$scratch/dd.err" || return
	cp "$STABLEFS" "$mnt/killed/" 2>/dev/null && return 1
	kill_daemon "$mnt" && mount_volume "$volume" "$mnt" && rm -r "$mnt/killed"
}

try() {
	local what=$1
	shift
	check "a volume is created: $what" mk_volume "$@" "$volume" || done_testing
	check "it is mounted: $what" mount_volume "$volume" "$mnt" || done_testing
}

finish() {
	check "it is unmounted: $1" unmount "$mnt"
	check "a scrub finds nothing: $1" expect_clean "$volume"
	check "fsck finds nothing: $1" expect_status 0 stablefs fsck "$volume"
	rm -rf "$volume"
}

names='fill_it without_room'
data='last_block replaces_nothing needs_blocks mapping punched sparse'

try "little room for data" --level raid5 --members 4 --pi t10 --size 24M
# shellcheck disable=SC2086  # words
subtests python3 "$tests_dir/full.py" "$mnt" $data
check "it can be emptied when its daemon was killed while it was full" killed_when_full
finish "little room for data"

try "little room for names" --level raid1 --members 2 --size 64M --system 2M
# shellcheck disable=SC2086
subtests python3 "$tests_dir/full.py" "$mnt" $names
finish "little room for names"

done_testing
