#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# rename(2) and renameat2(2); and that what was renamed is where it was after a remount.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

tree_of() { (cd "$1" && find . -printf '%p %i %y %n %s %l\n' | sort); }

survives_a_remount() {
	tree_of "$mnt" >"$scratch/before" && remount "$volume" "$mnt" &&
		diff "$scratch/before" <(tree_of "$mnt")
}

# After the rename was synced there is the new file, before it the old or the new one, whole.
survives_a_kill() {
	echo old >"$mnt/name" && sync "$mnt/name" "$mnt" &&
		echo new >"$mnt/temp" && sync "$mnt/temp" && mv "$mnt/temp" "$mnt/name" &&
		sync "$mnt" && kill_daemon "$mnt" && mount_volume "$volume" "$mnt" &&
		[[ $(<"$mnt/name") == new && ! -e $mnt/temp ]]
}

check "a volume is created" mk_volume --size 128M "$volume" || done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
subtests python3 "$tests_dir/rename.py" "$mnt"
check "a remount finds everything where it was moved to" survives_a_remount
check "what was renamed and synced survives a daemon that is killed" survives_a_kill
check "it is unmounted" unmount "$mnt"
check "fsck finds nothing" expect_status 0 stablefs fsck "$volume"
check "a scrub finds nothing" expect_clean "$volume"

done_testing
