# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the scripts that run real programs share, beside tests/mount/lib.sh: a script calls `program`,
# `begin`, checks what the program did inside $mnt, and ends with `finish`. It prints TAP, and as its
# last line "# program {...}", from which tests/apps/run makes its table.
#
#   $APPS_SECONDS   how long a program that can go on for ever is to run (default 60)
#   $APPS_ON_DISK   do the same in a folder of the disk below, without stablefs: to see whose fault a
#                   failure is. What needs a crash is left out then.
#   $SEED           of moments of crashes and of random data

. "$(dirname "${BASH_SOURCE[0]}")/../mount/lib.sh"

: "${APPS_SECONDS:=60}"
: "${SEED:=$((RANDOM * 32768 + RANDOM))}"
volume=$scratch/volume
mnt=$scratch/mnt
started=$SECONDS
program_name=$test_name
program_version=
fsck_says='not run'
scrub_says='not run'
crashes=0

# program NAME VERSION: what the table says of it.
program() {
	program_name=$1
	program_version=$2
	printf '# %s, %s, SEED=%s\n' "$1" "$2" "$SEED"
}

on_disk() { [[ -n ${APPS_ON_DISK:-} ]]; }

# begin SIZE: a volume of four members, raid5 with T10 tuples, with $mnt on it.
begin() {
	mkdir -p "$mnt"
	on_disk && return
	check "a volume is created" mk_volume --level raid5 --members 4 --pi t10 --size "$1" "$volume" ||
		done_testing
	check "it is mounted" mount_volume -o inject "$volume" "$mnt" || done_testing
}

# die_in_turn KIND: the mount dies, by SIGKILL of its daemon (kill), or because the power went a
# moment ago (cut: what was not flushed is gone, or torn).
die_in_turn() {
	crashes=$((crashes + 1))
	[[ $1 == kill ]] || power_is_off || return
	kill_server "$mnt"
}

# Only the daemon: whoever uses the mount is still there and gets errors. Then bury_mount.
kill_server() {
	kill -KILL "${daemons[$1]}" && wait "${daemons[$1]}" 2>/dev/null
	unset "daemons[$1]"
	return 0
}

bury_mount() { umount -l "$mnt" 2>/dev/null || true; }

# arm_cut WRITES: the power goes after so many writes of members from now on.
arm_cut() { stablefs inject "$mnt" "power-cut skip=$1"; }

# Until the power is off; where the load was too small for that, at its next write.
power_is_off() {
	local deadline=$((SECONDS + 30))
	until grep -q '"power_cut": *true' "$mnt/.stablefs/inject"; do
		if ((SECONDS > deadline)); then
			echo "the power did not go"
			cat "$mnt/.stablefs/inject"
			return 1
		fi
		sleep 0.1
	done
}

# between LOW HIGH: a random number.
between() {
	RANDOM=$((SEED + crashes + $1)) # reproducible, and another for each crash
	echo $(($1 + RANDOM % ($2 - $1 + 1)))
}

has_verb() { stablefs "$1" --help >/dev/null 2>&1; }

# look VERB: 0 where it finds nothing; what it says stays in ${VERB}_says.
look() {
	local status=0
	"${wrapper[@]}" "$STABLEFS" "$1" "$volume" >"$scratch/$1.out" 2>&1 || status=$?
	case $status in
	0) printf -v "$1_says" clean ;;
	3) printf -v "$1_says" 'damage found' ;;
	*) printf -v "$1_says" 'failed: %s' "$status" ;;
	esac
	((status == 0)) || { tail -n 40 "$scratch/$1.out"; return 1; }
}

json_text() { python3 -c 'import json, sys; print(json.dumps(sys.argv[1]), end="")' "$1"; }

# finish WHAT: unmount, fsck, scrub; the result line. WHAT is a sentence for the table.
finish() {
	if ! on_disk; then
		check "the volume is unmounted" unmount "$mnt"
		! has_verb fsck || check "fsck finds nothing" look fsck
		check "a scrub finds nothing" look scrub
	fi
	printf '# program {"name": %s, "version": %s, "what": %s, "seconds": %d, "crashes": %d, ' \
		"$(json_text "$program_name")" "$(json_text "$program_version")" "$(json_text "$1")" \
		$((SECONDS - started)) "$crashes"
	printf '"fsck": "%s", "scrub": "%s", "passed": %d, "failed": %d}\n' "$fsck_says" "$scrub_says" \
		$((tap_count - tap_failed)) "$tap_failed"
	done_testing
}

# children of this script beside daemons: ended with it.
servers=()
leave_app() {
	local status=$? pid
	for pid in "${servers[@]}"; do
		kill -KILL "$pid" 2>/dev/null
	done
	(exit "$status")
	leave_test
}
trap leave_app EXIT
