# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What mounted tests share. A test is a script tests/mount/NN-name.sh that sources this file, calls
# the functions below, and ends with done_testing. It prints TAP: one line a behaviour.
#
#   $STABLEFS          the program under test (default: build/src/cli/stablefs)
#   $STABLEFS_WRAPPER  words put in front of it (setarch -R)
#   $STABLEFS_SLOW     set for sanitizer builds: tests do less of the same, see slow_or
#   $scratch           a folder of this test, removed at the end with everything mounted below it
#
# Only what a test started itself is killed, by its pid, and only mounts below $scratch are ended.

set -u -o pipefail
shopt -s nullglob

tests_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top_dir=$(cd "$tests_dir/../.." && pwd)
: "${STABLEFS:=$top_dir/build/src/cli/stablefs}"
: "${COMMAND_LIMIT_S:=120}"
read -ra wrapper <<<"${STABLEFS_WRAPPER:-}"

test_name=$(basename "$0" .sh)
scratch=
tap_count=0
tap_failed=0
declare -A daemons=() # mount point -> pid of its daemon

# --- results -------------------------------------------------------------------------------------

ok() {
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s\n' "$tap_count" "$1"
}

# not_ok NAME [DIAGNOSIS-FILE]
not_ok() {
	tap_count=$((tap_count + 1))
	tap_failed=$((tap_failed + 1))
	printf 'not ok %d - %s\n' "$tap_count" "$1"
	if [[ -s ${2:-} ]]; then
		tail -n 60 "$2" | sed 's/^/# /'
	fi
}

skip() {
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}

diag() { printf '# %s\n' "$*"; }

# skip_all REASON: this test cannot run here at all.
skip_all() {
	printf '1..0 # SKIP %s\n' "$1"
	exit 77
}

# bail REASON: what the rest needs did not work.
bail() {
	not_ok "$1" "$scratch/log"
	done_testing
}

done_testing() {
	printf '1..%d\n' "$tap_count"
	exit $((tap_failed > 0))
}

# check NAME COMMAND...: one case, ok where the command (a function, too) returns 0.
check() {
	local name=$1
	shift
	if "$@" >"$scratch/check.log" 2>&1; then
		ok "$name"
	else
		printf '(status %d of: %s)\n' $? "$*" >>"$scratch/check.log"
		not_ok "$name" "$scratch/check.log"
		return 1
	fi
}

check_not() {
	local name=$1
	shift
	check "$name" fails "$@"
}

fails() { ! "$@"; }

# subtests COMMAND...: run a program (or function) that prints ok / not ok lines; they become cases
# of this test. The runner's time limit for the whole test is the only one.
subtests() {
	local line status=0 cases=0
	"$@" >"$scratch/subtests.out" 2>"$scratch/subtests.err" || status=$?
	while IFS= read -r line; do
		case $line in
		"ok "*"# SKIP"*) skip "${line#ok }" "see there" ;;
		"ok "*) ok "${line#ok }" ;;
		"not ok "*) not_ok "${line#not ok }" ;;
		*) printf '%s\n' "$line"; continue ;;
		esac
		cases=$((cases + 1))
	done <"$scratch/subtests.out"
	if ((cases == 0)) || { ((status)) && ! grep -q '^not ok' "$scratch/subtests.out"; }; then
		diag "status $status"
		not_ok "$* ran to its end" "$scratch/subtests.err"
	fi
}

# slow_or FAST SLOW: prints SLOW where the program under test is slow (sanitizers).
slow_or() { if [[ -n ${STABLEFS_SLOW:-} ]]; then echo "$2"; else echo "$1"; fi; }

# --- commands ------------------------------------------------------------------------------------

limit() {
	local seconds=$1
	shift
	timeout -k 5 "$seconds" "$@"
}

# helper NAME: the path of a program that was built for these tests (tests/mount/meson.build).
helper() { printf '%s/../../tests/mount/%s' "$(dirname "$STABLEFS")" "$1"; }

