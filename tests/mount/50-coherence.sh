#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Direct, buffered and mapped use of one file see each other's completed writes, in every pairing.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
seed=${SEED:-$(slow_or 4711 11)}

check "a volume is created" mk_volume --size 128M "$volume" || done_testing
for options in dio=bounce dio=zerocopy dio=bounce,writethrough; do
	check "it is mounted with $options" mount_volume -o "$options" "$volume" "$mnt" || done_testing
	mkdir -p "$mnt/$options"
	diag "with $options"
	subtests python3 "$tests_dir/coherence.py" "$mnt/$options" "$seed" "$(slow_or 0.5 0.3)"
	check "it is unmounted with $options" unmount "$mnt"
done
check "a scrub finds nothing" expect_clean "$volume"

done_testing
