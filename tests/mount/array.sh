# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What tests of members, damage and background work share, beside lib.sh.

# shellcheck disable=SC2154  # scratch is lib.sh's
volume=$scratch/volume
mnt=$scratch/mnt
control=$mnt/.stablefs

# says EXPRESSION: of python, true of st (status.json), m (its members), work, ev (events.jsonl).
says() {
	python3 - "$control" "$1" <<'PY'
import json, sys
control, expression = sys.argv[1:]
st = json.load(open(f"{control}/status.json"))
m, work = st["members"], st["work"]
ev = [json.loads(line) for line in open(f"{control}/events.jsonl") if line.strip()]
ok = eval(f"({expression})")
if not ok:
    print(*m, st["state"], st["spares"], work, sep="\n")
    print(*ev[-5:], sep="\n")
sys.exit(not ok)
PY
}

# soon COMMAND...: within twenty seconds.
soon() {
	local deadline=$((SECONDS + 20))
	until "$@" >"$scratch/soon.out" 2>&1; do
		((SECONDS < deadline)) || { cat "$scratch/soon.out"; return 1; }
		sleep 0.1
	done
}

# --- files that are at rest ----------------------------------------------------------------------

# Twelve files of 1 MiB, all different.
make_idle() {
	local i
	for i in {1..12}; do
		head -c 1M /dev/urandom >"$mnt/idle-$i" || return
	done
	sync "$mnt"/idle-* && (cd "$mnt" && sha256sum idle-*) >"$scratch/sums"
}

# Past the page cache: the array gives them.
idle_is_right() {
	drop_caches "$mnt"/idle-* && (cd "$mnt" && sha256sum --quiet -c "$scratch/sums")
}

# ruin PATH ROW MEMBER...: garbage in one row of the second stripe of a file, on data members; of a
# volume that is not mounted. Prints the offsets in the file that this concerns. MEMBER counts the
# data slots of the stripe, from 0.
ruin() {
	python3 - "$STABLEFS" "$volume" "$@" <<'PY'
import json, os, subprocess, sys
stablefs, volume, path, row, *slots = sys.argv[1:]
def ask(*words):
    return json.loads(subprocess.run([stablefs, "inspect", "--json", *words, volume],
                                     stdout=subprocess.PIPE, check=True).stdout)
places = {s["index"]: (s["path"], s["data"]["offset"]) for s in ask("super")["superblocks"]}
extent = next(e for e in ask("file", path)["extents"] if e["last_stripe"] - e["first_stripe"] > 1)
stripe = ask("stripe", str(extent["first_stripe"] + 1))
data = [slot for slot in stripe["slots"] if slot["role"] != "parity"]
for slot in map(int, slots):
    cell = data[slot]["rows"][int(row)]
    assert cell.get("file", path) == path, cell
    member, start = places[data[slot]["member"]]
    with open(member, "r+b") as file:
        file.seek(start + (data[slot]["member_block"] + int(row)) * 4096)
        file.write(os.urandom(4096))
    print(cell.get("file_offset", ""))
PY
}
