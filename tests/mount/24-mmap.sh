#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Mappings: against direct and buffered use of other processes, at the end of the file, over holes;
# copies that stay in the kernel. 50-coherence.sh has every pairing at full speed.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

check "a raid5 volume with t10 is created" mk_volume --level raid5 --members 4 --pi t10 --size 128M "$volume" ||
	done_testing
for options in dio=bounce dio=zerocopy dio=buffered dio=bounce,writethrough; do
	check "it is mounted with $options" mount_volume -o "$options" "$volume" "$mnt" || done_testing
	mkdir "$mnt/$options"
	diag "with $options"
	subtests python3 "$tests_dir/mapping.py" "$mnt/$options"
	check "it is unmounted with $options" unmount "$mnt"
done
check "a scrub finds nothing" expect_clean "$volume"

done_testing
