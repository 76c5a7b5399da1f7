#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Which call moves which time of a file, and what is left of it after a remount.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

make_times() {
	echo text >"$mnt/truncated" && touch -d '2001-02-03' "$mnt/truncated" &&
		python3 -c 'import os, sys; os.truncate(sys.argv[1], 5)' "$mnt/truncated" || return
	mkdir "$mnt/d" && ln -s x "$mnt/d/link" && : >"$mnt/d/f" || return
	local i=0 name
	for name in d/f d/link d; do
		touch -h -a -d '1969-12-31 23:59:59.999999999 UTC' "$mnt/$name" &&
			touch -h -m -d "2200-02-0$((++i)) 04:05:06.123456789 UTC" "$mnt/$name" || return
	done
}

times() { (cd "$mnt" && stat -c '%n %.9X %.9Y %.9Z' truncated d d/f d/link); }

same_times() { diff <(times) "$scratch/times"; }

check "a volume is created" mk_volume --size 64M "$volume" || done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
subtests python3 "$tests_dir/times.py" "$mnt"
check "times far away are set" make_times
times >"$scratch/times"
check "it is mounted again" remount "$volume" "$mnt"
check "all times are as they were" same_times
check "it is unmounted" unmount "$mnt"
check "nothing is wrong with the volume" expect_clean "$volume"
done_testing
