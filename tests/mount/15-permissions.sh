#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Who may do what: modes, owners, setuid, setgid, sticky, file capabilities, as several users; and
# what is not offered is refused, not ignored.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

((EUID == 0)) || skip_all "other users are needed, so root is"

make_program() {
	cp /bin/true "$mnt/program" && chown 61001:62001 "$mnt/program" && chmod 6755 "$mnt/program" &&
		setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 "$mnt/program"
}

describe() {
	stat -c '%a %u %g' "$mnt/program" && getfattr -d -m - -e hex --absolute-names "$mnt/program"
}

same_program() { diff <(describe) "$scratch/program"; }

flags_are_refused() {
	: >"$mnt/f" && expect_status '[1-9]*' chattr +i "$mnt/f" &&
		expect_stderr 'not supported|Inappropriate' && rm "$mnt/f"
}

check "a volume is created" mk_volume --size 64M "$volume" || done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
subtests python3 "$tests_dir/permissions.py" "$mnt"
check "flags as of chattr are refused" flags_are_refused
check "a program with all kinds of privileges is made" make_program
describe >"$scratch/program"
check "it is mounted again" remount "$volume" "$mnt"
check "the program has them still" same_program
check "it is unmounted" unmount "$mnt"
check "without the write-back cache: mounted" mount_volume -o writethrough "$volume" "$mnt"
subtests python3 "$tests_dir/permissions.py" "$mnt" change bits capabilities setgid
check "it is unmounted once more" unmount "$mnt"
check "nothing is wrong with the volume" expect_clean "$volume"
done_testing
