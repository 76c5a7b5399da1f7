#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Members of a mounted volume go, come back and are replaced, while it is in use; what is on it
# stays readable as long as the level's redundancy lasts, and beyond that all but what is lost.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/array.sh"

away=$scratch/away
mkdir -p "$away"
load=

# --- files that are being written ----------------------------------------------------------------

head -c 1M /dev/urandom >"$scratch/one"

# Write, read back, compare, again and again, until it is told to stop; a line a round.
write_and_compare() {
	local n=0
	while [[ ! -e $scratch/stop ]]; do
		n=$((n + 1))
		dd if="$scratch/one" of="$mnt/load-$((n % 8))" bs=48K oflag=direct conv=fsync status=none &&
			dd if="$mnt/load-$((n % 8))" bs=64K iflag=direct status=none |
			cmp - "$scratch/one" || return
		echo "$n" >>"$scratch/rounds"
	done
}

load_begin() {
	rm -f "$scratch/stop"
	: >"$scratch/rounds"
	write_and_compare >"$scratch/load.out" 2>&1 &
	load=$!
	load_goes_on
}

# It still writes: two rounds more than now.
load_goes_on() {
	local want deadline=$((SECONDS + 60))
	want=$(($(wc -l <"$scratch/rounds") + 2))
	while (($(wc -l <"$scratch/rounds") < want)); do
		if ! alive "$load" || ((SECONDS > deadline)); then
			cat "$scratch/load.out"
			return 1
		fi
		sleep 0.05
	done
}

load_end() {
	touch "$scratch/stop"
	wait "$load" || { cat "$scratch/load.out"; return 1; }
}

# without_member N: the volume serves everything while that member's file is elsewhere. With
# norecovery the others hear nothing of that, and it is up to date when it is back.
without_member() {
	unmount "$mnt" && mv "$volume/member-$1" "$away/" || return
	mount_volume -o ro,norecovery "$volume" "$mnt" && idle_is_right && unmount "$mnt" || return
	mv "$away/member-$1" "$volume/" && mount_volume "$volume" "$mnt"
}

# --- a member fails, and is replaced -------------------------------------------------------------

check "a raid5 volume of four is made" \
	mk_volume --level raid5 --members 4 --size 96M --system 8M "$volume" || done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
check "files are written" make_idle || done_testing
check "it is healthy" says "st['state'] == 'healthy' and all(x['state'] == 'active' for x in m)"
check "writers are at work" load_begin || done_testing

refuses "a member that is not there cannot be failed" 1 "no member '4'.*0 to 3" stablefs fail "$mnt" 4
refuses "fail wants a mount point" 1 "not the mount point" stablefs fail "$volume" 1
check "member 1 is failed, by its path" expect_status 0 stablefs fail "$mnt" "$volume/member-1"
check "the verb says so" expect_stdout "member 1 is failed, the volume is degraded"
check "the writers go on" load_goes_on
check "status says which, and why, with exit status 3" expect_status 3 stablefs status "$mnt"
check "in words" expect_stdout "member 1: taken out by hand"
check "what is at rest can be read" idle_is_right
check "an event tells of it" soon says \
	"[e for e in ev if e['event'] == 'member_state' and e['member'] == 1]"
refuses "it cannot be failed twice" 1 "member 1" stablefs fail "$mnt" 1
refuses "nor another: the volume cannot do without it" 1 "member 2|without" stablefs fail "$mnt" 2

head -c 1M /dev/urandom >"$scratch/foreign"
mkfs.ext4 -q -F "$scratch/foreign" 2>/dev/null
refuses "a file system is not overwritten" 1 "foreign" stablefs replace "$mnt" 1 "$scratch/foreign"
truncate -s 1M "$scratch/small"
refuses "a file that is too small is refused" 1 "small" stablefs replace "$mnt" 1 "$scratch/small"
rm "$volume/member-1"
check "a new file takes its place" \
	expect_status 0 stablefs replace --wait "$mnt" 1 "$volume/member-1"
