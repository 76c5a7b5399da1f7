#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Handles, statx, listings, statfs; handles and birth times over remounts and a crash.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
handles=(python3 "$tests_dir/handles.py")

some_files() {
	mkdir -p "$mnt/tree/a/b" && ln -s nowhere "$mnt/tree/link" && mkfifo "$mnt/tree/a/fifo" &&
		echo text >"$mnt/tree/a/b/file" && ln "$mnt/tree/a/b/file" "$mnt/tree/hard" &&
		touch "$mnt/tree/goes" && sync "$mnt/tree"
}

births() { (cd "$mnt/tree" && find . ! -name 'new*' -printf '%p %B@\n' | sort); }

handles_survive() {
	"$@" && "${handles[@]}" --open "$mnt/tree" "$scratch/handles.json"
}

crash() { kill_daemon "$mnt" && mount_volume "$volume" "$mnt"; }

# New files do not take the place of one that is gone, nor those that a crash has lost.
stale_after() {
	rm "$mnt/tree/goes" && sync "$mnt/tree" && "$@" && touch "$mnt"/tree/new-{0..99} &&
		"${handles[@]}" --open "$mnt/tree" "$scratch/handles.json"
}

of_another_volume() {
	local other=$scratch/other
	unmount "$mnt" && mk_volume --size 64M "$other" && mount_volume "$other" "$mnt" &&
		mkdir -p "$mnt/tree" && touch "$mnt"/tree/{0..19} &&
		"${handles[@]}" --open "$mnt/tree" "$scratch/handles.json"
}

births_stay() { births >"$scratch/births" && "$@" && diff "$scratch/births" <(births); }

free_stays() {
	local before
	before=$(stat -f -c '%f %b %c' "$mnt") && sync "$mnt" &&
		[[ $(stat -f -c '%f %b %c' "$mnt") == "$before" ]] && remount "$volume" "$mnt" &&
		stat -f -c '%f %b %c' "$mnt" && echo "$before before" &&
		[[ $(stat -f -c '%f %b' "$mnt") == "${before% *}" ]]
}

check "a volume is created" mk_volume --size 128M "$volume" || done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
ALONE=1 subtests "${handles[@]}" "$mnt"
check "a tree of all sorts is made" some_files
check "handles are taken" "${handles[@]}" --take "$mnt/tree" "$scratch/handles.json"
check "they lead to what they were taken of" handles_survive true
check "they survive a remount" handles_survive remount "$volume" "$mnt"
check "they survive a crash" handles_survive crash
check "birth times survive a remount" births_stay remount "$volume" "$mnt"
check "what was removed is stale, whatever was made since" stale_after true
check "it stays stale over a remount" handles_survive remount "$volume" "$mnt"
check "it stays stale over a crash that loses what was made since" handles_survive crash
check "free space is the same after a sync and a remount" free_stays
check "the handles of one volume are stale on another" of_another_volume
check "it is unmounted" unmount "$mnt"
check "fsck finds nothing" expect_status 0 stablefs fsck "$volume"
check "a scrub finds nothing" expect_clean "$volume"

done_testing
