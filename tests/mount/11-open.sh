#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# open(2): its flags, files without names, appends; and that a crash takes what had no name.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

free_blocks() { stat -f -c %f "$mnt"; }
inodes_used() { echo $(($(stat -f -c %c "$mnt") - $(stat -f -c %d "$mnt"))); }

# Unlinked and never named, but open and synced, when the daemon is killed.
crash_takes_the_nameless() {
	local blocks inodes holder
	sync "$mnt"
	blocks=$(free_blocks) inodes=$(inodes_used)
	python3 - "$mnt" >"$scratch/held" <<-'PYTHON' &
		import os, sys, time
		held = [os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR),
		        os.open(sys.argv[1] + "/gone", os.O_CREAT | os.O_RDWR)]
		os.unlink(sys.argv[1] + "/gone")
		os.mkdir(sys.argv[1] + "/dir")
		held.append(os.open(sys.argv[1] + "/dir", os.O_RDONLY))
		os.rmdir(sys.argv[1] + "/dir")
		for fd in held[:2]:
		    os.write(fd, bytes(100000))
		    os.fsync(fd)
		os.fsync(held[2])
		print("held", flush=True)
		time.sleep(60)
	PYTHON
	holder=$!
	until grep -q held "$scratch/held"; do
		alive "$holder" || return
		sleep 0.05
	done
	echo "$(free_blocks) blocks and $(inodes_used) inodes while they are held"
	(($(free_blocks) == blocks - 50 && $(inodes_used) == inodes + 3)) || return
	kill_daemon "$mnt"
	kill "$holder"
	wait "$holder"
	mount_volume "$volume" "$mnt" || return
	echo "$(free_blocks) blocks instead of $blocks, $(inodes_used) inodes instead of $inodes"
	(($(free_blocks) == blocks && $(inodes_used) == inodes))
}

check "a volume is created" mk_volume --size 128M "$volume" || done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
subtests python3 "$tests_dir/open.py" "$mnt"
check "a crash takes what was open and had no name" crash_takes_the_nameless
check "it is unmounted" unmount "$mnt"
check "fsck finds nothing" expect_status 0 stablefs fsck "$volume"
check "a scrub finds nothing" expect_clean "$volume"

done_testing
