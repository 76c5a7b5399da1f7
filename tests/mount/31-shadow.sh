#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Random operations on files, by every way to read and to write, compared with an array of bytes; a
# short round of tests/stress/shadow.py, with the page cache written back and written through.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
: "${SEED:=$((RANDOM * 32768 + RANDOM))}"

shadow() { python3 "$tests_dir/../stress/shadow.py" "$@" --manifest "$scratch/manifest"; }

# round OPTIONS FILES: leaves what was written for verify().
round() {
	check "it is mounted with ${1:-no options}" mount_volume ${1:+-o "$1"} "$volume" "$mnt" || done_testing
	subtests shadow run "$mnt" --seed "$SEED" --files "$2" --ops "$(slow_or 150 50)" --seconds 60
	check "it is mounted afresh" remount ${1:+-o "$1"} "$volume" "$mnt" || done_testing
	subtests shadow verify "$mnt"
	check "the volume is unmounted" unmount "$mnt"
}

check "a volume is created" mk_volume --level raid5 --members 4 --pi t10 --size 256M "$volume" ||
	done_testing
round "" 3
round writethrough 1
check "a scrub finds nothing" expect_clean "$volume"

done_testing
