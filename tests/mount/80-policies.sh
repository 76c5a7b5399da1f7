#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every policy of a mount: what becomes of writes whose bytes change, of those that keep still, and of others who use
# the volume meanwhile; and whose word counts. See docs/policies.md.
. "$(dirname "$0")/lib.sh"

mnt=$scratch/mnt
count=$(slow_or 40 20)

policies() {
	subtests python3 "$tests_dir/policies.py" "$1" "$mnt" "$count" "${wrapper[@]}" "$STABLEFS"
}

finds_damage() { expect_status 3 stablefs scrub "$@"; }

# run_policies VOLUME: those that leave no damage leave none; the other one does.
run_policies() {
	check "$1 is mounted" mount_volume -o hold=200us "$scratch/$1" "$mnt" || done_testing
	policies stable
	check "$1: no policy but zerocopy leaves damage" expect_clean "$mnt"
	policies weak
	check "$1: zerocopy does" finds_damage "$mnt"
	check "$1 is unmounted" unmount "$mnt"
}

check "a raid5 is made" mk_volume --level raid5 --members 4 --size 256M --pi none "$scratch/raid5" || done_testing
check "a raid1 is made" mk_volume --level raid1 --members 2 --size 256M --pi t10 "$scratch/raid1" || done_testing
run_policies raid5
run_policies raid1

# --- a member is missing: parity alone knows its blocks ---

# A volume of its own: in one with gaps the two files need not lie side by side.
check "a raid5 for neighbours is made" mk_volume --level raid5 --members 4 --size 64M --pi none "$scratch/shared" ||
	done_testing
check "it is mounted" mount_volume "$scratch/shared" "$mnt" || done_testing
policies neighbours
check "it is unmounted" unmount "$mnt"
mv "$scratch/shared/member-1" "$scratch/gone"
check "it is mounted without a member" mount_volume -o degraded,hold=200us "$scratch/shared" "$mnt" || done_testing
policies missing
check "it is unmounted without it" unmount "$mnt"

# --- PI disks: they refuse what does not fit its guard ---

check "PI disks are made" mk_volume --level raid1 --members 2 --size 128M --pi t10 --pi-check device "$scratch/pi" ||
	done_testing
check "they are mounted" mount_volume -o hold=200us "$scratch/pi" "$mnt" || done_testing
policies stable
check "what they refused was mended" expect_clean "$mnt"
if ((EUID == 0)); then
	chmod 0711 "$scratch"
	policies rules
else
	skip "rules of permission" "needs root"
fi
check "they are unmounted" unmount "$mnt"

# --- who may weaken ---

if ((EUID == 0)); then
	check "it is mounted for owners to choose" mount_volume -o dio-weaken=owner "$scratch/pi" "$mnt" || done_testing
	policies owner
	check "it is unmounted again" unmount "$mnt"
fi

# --- options ---

refuses "a policy that there is not" 2 'no policy dio=direct' stablefs mount -o dio=direct "$scratch/pi" "$mnt"
refuses "cow, which is the library's" 2 'no policy dio=cow' stablefs mount -o dio=cow "$scratch/pi" "$mnt"
refuses "weakening by somebody else" 2 'root or owner' stablefs mount -o dio-weaken=all "$scratch/pi" "$mnt"
refuses "a rate of nothing" 2 'event-rate' stablefs mount -o event-rate=0 "$scratch/pi" "$mnt"

done_testing
