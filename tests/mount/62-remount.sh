#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# mount -o remount: read-only and back, policies, rates, times of commits; what cannot be changed; and what a daemon
# that is killed right after it has on its members.
. "$(dirname "$0")/mount8.sh"

data=$scratch/data
policy() { cat "$mnt/.stablefs/policy"; }
kill_it() {
	local pid
	pid=$(daemon_pid) && kill -KILL "$pid" && wait_gone "$pid" && um8 "$mnt"
}
try() { m8 -o "remount,$1" "$mnt"; }

check "the helpers are where mount(8) looks" install_helpers || done_testing
check "a volume is made" mk_volume --size 64M --members 3 "$volume" || done_testing
head -c 4M /dev/urandom >"$data"

# --- read-only -----------------------------------------------------------------------------------

mount_it() { m8 -t stablefs -o "$1" "$volume" "$mnt"; }
check "it is mounted, and commits once an hour" mount_it commit=3600 || done_testing
becomes_read_only() { cp "$data" "$mnt/data" && mkdir "$mnt/dir" && try ro; }
check "it is written to, and becomes read-only" becomes_read_only
writes_fail() {
	[[ $(listed OPTIONS "$mnt") == ro,* ]] && ! touch "$mnt/new" 2>"$scratch/err" &&
		grep -q "Read-only file system" "$scratch/err" && cmp "$data" "$mnt/data"
}
check "nothing can be written, all can be read" writes_fail
check "status says so" test "$(status_of 'st["files_read_only"]')" = True
check "the daemon can be asked: a scrub" expect_clean "$mnt"
all_is_there() { kill_it && mount_it commit=3600 && cmp "$data" "$mnt/data" && [[ -d $mnt/dir ]]; }
check "the daemon is killed: what it had acknowledged by then is there" all_is_there
refused_while_open() {
	exec 7>>"$mnt/open"
	refused_with 32 "open for writing" limit 20 mount -o remount,ro,dio=verify "$mnt" || return
	exec 7>&-
	[[ $(policy) == bounce && $(listed OPTIONS "$mnt") == rw,* ]] && touch "$mnt/still"
}
check "with a file open for writing it fails, and nothing of it was done" refused_while_open
refused_while_orphaned() {
	exec 7<>"$mnt/orphan" 8<"$mnt/orphan" && rm "$mnt/orphan" && exec 7>&- || return
	refused_with 32 "open for writing" limit 20 mount -o remount,ro "$mnt" || return
	exec 8>&-
	touch "$mnt/still"
}
check "with a file open that has no name it fails as well" refused_while_orphaned
there_and_back() {
	try ro,dio=detect && ! touch "$mnt/x" 2>/dev/null && try rw,dio=verify &&
		[[ $(policy) == verify ]] && cp "$data" "$mnt/again" && cmp "$data" "$mnt/again"
}
check "read-only and back, with a policy each" there_and_back
survives() { sync "$mnt/again" && kill_it && mount_it ro && cmp "$data" "$mnt/again"; }
check "after that commits go on as before; and it is mounted read-only" survives
nothing_changes() {
	local before
	before=$(cd "$mnt" && find . -printf '%p %s %A@ %C@\n' | sort)
	cat "$mnt/data" >/dev/null && ls "$mnt/dir" && ! touch "$mnt/x" 2>/dev/null || return
	um8 "$mnt" && mount_it ro &&
		diff <(printf '%s\n' "$before") <(cd "$mnt" && find . -printf '%p %s %A@ %C@\n' | sort)
}
check "then nothing of the files changes, no time either" nothing_changes
check "and it becomes writable" try rw
check "it is written" cp "$data" "$mnt/later"
check "it is unmounted" um8 "$mnt"

sums() { cat "$volume"/member-* | sha256sum; }
no_recovery() {
	local before
	before=$(sums)
	mount_it ro,norecovery && cmp "$data" "$mnt/later" &&
		refused_with 32 "open for reading alone" limit 20 mount -o remount,rw "$mnt" &&
		um8 "$mnt" && [[ $(sums) == "$before" ]]
}
check "norecovery: not a byte of the members changes, and it stays so" no_recovery
members_read_only() {
	mount --bind "$volume" "$volume" && mount -o remount,bind,ro "$volume" && mount_it ro || return
	cmp "$data" "$mnt/later" && um8 "$mnt" && umount -l "$volume"
}
check "members that nobody may write are read" members_read_only

# --- what can be changed -------------------------------------------------------------------------

