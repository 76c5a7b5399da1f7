#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Sizes of files: made shorter and longer, to the limits, under writers; with and without the
# kernel's write-back cache.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

# What a truncation cut off stays away over a remount.
cut_stays_cut() {
	printf 'abcdef' >"$mnt/cut" && truncate -s 3 "$mnt/cut" && truncate -s 8192 "$mnt/cut" &&
		remount "$volume" "$mnt" &&
		cmp "$mnt/cut" <(printf 'abc'; head -c 8189 /dev/zero)
}

check "a raid5 volume with t10 is created" mk_volume --level raid5 --members 4 --pi t10 --size 128M "$volume" ||
	done_testing
for options in dio=bounce dio=bounce,writethrough; do
	check "it is mounted with $options" mount_volume -o "$options" "$volume" "$mnt" || done_testing
	mkdir "$mnt/$options"
	diag "with $options"
	subtests python3 "$tests_dir/truncate.py" "$mnt/$options"
	check "it is unmounted with $options" unmount "$mnt"
done
check "it is mounted again" mount_volume "$volume" "$mnt" || done_testing
check "what was cut off stays away" cut_stays_cut
check "it is unmounted" unmount "$mnt"
check "a scrub finds nothing" expect_clean "$volume"

done_testing