# stablefs VERB...: the program under test, with a time limit.
stablefs() { limit "$COMMAND_LIMIT_S" "${wrapper[@]}" "$STABLEFS" "$@"; }

# sanitizer_quiet FILE: 1 where the file holds a sanitizer's report or a failed assertion.
sanitizer_quiet() {
	! grep -E -q 'Sanitizer:|runtime error:|Assertion .* failed|ThreadSanitizer' "$1"
}

# expect_status N COMMAND...: 0 where the command returns N (a pattern: [12]) and did not crash. What it wrote stays
# in $scratch/stdout and $scratch/stderr for expect_stdout, expect_stderr.
expect_status() {
	local want=$1 got=0
	shift
	"$@" >"$scratch/stdout" 2>"$scratch/stderr" || got=$?
	# shellcheck disable=SC2053  # a pattern is meant
	if [[ $got != $want ]] || ! sanitizer_quiet "$scratch/stderr"; then
		printf 'status %d, not %s, of: %s\n' "$got" "$want" "$*"
		head -n 60 "$scratch/stderr"
		return 1
	fi
}

expect_in() {
	if ! grep -E -i -q -e "$2" "$1"; then
		printf 'no /%s/ in %s:\n' "$2" "$(basename "$1")"
		head -n 40 "$1"
		return 1
	fi
}

expect_stderr() { expect_in "$scratch/stderr" "$1"; }
expect_stdout() { expect_in "$scratch/stdout" "$1"; }

# refuses NAME STATUS PATTERN COMMAND...: one case: that status, and a message that says why.
refuses() {
	local name=$1 status=$2 pattern=$3
	shift 3
	check "$name" refused_with "$status" "$pattern" "$@"
}

refused_with() {
	local status=$1 pattern=$2
	shift 2
	expect_status "$status" "$@" && expect_stderr "$pattern"
}

# --- volumes and mounts --------------------------------------------------------------------------

# mk_volume ARG...: create with these arguments; the message is in $scratch/log where it fails.
mk_volume() { stablefs create "$@" >"$scratch/log" 2>&1; }

# By the table of mounts: a stat() of the mount point is refused where only its user may look.
is_mounted() { awk -v dir="$1" '$5 == dir { found = 1 } END { exit !found }' /proc/self/mountinfo; }

alive() { kill -0 "$1" 2>/dev/null; }

# mount_volume [-o OPTIONS] VOLUME... MOUNTPOINT: a daemon in the foreground, as a child of this
# test. Returns when the mount is usable; 1 where the daemon ended before, its status in $status.
mount_volume() {
	local dir=${*: -1} pid deadline
	mkdir -p "$dir"
	log=$(daemon_log "$dir")
	"${wrapper[@]}" "$STABLEFS" mount -f "$@" >>"$log" 2>&1 </dev/null &
	pid=$!
	daemons[$dir]=$pid
	deadline=$((SECONDS + 60))
	until is_mounted "$dir"; do
		if ! alive "$pid"; then
			status=0
			wait "$pid" || status=$?
			unset "daemons[$dir]"
			cat "$log"
			return 1
		fi
		if ((SECONDS > deadline)); then
			echo "not mounted after 60 s"
			cat "$log"
			kill_daemon "$dir"
			return 1
		fi
		sleep 0.05
	done
}

daemon_log() { printf '%s/daemon-%s.log' "$scratch" "$(basename "$1")"; }

umount_path() {
	if ((EUID == 0)); then umount "$@"; else fusermount3 -u "$@"; fi
}

# wait_for_daemon MOUNTPOINT SECONDS: 0 where it ended by itself with status 0.
wait_for_daemon() {
	local dir=$1 pid=${daemons[$1]} deadline=$((SECONDS + $2)) got=0
	while alive "$pid"; do
		if ((SECONDS > deadline)); then
			echo "the daemon of $dir is still there $2 s after the unmount"
			kill_daemon "$dir"
			return 1
		fi
		sleep 0.05
	done
	wait "$pid" || got=$?
	unset "daemons[$dir]"
	if ((got)) || ! sanitizer_quiet "$(daemon_log "$dir")"; then
		echo "the daemon of $dir ended with status $got:"
		tail -n 60 "$(daemon_log "$dir")"
		return 1
	fi
}

