#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# `stablefs check` gives a verdict on a program, whichever way it writes, and leaves nothing behind;
# `stablefs run` gives a program a policy of its own on a mount, libaio included.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
below=$scratch/checks # where scratch folders are made
size_mib=$(slow_or 4 1)
hold=200us
mkdir "$below"

# checked STATUS OPTION... -- CMD...: as JSON, in $scratch/stdout.
checked() {
	local want=$1
	shift
	expect_status "$want" stablefs check --json --dir "$below" --size 256M --hold "$hold" "$@"
}

# verdict EXPRESSION: of the report r; what it says where that is false.
verdict() {
	python3 - "$scratch/stdout" "$1" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
if not eval(sys.argv[2]):
    print("not", sys.argv[2], {k: v for k, v in r.items() if k not in ("cmd", "unobserved_by_reason")})
    print(r["unobserved_by_reason"])
    sys.exit(1)
PY
}

# What is found but cannot be read in time, since others have the processors, is not the way's.
seen='r["observed"] + r["unobserved_by_reason"]["unreadable"] >= r["writes"] * 0.99'
seen+=' and r["observed"] >= r["writes"] * 0.9'

fio_job() {
	echo --name=job --size="${size_mib}m" --bs=4k --rw=randwrite --direct=1 --invalidate=0 \
		--refill_buffers --output-format=terse --aux-path="$scratch" "$@"
}

# still ENGINE OPTION...: a program that leaves its buffers alone.
still() {
	local engine=$1
	shift
	# shellcheck disable=SC2046  # words are meant
	checked 0 -- fio $(fio_job --filename={}/f --ioengine="$engine" "$@") &&
		verdict "r['verdict'] == 'still' and r['mutated'] == 0 and r['writes'] >= $size_mib * 256 and $seen" &&
		verdict 'r["files"][0]["file"] == "/f" and r["processes"][0]["comm"] == "fio"'
}

mutator_is_caught() {
	checked 3 -- "$STABLEFS" mutate --block 4K --count 16 "$@" {}/victim &&
		verdict 'r["verdict"] == "mutated" and r["mutated"] > 0 and r["writes"] == 16' &&
		verdict 'r["processes"][0]["comm"] == "stablefs" and r["processes"][0]["mutated"] == r["mutated"]' &&
		verdict 'r["files"][0]["file"] == "/victim" and r["files"][0]["mutated"] == r["mutated"]'
}

text_names_process_and_file() {
	expect_status 3 stablefs check --dir "$below" --size 256M -- \
		"$STABLEFS" mutate --block 4K --count 16 {}/victim &&
		expect_stdout '^mutated: .*\(of 16\)' &&
		expect_stdout 'stablefs +[0-9]+ +pwrite64 +/victim +16'
}

fields_are_there() {
	checked 0 --pi crc32c --level raid1 -- dd if=/dev/zero of=f bs=4k count=3 oflag=direct &&
		verdict 'r["cmd"][0] == "dd" and r["cmd_status"] == 0 and r["policy"] == "detect"' &&
		verdict 'r["level"] == "raid1" and r["pi"] == "crc32c" and r["hold_ns"] == 200000' &&
		verdict 'r["writes"] == 3 and "unobserved" in r and r["libaio"]["followed"]' &&
		verdict 'not r["stopped"] and not r["ended_rest"] and isinstance(r["processes"], list)'
}

no_direct_writes() {
	checked 0 -- dd if=/dev/zero of=f bs=4k count=3 &&
		verdict 'r["verdict"] == "no direct writes" and r["writes"] == 0'
}

failure_of_the_program_is_said() {
	checked 0 -- sh -c 'exit 7' && verdict 'r["cmd_status"] == 7' &&
		expect_status 0 stablefs check --dir "$below" --size 256M -- sh -c 'kill -KILL $$' &&
		expect_stdout 'ended by signal 9'
}

