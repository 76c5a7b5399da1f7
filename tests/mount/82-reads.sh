#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Direct reads into the reader's memory, and readers that store into it meanwhile: false PI errors and
# unneeded repairs under zerocopy, reads done again under verify, nothing under the policies that bounce.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
reads=24

set_policy() { echo "$1" >"$mnt/.stablefs/policy"; }

# Every counter that the test looks at, as "object.key value".
counters() {
	python3 - "$mnt/.stablefs/stats.json" <<'PY'
import json, sys
stats = json.load(open(sys.argv[1]))
for name in ("direct_reads", "array"):
    for key, value in stats[name].items():
        if isinstance(value, int):
            print(f"{name}.{key}", value)
PY
}

declare -A before=() after=()

note_before() {
	local name value
	while read -r name value; do
		before[$name]=$value
	done < <(counters)
}

note_after() {
	local name value
	while read -r name value; do
		after[$name]=$value
		[[ $value = "${before[$name]}" ]] || echo "$name: ${before[$name]}, now $value"
	done < <(counters)
}

# grown OBJECT.KEY: between the two.
grown() {
	local now=${after[$1]} then=${before[$1]}
	echo $((now - then))
}

# read_with ARG...: the bundled program writes a file with a still buffer, then reads it all.
read_with() {
	note_before
	stablefs mutate --read --block 16K --count "$reads" --json "$@" "$mnt/file" \
		>"$scratch/reads.json" || return
	note_after
}

# told KEY: what that program says of its reads.
told() {
	python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["read"][sys.argv[2]])' "$scratch/reads.json" "$1"
}

# read_until COMMAND...: once more where it fails: stores need a CPU of their own to meet a read that
# is held open, and others may have had it.
read_until() {
	local try
	for try in 1 2 3 4 5; do
		read_with || return
		"$@" && return
		echo "try $try: too few of the reads met a store"
	done
	return 1
}

medium_unharmed() {
	[[ $(grown array.repaired_blocks) = 0 && $(grown array.unrepairable_blocks) = 0 ]] &&
		[[ $(told false_errors) = "$(told failed)" ]]
}

# Nothing that was looked at has changed, and nothing went wrong.
nothing_happened() {
	local key
	[[ $(told failed) = 0 ]] || return
	for key in mutated bounced_again failed; do
		[[ $(grown "direct_reads.$key") = 0 ]] || return
	done
	[[ $(grown array.false_pi_errors) = 0 && $(grown array.repairs_unneeded) = 0 ]]
}

# --- a reader that stores ---

some_failed() { (($(told failed) > 0)); }

zerocopy_fails() {
	set_policy zerocopy
	read_until some_failed || return
	[[ $(told failed) = "$(grown direct_reads.failed)" ]] || return
	(($(grown array.false_pi_errors) >= $(told failed))) || return
	# The repair comes after the read is answered.
	local tries=0
	until (($(grown array.repairs_unneeded) > 0)); do
		((tries++ < 100)) || return
		sleep 0.05
		note_after
	done
	medium_unharmed
}

event_names_the_reader() {
	local tries=0
	until grep -q '"event": *"read_mutation"' "$mnt/.stablefs/events.jsonl"; do
		((tries++ < 100)) || return
		sleep 0.05
	done
	python3 - "$mnt/.stablefs/events.jsonl" <<'PY'
import json, sys
events = [json.loads(line) for line in open(sys.argv[1])]
events = [e for e in events if e["event"] == "read_mutation"]
failed = [e for e in events if e.get("error") == "EILSEQ"]
assert failed, events
for e in events:
    assert e["comm"] and e["pid"] > 0 and e["file"] == "/file", e
    assert e["length"] == 16384 and e["offset"] % 16384 == 0 and e["policy"] == "zerocopy", e
    assert 0 <= e["first_changed"] < 16384, e
print(events[0])
PY
}

process_is_counted() {
	python3 - "$mnt/.stablefs/processes.json" <<'PY'
import json, sys
text = open(sys.argv[1]).read()
rows = json.loads(text)
rows = rows["processes"] if isinstance(rows, dict) else rows
assert any(r["reads"] >= 24 and r["reads_mutated"] > 0 for r in rows), text
PY
}

some_again_and_one_given_up() {
	(($(grown direct_reads.bounced_again) > 0 && $(grown direct_reads.handles_bounced) > 0))
}

verify_reads_again() {
	set_policy verify
	read_until some_again_and_one_given_up || return
	[[ $(told failed) = 0 && $(grown direct_reads.failed) = 0 ]] || return
	medium_unharmed
}

verify_gives_a_handle_up() {
	(($(grown direct_reads.handles_bounced) == 1)) &&
		(($(grown direct_reads.observed) + $(grown direct_reads.unobserved) < reads)) &&
		(($(grown direct_reads.bounced) > 0))
}

bounced_reads_stay_right() {
	set_policy "$1"
	read_with || return
	nothing_happened && [[ $(grown direct_reads.bounced) = "$(grown direct_reads.total)" ]]
}

# --- a reader that does not ---

still_reader_is_seen() {
	set_policy "$1"
	read_with --still || return
	nothing_happened || return
	local looked=$(($(grown direct_reads.observed) + $(grown direct_reads.unobserved)))
	(($(grown direct_reads.observed) > reads / 2 && looked == $(grown direct_reads.total)))
}

# Reads of any sector, across stripes, of a hole, and of the end of a file.
same_bytes_directly() {
	head -c 3000001 /dev/urandom >"$scratch/bytes"
	truncate -s 3500001 "$scratch/bytes"
	dd if="$scratch/bytes" of="$mnt/bytes" bs=1M conv=sparse status=none
	sync "$mnt/bytes"
	local size
	for size in 512 4096 13824 1048576; do
		dd if="$mnt/bytes" iflag=direct bs="$size" count=400 status=none |
			cmp -n $((size * 400 < 3500001 ? size * 400 : 3500001)) - "$scratch/bytes" || return
	done
}

mk_volume --level raid5 --members 4 --size 64M --pi t10 --pi-check none "$volume" || bail "create"
mount_volume -o hold=200us "$volume" "$mnt" || bail "mount"

check "zerocopy: a reader that stores gets EILSEQ, though the medium is right" zerocopy_fails
check "an event names the reader, the file and the place" event_names_the_reader
check "the table of processes counts its reads" process_is_counted
check "verify: the same reader gets its data, read again" verify_reads_again
check "verify: a handle that keeps failing is not tried again" verify_gives_a_handle_up
for policy in bounce detect adaptive; do
	check "$policy: the same reader changes nothing" bounced_reads_stay_right "$policy"
done
for policy in zerocopy verify; do
	check "$policy: a still reader is seen, and nothing is wrong" still_reader_is_seen "$policy"
done
set_policy zerocopy
check "zerocopy: reads of every shape give the file's bytes" same_bytes_directly
check "the mount ends well" unmount "$mnt"
check "the volume is clean" expect_clean "$volume"

# --- without protection information there is nothing to check ---

no_pi_no_difference() {
	set_policy zerocopy
	read_with || return
	nothing_happened && [[ $(grown direct_reads.observed) = 0 ]]
}

rm -rf "$volume"
mk_volume --level raid1 --members 2 --size 64M --pi none "$volume" || bail "create"
mount_volume -o hold=200us "$volume" "$mnt" || bail "mount"
check "without PI a reader that stores changes nothing" no_pi_no_difference
check "that mount ends well, too" unmount "$mnt"

done_testing
