#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Scrubs of a mounted volume in the background: begun, paused, limited, stopped, repeated, told.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/array.sh"

check "a volume is made" mk_volume --level raid5 --members 3 --size 64M --system 8M "$volume"
refuses "a volume that is not mounted has no background" 1 "mount the volume first" \
	stablefs scrub --background "$volume"
refuses "nor background work" 1 "not the mount point" stablefs work "$volume"
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
check "files are written" make_idle
refuses "no scrub has ended yet" 1 "no scrub has ended" stablefs scrub --last "$mnt"
refuses "an unknown kind is a usage error" 2 "frob" stablefs work --pause frob "$mnt"
refuses "a rate without a kind is a usage error" 2 "KIND=SIZE" stablefs work --rate 10M "$mnt"
refuses "stop and last exclude each other" 2 "exclude" stablefs scrub --stop --last "$mnt"

check "scrubs are paused" expect_status 0 stablefs work --pause scrub "$mnt"
check "one is begun" expect_status 0 stablefs scrub --background "$mnt"
check "it is paused" soon says "work['scrub']['state'] == 'paused'"
refuses "no other can be begun" 1 "scrub" stablefs scrub --background "$mnt"
refuses "there is no report of it yet" 1 "under way" stablefs scrub --last "$mnt"
check "it may do 16 MiB a second" \
	expect_status 0 stablefs work --rate scrub=16M --resume scrub "$mnt"
begun=$(date +%s%N)
check "it can be waited for" expect_status 0 stablefs work --wait scrub "$mnt"
lasted=$((($(date +%s%N) - begun) / 1000000))
# 32 MiB of each of three members at 16 MiB/s take two seconds, but for what it may do at once.
check "it was not faster than that ($lasted ms)" test "$lasted" -ge 1000
check "it looked at all" says "work['scrub']['done'] == work['scrub']['total'] == st['stripes']"
check "its report can be had" expect_status 0 stablefs scrub --last --json "$mnt"
check "it is clean" expect_stdout '"remaining": 0'
check "status says when and what" expect_status 0 stablefs status "$mnt"
check "in words" expect_stdout "scrub +last 20.* UTC: nothing wrong"

check "a slow one is begun" expect_status 0 stablefs work --rate scrub=64K "$mnt"
check "in the background" expect_status 0 stablefs scrub --background "$mnt"
check "and stopped" expect_status 0 stablefs scrub --stop "$mnt"
check "it is over" soon says "work['scrub']['state'] == 'idle' and work['scrub']['error'] == 'stopped'"
refuses "it has no report" 1 "ended early: stopped" stablefs scrub --last "$mnt"

check "one that repeats is begun" expect_status 0 stablefs work --rate scrub=0 "$mnt"
check "a second after each end" expect_status 0 stablefs scrub --every 100ms "$mnt"
check "it ends once" soon says "work['scrub']['ended_ns'] > 0 and 'error' not in work['scrub']"
first=$(grep -A 20 '"scrub"' "$control/status.json" | grep -m1 -o 'ended_ns": [0-9]*' | grep -o '[0-9]*$')
check "and again" soon says "work['scrub']['ended_ns'] > $first"
check "until it is stopped" expect_status 0 stablefs scrub --stop "$mnt"
check "an unmount stops it, too" expect_status 0 stablefs scrub --every 100ms "$mnt"
check "the volume is unmounted" unmount "$mnt"
check "a mount option begins them" mount_volume -o scrub-every=100ms "$volume" "$mnt"
check "at once" soon says "work['scrub']['ended_ns'] > 0"
check "the volume is unmounted" unmount "$mnt"

done_testing
