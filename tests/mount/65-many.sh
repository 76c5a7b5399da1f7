#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Many files: listed once while others come and go, all there after a remount, which stays fast, in
# bounded memory. (A million of them: ./dev bench files --files 1000000.)
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
files=$(slow_or 20000 2000)

daemon_pid() {
	python3 -c 'import json, sys; print(json.load(sys.stdin)["daemon_pid"])' \
		<"$mnt/.stablefs/status.json"
}

rss_mib() { awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$(daemon_pid)/status"; }

make_files() {
	python3 - "$mnt" "$files" <<'PY'
import os, sys
os.chdir(sys.argv[1])
for i in range(int(sys.argv[2])):
    if i % 1000 == 0:
        os.mkdir(f"d{i // 1000}")
    os.close(os.open(f"d{i // 1000}/f{i}", os.O_CREAT | os.O_WRONLY, 0o644))
PY
}

# As find(1) shows them, which looks at each.
seen() { find "$mnt" -type f -printf '%s\n' | wc -l; }

all_there_after_a_remount() {
	local start=$EPOCHREALTIME ms
	remount "$volume" "$mnt" || return
	ms=$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
	echo "unmounted and mounted in $ms ms"
	((ms < $(slow_or 10000 60000))) && [[ $(seen) == "$files" ]]
}

# Inodes that the kernel keeps cost the daemon next to nothing. The kernel keeps these files', and
# the walk has loaded each of them once.
memory_is_bounded() {
	local before after
	remount "$volume" "$mnt" && before=$(rss_mib) && seen && after=$(rss_mib)
	echo "$before MiB before, $after MiB after"
	((after < 256 && after - before < 64))
}

check "a volume is created" mk_volume --level raid5 --members 4 --pi t10 --size 256M "$volume" || done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
mkdir "$mnt/cases"
subtests python3 "$tests_dir/many.py" "$mnt/cases" "$files"
rmdir "$mnt/cases"
check "$files files are made" make_files
check "all of them are there after a remount" all_there_after_a_remount
if [[ -z ${STABLEFS_SLOW:-} ]]; then
	check "looking at all of them takes little memory" memory_is_bounded
fi
check "the count of inodes is true" test "$(($(stat -f -c '%c - %d' "$mnt")))" = \
	"$((files + files / 1000 + 1))"
check "all of them are removed" rm -r "$mnt"/d*
check "it is unmounted" unmount "$mnt"
check "a scrub finds nothing" expect_clean "$volume"
check "fsck finds nothing" expect_status 0 stablefs fsck "$volume"

done_testing
