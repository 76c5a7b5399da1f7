#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# When a read moves an atime: by each of the mount's rules, and when it reaches the volume.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

atime() { stat -c %.9X "$1"; }

# Due by relatime, or not: the ctime is now, so that takes an atime in the future.
due() { touch -h -a -d '2001-02-03 04:05:06' "$1"; }
not_due() { touch -h -a -d '+1 day' "$1"; }

moves() {
	local file=$1 before
	shift
	before=$(atime "$file") && sleep 0.02 && "$@" >/dev/null && [[ $(atime "$file") != "$before" ]]
}

stays() {
	local file=$1 before
	shift
	before=$(atime "$file") && sleep 0.02 && "$@" >/dev/null && [[ $(atime "$file") == "$before" ]]
}

by_relatime() {
	due f && moves f cat f && stays f cat f && not_due f && stays f cat f &&
		due d && moves d ls d && stays d ls d && due l && moves l readlink l && stays l readlink l
}

by_strictatime() {
	not_due f && moves f cat f && moves f cat f && moves d ls d && moves d ls d &&
		moves l readlink l && moves l readlink l
}

by_noatime() {
	due f && due d && due l && stays f cat f && stays d ls d && stays l readlink l
}

by_nodiratime() { due f && due d && moves f cat f && stays d ls d; }

reads_without() { stays f cat f && stays d ls d && stays l readlink l; }

make_files() { echo text >f && mkdir d && : >d/f && ln -s target l; }

make_all_due() { due f && due d && due l; }

rule() { stablefs mount -o "remount,$1" "$mnt"; }

# A first read of what was committed as due.
read_due() { due "$mnt/f" && sync "$mnt/f" && cat "$mnt/f" >/dev/null && moved=$(atime "$mnt/f"); }

# After that, and a kill of the daemon: what is there?
found_after_kill() {
	kill_daemon "$mnt" && mount_volume -o "$1,commit=1" "$volume" "$mnt" && found=$(atime "$mnt/f")
}

is_committed() { read_due && sleep 2.2 && found_after_kill lazytime && [[ $found == "$moved" ]]; }
is_kept() { read_due && sleep 2.2 && found_after_kill lazytime && [[ $found != "$moved" ]]; }

is_synced() {
	read_due && sync "$mnt/f" && found_after_kill lazytime && [[ $found == "$moved" ]]
}

is_written_at_the_end() {
	read_due && remount -o lazytime "$volume" "$mnt" && [[ $(atime "$mnt/f") == "$moved" ]]
}

in_mount() { (cd "$mnt" && "$@"); }

check "a volume is created" mk_volume --size 64M "$volume" || done_testing
check "it is mounted" mount_volume -o commit=1 "$volume" "$mnt" || done_testing
in_mount make_files
check "by relatime, the default, an atime moves when it is due" in_mount by_relatime
if ((EUID == 0)); then
	check "a remount makes it another rule" rule noatime
	check "by noatime nothing moves" in_mount by_noatime
	rule atime,relatime,nodiratime
	check "by nodiratime directories' stay" in_mount by_nodiratime
	rule relatime,diratime
	check "by relatime again they move" in_mount by_relatime
fi
check "an atime is committed with the next commit" is_committed
check "by lazytime it waits" is_kept
check "by lazytime it is there after an fsync" is_synced
check "by lazytime it is there after an unmount" is_written_at_the_end
check "it is mounted with strictatime" remount -o strictatime "$volume" "$mnt"
check "by strictatime each open for reading moves it, and each listing" in_mount by_strictatime
in_mount make_all_due
check "it is mounted read-only" remount -o ro "$volume" "$mnt"
check "on a read-only mount nothing moves" in_mount reads_without
check "it is unmounted" unmount "$mnt"
check "nothing is wrong with the volume" expect_clean "$volume"
done_testing
