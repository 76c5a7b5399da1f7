#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Who did it, to which file, and who loses by it: events.jsonl, processes.json, the log; the limit
# on events; and process trees that register a policy of their own (the control file run).
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
control=$mnt/.stablefs
count=$(slow_or 20 10)
program=$(realpath "$STABLEFS")
user=()
if ((EUID == 0)); then
	user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	chmod 0711 "$scratch"
fi

# mutate FILE [OPTION...]: each pass writes the same 64K. Its pid is in $pid.
mutate() {
	"$program" mutate --block 64K --count 1 --passes "$count" "${@:2}" "$mnt/$1" \
		>"$scratch/mutate.out" 2>&1 &
	pid=$!
	wait "$pid" || { cat "$scratch/mutate.out"; return 1; }
}

# says EXPRESSION: of python, true of ev (the lines of events.jsonl), stats, rows (the table of
# processes) and pid.
says() {
	python3 - "$control" "${pid:-0}" "$program" "$1" <<'PY'
import json, os, sys
control, pid, program, expression = sys.argv[1:]
pid = int(pid)
load = lambda name: json.load(open(f"{control}/{name}"))
ev = [json.loads(line) for line in open(f"{control}/events.jsonl") if line.strip()]
stats, status = load("stats.json"), load("status.json")
rows = load("processes.json")["processes"]
mutations = [e for e in ev if e["event"] == "mutation"]
mine = [e for e in mutations if e["pid"] == pid]
writes = stats["direct_writes"]
total = lambda key: sum(row[key] for row in rows)
ok = eval(f"({expression})")
if not ok:
    print(*(mine or ev)[-3:], json.dumps(writes), json.dumps(rows)[:2000], sep="\n")
sys.exit(not ok)
PY
}

# soon COMMAND...: within ten seconds.
soon() {
	local deadline=$((SECONDS + 10))
	until "$@" >"$scratch/soon.out" 2>&1; do
		((SECONDS < deadline)) || { cat "$scratch/soon.out"; return 1; }
		sleep 0.1
	done
}

# Four chunks of data are a stripe: of the files that are made side by side some share one.
make_neighbours() {
	local i
	for i in 1 2 3 4 5 6; do
		head -c 64K /dev/zero >"$mnt/idle-$i" || return
		((i != 3)) || head -c 64K /dev/zero >"$mnt/a" || return
	done
	sync "$mnt"/* && stablefs inspect shares "$mnt/a" "$mnt" | tee "$scratch/shares"
	grep -q idle- "$scratch/shares"
}

sums_agree() {
	says "all(total(k) == writes[w] for k, w in
		[('writes', 'total'), ('write_bytes', 'bytes'), ('observed', 'observed'),
		 ('unobserved', 'unobserved'), ('mutated', 'mutated')]) and
		total('failed') == writes['refused'] + writes['failed'] + writes.get('rejected', 0) and
		all(row[k] == sum(f[k] for f in row['files']) for row in rows for k in ('writes', 'mutated'))"
}

warned_once() {
	local said
	said=$(grep -c "warning: .*(pid $pid, $program) changed its buffer.*/a .*dio=zerocopy" \
		"$(daemon_log "$mnt")")
	[[ $said = 1 ]] || { cat "$(daemon_log "$mnt")"; return 1; }
}

# --- who, what, and who loses ---

check "a raid5 volume is made" mk_volume --level raid5 --members 5 --size 128M --pi none "$volume"
check "it is mounted with dio=zerocopy" mount_volume -o dio=zerocopy,hold=200us "$volume" "$mnt" ||
	done_testing
check "files lie side by side" make_neighbours || done_testing
check "a mutator runs" mutate a
check "events name its process, thread, user and program" \
	soon says "mine and all(e['tid'] == pid and e['uid'] == os.getuid() and
		e['comm'] == os.path.basename(program)[:15] and e['exe'] == program for e in mine)"
check "they name call, file, range, policy and outcome" \
	says "all(e['call'] == 'pwrite64' and e['file'] == '/a' and e['offset'] == 0 and
		e['length'] == 65536 and 0 < e['changed_bytes'] <= 65536 and
		e['first_changed'] < 65536 and e['policy'] == 'zerocopy' and
		e['what'] == 'stored' for e in mine)"
check "they name the strangers whose stripe it is" \
	says "all(e['blast'] == 'strangers' and
		all(s['file'].startswith('/idle-') for s in e['strangers']) for e in mine)"
check "the table still knows the process after its end" \
	says "[(r['exe'], r['uid'], r['call'], r['files'][0]['file']) for r in rows if r['pid'] == pid]
		== [(program, os.getuid(), 'pwrite64', '/a')]"
check "the log warns once of it" soon warned_once
check "the table's sums are those of the statistics" sums_agree

echo detect >"$control/policy"
check "a mutator runs under detect" mutate a
check "its events say that nobody loses by it" \
	soon says "mine and all(e['policy'] == 'detect' and e['what'] == 'copy stored' and
		e['blast'] == 'nobody' and 'strangers' not in e for e in mine)"
check "the sums agree under detect" sums_agree
check "status.json tells the policy, the events and the sampler" \
	says "status['policy'] == 'detect' and status['dio_weaken'] is False and
		status['events']['mutations'] == writes['mutated'] and
		status['sampler']['reads'] > 0 and status['sampler']['hanging'] == 0"

# --- what is called harmless is harmless ---

