#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Damage on the members: one fault in a row is made good and told, with member, block and file; two
# cost exactly the blocks that they hit, by name, and nothing else.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/array.sh"

# reads_but FILE OFFSET...: each block of the file can be read and is right, but these fail.
reads_but() {
	python3 - "$mnt/$1" "$scratch/copy" "${@:2}" <<'PY'
import errno, mmap, os, sys
path, copy, *lost = sys.argv[1:]
lost, bad = set(map(int, lost)), []
fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
right, block = open(copy, "rb").read(), mmap.mmap(-1, 4096)
for offset in range(0, len(right), 4096):
    try:
        os.preadv(fd, [block], offset)
        if offset in lost or block[:] != right[offset:offset + 4096]:
            bad.append((offset, "read", "wrong" if offset not in lost else "although lost"))
    except OSError as error:
        if offset not in lost or error.errno not in (errno.EIO, errno.EILSEQ):
            bad.append((offset, errno.errorcode[error.errno]))
print(bad)
sys.exit(bool(bad))
PY
}

# report_says EXPRESSION: of python, true of r, the report of the last scrub (--json).
report_says() {
	python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
files = {f["path"]: f for f in r["files"]}
ok = eval("(" + sys.argv[2] + ")")
print("" if ok else json.dumps(r, indent=1)[:4000])
sys.exit(not ok)' "$scratch/stdout" "$1"
}

make_volume() {
	rm -rf "$volume"
	mk_volume --size 64M --system 8M "$@" "$volume" && mount_volume "$volume" "$mnt" &&
		make_idle && head -c 2M /dev/urandom >"$scratch/copy" &&
		cp "$scratch/copy" "$mnt/victim" && sync "$mnt/victim" && unmount "$mnt"
}

# --- raid5 with PI -------------------------------------------------------------------------------

check "a raid5 volume holds files" make_volume --level raid5 --pi t10 || done_testing
check "one row of one member is ruined" ruin /victim 3 1 || done_testing
offset=$(grep -o '[0-9]*$' "$scratch/check.log" | head -n 1)
check "a scrub finds it" expect_status 3 stablefs scrub --json "$volume"
check "by member and file, and nobody else is concerned" report_says \
	"r['guard_mismatches'] == 1 and r['lost'] == 0 and list(files) == ['/victim'] and
		files['/victim']['ranges'] == [{'offset': $offset, 'length': 4096}] and
		[x['wrong_blocks'] for x in r['members']].count(1) == 1 and r['right_by'] == 'pi'"
check "it is mounted" mount_volume "$volume" "$mnt"
check "every block of the file can be read" reads_but victim
check "an event says member, block and file" soon says \
	"[e for e in ev if e['event'] == 'repaired' and e['file'] == '/victim' and
		e['offset'] == $offset and e['length'] == 4096 and 'member' in e and 'member_block' in e]"
check "the member's errors are counted" says "len([x for x in m if x['check_errors']]) == 1"
check "what was read was repaired on the medium" expect_clean "$mnt"
check "the volume is unmounted" unmount "$mnt"

check "one row of two members is ruined" ruin /victim 5 0 2 || done_testing
mapfile -t lost < <(grep -o '^[0-9]*$' "$scratch/check.log")
check "it is mounted" mount_volume "$volume" "$mnt"
check "these two blocks fail, and no other" reads_but victim "${lost[@]}"
check "nor any other file" idle_is_right
check "events name the two" soon says \
	"{e['offset'] for e in ev if e['event'] == 'unrepairable' and e['file'] == '/victim'}
		== {$(IFS=,; echo "${lost[*]}")}"
check "a scrub names them, with exit status 3" expect_status 3 stablefs scrub --json "$mnt"
check "and calls nothing else lost" report_says \
	"r['lost'] == 2 and [p for p in files if files[p].get('lost_blocks')] == ['/victim'] and
		{x['offset'] for x in files['/victim']['lost_ranges']} == {$(IFS=,; echo "${lost[*]}")}"
check "also as text" expect_status 3 stablefs scrub "$mnt"
check "place by place" expect_stdout "/victim +${lost[0]} +4096"
check "repair cannot bring them back" expect_status 3 stablefs scrub --repair "$mnt"
check "they still fail, and no other" reads_but victim "${lost[@]}"
overwrite() { dd if="$scratch/copy" of="$mnt/victim" bs=2M conv=notrunc oflag=direct status=none; }
check "writing the whole rows again heals them" overwrite
check "the whole file can be read" reads_but victim
check "a scrub repairs what is left to repair" expect_status 0 stablefs scrub --repair "$mnt"
check "then it finds nothing" expect_clean "$mnt"
check "the volume is unmounted" unmount "$mnt"

# --- a fault beside a member that is rebuilt -------------------------------------------------------

# The member that holds the first data slot of the stripe that ruin() takes.
first_member() {
	local stripe
	stripe=$(stablefs inspect --json file /victim "$1" | sed -n '/first_stripe/{s/[^0-9]//gp}') &&
		stablefs inspect --json stripe $((${stripe%%[[:space:]]*} + 1)) "$1" |
		sed -n '/"member":/{s/[^0-9]//gp}' | sed -n 1p
}
check "one row of one member is ruined" ruin /victim 3 1
check "the volume is mounted" mount_volume "$volume" "$mnt"
member=$(first_member "$mnt")
check "member $member, which has a block of that row, is failed" stablefs fail "$mnt" "$member"
rm "$volume/member-$member"
refuses "a new one cannot be rebuilt as a whole" 3 "1 stripes hold blocks that nothing can rebuild" \
	stablefs replace --wait "$mnt" "$member" "$volume/member-$member"
check "a scrub names two blocks" expect_status 3 stablefs scrub --json "$mnt"
check "of the file" report_says "r['lost'] == 2 and list(files) == ['/victim'] and
	len(files['/victim']['lost_ranges']) == 2"
check "no other file lacks anything" idle_is_right
check "writing the whole row again heals it" overwrite
check "then the rebuild can end" \
	expect_status 0 stablefs work --resume rebuild --wait rebuild "$mnt"
check "the volume is healthy" expect_status 0 stablefs status "$mnt"
check "the whole file can be read" reads_but victim
check "a scrub finds nothing" expect_clean "$mnt"
check "the volume is unmounted" unmount "$mnt"

# --- without PI ----------------------------------------------------------------------------------

check "a raid5 volume without PI holds files" make_volume --level raid5 --pi none || done_testing
check "one row of one member is ruined" ruin /victim 3 1
check "a scrub sees that the row disagrees" expect_status 3 stablefs scrub "$volume"
check "and says that nobody can know which side is right" expect_stdout \
	"Without PI nobody can know which side is right. What --repair does: the data is taken"
check "repair makes the parity anew" expect_status 0 stablefs scrub --repair "$volume"
check "and says what it did" expect_stdout "What was done: the data is taken for right"

check "a raid1 volume without PI holds files" make_volume --level raid1 --pi none || done_testing
check "a row of the second mirror is ruined" ruin /victim 3 1
check "repair copies the first mirror" expect_status 0 stablefs scrub --repair "$volume"
check "and says so" expect_stdout "What was done: the first mirror is taken for right"
check "it is mounted" mount_volume "$volume" "$mnt"
check "the file is right" reads_but victim
check "the volume is unmounted" unmount "$mnt"

done_testing
