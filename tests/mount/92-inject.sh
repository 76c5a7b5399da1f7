#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Faults and mutations by request: what a program sees of each on a real mount, and how they are
# armed, listed and disarmed (stablefs-inject(1)).
. "$(dirname "$0")/lib.sh"

mnt=$scratch/mnt
control=$mnt/.stablefs
mkdir "$mnt"
head -c 1M /dev/urandom >"$scratch/data"

# begin LEVEL MEMBERS [OPTION]: a fresh volume with the file f, mounted with -o inject.
begin() {
	rm -rf "$scratch/volume"
	stablefs create --level "$1" --members "$2" --size 64M --pi t10 "$scratch/volume" &&
		mount_volume -o "inject${3:+,$3}" "$scratch/volume" "$mnt" &&
		cp "$scratch/data" "$mnt/f" && sync "$mnt/f"
}

read_back() { dd if="$mnt/${1:-f}" iflag=direct bs=64K status=none; }
same() { read_back | cmp - "$scratch/data"; }
inject() { stablefs inject "$mnt" "$@"; }
direct_write() { dd if="$scratch/data" of="$mnt/f" oflag=direct conv=notrunc bs=64K status=none; }

# lists EXPRESSION: of python, true of l, the listing as JSON, and ev, the events.
lists() {
	python3 - "$control" "$1" <<'PY'
import json, sys
control, expression = sys.argv[1:]
l = json.load(open(f"{control}/inject"))
ev = [json.loads(line) for line in open(f"{control}/events.jsonl") if line.strip()]
f = l.get("faults", [])
ok = eval(f"({expression})")
if not ok:
    print(l, *ev[-3:], sep="\n")
sys.exit(not ok)
PY
}

# soon COMMAND...: within ten seconds.
soon() {
	local deadline=$((SECONDS + 10))
	until "$@"; do
		((SECONDS < deadline)) || return 1
		sleep 0.1
	done
}

# --- arming ---

arming() {
	expect_status 2 stablefs inject || return 1
	expect_status 2 stablefs inject "$mnt" 'reed-error' || return 1
	expect_status 2 stablefs inject "$mnt" 'read-error member=x' || return 1
	expect_status 1 stablefs inject "$scratch" 'read-error' || return 1
	expect_status 1 stablefs inject "$mnt" 'read-error member=9' || return 1
	expect_status 1 stablefs inject "$mnt" 'read-error file=/nope' || return 1
	expect_status 1 stablefs inject --disarm=7 "$mnt" || return 1
	lists 'l["seed"] == 1 and not l["power_cut"] and f == []'
}

listing() {
	inject --seed=5 'latency member=1 latency=1ms' 'read-error file=/f offset=64K len=4K' || return 1
	lists 'l["seed"] == 5 and [x["fault"] for x in f] == ["latency member=1 latency=1ms",
		"read-error file=/f offset=64K len=4K"]' || return 1
	inject --json | python3 -c 'import json, sys; assert len(json.load(sys.stdin)["faults"]) == 2' &&
		inject --disarm=2 && lists '[x["id"] for x in f] == [1]' && inject --disarm=all &&
		lists 'f == []'
}

by_control_file() {
	echo "gone member=0 skip=1000000" >"$control/inject" || return 1
	lists 'len(f) == 1' || return 1
	if echo "gone membre=0" 2>/dev/null >"$control/inject"; then return 1; fi
	echo "disarm all" >"$control/inject" && lists 'f == []'
}

# --- faults of members ---

flipped_bit() {
	inject 'bit-flip file=/f offset=4096 len=4096 count=1' || return 1
	same && lists 'f[0]["fired"] == 1' && inject --disarm=all &&
		soon lists 'any(e["event"] == "repaired" and e["file"] == "/f" for e in ev)' &&
		soon expect_clean "$mnt"
}

unreadable() {
	inject 'read-error file=/f count=3' || return 1
	same && lists 'f[0]["fired"] >= 1' && inject --disarm=all
}

all_unreadable() {
	inject 'read-error area=data' || return 1
	if read_back >"$scratch/out" 2>"$scratch/err"; then return 1; fi
	grep -q 'Input/output error' "$scratch/err" && inject --disarm=all && same
}

lost_write() {
	inject 'torn-write area=data count=1' && direct_write && same &&
		inject --disarm=all && stablefs scrub --repair "$mnt"
	same
}

slow() {
	local begin end
	inject 'latency area=data latency=50ms' || return 1
	begin=$(date +%s%N)
	dd if="$mnt/f" iflag=direct bs=4K count=1 status=none of=/dev/null || return 1
	end=$(date +%s%N)
	inject --disarm=all && ((end - begin >= 50000000))
}

