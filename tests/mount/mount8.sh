# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What tests of mount(8) share. Sourced before lib.sh: the test goes on in a mount namespace of its own, in which /sbin
# holds the helpers of the program under test and nothing else, and /etc/fstab is the test's. The machine keeps its own.

if ((EUID != 0)) || ! unshare -m true 2>/dev/null; then
	echo "1..0 # SKIP takes root and mount namespaces"
	exit 77
fi
if [[ -z ${STABLEFS_INSIDE:-} ]]; then
	STABLEFS_INSIDE=1 exec unshare -m "$0" "$@"
fi
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
fstab=$scratch/fstab

# Daemons in the background have no terminal: a sanitizer writes its reports here.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:log_path=$scratch/report"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-}:log_path=$scratch/report"
nothing_reported() {
	local reports=("$scratch"/report.*)
	((${#reports[@]} == 0)) || { head -n 60 "${reports[@]}"; return 1; }
}

install_helpers() {
	local name
	: >"$fstab"
	mkdir -p "$mnt" /run/mount &&
		mount -t tmpfs -o mode=0755 none "$(realpath /sbin)" &&
		mount -t tmpfs -o mode=0755 none /run/mount &&
		mount --bind "$fstab" /etc/fstab || return
	for name in mount umount; do
		ln -s "$STABLEFS" "/sbin/$name.stablefs" &&
			ln -s "$STABLEFS" "/sbin/$name.fuse.stablefs" || return
	done
}

m8() { limit 60 mount "$@"; }
um8() { limit 60 umount "$@"; }

# listed FIELD MOUNTPOINT: of the table of mounts.
listed() { findmnt -n -o "$1" --mountpoint "$2"; }

# status_of EXPRESSION: of $mnt, with st as its status.json.
status_of() {
	python3 -c 'import json, sys; st = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' \
		"$mnt/.stablefs/status.json" "$1"
}

daemon_pid() { status_of 'st["daemon_pid"]'; }

# wait_gone PID: a daemon in the background has ended.
wait_gone() {
	local deadline=$((SECONDS + 30))
	while alive "$1"; do
		((SECONDS < deadline)) || { echo "process $1 is still there"; return 1; }
		sleep 0.05
	done
}

# nobody COMMAND...: as user nobody.
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
