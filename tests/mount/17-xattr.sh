#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Extended attributes: namespaces, sizes, rights, and that they are there after a remount and a crash.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

((EUID == 0)) || skip_all "trusted attributes are needed, so root is"

long_value() { python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.big", os.urandom(65536))' "$1"; }

make_attributes() {
	mkdir "$mnt/d" && mkfifo "$mnt/d/pipe" && ln -s nowhere "$mnt/d/link" && : >"$mnt/d/f" &&
		setfattr -n user.empty "$mnt/d/f" && long_value "$mnt/d/f" || return
	local i
	for i in {1..50}; do
		setfattr -n "user.a$i" -v "value $i" "$mnt/d" || return
	done
	setfattr -h -n trusted.a -v link "$mnt/d/link" && setfattr -n trusted.b -v pipe "$mnt/d/pipe"
}

attributes() {
	mkdir "$mnt/d" && mkfifo "$mnt/d/pipe" && ln -s nowhere "$mnt/d/link" && : >"$mnt/d/f" &&
		setfattr -n user.empty "$mnt/d/f" &&
		setfattr -n user.big -v "0x$(head -c 65536 /dev/urandom | od -An -v -tx1 | tr -d ' \n')" \
			"$mnt/d/f" || return
	local i
	for i in {1..50}; do
		setfattr -n "user.a$i" -v "value $i" "$mnt/d" || return
	done
	setfattr -h -n trusted.a -v link "$mnt/d/link" && setfattr -n trusted.b -v pipe "$mnt/d/pipe"
}

# setfattr takes no value of more than some thousands of digits from its command line everywhere.
make_attributes_by_python() {
	make_attributes || python3 - "$mnt/d/f" <<-'END'
		import os, sys
		os.setxattr(sys.argv[1], "user.big", os.urandom(65536))
	END
}

attributes() { (cd "$mnt" && getfattr -R -h -d -m - -e hex d); }

same_attributes() { diff <(attributes) "$scratch/attributes"; }

survives_a_crash() {
	sync -f "$mnt" && kill_daemon "$mnt" && mount_volume "$volume" "$mnt" && same_attributes
}

check "a volume is created" mk_volume --size 64M "$volume" || done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
subtests python3 "$tests_dir/xattr.py" "$mnt"
check "attributes of all kinds are made" make_attributes
attributes >"$scratch/attributes"
check "it is mounted again" remount "$volume" "$mnt"
check "they are as they were" same_attributes
check "they survive a crash" survives_a_crash
check "it is unmounted" unmount "$mnt"
check "nothing is wrong with the volume" expect_clean "$volume"
done_testing
