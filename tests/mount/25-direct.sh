#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Direct I/O by every engine: all sizes at depth 256, past the end, into holes and what is
# preallocated, extending side by side; and what of a large write is told where a part of it fails.
. "$(dirname "$0")/lib.sh"

volume=$scratch/volume
mnt=$scratch/mnt
fio_seed=${SEED:-4711}
diag "fio seed $fio_seed (SEED=$fio_seed replays it)"

# of_512_to_1m ENGINE OPTION...: 256 under way, written, then verified.
of_512_to_1m() {
	limit 120 fio --name=deep --filename="$mnt/deep" --size="$(slow_or 12 6)m" --direct=1 \
		--ioengine="$1" --iodepth=256 --rw=randwrite --bsrange=512-1m --blockalign=512 \
		--bssplit=512/30:4k/30:10k/20:100k/15:1m/5 --verify=crc32c --verify_fatal=1 \
		--verify_state_save=0 --randseed="$fio_seed" --allrandrepeat=1 --end_fsync=1 \
		--output-format=terse --aux-path="$scratch" "${@:2}" && rm "$mnt/deep"
}

# Until the volume is full, 16 MiB a call: each byte that was counted is there, and no other.
counts_are_right_until_it_is_full() {
	python3 - "$mnt/full" <<'PY'
import errno, mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_DIRECT)
data = mmap.mmap(-1, 16 << 20)
space = os.fstatvfs(fd).f_bavail * 4096
os.posix_fallocate(os.open(sys.argv[1] + ".rest", os.O_RDWR | os.O_CREAT), 0, space % len(data) + (5 << 20))
done, sizes = 0, set()
while True:
    data[:] = b"".join(i.to_bytes(8, "little") for i in range(done >> 9, (done >> 9) + len(data) // 512)
                       for _ in range(64))
    try:
        n = os.pwritev(fd, [data], done)
    except OSError as err:
        assert err.errno == errno.ENOSPC, err
        break
    assert n > 0 and n % 512 == 0, n
    sizes.add(n)
    done += n
assert os.fstat(fd).st_size == done, (os.fstat(fd).st_size, done)
assert any(n < len(data) for n in sizes), sizes
at = 0
while at < done:
    n = os.preadv(fd, [data], at)
    for i in range(0, n, 512):
        assert data[i:i + 8] == ((at + i) >> 9).to_bytes(8, "little"), at + i
    at += n
assert at == done
PY
	local status=$?
	rm -f "$mnt"/full*
	return "$status"
}

# The third MiB of four cannot be stored.
a_part_that_fails_is_not_counted() {
	head -c 4M /dev/zero | dd of="$mnt/part" bs=1M oflag=direct iflag=fullblock status=none &&
		sync "$mnt/part" &&
		stablefs inject "$mnt" 'write-error file=/part offset=2560K len=4K' || return
	python3 - "$mnt/part" <<'PY'
import errno, mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
data = mmap.mmap(-1, 4 << 20)
data[:] = b"n" * len(data)
n = os.pwritev(fd, [data], 0)
assert n == 2 << 20, n
try:
    n = os.pwritev(fd, [memoryview(data)[n:]], n)
    sys.exit(f"the rest was written: {n}")
except OSError as err:
    assert err.errno == errno.EIO, err
PY
	local status=$?
	stablefs inject --disarm=all "$mnt" && ((status == 0)) &&
		cmp -n $((2 << 20)) "$mnt/part" <(head -c 2M /dev/zero | tr '\0' n)
}

# Synchronous writes, growing and in place, until the power goes: those that were answered are there.
synchronous_writes_survive_a_power_cut() {
	local way
	for way in O_DSYNC O_SYNC RWF_DSYNC; do
		rm -f "$mnt/sync" && head -c 64K /dev/zero >"$mnt/sync" && sync "$mnt/sync" &&
			stablefs inject "$mnt" --seed=7 'power-cut skip=40' || return
		written=$(python3 - "$mnt/sync" "$way" <<'PY'
import mmap, os, sys
way = sys.argv[2]
flags = 0 if way == "RWF_DSYNC" else getattr(os, way)
fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT | flags)
data, n = mmap.mmap(-1, 4096), 0
try:
    while n < 1000:
        data[:] = (n + 1).to_bytes(4, "little") * 1024
        os.pwritev(fd, [data], n * 4096, os.RWF_DSYNC if way == "RWF_DSYNC" else 0)
        n += 1
except OSError:
    pass
print(n)
PY
		)
		((written > 3 && written < 1000)) || { echo "$way: $written written"; return 1; }
		kill_daemon "$mnt"
		mount_volume -o inject "$scratch/one" "$mnt" || return
		python3 - "$mnt/sync" "$written" <<'PY' || { echo "$way: $written written"; return 1; }
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
for n in range(int(sys.argv[2])):
    want = (n + 1).to_bytes(4, "little") * 1024
    assert os.pread(fd, 4096, n * 4096) == want, f"record {n} is not there"
PY
	done
}

check "a raid5 volume with t10 is created" mk_volume --level raid5 --members 4 --pi t10 --size 192M "$volume" ||
	done_testing
check "it is mounted" mount_volume "$volume" "$mnt" || done_testing
mkdir "$mnt/all"
subtests "$(helper direct_io)" "$mnt/all"
rm -rf "$mnt/all"
check "libaio, 256 at once, verified" of_512_to_1m libaio
check "io_uring with registered files and buffers, 256 at once, verified" \
	of_512_to_1m io_uring --fixedbufs --registerfiles
check "what is counted of large writes is there when the volume is full" \
	counts_are_right_until_it_is_full
check "it is unmounted" unmount "$mnt"
check "a scrub finds nothing" expect_clean "$volume"
for options in dio=zerocopy dio=bounce,writethrough; do
	texts=("io_uring: 256" "io_uring: extending" "io_uring: 1024")
	[[ $options == dio=zerocopy ]] || texts=("psync: reads" "psync: a hole" "psync: without")
	check "it is mounted with $options" mount_volume -o "$options" "$volume" "$mnt" || done_testing
	mkdir "$mnt/$options"
	subtests "$(helper direct_io)" "$mnt/$options" "${texts[@]}"
	check "it is unmounted with $options" unmount "$mnt"
done
check "a scrub finds nothing still" expect_clean "$volume"

check "a volume of one member is created" mk_volume --level single --size 64M "$scratch/one" || done_testing
check "it is mounted with -o inject" mount_volume -o inject "$scratch/one" "$mnt" || done_testing
check "synchronous writes that were answered survive a power cut" synchronous_writes_survive_a_power_cut
check "of a write whose third part fails two are counted" a_part_that_fails_is_not_counted
check "it is unmounted" unmount "$mnt"

done_testing
