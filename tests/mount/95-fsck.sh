#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# stablefs fsck, and a system area that is damaged: on one member nothing is lost and it is written
# back; on all members, or made hostile, nothing crashes, fsck names it and mends it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/array.sh"

export STABLEFS
area() { python3 "$tests_dir/area.py" "$volume" "$@"; }

# report_says EXPRESSION: of python, true of r, the report in $scratch/stdout (--json).
report_says() {
	python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
kinds = {f["kind"] for f in r.get("findings", [])}
ok = eval("(" + sys.argv[2] + ")")
print("" if ok else json.dumps(r, indent=1)[:4000])
sys.exit(not ok)' "$scratch/stdout" "$1"
}

make_tree() {
	mkdir -p "$mnt/a/b" && seq 30000 >"$mnt/a/numbers" && ln "$mnt/a/numbers" "$mnt/a/b/again" &&
		ln -s numbers "$mnt/a/link" && mkfifo "$mnt/a/pipe" && touch "$mnt/a/b/empty" &&
		python3 - "$mnt" <<-'PY'
			import os, sys
			os.mkdir(sys.argv[1] + "/many")
			for i in range(600):
			    open(f"{sys.argv[1]}/many/{'n' * 100}-{i}", "w").write(str(i))
		PY
}
tree_is_right() {
	seq 30000 | cmp - "$mnt/a/numbers" && seq 30000 | cmp - "$mnt/a/b/again" &&
		[[ $(readlink "$mnt/a/link") == numbers && -p $mnt/a/pipe ]] &&
		[[ $(cat "$mnt"/many/* | wc -c) == 1690 ]]
}

# fails_with ERRNO PATH: a look at it does.
fails_with() {
	python3 - "$@" <<'PY'
import errno, os, sys
try:
    os.stat(sys.argv[2])
    sys.exit("it can be looked at")
except OSError as error:
    sys.exit(error.errno != getattr(errno, sys.argv[1]) and str(error))
PY
}

# not_mounted PATTERN: it says why, and ends with status 1.
not_mounted() {
	mount_volume "$volume" "$mnt" >"$scratch/mounts.log" 2>&1 && return 1
	# shellcheck disable=SC2154  # mount_volume sets it
	[[ $status == 1 ]] && sanitizer_quiet "$scratch/mounts.log" &&
		expect_in "$scratch/mounts.log" "$1"
}

# Either is right: which rows were in the page decides.
mounts_or_says() {
	if mount_volume "$volume" "$mnt" >"$scratch/mounts.log" 2>&1; then
		find "$mnt" >/dev/null 2>&1
		unmount "$mnt"
	else
		expect_in "$scratch/mounts.log" "damaged"
	fi
}

make_more() { mkdir "$mnt/new" && cp "$mnt"/many/*1 "$mnt/new/"; }

check "a volume holds a tree" mk_volume --level raid5 --pi t10 --size 64M --system 8M "$volume" ||
	done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
check "files are made" make_tree
refuses "a mounted volume is not checked" 1 "is mounted: unmount it first" stablefs fsck "$mnt"
refuses "nor its members" 1 "in use" stablefs fsck "$volume"
check "it is unmounted" unmount "$mnt"
check "the file system is clean" expect_status 0 stablefs fsck "$volume"
check "and it says so" expect_stdout "is clean"
check "as JSON too" expect_status 0 stablefs fsck --json "$volume"
check "with figures" report_says \
	"r['clean'] and r['problems'] == 0 and r['inodes'] == 608 and r['entries'] == 608"
refuses "an option too many is refused" 2 "there is no option" stablefs fsck --mend "$volume"

# --- orphans -------------------------------------------------------------------------------------

crash_with_open_file() {
	mount_volume "$volume" "$mnt" && exec 9>"$mnt/a/gone" && echo text >&9 && rm "$mnt/a/gone" &&
		touch "$mnt/a/b/empty" && sync "$mnt/a/b/empty" && kill_daemon "$mnt"
	exec 9>&-
}
check "the daemon is killed while an unlinked file is open" crash_with_open_file
check "that is no damage" expect_status 0 stablefs fsck --json "$volume"
check "but an orphan" report_says "r['orphans'] == 1 and kinds == {'orphan'}"
check "repair reclaims it" expect_status 0 stablefs fsck --repair "$volume"
check "then there is none" expect_status 0 stablefs fsck --json "$volume"
check "any more" report_says "r['orphans'] == 0 and r['inodes'] == 608"

# --- one member ----------------------------------------------------------------------------------

pages=$(area page-of inode -a)
# shellcheck disable=SC2086  # a page a word
check "pages of one member are damaged" area flip 0 $pages
check "and its headers" area header 0
check "fsck finds them" expect_status 3 stablefs fsck --json "$volume"
check "and names the member" report_says "kinds == {'area'} and
	all('member 0' in f['what'] for f in r['findings'])"
check "the volume can be mounted" mount_volume "$volume" "$mnt"
check "nothing is lost" tree_is_right
check "events name member and page" soon says \
	"[e for e in ev if e['event'] == 'repaired' and e['member'] == 0 and 'area_page' in e and
		e['what'] == 'database page'] and [e for e in ev if e.get('what') == 'header'] and
		m[0]['area_mended'] > 2 and m[1]['area_mended'] == 0"
# shellcheck disable=SC2086
check "others are damaged while it is mounted, on a member that nobody reads" \
	env AREA_MOUNT="$mnt" python3 "$tests_dir/area.py" "$volume" flip 2 $pages
check "a scrub finds them" expect_status 3 stablefs scrub --json "$mnt"
check "and counts them" report_says "r['system_area']['damaged'] == $(wc -w <<<"$pages") and
	r['remaining'] == $(wc -w <<<"$pages")"
check "it writes them back" expect_status 0 stablefs scrub --repair "$mnt"
check "and says so" expect_stdout "system area: .* pages written back"
check "an event says where" soon says \
	"[e for e in ev if e['event'] == 'repaired' and e['member'] == 2 and 'area_page' in e]"
check "then it finds nothing" expect_clean "$mnt"
check "it is unmounted" unmount "$mnt"
check "the file system is clean again" expect_status 0 stablefs fsck "$volume"

# --- rows that cannot be, with checksums that are right --------------------------------------------

ino_of() { stat -c %i "$1"; }
check "it is mounted" mount_volume "$volume" "$mnt"
numbers=$(ino_of "$mnt/a/numbers") b=$(ino_of "$mnt/a/b") empty=$(ino_of "$mnt/a/b/empty")
check "it is unmounted" unmount "$mnt"
check "rows are spoiled" area sql "UPDATE inode SET size = -5, mode = 'x' WHERE ino = $empty;
	UPDATE extent SET volume_block = 99999999 WHERE ino = $numbers;
	UPDATE dirent SET ino = 4000 WHERE ino = (SELECT max(ino) FROM dirent);
	UPDATE symlink SET target = x'6100';
	UPDATE inode SET nlink = 40 WHERE ino = $b"
check "blocks outside the volume: it is not mounted" not_mounted \
	"blocks of another file, or outside"
check "fsck finds it all" expect_status 3 stablefs fsck --json "$volume"
check "and names it" report_says "kinds >= {'inode', 'extent', 'entry', 'symlink', 'links'} and
	'/a/numbers' in [f.get('path') for f in r['findings'] if f['kind'] == 'extent'] or
	'/a/b/again' in [f.get('path') for f in r['findings'] if f['kind'] == 'extent']"
check "repair mends it" expect_status 3 stablefs fsck --repair "$volume"
check "and says so" expect_stdout "mended; a second look finds none"
check "then it is clean" expect_status 0 stablefs fsck "$volume"
check "it is mounted" mount_volume "$volume" "$mnt"
check "the file that was cut has a hole" cmp -n 4096 /dev/zero "$mnt/a/numbers"
check "the rest is there" test "$(cat "$mnt"/many/* | wc -c)" -gt 1600
check "it is unmounted" unmount "$mnt"

check "entries, targets and attributes are spoiled" area sql \
	"UPDATE inode SET mode = 7 WHERE ino = $empty;
	 INSERT INTO xattr VALUES($b, 5, 'text'); INSERT INTO symlink VALUES($b, 'x')"
check "it can be mounted" mount_volume "$volume" "$mnt"
check "what is damaged says EUCLEAN" fails_with EUCLEAN "$mnt/a/b/empty"
check "the log names the inode" expect_in "$(daemon_log "$mnt")" "inode $empty is damaged"
check "all else is served" test "$(find "$mnt/many" -type f | wc -l)" -gt 590
check "the daemon ends well" unmount "$mnt"
check "repair mends it" expect_status 3 stablefs fsck --repair --json "$volume"
check "nothing remains" report_says "r['remaining'] == 0 and r['repaired'] >= 3"

check "a trigger is put into the schema" area sql \
	"CREATE TRIGGER t AFTER INSERT ON dirent BEGIN DELETE FROM inode; END"
check "it is not mounted" not_mounted "tables of the database are not those"
check "repair copies the rows" expect_status 3 stablefs fsck --repair "$volume"
check "then it is clean" expect_status 0 stablefs fsck "$volume"

# --- a page that is gone on all members -----------------------------------------------------------

page=$(area page-of inode)
check "a leaf of the table of inodes is damaged on all members" area flip all "$page"
check "the volume can be mounted, or says why not" mounts_or_says
check "fsck finds it" expect_status 3 stablefs fsck "$volume"
check "and cannot trust the rows" expect_stdout "were not looked at"
check "repair copies what can be read" expect_status 3 stablefs fsck --json --repair "$volume"
check "and nothing is left" report_says "r['remaining'] == 0"
check "it is clean" expect_status 0 stablefs fsck "$volume"
check "it is mounted" mount_volume "$volume" "$mnt"
check "files are there" test "$(find "$mnt" -type f | wc -l)" -gt 300
check "and can be made" make_more
check "it is unmounted" unmount "$mnt"
check "it is clean" expect_status 0 stablefs fsck "$volume"
check "and scrubbed" expect_clean "$volume"

check "the first page is damaged on all members" area flip all 0
check "it is not mounted" not_mounted "damaged|cannot be"
check "repair finds the tables all the same" expect_status 3 stablefs fsck --repair "$volume"
check "it is clean" expect_status 0 stablefs fsck "$volume"
check "it is mounted" mount_volume "$volume" "$mnt"
check "files are there" test "$(find "$mnt" -type f | wc -l)" -gt 300
check "it is unmounted" unmount "$mnt"

done_testing