check "and is up to date when the verb returns" expect_stdout "member 1 is up to date"
check "the volume is healthy again" says "st['state'] == 'healthy' and m[1]['stale_stripes'] == 0"
check "the writers went on" load_end
check "a scrub finds nothing" expect_clean "$mnt"
check "what is at rest can be read without member 0" without_member 0
check "what is at rest can be read without member 2" without_member 2

# --- the same member comes back ------------------------------------------------------------------

write_a_little() { dd if="$scratch/one" of="$mnt/little" bs=64K count=1 oflag=direct conv=fsync status=none; }

comes_back() {
	expect_status 0 stablefs replace --wait "$mnt" 2 || return
	python3 - "$scratch/stdout" <<'PY'
import re, sys
text = open(sys.argv[1]).read()
stale, stripes = map(int, re.search(r"(\d+) of (\d+) stripes to be rebuilt", text).groups())
print(text)
sys.exit(not stale <= stripes // 4)
PY
}

check "all marks of former writes are settled" remount "$volume" "$mnt"
check "member 2 is failed" expect_status 0 stablefs fail "$mnt" 2
check "little is written meanwhile" write_a_little
check "member 2 comes back, and is rebuilt where it differs" comes_back
check "the volume is healthy" says "st['state'] == 'healthy'"

# A mount that lacks a member's file, and the next one, that has it again.
misses_a_mount() {
	unmount "$mnt" && mv "$volume/member-3" "$away/" && mount_volume "$volume" "$mnt" &&
		write_a_little && says "st['state'] == 'degraded' and m[3]['state'] == 'missing'" &&
		unmount "$mnt" && mv "$away/member-3" "$volume/" &&
		mount_volume -o background-rate=64K "$volume" "$mnt"
}
check "member 3 misses a mount" misses_a_mount
check "it is taken back as one to be rebuilt, in part" says \
	"st['state'] == 'rebuilding' and m[3]['state'] == 'rebuilding' and
		0 < m[3]['stale_stripes'] <= st['stripes'] // 4"
check "status says how far that is" expect_status 3 stablefs status "$mnt"
check "in words" expect_stdout "rebuild +member 3, running, .* stripes"
check "its limit is lifted" expect_status 0 stablefs work --rate all=0 --wait rebuild "$mnt"
check "it is up to date" says "st['state'] == 'healthy'"
check "a scrub finds nothing" expect_clean "$mnt"

# --- pause, rate, restart, kill -------------------------------------------------------------------

stands_still() {
	local before
	before=$(stablefs work --json "$mnt") && sleep 0.5 &&
		[[ $(stablefs work --json "$mnt" | grep '"done"') == "$(grep '"done"' <<<"$before")" ]]
}

check "rebuilds are paused" expect_status 0 stablefs work --pause rebuild "$mnt"
check "member 0 is failed" expect_status 0 stablefs fail "$mnt" 0
rm "$volume/member-0"
check "a new file is put in its place" \
	expect_status 0 stablefs replace "$mnt" 0 "$volume/member-0"
check "the rebuild is paused" says \
	"st['state'] == 'rebuilding' and work['rebuild']['state'] == 'paused'"
check "nothing of it is done" stands_still
check "it may do 8 MiB a second" \
	expect_status 0 stablefs work --rate rebuild=8M --resume rebuild "$mnt"
check "that is its limit" says "work['rebuild']['rate_limit'] == 8 << 20"
check "it goes on" soon says "0 < m[0]['stale_stripes'] < st['stripes']"
check "the daemon is killed" kill_daemon "$mnt"
check "the volume is mounted again" mount_volume -o background-rate=64K "$volume" "$mnt"
check "member 0 is still to be rebuilt" says "m[0]['state'] == 'rebuilding'"
check "what is at rest can be read" idle_is_right
check "a restart is no end of it either" remount -o background-rate=64K "$volume" "$mnt"
check "member 0 is still to be rebuilt" says "m[0]['state'] == 'rebuilding'"
check "without a limit it ends" \
	expect_status 0 stablefs work --rate all=0 --wait resync --wait rebuild "$mnt"
check "the volume is healthy" soon says "st['state'] == 'healthy'"
check "what is at rest can be read without member 1" without_member 1
check "a scrub finds nothing" expect_clean "$mnt"

# --- spares --------------------------------------------------------------------------------------

check "a spare is added" expect_status 0 stablefs add "$mnt" "$volume/member-4"
check "it waits" says "st['spares'] == ['$volume/member-4']"
check "it is a spare on the medium, too" expect_status 0 stablefs inspect super "$mnt"
check "as inspect shows" expect_stdout "^spare +yes"
check "it is found again by the next mount" remount "$volume" "$mnt"
check "it waits" says "st['spares'] == ['$volume/member-4']"
check "writers are at work" load_begin
check "member 2 is failed" expect_status 0 stablefs fail "$mnt" 2
check "the spare takes its place by itself" soon says \
	"st['state'] == 'healthy' and m[2]['path'] == '$volume/member-4' and not st['spares']"
check "the writers went on" load_end
check "what is at rest can be read without member 3" without_member 3
check "a scrub finds nothing" expect_clean "$mnt"

# --- an unclean end ------------------------------------------------------------------------------

check "writers are at work" load_begin
check "the daemon is killed" kill_daemon "$mnt"
wait "$load" 2>/dev/null
check "the volume is mounted again" mount_volume -o background-rate=64K "$volume" "$mnt"
check "stripes are brought into agreement in the background" says \
	"st['state'] == 'resyncing' and work['resync']['total'] > 0"
check "it can be used at once" idle_is_right
check "and written to" write_a_little
check "without a limit it ends" expect_status 0 stablefs work --rate all=0 --wait resync "$mnt"
check "the volume is healthy" says "st['state'] == 'healthy'"
check "a scrub finds nothing" expect_clean "$mnt"

# --- members that fail by themselves --------------------------------------------------------------

inject() { stablefs inject "$mnt" "$@"; }
check "it is mounted so that members can be made to fail" \
	remount -o inject,member-timeout=1s,max-errors=5 "$volume" "$mnt"
check "a spare is added" expect_status 0 stablefs add "$mnt" "$volume/member-5"
check "writers are at work" load_begin
check "member 1 is gone" inject "gone member=1"
check "the spare has taken its place" soon says \
	"st['state'] == 'healthy' and m[1]['path'] == '$volume/member-5'"
check "the writers go on" load_goes_on
check "another spare is added" expect_status 0 stablefs add "$mnt" "$volume/member-6"
check "member 3 hangs" inject "hang member=3"
check "that spare has taken its place" soon says \
	"st['state'] == 'healthy' and m[3]['path'] == '$volume/member-6'"
check "the writers went on" load_end
check "what is at rest can be read" idle_is_right
check "member 0 cannot be read" inject --disarm=all "read-error member=0 area=data"
check "what is at rest can be read" idle_is_right
check "it is failed for its errors" soon says \
	"m[0]['state'] == 'failed' and st['state'] == 'degraded' and 'errors' in m[0]['reason']"

# The others are needed now: whatever they do, they stay.
stays() { ! write_a_little 2>"$scratch/dd.err" && says "m[1]['state'] == 'active'"; }
check "member 1 cannot be written" inject --disarm=all "write-error member=1 area=data"
check "then writers get the error, and the member stays" stays
check "it can be written again" inject --disarm=all
check "so do the writers" write_a_little
check "what is at rest can be read" idle_is_right
check "member 0 comes back" expect_status 0 stablefs replace --wait "$mnt" 0
check "a scrub repairs what the failed write has left" stablefs scrub --repair "$mnt"
check "the volume is mounted again, with all that was replaced beside it" remount "$volume" "$mnt"
check "these are told apart" soon says \
	"st['state'] == 'healthy' and m[1]['path'] == '$volume/member-5' and not st['spares']"
check "what is at rest can be read" idle_is_right
check "a scrub finds nothing" expect_clean "$mnt"
check "the volume is unmounted" unmount "$mnt"

done_testing
