#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# mount(8), fstab and umount(8): what they hand over, what takes effect, what is refused and how.
. "$(dirname "$0")/mount8.sh"

data=$scratch/data
places=$scratch/places

check "the helpers are where mount(8) looks" install_helpers || done_testing
check "a volume is made" mk_volume --size 64M --members 3 "$volume" || done_testing
check "and another" mk_volume --size 64M --members 3 "$scratch/other" || done_testing
head -c 8M /dev/urandom >"$data"
mkdir "$places" "$places/a" "$places/b"

# --- mounting and unmounting ---------------------------------------------------------------------

shows_itself() {
	m8 -t "$1" "$volume" "$mnt" || return
	[[ $(listed FSTYPE "$mnt") == fuse.stablefs && $(listed SOURCE "$mnt") == "$volume" ]] || return
	[[ $(listed OPTIONS "$mnt") == *default_permissions,allow_other* ]] || return
	[[ $(df --output=source,target "$mnt" | tail -n 1) =~ ^"$volume"\ +"$mnt"$ ]] &&
		cp "$data" "$mnt/data" && um8 "$mnt"
}
check "mount -t stablefs: findmnt and df show it" shows_itself stablefs
check "mount -t fuse.stablefs: findmnt and df show it" shows_itself fuse.stablefs

# The members are free at once, and what was written is on them.
umount_waits() {
	local member
	m8 -t stablefs -o commit=3600 "$volume" "$mnt" && cp "$data" "$mnt/late" && um8 "$mnt" || return
	for member in "$volume"/member-*; do
		flock -n "$member" true || { echo "$member is still locked"; return 1; }
	done
	m8 -t stablefs -o ro,norecovery "$volume" "$mnt" && cmp "$data" "$mnt/late" && um8 "$mnt"
}
check "umount returns when all is on the members, and they are free" umount_waits

# mount --bind: the daemon serves on, and nobody waits for it.
second_place() {
	m8 -t stablefs "$volume" "$mnt" && m8 --bind "$mnt" "$places/a" && um8 "$mnt" &&
		cmp "$data" "$places/a/data" && um8 "$places/a"
}
check "umount of one of two places does not wait for the daemon" second_place

members_in_a_list() {
	local list=$volume/member-0:$volume/member-1:$volume/member-2
	m8 -t stablefs "$list" "$mnt" && cmp "$data" "$mnt/data" && [[ $(listed SOURCE "$mnt") == "$list" ]] &&
		um8 "$mnt"
}
check "a volume may be its members with colons between them" members_in_a_list
colons() {
	local name=$scratch/co:lon
	ln -s "$volume" "$name" && m8 -t stablefs "$name" "$mnt" && um8 "$mnt" || return
	name=$scratch/co\\:lon
	m8 -t stablefs "$name/member-2:$name/member-0:$name/member-1" "$mnt" && cmp "$data" "$mnt/data" && um8 "$mnt"
}
check "and colons in their names are told from those between them" colons
odd_names() { m8 -t stablefs -o 'fsname="a, b"' "$volume" "$mnt" && [[ $(listed SOURCE "$mnt") == "a, b" ]] && um8 "$mnt"; }
check "a source may hold commas and blanks" odd_names
no_environment() { env -i "$(command -v mount)" -t stablefs "$volume" "$mnt" && um8 "$mnt"; }
check "nothing of the environment is needed" no_environment
fakes() { m8 -f -t stablefs "$volume" "$mnt" && ! is_mounted "$mnt"; }
check "mount -f looks and does not mount" fakes
in_a_namespace() {
	local pid status=0
	unshare -m sleep 60 &
	pid=$!
	until [[ $(readlink "/proc/$pid/ns/mnt") != "$(readlink /proc/self/ns/mnt)" ]]; do sleep 0.02; done
	m8 -N "$pid" -t stablefs "$volume" "$mnt" && ! is_mounted "$mnt" &&
		grep -q " $mnt " "/proc/$pid/mountinfo" && um8 -N "$pid" "$mnt" || status=1
	kill "$pid"
	wait "$pid" 2>/dev/null
	return "$status"
}
check "mount -N mounts in that namespace, and umount -N unmounts there" in_a_namespace

# --- flags ---------------------------------------------------------------------------------------

