#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# POSIX access control lists: enforced, kept in step with modes, inherited, and there after a remount.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

((EUID == 0)) || skip_all "other users are needed, so root is"

make_lists() {
	mkdir "$mnt/d" && setfacl -m u:61001:rwx,d:u:61001:rw "$mnt/d" && : >"$mnt/d/f" &&
		setfacl -m g:62001:r "$mnt/d/f" && chmod 0751 "$mnt/d"
}

lists() { (cd "$mnt" && getfacl -nR d && find d -printf '%p %m\n'); }

same_lists() { diff <(lists) "$scratch/lists"; }

check "a volume is created" mk_volume --size 64M "$volume" || done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
subtests python3 "$tests_dir/acl.py" "$mnt"
check "lists are made" make_lists
lists >"$scratch/lists"
check "it is mounted again" remount "$volume" "$mnt"
check "lists, modes and what was inherited are as they were" same_lists
check "it is unmounted" unmount "$mnt"
check "nothing is wrong with the volume" expect_clean "$volume"
done_testing