# unmount MOUNTPOINT: and wait for its daemon, which must end well.
unmount() {
	local dir=$1 tries=0
	: >"$scratch/umount.err"
	until umount_path "$dir" 2>>"$scratch/umount.err"; do
		tries=$((tries + 1))
		if ((tries > 50)) || ! is_mounted "$dir"; then
			unmount_failed "$dir"
			return 1
		fi
		sleep 0.1
	done
	[[ -z ${daemons[$dir]:-} ]] || wait_for_daemon "$dir" 120
}

# Say what is known: a daemon that ended by itself has taken its mount along.
unmount_failed() {
	local dir=$1
	sort "$scratch/umount.err" | uniq -c
	if [[ -n ${daemons[$dir]:-} ]] && ! is_mounted "$dir" && wait_for_daemon "$dir" 20; then
		echo "the daemon of $dir had ended, with status 0, before it was unmounted:"
	fi
	tail -n 20 "$(daemon_log "$dir")"
}

# kill_daemon MOUNTPOINT: as a crash would end it; then the dead mount is taken away.
kill_daemon() {
	local dir=$1 pid=${daemons[$1]:-}
	if [[ -n $pid ]]; then
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
		unset "daemons[$dir]"
	fi
	if ((EUID == 0)); then
		umount -l "$dir" 2>/dev/null
	else
		fusermount3 -u -z "$dir" 2>/dev/null
	fi
	return 0
}

remount() {
	local dir=${*: -1}
	unmount "$dir" && mount_volume "$@"
}

# expect_clean VOLUME: a scrub that finds nothing.
expect_clean() { expect_status 0 stablefs scrub "$@"; }

# drop_caches FILE...: what a reader gets next comes from the daemon, not from the page cache.
drop_caches() {
	local file
	for file; do
		sync "$file"
		dd if="$file" of=/dev/null iflag=nocache count=0 status=none
	done
}

# --- begin and end -------------------------------------------------------------------------------

mounts_below() {
	# Field 5 of mountinfo is the mount point; the last mounted comes first here.
	awk -v top="$1/" 'index($5, top) == 1 { print $5 }' /proc/self/mountinfo | tac
}

leave_test() {
	local status=$? dir
	trap - EXIT
	for dir in "${!daemons[@]}"; do
		kill_daemon "$dir"
	done
	[[ -n $scratch ]] || exit "$status"
	while read -r dir; do
		umount -l "$dir" 2>/dev/null || fusermount3 -u -z "$dir" 2>/dev/null
	done < <(mounts_below "$scratch")
	if [[ -n $(mounts_below "$scratch") ]]; then
		diag "left in place, something is still mounted there: $scratch"
	elif [[ -n ${KEEP:-} ]]; then
		diag "kept: $scratch"
	else
		rm -rf --one-file-system "$scratch"
	fi
	exit "$status"
}

# In a mount namespace of its own (STABLEFS_INSIDE): the copies of other people's mounts there would
# keep their daemons alive after they were unmounted outside.
drop_others_mounts() {
	local dir
	while read -r dir; do
		umount -l "$dir" 2>/dev/null
	done < <(awk -v top="${TMPDIR:-/var/tmp}/" \
		'index($5, top) == 1 || / - fuse[. ]/ { print $5 }' /proc/self/mountinfo | tac)
}

begin_test() {
	[[ -z ${STABLEFS_INSIDE:-} ]] || drop_others_mounts
	trap leave_test EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	# Before anything else: a test that cannot run says so once.
	[[ -x $STABLEFS ]] || { echo "$STABLEFS is missing: build it first" >&2; exit 1; }
	if [[ ! -e /dev/fuse && -z ${STABLEFS_NO_FUSE_OK:-} ]]; then
		skip_all "there is no /dev/fuse"
	fi
	scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/stablefs-$test_name.XXXXXX") || exit 1
	scratch=$(cd "$scratch" && pwd -P)
}

begin_test