output_of_the_program_goes_through() {
	expect_status 0 stablefs check --dir "$below" --size 256M -- sh -c 'pwd; echo {}' &&
		[[ $(sed -n 1p "$scratch/stdout") == "$below"/*/mnt ]] &&
		[[ $(sed -n 1p "$scratch/stdout") == $(sed -n 2p "$scratch/stdout") ]] &&
		checked 0 -- echo hello && expect_stderr '^hello'
}

# The program ends, and what it has started writes on for a moment, by libaio.
children_are_followed() {
	# shellcheck disable=SC2046,SC2016
	checked 0 -- sh -c 'fio "$@" & sleep 0.1' sh $(fio_job --filename={}/f --ioengine=libaio --iodepth=4) &&
		verdict "r['writes'] >= $size_mib * 256 and not r['ended_rest'] and $seen"
}

who_outlives_it_is_ended() {
	checked 0 -- sh -c "sleep 300 & echo \$! >$scratch/sleeper" && verdict 'r["ended_rest"]' &&
		fails alive "$(cat "$scratch/sleeper")"
}

signals_end_it() {
	local pid got=0 deadline=$((SECONDS + 60))
	"${wrapper[@]}" "$STABLEFS" check --dir "$below" --size 256M -- \
		sh -c "echo \$\$ >$scratch/cmd_pid; exec sleep 300" >"$scratch/out" 2>"$scratch/err" &
	pid=$!
	until [[ -s $scratch/cmd_pid ]] || ((SECONDS > deadline)); do sleep 0.05; done
	kill -TERM "$pid"
	wait "$pid" || got=$?
	cat "$scratch/out" "$scratch/err"
	((got == 1)) && fails alive "$(cat "$scratch/cmd_pid")" && expect_in "$scratch/out" 'stopped by a signal'
}

keeps_the_volume() {
	local kept
	checked 0 --keep -- dd if=/dev/zero of=f bs=4k count=3 oflag=direct || return
	kept=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["kept"])' "$scratch/stdout")
	expect_clean "$kept" && rm -r "${kept%/vol}"
}

nothing_is_left() {
	[[ -z $(ls -A "$below") && -z $(mounts_below "$below") ]] || { ls -lA "$below"; return 1; }
}

# --- run -----------------------------------------------------------------------------------------

stat_of() {
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["direct_writes"][sys.argv[2]])' \
		"$mnt/.stablefs/stats.json" "$1"
}

# observes COMMAND...: all that it writes to the mount is looked at, although the mount only bounces.
observes() {
	local total observed
	total=$(stat_of total) observed=$(stat_of observed)
	expect_status 0 "$@" || return
	total=$(($(stat_of total) - total)) observed=$(($(stat_of observed) - observed))
	echo "observed $observed of $total"
	((total >= size_mib * 256 && observed * 100 >= total * 90))
}

policy_ends_with_the_run() {
	local observed
	observed=$(stat_of observed)
	dd if=/dev/zero of="$mnt/plain" bs=4k count=10 oflag=direct status=none &&
		(($(stat_of observed) == observed)) && [[ $(tr -d ' \n' <"$mnt/.stablefs/run") == '{"runs":[]}' ]]
}

mutator_is_named_under_run() {
	expect_status 0 stablefs run --dio=detect -- "$STABLEFS" mutate --block 4K --count 16 "$mnt/victim" &&
		(($(stat_of mutated) > 0))
}

status_is_that_of_the_program() {
	expect_status 7 stablefs run --mount "$mnt" -- sh -c 'exit 7' &&
		expect_status 143 stablefs run --mount "$mnt" -- sh -c 'kill -TERM $$' &&
		expect_status 127 stablefs run --mount "$mnt" -- "$scratch/nothing" &&
		expect_status 126 stablefs run --mount "$mnt" -- "$scratch"
}

as_nobody() {
	limit 60 setpriv --reuid=65534 --regid=65534 --clear-groups "${wrapper[@]}" "$scratch/program" "$@"
}

nobody_weakens_nothing() {
	refused_with 1 'root|dio-weaken' as_nobody run --dio=zerocopy --mount "$mnt" -- true &&
		expect_status 0 as_nobody run --dio=detect --mount "$mnt" -- true
}

have_fio=$(command -v fio)

if [[ $have_fio ]]; then
	check "synchronous writes that are still are seen to be" still psync
	check "libaio, a write at a time" still libaio --iodepth=1
	check "libaio, 16 at a time" still libaio --iodepth=16
	check "libaio, in batches of several requests each" still libaio --iodepth=32 --iodepth_batch=8
	check "io_uring" still io_uring --iodepth=8
	check "what the program has started is followed when it has ended" children_are_followed
else
	skip "programs that are still are seen to be" "no fio"
fi
check "a program that changes its buffers is caught and named" mutator_is_caught
check "by libaio, too" mutator_is_caught --engine aio --depth 4
check "the text names process and file" text_names_process_and_file
check "the report says what it rests on" fields_are_there
check "a program without direct I/O cannot" no_direct_writes
check "the program's own failure is said, and is no verdict" failure_of_the_program_is_said
check "the program's output goes through, and {} is the mount" output_of_the_program_goes_through
check "processes that outlive the program are ended" who_outlives_it_is_ended
check "SIGTERM ends all" signals_end_it
check "--keep leaves a volume that is whole" keeps_the_volume
refuses "a program that is not there" 1 "no such file" stablefs check --dir "$below" -- "$scratch/nothing"
refuses "no program" 2 "which CMD" stablefs check
refuses "a policy that does not look" 2 "does not look" stablefs check --dio=bounce -- true
refuses "a folder that is not there" 1 "--dir" stablefs check --dir "$scratch/nothing" -- true
check "nothing is left behind" nothing_is_left

check "a volume is mounted, which bounces" mk_volume --size 256M "$volume" || done_testing
check "and served" mount_volume -o "dio=bounce,hold=$hold" "$volume" "$mnt" || done_testing
if [[ $have_fio ]]; then
	# shellcheck disable=SC2046
	check "run finds the mount among the program's arguments" observes stablefs run --dio=detect -- \
		fio $(fio_job --filename="$mnt/f" --ioengine=libaio --iodepth=8)
	# shellcheck disable=SC2046,SC2016
	check "processes below the program have its policy" observes stablefs run --dio=detect --mount "$mnt" -- \
		sh -c 'fio "$@" & wait' sh $(fio_job --filename="$mnt/f" --ioengine=psync)
fi
check "a mutator is seen" mutator_is_named_under_run
check "the policy ends with the run" policy_ends_with_the_run
check "the exit status is the program's" status_is_that_of_the_program
refuses "run without a mount" 1 "--mount" stablefs run --dio=detect -- true
refuses "run on what is no mount" 2 "no stablefs" stablefs run --mount "$scratch" -- true
if ((EUID == 0)); then
	install -m 0755 "$STABLEFS" "$scratch/program"
	chmod 0711 "$scratch"
	check "a user may not weaken the policy" nobody_weakens_nothing
fi
check "the mount ends" unmount "$mnt"
done_testing
