#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The memory of writers is found whichever way they write: every engine of fio, with still buffers,
# and our own mutator's, with buffers that change in flight. A still buffer is never reported.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
size_mib=$(slow_or 2 1)
fio_seed=${SEED:-4711}
diag "fio seed $fio_seed (SEED=$fio_seed replays it)"

# figures: total, observed, mutated, and those whose memory was found but not read, so far.
figures() {
	python3 - "$mnt/.stablefs/stats.json" <<'PY'
import json, sys
writes = json.load(open(sys.argv[1]))["direct_writes"]
print(writes["total"], writes["observed"], writes["mutated"],
      writes["unobserved_by_reason"]["unreadable"])
PY
}

# since FIGURES: how much they grew, in total, observed, mutated, unreadable.
since() {
	local now
	read -ra now < <(figures) && ((${#now[@]} == 4)) || return
	total=$((now[0] - $1)) observed=$((now[1] - $2)) mutated=$((now[2] - $3))
	unreadable=$((now[3] - $4))
	echo "total $total, observed $observed, mutated $mutated, unreadable $unreadable"
}

# What is found but cannot be read in time, since others have the processors, is not the engine's.
all_observed() {
	((total > 0 && observed + unreadable == total && observed * 100 >= total * 95)) && return
	grep -A 12 unobserved_by_reason "$mnt/.stablefs/stats.json"
	return 1
}

# still OPTION...: of 4K and of 64K, in any order, beside and over each other.
still() {
	local before
	read -ra before < <(figures)
	limit 120 fio --name=engine --directory="$mnt" --size="${size_mib}m" --rw=randwrite --direct=1 \
		--bssplit=4k/80:64k/20 --blockalign=4k --norandommap \
		--refill_buffers --randseed="$fio_seed" --allrandrepeat=1 --invalidate=0 \
		--group_reporting --output-format=terse --aux-path="$scratch" "$@" || return
	since "${before[@]}" && all_observed && ((total >= size_mib * 16 && mutated == 0))
}

# mutated OPTION...: what our mutator knows it changed is seen; where others have the processors, and its stores fall
# beside the time between the copy and the last look, by making that time longer.
mutated() {
	local hold
	for hold in 200us 3ms 20ms; do
		echo "$hold" >"$mnt/.stablefs/hold" || return
		mutated_once "$@" && return
	done
	return 1
}

mutated_once() {
	local before changed
	read -ra before < <(figures)
	stablefs mutate --json --block 4K --count "$(slow_or 60 30)" "$@" "$mnt/mutated" \
		>"$scratch/mutate.json" || return
	changed=$(sed -n 's/.*"changed": \([0-9]*\).*/\1/p' "$scratch/mutate.json")
	echo "changed $changed"
	since "${before[@]}" && all_observed &&
		((changed > 0 && mutated * 100 >= (changed - unreadable) * 95))
}

engines() {
	cat <<-'EOF'
		psync|--ioengine=psync
		pvsync|--ioengine=pvsync
		pvsync2|--ioengine=pvsync2
		POSIX aio, depth 8|--ioengine=posixaio --iodepth=8
		io_uring, depth 1|--ioengine=io_uring --iodepth=1
		io_uring, depth 64|--ioengine=io_uring --iodepth=64
		io_uring in batches|--ioengine=io_uring --iodepth=32 --iodepth_batch=8
		io_uring, vectored|--ioengine=io_uring --iodepth=16 --nonvectored=0
		io_uring, registered buffers|--ioengine=io_uring --iodepth=16 --fixedbufs
		io_uring, registered files|--ioengine=io_uring --iodepth=16 --registerfiles
		io_uring, both registered|--ioengine=io_uring --iodepth=16 --fixedbufs --registerfiles
		io_uring, SQPOLL|--ioengine=io_uring --iodepth=16 --sqthread_poll
		io_uring, forced to workers|--ioengine=io_uring --iodepth=16 --force_async=1
		io_uring, a ring for each of four threads|--ioengine=io_uring --iodepth=4 --numjobs=4 --thread
	EOF
}

mutators() {
	cat <<-'EOF'
		psync|--engine psync
		io_uring|--engine uring --depth 4
		io_uring, vectored|--engine uring --depth 4 --vectored
		io_uring, registered buffers|--engine uring --depth 4 --fixed
		io_uring, SQPOLL|--engine uring --depth 4 --sqpoll
		POSIX aio|--engine posixaio --depth 4
	EOF
}

all_engines() {
	local name options
	while IFS='|' read -r name options; do
		# shellcheck disable=SC2086  # options are words
		check "$name: every still write is observed, none reported" still $options
	done < <(engines)
}

all_mutators() {
	local name options
	while IFS='|' read -r name options; do
		# shellcheck disable=SC2086
		check "$name: what changes in flight is seen" mutated $options
	done < <(mutators)
}

check "a raid5 volume is made" mk_volume --level raid5 --members 4 --size 256M --pi none "$volume" ||
	done_testing
check "it is mounted with dio=zerocopy" mount_volume -o dio=zerocopy "$volume" "$mnt" || done_testing
all_engines
check "it is unmounted at once, whatever rings there were" unmount "$mnt"
check "it is mounted with dio=detect" mount_volume -o dio=detect,hold=200us "$volume" "$mnt" ||
	done_testing
all_mutators
check "it is unmounted" unmount "$mnt"

done_testing
