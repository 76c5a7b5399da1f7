#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# SQLite with eight writing processes, with its write-ahead log and with a rollback journal: every
# commit that it acknowledged is there after the daemon was killed, and after the power went.
. "$(dirname "$0")/lib.sh"

writers=8
program SQLite "$(python3 -c 'import sqlite3; print(sqlite3.sqlite_version)')"
begin 1G

# write MODE SECONDS: all writers at once on $mnt/MODE.db; what was acknowledged goes to $scratch.
write() {
	python3 "$tests_dir/../apps/sqlite_writers.py" write "$mnt/$1.db" "$1" "$scratch/acked-$1" \
		--writers "$writers" --seconds "$2"
}

whole() {
	python3 "$tests_dir/../apps/sqlite_writers.py" check "$mnt/$1.db" "$1" "$scratch/acked-$1" \
		--writers "$writers"
}

# crash_while_writing KIND MODE
crash_while_writing() {
	local kind=$1 mode=$2 pid
	[[ $kind == kill ]] || arm_cut "$(between 200 3000)" || return
	write "$mode" 8 >"$scratch/writers.out" 2>&1 &
	pid=$!
	servers+=("$pid")
	sleep "$(between 1 4).$(between 0 9)"
	die_in_turn "$kind" || return
	wait "$pid" # they all got an error; that is as it should be
	bury_mount
	mount_volume -o inject "$volume" "$mnt"
}

for mode in wal delete; do
	check "$writers processes write in mode $mode" write "$mode" $((APPS_SECONDS / 6 + 1))
	check "all rows of mode $mode are there" whole "$mode"
	on_disk && continue
	for kind in kill cut kill cut; do
		check "mode $mode: the mount comes back after: $kind" crash_while_writing "$kind" "$mode" ||
			finish "did not come back"
		check "mode $mode: whole, and nothing acknowledged is lost after: $kind" whole "$mode"
	done
done
rows=$(cat "$scratch"/acked-*/* | wc -l)

finish "$writers writers, modes wal and delete, $rows commits, none lost in $crashes crashes"
