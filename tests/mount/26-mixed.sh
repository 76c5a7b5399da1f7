#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Reads and writes whose memory is mapped from a file of the same mount, or is not there in part,
# under every policy of direct I/O: they end, with the right count or EFAULT, whoever looks at that
# memory meanwhile.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

check "a raid5 volume with t10 is created" mk_volume --level raid5 --members 4 --pi t10 --size 128M "$volume" ||
	done_testing
policies=(dio=bounce dio=zerocopy dio=buffered dio=detect dio=verify dio=adaptive
	dio=bounce,writethrough)
[[ -z ${STABLEFS_SLOW:-} ]] || policies=(dio=bounce dio=zerocopy dio=verify)
for options in "${policies[@]}"; do
	engines=()
	case $options in
	dio=bounce) ;;
	*buffered | *writethrough) engines=("psync: ") ;;
	*) engines=("psync: " "io_uring: ") ;;
	esac
	check "it is mounted with $options" mount_volume -o "$options" "$volume" "$mnt" || done_testing
	mkdir "$mnt/$options"
	diag "with $options"
	subtests "$(helper faulting_io)" "$mnt/$options" "${engines[@]}"
	rm -rf "${mnt:?}/$options"
	check "it is unmounted with $options" unmount "$mnt"
done
check "a scrub finds nothing" expect_clean "$volume"

done_testing