hung() {
	local reader
	inject 'hang area=data' || return 1
	dd if="$mnt/f" iflag=direct bs=4K count=1 status=none of="$scratch/out" &
	reader=$!
	soon lists 'f[0]["fired"] >= 1' && kill -0 "$reader" || return 1
	inject --disarm=all && wait "$reader" && cmp -n 4096 "$scratch/out" "$scratch/data"
}

from_the_start() {
	unmount "$mnt" || return 1
	mount_volume -o "inject=latency member=0 latency=1ms;seed 9" "$scratch/volume" "$mnt" || return 1
	lists 'l["seed"] == 9 and len(f) == 1' && same && unmount "$mnt" || return 1
	if mount_volume -o "inject=reed-error" "$scratch/volume" "$mnt"; then return 1; fi
	mount_volume "$scratch/volume" "$mnt" || return 1
	if echo "gone" 2>/dev/null >"$control/inject"; then return 1; fi
	expect_status 1 stablefs inject "$mnt" gone && same
}

gone_member() {
	inject "gone member=1" && direct_write && same && lists 'f[0]["fired"] >= 1'
}

power_cut() {
	cp "$scratch/data" "$mnt/g" && sync "$mnt/g" && inject 'power-cut skip=8' || return 1
	if direct_write 2>/dev/null && sync "$mnt/f" 2>/dev/null; then return 1; fi
	lists 'l["power_cut"]' || return 1
	unmount "$mnt"
	mount_volume "$scratch/volume" "$mnt" || return 1
	read_back g | cmp - "$scratch/data" && read_back >/dev/null
}

# --- mutations ---

# lesson POLICY [MORE]: the third write changes in flight; how it went, as text.
lesson() {
	inject "mutate file=/f write=3 offset=100 xor=ff ${2:-}" || return 1
	direct_write 2>/dev/null
	echo "write $?"
	read_back 2>/dev/null >"$scratch/out"
	echo "read $?"
	cmp "$scratch/out" "$scratch/data" 2>&1 | sed 's/.*differ/differ/'
	soon lists 'f[-1]["fired"] == 1' >/dev/null
	python3 - "$control" <<'PY'
import json, sys
for line in open(f"{sys.argv[1]}/events.jsonl"):
    e = json.loads(line)
    if e["event"] == "mutation":
        print(e["file"], e["offset"], e["first_changed"], e["changed_bytes"], e["what"])
PY
}

lessons_agree() {
	local level=$1 members=$2 policy=$3 n
	for n in first second; do
		begin "$level" "$members" "dio=$policy" >/dev/null || return 1
		lesson "$policy" "${4:-}" >"$scratch/lesson-$n"
		unmount "$mnt" || return 1
	done
	cat "$scratch/lesson-first"
	cmp "$scratch/lesson-first" "$scratch/lesson-second"
}

shows() { grep -q "$@" "$scratch/lesson-first"; }

begin raid5 4 || bail "a volume is mounted with -o inject"
check "what cannot be armed is refused by name" arming
check "what is armed is listed, and disarmed by its number" listing
check "the control file takes lines, and says at once whether they hold" by_control_file
check "raid5: a flipped bit is mended, and nobody notices" flipped_bit
check "raid5: what one member cannot read comes from the others" unreadable
check "raid5: when none can read it, the reader gets EIO, until disarmed" all_unreadable
check "raid5: a torn write is read back right" lost_write
check "raid5: a slow member makes a slow read" slow
check "raid5: a hung read goes on when it is disarmed" hung
check "faults can be armed by the mount, and other mounts have none" from_the_start
unmount "$mnt"

begin raid1 2 || bail "a second volume is mounted"
check "raid1: a flipped bit is mended" flipped_bit
check "raid1: writes go on without a member that is gone" gone_member
unmount "$mnt"

begin raid5 4 || bail "a third volume is mounted"
check "a power cut leaves what was synced" power_cut
unmount "$mnt"

check "raid1, zerocopy: the lesson has the same picture twice" lessons_agree raid1 2 zerocopy
check "... the mutator cannot read its block, and is named" shows '^/f 131072 100 1 stored'
check "... and its read fails" shows '^read 1'
check "raid5, zerocopy, between parity and data: the same" lessons_agree raid5 4 zerocopy at=data
check "... the parity has what the guard says" shows '^read 0'
check "raid5, bounce: nothing happens" lessons_agree raid5 4 bounce
check_not "... no event" shows '^/f'
check "raid5, verify: the write fails" lessons_agree raid5 4 verify
check "... by name" shows '^/f 131072 100 1 rejected'
done_testing