tools_are_there() {
	m8 -t stablefs "$volume" "$mnt" && install -m 4755 "$(command -v id)" "$mnt/suid-id" &&
		mknod -m 0666 "$mnt/null" c 1 3
}
suid_dev_exec() { [[ $(nobody "$mnt/suid-id" -u) == 0 ]] && echo x >"$mnt/null"; }
no_suid_dev() { [[ $(nobody "$mnt/suid-id" -u) == 65534 ]] && ! echo x 2>/dev/null >"$mnt/null"; }
check "a setuid program and a device are put there" tools_are_there
check "suid, dev and exec are the default, as mount(8) means it" suid_dev_exec
check "nosuid,nodev by a remount takes them back" m8 -o remount,nosuid,nodev "$mnt"
check "a setuid program gets nothing, a device is none" no_suid_dev
check "suid,dev by a remount" m8 -o remount,suid,dev "$mnt"
check "gives them again" suid_dev_exec
check "it is unmounted" um8 "$mnt"
with_flags() {
	m8 -t stablefs -o "$1" "$volume" "$mnt" || return
	local options
	options=,$(listed OPTIONS "$mnt"),
	shift
	local word
	for word; do
		[[ $options == *,$word,* ]] || { echo "no $word in $options"; return 1; }
	done
}
check "flags reach the kernel" with_flags \
	nosuid,nodev,noexec,sync,dirsync,nodiratime,noatime,lazytime,nosymfollow \
	nosuid nodev noexec sync dirsync nodiratime noatime lazytime nosymfollow
check_not "noexec: nothing is run" "$mnt/suid-id" -u
no_device() { ! echo x 2>/dev/null >"$mnt/null"; }
check "nodev: nothing is a device" no_device
check "it is unmounted" um8 "$mnt"

# --- fstab ---------------------------------------------------------------------------------------

cat >"$fstab" <<EOF
$volume $mnt fuse.stablefs defaults,auto,dio=detect,nofail,_netdev,x-systemd.automount,comment=c 0 0
$scratch/other $places/b stablefs noauto,hold=1ms 0 0
EOF
by_fstab() {
	m8 "$1" && [[ $(<"$2/.stablefs/$3") == "$4" ]] && um8 "$2"
}
check "mount MOUNTPOINT goes by fstab" by_fstab "$mnt" "$mnt" policy detect
check "mount VOLUME, too" by_fstab "$scratch/other" "$places/b" hold 1ms
all_once() {
	m8 -a && m8 -a && (($(grep -c -F " $mnt " /proc/self/mountinfo) == 1)) && ! is_mounted "$places/b" &&
		um8 "$mnt" && ! is_mounted "$mnt"
}
check "mount -a mounts once what is not noauto" all_once

# As user nobody, with a volume of his own.
users_place=$scratch/users
prepare_user() {
	mkdir "$scratch/dev" && mount -t tmpfs -o dev none "$scratch/dev" &&
		mknod -m 0666 "$scratch/dev/fuse" c 10 229 && mount --bind "$scratch/dev/fuse" /dev/fuse || return
	chmod 0711 "$scratch"
	install -m 0755 "$STABLEFS" "$scratch/stablefs" || return
	ln -sf "$scratch/stablefs" /sbin/mount.stablefs && ln -sf "$scratch/stablefs" /sbin/umount.stablefs || return
	install -d -o 65534 -g 65534 "$users_place" "$users_place/mnt"
	nobody "$scratch/stablefs" create --size 32M --members 3 "$users_place/v" || return
	cat >"$fstab" <<-EOF
		$users_place/v $users_place/mnt stablefs noauto,user,dio=verify 0 0
	EOF
}
user_mounts() {
	nobody mount "$users_place/mnt" || return
	[[ $(listed OPTIONS "$users_place/mnt") == *nosuid,nodev,noexec*user_id=65534* ]] &&
		[[ $(nobody cat "$users_place/mnt/.stablefs/policy") == verify ]] &&
		nobody touch "$users_place/mnt/file" && ! ls "$users_place/mnt" 2>/dev/null
}
users_are_refused() { # OPTION PATTERN
	echo "$users_place/v $users_place/mnt stablefs noauto,user,$1 0 0" >"$fstab"
	refused_with 1 "$2" nobody mount "$users_place/mnt"
}
if [[ -u $(command -v mount) ]] && command -v fusermount3 >/dev/null; then
	check "a user gets a volume, and a line in fstab" prepare_user
	check "he mounts by it, without devices and suid, for himself" user_mounts
	check "he cannot remount" refused_with "*" "root|permission" \
		nobody "$scratch/stablefs" mount -o remount,ro "$users_place/mnt"
	check "he unmounts" nobody fusermount3 -u "$users_place/mnt"
	check "suid is root's" users_are_refused suid "only root.*suid"
	check "dev is root's" users_are_refused dev "only root.*dev"
else
	skip "a user mounts by fstab" "mount is not setuid, or there is no fusermount3"
fi

# --- refusals ------------------------------------------------------------------------------------

try() { m8 -t stablefs "$@" "$mnt"; }
refuses "an unknown option is a usage error that names the nearest" 1 "'noatim'.*'noatime'" try -o noatim "$volume"
refuses "quotas are refused by name" 1 "usrquota.*quotas are not offered" try -o usrquota "$volume"
refuses "labels are refused by name" 1 "SELinux" limit 9 /sbin/mount.fuse.stablefs "$volume" "$mnt" -o context=x
refuses "nodefault_permissions is refused" 1 "nodefault_permissions" try -o nodefault_permissions "$volume"
refuses "a bad value is a usage error" 1 "dio=maybe" try -o dio=maybe "$volume"
refuses "a volume that is not there has failed" 32 "$scratch/none" try "$scratch/none"
refuses "a helper without words says how" 1 "Usage: mount.fuse.stablefs" /sbin/mount.fuse.stablefs
sloppy() { m8 -s -t stablefs -o frobnicate=1 "$volume" "$mnt" && um8 "$mnt"; }
check "mount -s takes what nobody knows" sloppy
refuses "a mount point that would hide a member is refused" 32 "hide.*member-0" \
	limit 9 mount -t stablefs "$volume" "$volume"