# In rows of five members a read-modify-write of 4K is the cheapest, and would keep wrong parity.
rejects_and_redoes() {
	local policy
	for policy in verify adaptive; do
		echo "$policy" >"$control/policy" || return
		"$program" mutate --block 4K --count 4 --passes "$count" "$mnt/mended" || return
	done
	says "all(e['blast'] == 'nobody' for e in mutations
		if e['what'] in ('rejected', 'redone', 'verified')) and
		{e['what'] for e in mutations} >= {'rejected', 'redone'}"
}
check "writes are rejected under verify, redone under adaptive" soon rejects_and_redoes
mended_is_consistent() {
	stablefs scrub --json "$mnt" >"$scratch/scrub.json"
	! grep /mended "$scratch/scrub.json"
}
check "their stripes are consistent" mended_is_consistent

# --- a tree of processes with a policy of its own ---

echo zerocopy >"$control/policy"
# The shell registers itself, mutates, and stays until it is told to go.
cat >"$scratch/tree.sh" <<'SH'
exec 3<>"$1/.stablefs/run" && printf 'root=%d dio=detect\n' $$ >&3 || exit 1
"$2" mutate --block 64K --count 1 --passes "$3" "$1/a" >/dev/null &
echo $! >"$4" && wait $! && echo done >>"$4" && read -r _
SH
in_tree() {
	mkfifo "$scratch/go" && exec 9<>"$scratch/go" || return
	bash "$scratch/tree.sh" "$mnt" "$program" "$count" "$scratch/tree.out" <&9 9<&- &
	tree=$!
	local deadline=$((SECONDS + 100))
	until grep -qs "done" "$scratch/tree.out"; do
		alive "$tree" && ((SECONDS < deadline)) || return
		sleep 0.05
	done
	pid=$(head -n 1 "$scratch/tree.out")
}
check "a shell registers dio=detect for its children, and mutates" in_tree
check "its child was under detect" soon says "mine and all(e['policy'] == 'detect' for e in mine)"
is_listed() {
	cat "$control/run"
	python3 -c 'import json, sys
runs = json.load(open(sys.argv[1]))["runs"]
sys.exit([(r["root"], r["policy"], r["aio"]) for r in runs] != [(int(sys.argv[2]), "detect", False)])' \
		"$control/run" "$tree"
}
check "the registration is listed" is_listed
check "another process mutates meanwhile" mutate a
check "it was under the mount's policy" soon says "mine and all(e['policy'] == 'zerocopy' for e in mine)"
tree_ends() { echo go >&9 && wait "$tree"; }
check "the shell ends" tree_ends
exec 9<&-
is_gone() { ! grep -q root "$control/run"; }
check "so does its registration" soon is_gone

# register LINE: in a shell of its own, whose pid may stand in the line as $$.
register() {
	"${user[@]}" bash -c 'exec 3<>"$1/.stablefs/run" && eval "echo \"$2\"" >&3' sh "$mnt" "$1"
}
echo bounce >"$control/policy"
check "a user without privileges registers a stable policy" register 'root=$$ dio=detect'
if ((EUID == 0)); then
	refuses "but none that is not stable" 1 "not permitted" register 'root=$$ dio=zerocopy'
else
	skip "but none that is not stable" "the mount is the user's own"
fi
refuses "nor a process that is not his" 1 "not permitted" register 'root=1 dio=detect'
refuses "nor one that is not there" 1 "no such process" register 'root=2000000000 dio=detect'
refuses "nor what is no line" 1 "invalid argument" register 'dio=detect'
check "the volume is unmounted" unmount "$mnt"

# --- the limit ---

check "it is mounted with event-rate=5" \
	mount_volume -o dio=zerocopy,hold=200us,event-rate=5 "$volume" "$mnt"
begun=$SECONDS
check "a mutator writes 200 times" mutate a --passes "$(slow_or 200 50)"
lasted=$((SECONDS - begun + 2))
check "lines and what they say was dropped are all that was seen" \
	soon says "len(mutations) + sum(e['count'] for e in ev if e['event'] == 'dropped')
		== writes['mutated'] > 0 and
		all(e['pid'] == pid for e in ev if e['event'] == 'dropped')"
check "no second had more than five" says "len(mutations) <= 5 * $lasted"
check "status.json counts what was dropped" \
	says "status['events']['dropped'] == status['events']['above_rate']
		== writes['mutated'] - len(mutations)"
check "it is unmounted" unmount "$mnt"

# --- permission: a daemon that may not read the writer's memory ---

# mount_without_ptrace: root, but for the right to read what other users' processes hold.
mount_without_ptrace() {
	local plain=("${wrapper[@]}") result=0
	wrapper=(setpriv --bounding-set=-sys_ptrace --inh-caps=-sys_ptrace "${wrapper[@]}")
	mount_volume -o dio=detect "$volume" "$mnt" || result=$?
	wrapper=("${plain[@]}")
	return "$result"
}

write_as_other() {
	chmod 0777 "$mnt" &&
		limit 60 "${user[@]}" dd if=/dev/zero of="$mnt/other" bs=4k count=20 oflag=direct status=none
}

if ((EUID == 0)); then
	check "a daemon without CAP_SYS_PTRACE mounts it" mount_without_ptrace || done_testing
	check "another user's direct writes succeed" write_as_other
	check "each is bounced and counted, with the reason" says "writes['unobserved'] == 20 and
		writes['unobserved_by_reason']['not_permitted'] == 20 and not mutations"
	check "the log says once how to allow it" \
		test "$(grep -c CAP_SYS_PTRACE "$(daemon_log "$mnt")")" = 1
	check "that mount ends" unmount "$mnt"
else
	skip "a daemon without CAP_SYS_PTRACE" "needs root"
fi

done_testing
