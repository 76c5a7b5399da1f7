#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# fio writes with checksums and reads back: direct, buffered and mapped, 4K to 1M, random and
# sequential, four jobs; on a whole array and with a member missing.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
size_mib=$(slow_or 24 6)
fio_seed=${SEED:-4711}
diag "fio seed $fio_seed (SEED=$fio_seed replays it)"

# verified NAME OPTION...: four jobs that write, then verify; fio's own exit status counts.
verified() {
	local name=$1
	shift
	mkdir -p "$mnt/fio" || return
	limit 300 fio --name="$name" --directory="$mnt/fio" --numjobs=4 --size="${size_mib}m" \
		--verify=crc32c --verify_fatal=1 --verify_state_save=0 --do_verify=1 \
		--randseed="$fio_seed" --allrandrepeat=1 --group_reporting --output-format=terse \
		--aux-path="$scratch" --end_fsync=1 --invalidate=1 "$@" || return
	rm -f "$mnt/fio/$name".*
}

# The same files read back by a later fio, with what the first one left in them.
written_then_verified_later() {
	local common=(--name=later --directory="$mnt/fio" --numjobs=4 --size="${size_mib}m" --rw=randwrite
		--bs=16k --verify=crc32c --verify_state_save=0 --randseed="$fio_seed" --allrandrepeat=1
		--aux-path="$scratch" --group_reporting --output-format=terse --direct=1 --ioengine=psync)
	limit 300 fio "${common[@]}" --do_verify=0 && remount "$volume" "$mnt" &&
		limit 300 fio "${common[@]}" --verify_only --verify_fatal=1 &&
		rm -f "$mnt"/fio/later.*
}

# The shapes of $1: "name|options" a line.
shapes() {
	cat <<-'EOF'
		direct random 4K, psync|--direct=1 --rw=randwrite --bs=4k --ioengine=psync
		direct random 4K, io_uring, depth 16|--direct=1 --rw=randwrite --bs=4k --ioengine=io_uring --iodepth=16
		direct sequential 1M, libaio, depth 4|--direct=1 --rw=write --bs=1m --ioengine=libaio --iodepth=4
		direct random 4K to 1M|--direct=1 --rw=randwrite --bsrange=4k-1m --blockalign=4k --ioengine=psync
		direct mixed reads and writes 64K|--direct=1 --rw=randrw --bs=64k --ioengine=libaio --iodepth=8
		buffered random 4K|--direct=0 --rw=randwrite --bs=4k --ioengine=psync
		buffered sequential 1M|--direct=0 --rw=write --bs=1m --ioengine=psync
		buffered random 4K to 1M|--direct=0 --rw=randwrite --bsrange=4k-1m --blockalign=4k --ioengine=psync
		mapped random 4K|--direct=0 --rw=randwrite --bs=4k --ioengine=mmap
	EOF
}

all_shapes() {
	local where=$1 name options number=0
	while IFS='|' read -r name options; do
		number=$((number + 1))
		# shellcheck disable=SC2086  # options are words
		check "$name, verified, $where" verified "job$number" $options
	done < <(shapes)
}

check "a raid5 volume with t10 is created" mk_volume --level raid5 --members 4 --pi t10 --size 512M "$volume" ||
	done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
all_shapes "on a whole array"
check "what one fio wrote, a later one verifies after a remount" written_then_verified_later

# A file that the missing member holds a part of.
head -c 20M /dev/urandom >"$scratch/data"
cp "$scratch/data" "$mnt/data"
check "it is unmounted" unmount "$mnt"
check "a scrub of the whole array finds nothing" expect_clean "$volume"

mv "$volume/member-1" "$scratch/away"
check "it is mounted with a member missing" mount_volume "$volume" "$mnt" || done_testing
check "what was on the missing member is rebuilt from parity" cmp "$scratch/data" "$mnt/data"
all_shapes "with a member missing"
check "it is unmounted with a member missing" unmount "$mnt"
check "it is mounted once more" mount_volume "$volume" "$mnt"
check "the old file is still whole" cmp "$scratch/data" "$mnt/data"
check "it is unmounted at last" unmount "$mnt"
check "a scrub with a member missing finds nothing" expect_clean "$volume"

done_testing