check "it is mounted" m8 -t fuse.stablefs -o subtype=other,fsname=name "$volume" "$mnt"
names_itself() { [[ $(listed FSTYPE "$mnt") == fuse.other && $(listed SOURCE "$mnt") == name ]]; }
check "subtype= and fsname= name it" names_itself
# Another mount, whose daemon hangs, is asked as well, and keeps nobody.
second_refused() {
	local status=0 pid
	mkdir -p "$places/0" && m8 -t stablefs "$scratch/other" "$places/0" &&
		pid=$(mnt=$places/0 daemon_pid) && kill -STOP "$pid" || return
	refused_with 32 "in use.*mounted at $mnt" limit 9 mount -t stablefs "$volume" "$places/a" || status=1
	kill -CONT "$pid"
	um8 "$places/0" && return "$status"
}
check "a second place is refused, with the first one's name" second_refused
refuses "a second volume at one place is refused" 32 "$mnt has a stablefs" try "$scratch/other"
check "it is unmounted" um8 "$mnt"
plain_fuse() { m8 -t stablefs -o nosubtype "$volume" "$mnt" && [[ $(listed FSTYPE "$mnt") == fuse ]]; }
check "nosubtype: the type is fuse" plain_fuse
check "and the mount is known all the same" refused_with 32 "mounted at $mnt" \
	limit 9 mount -t stablefs "$volume" "$places/a"

# --- ends ----------------------------------------------------------------------------------------

busy() { (cd "$mnt" && refused_with 32 "busy" limit 9 umount "$mnt"); }
check "umount of what is busy says so" busy
check "it is unmounted" um8 "$mnt"
lazily() {
	local pid
	m8 -t stablefs "$volume" "$mnt" && pid=$(daemon_pid) && exec 7>"$mnt/lazy" && um8 -l "$mnt" || return
	! is_mounted "$mnt" && cat "$data" >&7 || return
	exec 7>&-
	wait_gone "$pid" && m8 -t stablefs "$volume" "$mnt" && cmp "$data" "$mnt/lazy" && um8 "$mnt"
}
check "umount -l: who has it open goes on, and nothing is lost" lazily
forced() {
	local pid
	m8 -t stablefs "$volume" "$mnt" && pid=$(daemon_pid) && cp "$data" "$mnt/forced" && sync "$mnt/forced" &&
		exec 7<"$mnt/forced" || return
	um8 -f "$mnt" || um8 -l -f "$mnt" || return
	wait_gone "$pid"
	exec 7<&-
	m8 -t stablefs "$volume" "$mnt" && cmp "$data" "$mnt/forced" && um8 "$mnt"
}
check "umount -f ends the daemon beside its users; what was synced is there" forced
terminated() {
	local pid
	m8 -t stablefs -o commit=3600 "$volume" "$mnt" && pid=$(daemon_pid) || return
	cat "$data" "$data" "$data" >"$mnt/cached" && kill -TERM "$pid" && wait_gone "$pid" || return
	! is_mounted "$mnt" && m8 -t stablefs "$volume" "$mnt" &&
		cat "$data" "$data" "$data" | cmp - "$mnt/cached" && um8 "$mnt"
}
check "SIGTERM: what was cached is written back, the mount goes" terminated
dead() {
	local pid
	m8 -t stablefs "$volume" "$mnt" && pid=$(daemon_pid) && kill -KILL "$pid" && wait_gone "$pid"
}
check "a daemon is killed" dead
refuses "mounting over a dead mount says what to do" "*" "umount" try "$volume"
check "umount takes the dead mount away" um8 "$mnt"
few_descriptors() {
	local i files=()
	(ulimit -n 40 && exec mount -t stablefs "$volume" "$mnt") || return
	mkdir "$mnt/many" || return
	for ((i = 0; i < 200; i++)); do
		exec {files[i]}>"$mnt/many/$i" || return
	done
	for ((i = 0; i < 200; i++)); do
		exec {files[i]}>&-
	done
	[[ $(status_of 'st["state"]') == healthy ]] && um8 "$mnt"
}
check "a daemon with 40 descriptors serves 200 open files" few_descriptors
no_descriptors() { (ulimit -n 8 && exec mount -t stablefs "$volume" "$mnt"); }
check "with 8 it says that they are too few" refused_with 32 "too many open files|descriptors" no_descriptors
check "the volume is clean" expect_clean "$volume"
check "no daemon said anything of a sanitizer" nothing_reported

done_testing
