#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# link, unlink, mkdir, rmdir, symlink, mknod; limits of names and paths; and all of it after a remount.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

tree_of() { (cd "$1" && find . -printf '%p %i %y %n %s %l\n' | sort); }

survives_a_remount() {
	tree_of "$mnt" >"$scratch/before" && remount "$volume" "$mnt" &&
		diff "$scratch/before" <(tree_of "$mnt")
}

all_is_removed() { rm -rf "${mnt:?}"/links && [[ -z $(ls -A "$mnt") ]]; }

check "a volume is created" mk_volume --size 128M "$volume" || done_testing
# Device nodes, and sockets that others connect to.
check "it is mounted" mount_volume -o dev,suid "$volume" "$mnt" || done_testing
subtests python3 "$tests_dir/links.py" "$mnt"
check "a remount finds everything" survives_a_remount
check "all of it is removed" all_is_removed
check "it is unmounted" unmount "$mnt"
check "fsck finds nothing" expect_status 0 stablefs fsck "$volume"
check "a scrub finds nothing" expect_clean "$volume"

done_testing
