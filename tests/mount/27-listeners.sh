#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Who listens for requests: a worker, or the engine's thread while all that comes is data. Names and
# data mixed are served by either, and so are the ends: unmount, signals, remount, a daemon that is
# killed. Where it is wanted, processors are asked to stay awake while many requests come.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
seconds=$(slow_or 6 12)

# received WHAT: how many requests, from the statistics.
received() {
	python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["receiving"][sys.argv[2]])' "$mnt/.stablefs/stats.json" "$1"
}

mix() { limit 120 python3 "$tests_dir/listeners.py" "$mnt" "$@"; }

# Direct writes and reads alone, one after the other.
data_alone() {
	dd if=/dev/zero of="$mnt/alone" bs=4k count=400 oflag=direct status=none &&
		dd if="$mnt/alone" of=/dev/null bs=4k iflag=direct status=none
}

names_alone() {
	local i
	mkdir -p "$mnt/alone.d" && for ((i = 0; i < 200; i++)); do
		: >"$mnt/alone.d/$i" || return 1
	done
	rm -r "$mnt/alone.d"
}

engine_listens_to() {
	local before after
	before=$(received by_engine)
	"$@" || return 1
	after=$(received by_engine)
	echo "received by the engine's thread: $before, then $after"
	((after - before > 300))
}

worker_listens_to() {
	local before after
	before=$(received by_engine)
	"$@" || return 1
	after=$(received by_engine)
	echo "received by the engine's thread: $before, then $after"
	((after - before < 100))
}

both_had_their_turn() {
	echo "engine $(received by_engine), handed over $(received handed_over)," \
		"turns $(received engine_turns)"
	(($(received engine_turns) > 3 && $(received handed_over) > 10))
}

# Names that are not there, each another one: a request each, as fast as they go.
ask_fast() {
	python3 -c 'import os, sys, time
end = time.monotonic() + 0.5
while time.monotonic() < end:
    os.path.lexists(f"{sys.argv[1]}/{time.monotonic_ns()}")' "$mnt"
}

has_latency_file() { [[ $(readlink "/proc/${daemons[$mnt]}/fd/"*) = */dev/cpu_dma_latency* ]]; }

processors_are_asked() {
	local try
	for ((try = 0; try < 20; try++)); do
		ask_fast
		(($(received awake_turns) > 0)) && has_latency_file && return 0
	done
	return 1
}

processors_are_not_asked() {
	ask_fast
	(($(received awake_turns) == 0)) && ! has_latency_file
}

# ends_below HOW...: while data and names are mixed, or data alone comes, HOW ends the mount.
ends_below() {
	local load=$1 writer status=0
	shift
	if [[ $load == data ]]; then
		(while dd if=/dev/zero of="$mnt/alone" bs=4k count=400 oflag=direct status=none; do :; done) \
			2>/dev/null &
	else
		mix 20 --until-gone &
	fi
	writer=$!
	sleep 1
	"$@" || status=$?
	kill "$writer" 2>/dev/null
	wait "$writer" 2>/dev/null
	return "$status"
}

end_by_signal() {
	kill -TERM "${daemons[$mnt]}" && wait_for_daemon "$mnt" 60
}

end_by_force() {
	umount -f "$mnt" 2>/dev/null || umount -l "$mnt"
	wait_for_daemon "$mnt" 60
}

remounted_between() {
	data_alone && stablefs mount -o remount,ro "$mnt" && stablefs mount -o remount,rw "$mnt" &&
		data_alone
}

check "a volume is created" mk_volume --level raid5 --members 4 --pi t10 --size 256M "$volume" ||
	done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
check "while data comes the engine's thread listens" engine_listens_to data_alone
check "while names are made a worker does" worker_listens_to names_alone
check "again the engine's thread, to data" engine_listens_to data_alone
check "nobody asks processors to stay awake" processors_are_not_asked
check "data and names in turn and at once are what they should be" mix "$seconds"
check "both have listened, in turns" both_had_their_turn
check "it is remounted read-only and back after data" \
	remounted_between
check "it is unmounted while the engine's thread listens" eval 'data_alone && unmount "$mnt"'
for load in data both; do
	for end in end_by_signal end_by_force "kill_daemon $mnt"; do
		check "it is mounted before ${end%% *}" mount_volume "$volume" "$mnt" || done_testing
		# shellcheck disable=SC2086  # its words
		check "it ends ($end) while $load come" ends_below "$load" $end
	done
done
if [[ -w /dev/cpu_dma_latency ]]; then
	check "it is mounted with awake" mount_volume -o awake "$volume" "$mnt" || done_testing
	check "many requests have processors stay awake" processors_are_asked
	check "that is unmounted" unmount "$mnt"
else
	skip "many requests have processors stay awake" "it is root's to ask for"
fi
check "it is mounted once more" mount_volume "$volume" "$mnt" || done_testing
check "and serves" data_alone
check "and is unmounted" unmount "$mnt"
check "a scrub finds nothing" expect_clean "$volume"

done_testing
