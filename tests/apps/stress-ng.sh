#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# stress-ng: each stressor of its filesystem class in the mount, with --verify, one after the other.
# One that fails is run on the disk below, too: what fails there as well is not ours.
. "$(dirname "$0")/lib.sh"

program stress-ng "$(stress-ng --version | sed 's/.*version \([^ ]*\).*/\1/')"
begin 3G

# What does not use a directory of ours, or wants a filesystem that is made for it.
declare -A left_out=(
	[binderfs]="mounts a filesystem of its own"
	[bind-mount]="mounts folders of the machine"
	[eventfd]="uses no filesystem"
	[ioprio]="uses no filesystem"
	[procfs]="reads /proc"
	[verity]="fs-verity is a feature of single filesystems"
)

mapfile -t stressors < <(stress-ng --class 'filesystem?' 2>&1 | sed 's/.*stressors: //' | tr ' ' '\n' |
	sed '/^$/d')
each=$((APPS_SECONDS / (${#stressors[@]} - ${#left_out[@]}) + 1))

# stress STRESSOR DIRECTORY: 0 it ran, 1 it failed, 2 it says that it cannot run there.
stress() {
	local status=0
	mkdir -p "$2"
	limit $((each + 120)) stress-ng --"$1" 2 --timeout "$each" --temp-path "$2" --verify \
		--oomable >"$scratch/stress.log" 2>&1 || status=$?
	rm -rf "$2"
	grep -E 'fail|error|unsuccessful|skipping' "$scratch/stress.log" | cut -c1-200 | head -n 20
	! grep -q 'skipping' "$scratch/stress.log" || return 2
	return $((status != 0))
}

compare() {
	local status=0 there=0
	stress "$1" "$mnt/stress" || status=$?
	if ((status == 0)); then
		ran+=("$1")
		return
	fi
	printf 'that was %d; on the disk below:\n' "$status"
	stress "$1" "$scratch/disk" || there=$?
	# What the kernel does not offer on FUSE at all is no failure, but is said.
	((there != status)) || { as_there+=("$1"); return 0; }
	((status == 2)) && cannot+=("$1")
}

ran=()
as_there=()
cannot=()
for stressor in "${stressors[@]}"; do
	if [[ -n ${left_out[$stressor]:-} ]]; then
		diag "left out: $stressor: ${left_out[$stressor]}"
		continue
	fi
	check "$stressor" compare "$stressor"
done
((${#as_there[@]} == 0)) || diag "does not run on the disk below either: ${as_there[*]}"
((${#cannot[@]} == 0)) || diag "the kernel has it not for FUSE: ${cannot[*]}"
check "no file of theirs is left" test -z "$(ls -A "$mnt")"

finish "${#ran[@]} stressors of class filesystem, $each s each with --verify; left out: ${!left_out[*]}; \
FUSE has none: ${cannot[*]:-nothing}; fail on ext4 too: ${as_there[*]:-none}"
