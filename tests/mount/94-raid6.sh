#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Two parities: a mounted volume goes on without any two members, they are rebuilt, and then it does
# without two others.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt

# The same bytes, from the members.
holds() { drop_caches "$mnt/file" && cmp "$scratch/wanted" "$mnt/file"; }

# change SEED: some of the file's bytes, here and there.
change() {
	python3 - "$1" "$scratch/wanted" "$mnt/file" <<'PY'
import random, sys
r = random.Random(sys.argv[1])
for _ in range(40):
    at, data = r.randrange(7 << 20), r.randbytes(r.randrange(1, 300000))
    for path in sys.argv[2:]:
        with open(path, "r+b") as f:
            f.seek(at)
            f.write(data)
PY
	sync -f "$mnt/file"
}

# all_active: every member is up to date again.
all_active() {
	for ((i = 0; i < 300; i++)); do
		stablefs status "$mnt" >"$scratch/status" || (($? == 3)) || return 1
		grep -q "^state *healthy" "$scratch/status" && return
		sleep 0.1
	done
	cat "$scratch/status" "$(daemon_log "$mnt")"
	return 1
}

mk_volume --level raid6 --members 5 --size 32M "$volume" || bail "create"
mount_volume "$volume" "$mnt" || bail "mount"
head -c 8M /dev/urandom >"$scratch/wanted"
cp "$scratch/wanted" "$mnt/file"

check "one member fails" stablefs fail "$mnt" 1
change one
check "what is written without it can be read" holds
check "a second one fails" stablefs fail "$mnt" 2
change two
check "what is written without two can be read" holds
check_not "a third one is kept" stablefs fail "$mnt" 0
unmount "$mnt" || bail "unmount"
rm "$volume"/member-[12]
check "the volume can be mounted without two members" mount_volume "$volume" "$mnt"
check "and holds what was written" holds
check "the first one is replaced" stablefs replace "$mnt" 1 "$volume/member-1"
check "and the second one" stablefs replace "$mnt" 2 "$volume/member-2"
change three
check "both are rebuilt" all_active
check "nothing is damaged" expect_clean "$mnt"
check "a third one may fail now" stablefs fail "$mnt" 3
check "and a fourth one" stablefs fail "$mnt" 4
check "the rebuilt ones hold the data of the others" holds
check "the volume ends in order" unmount "$mnt"

done_testing
