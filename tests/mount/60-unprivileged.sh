#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A user without privileges creates, mounts through fusermount3, uses and unmounts a volume. As root
# this is user nobody in a mount namespace of its own, where /dev/fuse is open to all, as on desktops.
if ((EUID == 0)) && [[ -z ${STABLEFS_INSIDE:-} ]] && unshare -m true 2>/dev/null; then
	STABLEFS_INSIDE=1 exec unshare -m "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"

home=$scratch/home
volume=$home/volume
mnt=$home/mnt
user=()

# Open /dev/fuse to all, in this namespace alone, and put the program where nobody can run it.
become_nobody() {
	mkdir "$scratch/dev" && mount -t tmpfs -o dev none "$scratch/dev" &&
		mknod -m 0666 "$scratch/dev/fuse" c 10 229 &&
		mount --bind "$scratch/dev/fuse" /dev/fuse || return
	install -m 0755 "$STABLEFS" "$scratch/stablefs" || return
	STABLEFS=$scratch/stablefs
	chmod 0711 "$scratch"
	install -d -o 65534 -g 65534 "$home" "$mnt"
	user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	wrapper=("${user[@]}" "${wrapper[@]}")
}

as_user() { limit "$COMMAND_LIMIT_S" "${user[@]}" "$@"; }

umount_path() { "${user[@]}" fusermount3 -u "$@"; }

other_users_stay_out() {
	((EUID == 0)) || return 0
	# Without allow_other not even root sees what is inside.
	! ls "$mnt" >/dev/null 2>&1
}

# The daemon may read the writer's memory, since it is the same user's: zerocopy works without root.
direct_writes_work() {
	head -c 1M /dev/urandom >"$scratch/data" && chmod 0644 "$scratch/data" &&
		as_user dd if="$scratch/data" of="$mnt/data" bs=64k oflag=direct status=none &&
		as_user cmp "$scratch/data" "$mnt/data"
}

if ((EUID == 0)); then
	if [[ -z ${STABLEFS_INSIDE:-} ]]; then
		skip_all "no mount namespaces here"
	fi
	check "user nobody gets a /dev/fuse of its own" become_nobody || done_testing
else
	mkdir -p "$mnt"
fi

check "the user creates a volume" mk_volume --size 64M "$volume" || done_testing
if ((EUID == 0)); then
	chmod 0600 /dev/fuse
	refuses "a user who may not open /dev/fuse is told so" 1 "/dev/fuse|fusermount|permission" \
		stablefs mount "$volume" "$mnt"
	chmod 0666 /dev/fuse
fi
check "the user mounts it" mount_volume "$volume" "$mnt" || done_testing
check "the user writes and reads" \
	as_user sh -c 'echo hello >"$1/f" && [ "$(cat "$1/f")" = hello ] && mkdir "$1/posix"' sh "$mnt"
check "direct writes work" direct_writes_work
# From a copy: the user may not see the folder that this test lies in.
run_posix() {
	install -m 0644 -t "$home" "$tests_dir/cases.py" "$tests_dir/posix_basics.py" &&
		as_user python3 -B "$home/posix_basics.py" "$mnt/posix"
}
subtests run_posix
check "others stay out" other_users_stay_out
check "the user unmounts it" unmount "$mnt"
check "the user mounts it with dio=zerocopy" mount_volume -o dio=zerocopy "$volume" "$mnt"
check "direct writes work with dio=zerocopy" direct_writes_work
check "the user unmounts it again" unmount "$mnt"
check "a scrub finds nothing" expect_clean "$volume"

done_testing
