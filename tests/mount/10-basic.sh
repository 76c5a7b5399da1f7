#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Create, mount, what every filesystem does, and that a remount finds all of it.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
tree=$scratch/tree

make_tree() {
	mkdir -p "$mnt/tree/a/b" "$mnt/tree/many" &&
		head -c 3000001 /dev/urandom >"$mnt/tree/a/random" &&
		ln -s a/random "$mnt/tree/link" && ln "$mnt/tree/a/random" "$mnt/tree/a/b/hard" &&
		truncate -s 10M "$mnt/tree/a/sparse" &&
		printf x | dd of="$mnt/tree/a/sparse" bs=1 seek=5000000 conv=notrunc status=none &&
		touch -d '2001-02-03 04:05:06.123456789' "$mnt/tree/a/b" &&
		chmod 0751 "$mnt/tree/a" && mkfifo "$mnt/tree/pipe" || return
	local i
	for i in {1..300}; do
		echo "$i" >"$mnt/tree/many/$i" || return
	done
}

# What is in a tree: names, types, modes, owners, sizes, times, link texts, content.
describe() {
	(cd "$1" && find . -printf '%p %y %m %u %g %n %T@ %l ' \( -type d -printf '-\n' -o -printf '%s\n' \) |
		sort && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

same_tree() { diff <(describe "$1") "$2"; }

daemonises() {
	expect_status 0 stablefs mount "$volume" "$mnt" && is_mounted "$mnt" &&
		echo hello >"$mnt/by-daemon" && umount_path "$mnt" &&
		[[ ! -e $mnt/by-daemon ]]
}

# The daemon is no child of ours: it has let go of the members when the volume can be mounted again.
mounts_after_daemon() { mount_volume "$volume" "$mnt" && [[ $(<"$mnt/by-daemon") == hello ]]; }

status_is_json() {
	expect_status 0 stablefs status --json "$1" && python3 -m json.tool <"$scratch/stdout"
}

control_is_json() { python3 -m json.tool <"$mnt/.stablefs/$1"; }

unlisted_control() { [[ -d $mnt/.stablefs ]] && [[ -z $(find "$mnt" -maxdepth 1 -name .stablefs) ]]; }

survives_kill() {
	echo kept >"$mnt/kept" && sync "$mnt/kept" && sync "$mnt" && kill_daemon "$mnt" &&
		mount_volume "$volume" "$mnt" && [[ $(<"$mnt/kept") == kept ]] &&
		same_tree "$mnt/tree" "$tree"
}

# cache_limit NAME VALUE: of what the kernel's page cache may do for the mount.
cache_limit() {
	local says=/sys/class/bdi/$(mountpoint -d "$mnt")/$1
	[[ ! -w $says || $(<"$says") == "$2" ]] || { echo "$1: $(<"$says")"; return 1; }
}
cache_limits() { cache_limit read_ahead_kb 2048 && cache_limit max_ratio 100 && cache_limit strict_limit 0; }

read_only() {
	[[ $(<"$mnt/kept") == kept ]] && ! touch "$mnt/new" 2>"$scratch/err" &&
		grep -q 'Read-only' "$scratch/err"
}

check "a volume is created in a directory" mk_volume --size 256M "$volume" || done_testing
check "its members are the files member-0 to member-3" \
	test -f "$volume/member-0" -a -f "$volume/member-3" -a ! -e "$volume/member-4"
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
check "the root of a new volume is empty" test -z "$(ls "$mnt")"
check "its page cache has the limits of a disk's, and reads ahead by stripes" cache_limits
mkdir "$mnt/posix"
subtests python3 "$tests_dir/posix_basics.py" "$mnt/posix"
check "a tree of all sorts is made" make_tree
describe "$mnt/tree" >"$tree"
check "a large tree is removed" rm -rf "$mnt/posix"
check "the control directory is there and not listed" unlisted_control
check "status.json is JSON" control_is_json status.json
check "stats.json is JSON" control_is_json stats.json
check "the status of a mount is JSON" status_is_json "$mnt"
check "it is unmounted, and the daemon ends well" unmount "$mnt"
check "the status of a volume is JSON" status_is_json "$volume"
check "a scrub finds nothing" expect_clean "$volume"
check "it is mounted again" mount_volume "$volume" "$mnt" || done_testing
check "the remount finds everything" same_tree "$mnt/tree" "$tree"
check "what was synced survives a daemon that is killed" survives_kill
check "a scrub of the mounted volume finds nothing" expect_clean "$mnt"
check "it is unmounted again" unmount "$mnt"
check "a scrub after the kill finds nothing" expect_clean "$volume"
check "it is mounted read-only" mount_volume -o ro "$volume" "$mnt"
check "a read-only mount reads and does not write" read_only
check "the read-only mount ends" unmount "$mnt"
check "mount returns when the mount is usable, and a daemon serves it" daemonises
check "the daemon's work is there" mounts_after_daemon
check "the last unmount works" unmount "$mnt"

for shape in "raid1 crc32c 2" "single none 1" "raid5 none 3"; do
	read -r level pi members <<<"$shape"
	small=$scratch/$level-$pi
	round_trip() {
		mk_volume --level "$level" --pi "$pi" --members "$members" --size 64M "$small" &&
			mount_volume "$small" "$mnt" && head -c 9M /dev/urandom >"$scratch/data" &&
			cp "$scratch/data" "$mnt/data" && remount "$small" "$mnt" &&
			cmp "$scratch/data" "$mnt/data" && unmount "$mnt" && expect_clean "$small"
	}
	check "$level over $members with pi $pi keeps a file over a remount" round_trip
done

done_testing
