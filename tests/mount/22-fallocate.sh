#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# fallocate in its modes, where data and holes are, what st_blocks says; also of a full volume, and
# after a remount.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

free_blocks() { stat -f -c %f "$mnt"; }

# All or nothing: nothing is taken where not all can be had.
too_much_is_enospc() {
	local before after
	before=$(free_blocks)
	expect_status 1 fallocate -l 1T "$mnt/too-much" && expect_stderr 'no space' || return
	after=$(free_blocks)
	((after == before)) || { echo "$before blocks were free, $after are"; return 1; }
	[[ $(stat -c '%s %b' "$mnt/too-much") == "0 0" ]]
}

# What is left is set aside to the last MiB; writing there works, writing elsewhere does not.
set_aside_is_kept_on_a_full_volume() {
	local mib=$(($(free_blocks) / 256))
	fallocate -l "$((mib - 1))M" "$mnt/all" || return
	expect_status 1 dd if=/dev/zero of="$mnt/rest" bs=64K oflag=direct status=none &&
		expect_stderr 'no space' || return
	dd if=/dev/zero bs=1M count="$((mib - 1))" status=none | tr '\0' 'x' |
		dd of="$mnt/all" bs=1M conv=notrunc,fsync iflag=fullblock oflag=direct status=none || return
	rm "$mnt/rest" "$mnt/all"
}

# The kernel accepts pages, and hears later that there is no room for them: whoever writes on is told.
buffered_writers_hear_of_a_full_volume() {
	expect_status 1 limit 60 dd if=/dev/zero of="$mnt/endless" bs=64K status=none &&
		expect_stderr 'no space' || return
	rm "$mnt/endless"
	expect_status 0 dd if=/dev/zero of="$mnt/again" bs=64K count=16 conv=fsync status=none &&
		rm "$mnt/again"
}

collapse_and_insert_are_refused() {
	head -c 64K /dev/zero >"$mnt/shape" &&
		expect_status 1 fallocate --collapse-range -o 4096 -l 4096 "$mnt/shape" &&
		expect_stderr 'not supported' &&
		expect_status 1 fallocate --insert-range -o 4096 -l 4096 "$mnt/shape" &&
		expect_stderr 'not supported' &&
		[[ $(stat -c %s "$mnt/shape") == 65536 ]]
}

map_of() { stat -c '%s %b' "$1"; sha256sum <"$1"; filefrag_by_seek "$1"; }

filefrag_by_seek() {
	python3 - "$1" <<'PY'
import os, sys
fd, at = os.open(sys.argv[1], os.O_RDONLY), 0
while True:
    try:
        begin = os.lseek(fd, at, os.SEEK_DATA)
    except OSError:
        break
    at = os.lseek(fd, begin, os.SEEK_HOLE)
    print(begin, at)
PY
}

# Preallocated, written in part, with a hole.
its_map_survives_a_remount() {
	local file=$mnt/map
	fallocate -l 1M "$file" && fallocate -n -o 2M -l 1M "$file" &&
		head -c 100000 /dev/urandom | dd of="$file" bs=4K seek=10 conv=notrunc status=none &&
		fallocate -p -o 64K -l 32K "$file" && sync "$file" && map_of "$file" >"$scratch/before" &&
		remount "$volume" "$mnt" && map_of "$file" >"$scratch/after" &&
		diff "$scratch/before" "$scratch/after"
}

check "a raid5 volume with t10 is created" mk_volume --level raid5 --members 4 --pi t10 --size 128M "$volume" ||
	done_testing
for options in dio=bounce dio=bounce,writethrough; do
	check "it is mounted with $options" mount_volume -o "$options" "$volume" "$mnt" || done_testing
	mkdir "$mnt/$options"
	diag "with $options"
	subtests python3 "$tests_dir/fallocate.py" "$mnt/$options"
	check "it is unmounted with $options" unmount "$mnt"
done
check "it is mounted again" mount_volume "$volume" "$mnt" || done_testing
rm -rf "${mnt:?}"/*
check "modes that the kernel keeps from FUSE are refused" collapse_and_insert_are_refused
check "more than there is fails with ENOSPC and takes nothing" too_much_is_enospc
check "what was set aside is there when the volume is full" set_aside_is_kept_on_a_full_volume
check "a program that writes through the page cache hears of a full volume" \
	buffered_writers_hear_of_a_full_volume
check "what is allocated, written and a hole survives a remount" its_map_survives_a_remount
check "it is unmounted" unmount "$mnt"
check "a scrub finds nothing" expect_clean "$volume"

done_testing
