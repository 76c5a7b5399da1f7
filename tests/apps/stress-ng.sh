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
	[verity]="fs-verity: FUSE passes it to a daemon, and stablefs has none"
)

mapfile -t stressors < <(stress-ng --class 'filesystem?' 2>&1 | sed 's/.*stressors: //' | tr ' ' '\n' |
	sed '/^$/d')
each=$((APPS_SECONDS / (${#stressors[@]} - ${#left_out[@]}) + 1))

# stress STRESSOR DIRECTORY
stress() {
	local status=0
	mkdir -p "$2"
	limit $((each + 120)) stress-ng --"$1" 2 --timeout "$each" --temp-path "$2" --verify \
		--oomable >"$scratch/stress.log" 2>&1 || status=$?
	grep -E 'fail|error|unsuccessful|skipp|resource|not ' "$scratch/stress.log" | cut -c1-200 | head -n 20
	# 3: no resource of that kind here, 4: not implemented
	return "$status"
}

compare() {
	local status=0 there=0
	stress "$1" "$mnt/stress" || status=$?
	rm -rf "$mnt/stress"
	((status)) || { ran+=("$1"); return 0; }
	printf 'status %d; on the disk below:\n' "$status"
	stress "$1" "$scratch/disk" || there=$?
	rm -rf "$scratch/disk"
	((there == status)) && { as_there+=("$1"); return 0; }
	return 1
}

ran=()
as_there=()
for stressor in "${stressors[@]}"; do
	if [[ -n ${left_out[$stressor]:-} ]]; then
		diag "left out: $stressor: ${left_out[$stressor]}"
		continue
	fi
	check "$stressor" compare "$stressor"
done
((${#as_there[@]} == 0)) || diag "could not run on the disk below either: ${as_there[*]}"
check "no file of theirs is left" test -z "$(ls -A "$mnt")"

finish "${#ran[@]} stressors of class filesystem, $each s each with --verify; left out: ${!left_out[*]}; \
cannot run on ext4 here either: ${as_there[*]:-none}"