check "it is mounted" mount_it hold=1ms || done_testing
changed() { # EXPRESSION OPTIONS
	try "$2" && [[ $(status_of "$1") == True ]]
}
check "dio=" changed 'st["policy"] == "detect" and st["hold_ns"] == 10**6' dio=detect
check "hold=" changed 'st["hold_ns"] == 2*10**6 and st["policy"] == "detect"' hold=2ms
check "dio-weaken=" changed 'st["dio_weaken"]' dio-weaken=owner
check "event-rate=" changed 'st["event_rate"] == 7' event-rate=7
check "background-rate=" changed 'all(w["rate_limit"] == 1 << 20 for w in st["work"].values())' background-rate=1M
unaligned() { dd if=/dev/zero of="$mnt/aligned" bs=512 count=1 oflag=direct status=none; }
check "dio-align=" changed 'st["dio_align_bytes"] == 4096' dio-align=4K
check_not "and direct writes of 512 bytes fail" unaligned
check "several at once" changed \
	'st["policy"] == "bounce" and st["dio_align_bytes"] == 512 and st["hold_ns"] == 0' dio=bounce,dio-align=512,hold=0
check "direct writes of 512 bytes do not" unaligned
by_verb() { stablefs mount -o remount,dio=adaptive,nosuid "$mnt"; }
check "stablefs mount -o remount does the same" by_verb
kept_flags() { [[ $(policy) == adaptive && $(listed OPTIONS "$mnt") == rw,nosuid,relatime* ]]; }
check "and leaves what it does not name" kept_flags
flags() { [[ $(listed OPTIONS "$mnt") == rw,nosuid,nodev,noexec,noatime,nodiratime,lazytime* ]]; }
atime_moves() { # OPTION: does a read move an access time that is newer than the others?
	local before
	try "$1" && touch -a -d "2020-01-01" "$mnt/data" && cat "$mnt/data" >/dev/null || return
	before=$(stat -c %x "$mnt/data")
	sleep 0.02
	cat "$mnt/data" >/dev/null
	[[ $before != 2020* && $(stat -c %x "$mnt/data") != "$before" ]]
}
check "strictatime: each read moves the access time" atime_moves strictatime
check_not "relatime: the first one does" atime_moves relatime
never_moves() { ! atime_moves noatime && [[ $(stat -c %x "$mnt/data") == 2020* ]]; }
check "noatime: none does" never_moves
check "flags" try nodev,noexec,noatime,nodiratime,lazytime
check "are shown" flags
commits_soon() {
	try commit=3600 && cp "$data" "$mnt/soon" && sync -f "$mnt/soon" && try commit=300ms && sleep 2 &&
		kill_it && mount_it ro && cmp "$data" "$mnt/soon" && um8 "$mnt"
}
check "commit=: what was not synced is durable after that" commits_soon

# Neither does anything by itself with commit=3600.
is_durable() { # OPTION: of names, and of bytes
	try "$1" && mkdir "$mnt/of-$1" && ln "$mnt/data" "$mnt/of-$1/link" && dd if="$data" of="$mnt/of-$1/direct" \
		bs=64k count=1 oflag=direct conv=notrunc status=none && chmod 0600 "$mnt/of-$1/direct" || return
	[[ $1 == dirsync ]] || cp "$data" "$mnt/of-$1/copy" || return
	kill_it && mount_it commit=3600
}
check "it is mounted, and commits once an hour" mount_it commit=3600
check "dirsync: the daemon is killed" is_durable dirsync
check "names are there" cmp "$data" "$mnt/of-dirsync/link"
check "sync: the daemon is killed" is_durable sync
check "bytes are there" cmp "$data" "$mnt/of-sync/copy"
check "direct writes are there" cmp -n 65536 "$data" "$mnt/of-sync/direct"
check "modes are there" test "$(stat -c %a "$mnt/of-sync/direct")" = 600
check "neither: the daemon is killed" is_durable async
check_not "names are not there" test -e "$mnt/of-async"
check "it is unmounted" um8 "$mnt"

# --- what cannot ---------------------------------------------------------------------------------

check "it is mounted" mount_it workers=5,dio=detect || done_testing
for option in workers=3 fsname=x nosubtype subtype=x writethrough exacttimes awake scrub-every=1h \
	member-timeout=1s max-errors=7 inject norecovery,ro; do
	refuses "$option is refused by name" 32 "${option%%[=,]*}.*(cannot be changed|mount it anew)|subtype" \
		try "$option,dio=verify"
done
refuses "noallow_other is refused by name" 32 "allow_other cannot be changed" try noallow_other
refuses "an unknown option is a usage error" 1 "'nosiud'.*'nosuid'" try nosiud
check "nothing of that was done" test "$(policy)" = detect
check "what is as it is may be said" try workers=5
refuses "what is no stablefs is refused" 1 "not the mount point" stablefs mount -o remount,ro "$scratch"
users_may_not() { nobody cat "$mnt/.stablefs/query"; }
check_not "nobody else may ask the daemon" users_may_not
check "it is unmounted" um8 "$mnt"
check "the volume is clean" expect_clean "$volume"
check "no daemon said anything of a sanitizer" nothing_reported

done_testing
