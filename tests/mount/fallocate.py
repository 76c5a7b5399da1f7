#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fallocate in its modes, SEEK_DATA and SEEK_HOLE, st_blocks.

usage: fallocate.py DIR [TEXT]. Right on any filesystem with 4 KiB blocks that has all of these
modes: run it on ext4 when in doubt about a case."""

import ctypes
import errno
import mmap
import os
import random
import time

from cases import (PAGE, aligned, case, expect, expect_bytes, fails_with, libc, main, opened,
                   pattern)

KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE, INSERT, UNSHARE = 1, 2, 8, 16, 32, 64
MIB = 1 << 20


def fallocate(fd, mode, offset, length):
    libc("fallocate", fd, mode, ctypes.c_long(offset), ctypes.c_long(length))


def blocks(fd):
    """In KiB, of what is stored."""
    os.fsync(fd)
    return os.fstat(fd).st_blocks // 2


@case
def allocated_space_reads_as_zeros_and_counts(d):
    with opened(d / "f") as fd:
        fallocate(fd, 0, 0, MIB)
        expect(os.fstat(fd).st_size, MIB)
        expect(blocks(fd), 1024)
        expect_bytes(os.pread(fd, 2 * MIB, 0), bytes(MIB))
        into = aligned(MIB, b"x" * MIB)
        with opened(d / "f", os.O_RDONLY | os.O_DIRECT) as direct:
            expect(os.preadv(direct, [into], 0), MIB)
        expect_bytes(into[:], bytes(MIB))


@case
def writing_into_it_costs_nothing_more(d):
    free = os.statvfs(d).f_bfree
    with opened(d / "f") as fd, opened(d / "f", os.O_RDWR | os.O_DIRECT) as direct:
        fallocate(fd, 0, 0, 4 * MIB)
        after = os.statvfs(d).f_bfree
        expect(free - after >= 1024, True, f"{free - after} blocks taken")
        os.pwrite(fd, pattern(1, MIB), 0)
        os.pwritev(direct, [aligned(MIB, pattern(2, MIB))], 2 * MIB)
        os.pwrite(fd, b"x", 3 * MIB + 100)
        expect(blocks(fd), 4096)
        expect(abs(os.statvfs(d).f_bfree - after) < 256, True, "free space")
        expect_bytes(os.pread(fd, 4 * MIB, 0), pattern(1, MIB) + bytes(MIB) + pattern(2, MIB)
                     + bytes(100) + b"x" + bytes(MIB - 101))


@case
def data_that_is_there_stays(d):
    data = pattern(3, 100_000)
    with opened(d / "f") as fd:
        os.pwrite(fd, data, 50_000)
        fallocate(fd, 0, 0, 200_000)
        expect_bytes(os.pread(fd, 300_000, 0), bytes(50_000) + data + bytes(50_000))


@case
def keep_size_allocates_behind_the_end_and_leaves_it(d):
    with opened(d / "f") as fd:
        os.pwrite(fd, b"abc", 0)
        fallocate(fd, KEEP_SIZE, 0, MIB)
        expect(os.fstat(fd).st_size, 3)
        expect(blocks(fd), 1024)
        expect(os.pread(fd, 100, 0), b"abc")
        os.pwrite(fd, b"def", 500_000)
        expect_bytes(os.pread(fd, MIB, 0), b"abc" + bytes(500_000 - 3) + b"def")
        expect(blocks(fd), 1024)
        os.ftruncate(fd, MIB)
        expect_bytes(os.pread(fd, MIB, 500_003), bytes(MIB - 500_003))
        os.ftruncate(fd, 3)
        expect(blocks(fd), 4)


@case
def a_file_grows_across_space_behind_its_end(d):
    for number, flags in enumerate((0, os.O_DIRECT)):
        with opened(d / f"f{number}", os.O_RDWR | os.O_CREAT | flags) as fd:
            fallocate(fd, KEEP_SIZE, 0, 64 * PAGE)
            want = bytearray()
            for page in range(0, 40, 5):
                os.pwritev(fd, [aligned(PAGE, bytes([page + 1]) * PAGE)], page * PAGE)
                want[len(want):] = bytes(page * PAGE - len(want)) + bytes([page + 1]) * PAGE
            expect(os.fstat(fd).st_size, len(want))
            with opened(d / f"f{number}", os.O_RDONLY) as fresh:
                expect_bytes(os.pread(fresh, 64 * PAGE, 0), want)


@case
def a_punched_hole_reads_as_zeros_at_every_offset(d):
    size = 8 * PAGE
    data = pattern(4, size)
    rng = random.Random(4)
    edges = [0, 1, 511, 512, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE + 7, 7 * PAGE, size - 1,
             size]
    into = aligned(size)
    for number in range(40):
        begin, end = sorted(rng.sample(edges, 2))
        with opened(d / "f", os.O_RDWR | os.O_CREAT | os.O_TRUNC) as fd, \
                opened(d / "f", os.O_RDWR | os.O_DIRECT) as direct:
            os.pwrite(fd, data, 0)
            if number % 2:
                os.fsync(fd)
            fallocate(fd, KEEP_SIZE | PUNCH_HOLE, begin, end - begin)
            want = data[:begin] + bytes(end - begin) + data[end:]
            if number % 4 < 2:
                expect_bytes(os.pread(fd, size, 0), want, f"cached, [{begin}, {end})")
            expect(os.preadv(direct, [into], 0), size)
            expect_bytes(into[:], want, f"direct, [{begin}, {end})")
            expect_bytes(os.pread(fd, size, 0), want, f"cached afterwards, [{begin}, {end})")


@case
def a_hole_gives_its_blocks_back(d):
    with opened(d / "f") as fd:
        os.pwrite(fd, pattern(5, MIB), 0)
        expect(blocks(fd), 1024)
        fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 100 * 1024 + 1, 200 * 1024)
        expect(blocks(fd), 1024 - 196)
        expect(os.fstat(fd).st_size, MIB)
        fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 0, 100 * MIB)
        expect(blocks(fd), 0)
        expect(os.fstat(fd).st_size, MIB)


@case
def a_hole_behind_the_end_frees_what_was_allocated_there(d):
    with opened(d / "f") as fd:
        os.pwrite(fd, b"a" * 5000, 0)
        fallocate(fd, KEEP_SIZE, 0, MIB)
        fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 4096, MIB)
        expect(os.fstat(fd).st_size, 5000)
        expect(blocks(fd) < 1024, True, f"{blocks(fd)} KiB")  # ext4 stops at the end
        expect_bytes(os.pread(fd, 10000, 0), b"a" * 4096 + bytes(904))


@case
def a_zeroed_range_is_zeros_and_stays_allocated(d):
    size = 8 * PAGE
    data = pattern(6, size)
    for begin, end in ((0, size), (1, 2), (100, PAGE + 100), (PAGE, 3 * PAGE), (5 * PAGE + 1, size)):
        for synced in (False, True):
            with opened(d / "f", os.O_RDWR | os.O_CREAT | os.O_TRUNC) as fd:
                os.pwrite(fd, data, 0)
                if synced:
                    os.fsync(fd)
                fallocate(fd, ZERO_RANGE, begin, end - begin)
                want = data[:begin] + bytes(end - begin) + data[end:]
                expect_bytes(os.pread(fd, 2 * size, 0), want, f"[{begin}, {end})")
                expect(blocks(fd), 32)


@case
def a_zeroed_range_behind_the_end_grows_the_file_unless_its_size_is_kept(d):
    with opened(d / "f") as fd:
        os.pwrite(fd, b"abcdef", 0)
        fallocate(fd, ZERO_RANGE | KEEP_SIZE, 3, 100_000)
        expect_bytes(os.pread(fd, 200_000, 0), b"abc\0\0\0")
        expect(blocks(fd), 100)
        fallocate(fd, ZERO_RANGE, 5, 200_000)
        expect_bytes(os.pread(fd, 300_000, 0), b"abc" + bytes(200_002))
        expect(os.fstat(fd).st_size, 200_005)


@case
def dirty_pages_of_a_mapping_are_in_a_hole_or_a_zeroed_range_no_more(d):
    for number, mode in enumerate((KEEP_SIZE | PUNCH_HOLE, ZERO_RANGE)):
        with opened(d / f"f{number}") as fd:
            os.ftruncate(fd, 8 * PAGE)
            with mmap.mmap(fd, 8 * PAGE) as view:
                view[:] = b"m" * (8 * PAGE)
                fallocate(fd, mode, PAGE + 10, 4 * PAGE)
                want = b"m" * (PAGE + 10) + bytes(4 * PAGE) + b"m" * (3 * PAGE - 10)
                expect_bytes(view[:], want, "in the mapping")
                view.flush()
            into = aligned(8 * PAGE)
            with opened(d / f"f{number}", os.O_RDONLY | os.O_DIRECT) as direct:
                expect(os.preadv(direct, [into], 0), 8 * PAGE)
            expect_bytes(into[:], want, "read directly")


@case
def other_modes_are_refused_and_change_nothing(d):
    with opened(d / "f") as fd:
        os.pwrite(fd, b"abc", 0)
        for mode in (PUNCH_HOLE, 0x400, PUNCH_HOLE | ZERO_RANGE | KEEP_SIZE, COLLAPSE | KEEP_SIZE,
                     INSERT | KEEP_SIZE):
            with fails_with(errno.EOPNOTSUPP, errno.EINVAL):
                fallocate(fd, mode, 0, PAGE)
        with fails_with(errno.EINVAL):
            fallocate(fd, 0, 0, 0)
        with fails_with(errno.EINVAL):
            fallocate(fd, 0, -1, 10)
        with fails_with(errno.EFBIG):
            fallocate(fd, 0, (1 << 63) - 1, 1)
        expect(os.fstat(fd).st_size, 3)
        expect(os.pread(fd, 10, 0), b"abc")
    with opened(d / "f", os.O_RDONLY) as fd, fails_with(errno.EBADF):
        fallocate(fd, 0, 0, PAGE)
    with opened(d, os.O_RDONLY) as fd, fails_with(errno.EBADF, errno.EISDIR):
        fallocate(fd, 0, 0, PAGE)


@case
def times_move(d):
    with opened(d / "f") as fd:
        os.pwrite(fd, b"a" * 3 * PAGE, 0)
        os.fsync(fd)
        for mode in (0, KEEP_SIZE | PUNCH_HOLE, ZERO_RANGE):
            os.utime(fd, ns=(10**18, 10**18))
            before = os.fstat(fd).st_ctime_ns
            time.sleep(0.01)
            fallocate(fd, mode, 0, 10 * PAGE)
            expect(os.fstat(fd).st_ctime_ns > before, True, f"ctime after mode {mode}")
            expect(os.fstat(fd).st_mtime_ns > 10**18, True, f"mtime after mode {mode}")


@case
def an_unlinked_file_is_allocated_and_gives_it_back(d):
    free = os.statvfs(d).f_bfree
    with opened(d / "f") as fd:
        os.unlink(d / "f")
        fallocate(fd, 0, 0, 8 * MIB)
        expect(blocks(fd), 8192)
        os.ftruncate(fd, 0)
        expect(blocks(fd), 0)
    deadline = time.monotonic() + 20
    while free - os.statvfs(d).f_bfree > 256 and time.monotonic() < deadline:
        time.sleep(0.05)
    expect(free - os.statvfs(d).f_bfree <= 256, True, "free space")


# --- where data is -------------------------------------------------------------------------------


def layout(fd):
    """The runs of data and where each ends."""
    at, end, runs = 0, os.fstat(fd).st_size, []
    while at < end:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as err:
            expect(err.errno, errno.ENXIO)
            break
        at = os.lseek(fd, begin, os.SEEK_HOLE)
        runs.append((begin, at))
    return runs


@case
def data_is_found_where_it_was_written_by_whichever_way(d):
    for name, way in (("dirty", 0), ("synced", 0), ("direct", os.O_DIRECT), ("mapped", 0)):
        with opened(d / name, os.O_RDWR | os.O_CREAT | way) as fd:
            os.ftruncate(fd, 40 * PAGE)
            if name == "mapped":
                with mmap.mmap(fd, 40 * PAGE) as view:
                    for page in (3, 4, 20):
                        view[page * PAGE] = 1
                    expect(layout(fd), [(3 * PAGE, 5 * PAGE), (20 * PAGE, 21 * PAGE)], name)
                continue
            for page in (3, 4, 20):
                os.pwritev(fd, [aligned(PAGE, b"x" * PAGE)], page * PAGE)
            if name == "synced":
                os.fsync(fd)
            expect(layout(fd), [(3 * PAGE, 5 * PAGE), (20 * PAGE, 21 * PAGE)], name)


@case
def a_file_of_holes_has_no_data_and_a_full_one_ends_in_a_hole(d):
    with opened(d / "f") as fd:
        os.ftruncate(fd, MIB)
        with fails_with(errno.ENXIO):
            os.lseek(fd, 0, os.SEEK_DATA)
        expect(os.lseek(fd, 100, os.SEEK_HOLE), 100)
        os.pwrite(fd, b"x" * MIB, 0)
        expect(os.lseek(fd, 100, os.SEEK_DATA), 100)
        expect(os.lseek(fd, 0, os.SEEK_HOLE), MIB)
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            with fails_with(errno.ENXIO):
                os.lseek(fd, MIB, whence)
            with fails_with(errno.ENXIO):
                os.lseek(fd, MIB + 5, whence)
            with fails_with(errno.ENXIO):
                os.lseek(fd, -1, whence)
        expect(os.lseek(fd, 0, os.SEEK_CUR), MIB)
    with opened(d / "empty") as fd, fails_with(errno.ENXIO):
        os.lseek(fd, 0, os.SEEK_HOLE)


@case
def a_hole_is_found_after_it_was_punched(d):
    with opened(d / "f") as fd:
        os.pwrite(fd, b"x" * 16 * PAGE, 0)
        fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 4 * PAGE, 4 * PAGE)
        expect(layout(fd), [(0, 4 * PAGE), (8 * PAGE, 16 * PAGE)])
        os.pwrite(fd, b"y", 5 * PAGE + 7)
        expect(layout(fd), [(0, 4 * PAGE), (5 * PAGE, 6 * PAGE), (8 * PAGE, 16 * PAGE)])
        os.ftruncate(fd, 9 * PAGE + 1)
        expect(layout(fd), [(0, 4 * PAGE), (5 * PAGE, 6 * PAGE), (8 * PAGE, 9 * PAGE + 1)])


@case
def a_sparse_copy_by_its_data_is_the_same_file(d):
    rng = random.Random(9)
    model = bytearray(256 * PAGE)
    with opened(d / "f") as fd, opened(d / "g") as copy:
        os.ftruncate(fd, len(model))
        for _ in range(40):
            page, count = rng.randrange(250), rng.randrange(1, 6)
            data = rng.randbytes(count * PAGE)
            mode = rng.randrange(3)
            if mode == 0:
                os.pwrite(fd, data, page * PAGE)
                model[page * PAGE:page * PAGE + len(data)] = data
            elif mode == 1:
                fallocate(fd, KEEP_SIZE | PUNCH_HOLE, page * PAGE, len(data))
                model[page * PAGE:page * PAGE + len(data)] = bytes(len(data))
            else:
                fallocate(fd, KEEP_SIZE, page * PAGE, len(data))
        os.ftruncate(copy, len(model))
        for begin, end in layout(fd):
            os.pwrite(copy, os.pread(fd, end - begin, begin), begin)
    expect_bytes((d / "g").read_bytes(), model)
    expect_bytes((d / "f").read_bytes(), model)


if __name__ == "__main__":
    main()
