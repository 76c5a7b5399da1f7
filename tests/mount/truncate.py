#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sizes of files: truncate, ftruncate, O_TRUNC, limits, growth by many writers at once.

usage: truncate.py DIR [TEXT]. Right on any filesystem: run it on ext4 when in doubt about a case."""

import errno
import mmap
import os
import resource
import signal
import time

from cases import (PAGE, aligned, case, expect, expect_bytes, fails_with, in_child, in_children,
                   killed_by, main, opened, pattern)

LARGEST = (1 << 63) - 1


def size_of(path):
    return os.stat(path).st_size


@case
def a_shorter_file_has_lost_its_end(d):
    data = pattern(1, 20000)
    for size in (19999, 12288, 12287, 4097, 4096, 1, 0):
        (d / "f").write_bytes(data)
        os.truncate(d / "f", size)
        expect(size_of(d / "f"), size)
        expect_bytes((d / "f").read_bytes(), data[:size], f"{size} bytes")


@case
def a_longer_file_has_zeros_at_its_end(d):
    data = pattern(2, 5000)
    for size in (5001, 8192, 8193, 100_000, 3_000_000):
        (d / "f").write_bytes(data)
        os.truncate(d / "f", size)
        expect_bytes((d / "f").read_bytes(), data + bytes(size - 5000), f"{size} bytes")


@case
def the_same_size_changes_no_byte(d):
    data = pattern(3, 5000)
    (d / "f").write_bytes(data)
    os.truncate(d / "f", 5000)
    expect_bytes((d / "f").read_bytes(), data)


@case
def what_was_cut_off_does_not_come_back(d):
    """From the page cache, by direct I/O, written back in between or not, cut at every place."""
    data = pattern(4, 4 * PAGE)
    into = aligned(4 * PAGE)
    for number, cut in enumerate((1, 511, 512, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 100, 0)):
        for synced in (False, True):
            with opened(d / f"f{number}{synced}") as fd, \
                    opened(d / f"f{number}{synced}", os.O_RDWR | os.O_DIRECT) as direct:
                os.pwrite(fd, data, 0)
                if synced:
                    os.fsync(fd)
                os.ftruncate(fd, cut)
                os.ftruncate(fd, 4 * PAGE)
                want = data[:cut] + bytes(4 * PAGE - cut)
                expect(os.preadv(direct, [into], 0), 4 * PAGE)
                expect_bytes(into[:], want, f"direct, cut at {cut}, synced {synced}")
                expect_bytes(os.pread(fd, 4 * PAGE, 0), want, f"cached, cut at {cut}")


@case
def what_was_cut_off_does_not_come_back_with_a_write_behind_it(d):
    data = pattern(5, 3 * PAGE)
    for number, direct in enumerate((0, os.O_DIRECT)):
        with opened(d / f"f{number}") as fd, opened(d / f"f{number}", os.O_RDWR | direct) as far:
            os.pwrite(fd, data, 0)
            os.fsync(fd)
            os.ftruncate(fd, 1000)
            os.pwritev(far, [aligned(PAGE, b"x" * PAGE)], 5 * PAGE)
            want = data[:1000] + bytes(5 * PAGE - 1000) + b"x" * PAGE
            expect_bytes(os.pread(fd, 10 * PAGE, 0), want, f"O_DIRECT {bool(direct)}")
            into = aligned(8 * PAGE)
            with opened(d / f"f{number}", os.O_RDONLY | os.O_DIRECT) as fresh:
                expect(os.preadv(fresh, [into], 0), 6 * PAGE)
            expect_bytes(into[:6 * PAGE], want, "read directly")


@case
def stores_behind_the_end_in_a_mapping_stay_out_of_the_file(d):
    (d / "f").write_bytes(b"a" * 1000)
    with opened(d / "f") as fd, mmap.mmap(fd, 1000) as view:
        whole = (memoryview(view))
        address = mmap_address(view)
        import ctypes
        ctypes.memset(address + 1000, 0x7a, PAGE - 1000)
        whole[999] = 0x62
        view.flush()
        os.ftruncate(fd, 3000)
        expect_bytes(os.pread(fd, PAGE, 0), b"a" * 999 + b"b" + bytes(2000))
        whole.release()


def mmap_address(view):
    import ctypes
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


@case
def a_descriptor_that_only_reads_does_not_truncate(d):
    (d / "f").write_bytes(b"abc")
    with opened(d / "f", os.O_RDONLY) as fd, fails_with(errno.EINVAL, errno.EBADF):
        os.ftruncate(fd, 1)
    expect(size_of(d / "f"), 3)


@case
def what_is_no_file_is_not_truncated(d):
    with fails_with(errno.EISDIR):
        os.truncate(d, 0)
    os.mkfifo(d / "fifo")
    with fails_with(errno.EINVAL):
        os.truncate(d / "fifo", 0)
    with fails_with(errno.ENOENT):
        os.truncate(d / "none", 0)
    (d / "f").write_bytes(b"abc")
    with fails_with(errno.EINVAL):
        os.truncate(d / "f", -1)


@case
def a_file_that_is_open_and_has_no_name_is_truncated(d):
    data = pattern(6, 3 * PAGE)
    with opened(d / "f") as fd:
        os.pwrite(fd, data, 0)
        os.unlink(d / "f")
        os.ftruncate(fd, 5000)
        os.ftruncate(fd, 9000)
        expect(os.fstat(fd).st_size, 9000)
        expect_bytes(os.pread(fd, 20000, 0), data[:5000] + bytes(4000))


@case
def opening_with_o_trunc_empties_and_frees(d):
    with opened(d / "f") as old:
        os.pwrite(old, pattern(7, 200_000), 0)
        os.fsync(old)
        expect(os.fstat(old).st_blocks >= 200_000 // 512, True, "blocks before")
        with opened(d / "f", os.O_WRONLY | os.O_TRUNC):
            expect(os.fstat(old).st_size, 0)
            expect(os.fstat(old).st_blocks, 0)
        expect(os.pread(old, 100, 0), b"")


@case
def times_move_where_the_size_changes(d):
    (d / "f").write_bytes(b"abc")
    for size in (10, 4):
        os.utime(d / "f", ns=(10**18, 10**18))
        before = os.stat(d / "f").st_ctime_ns
        time.sleep(0.01)
        os.truncate(d / "f", size)
        after = os.stat(d / "f")
        expect(after.st_mtime_ns > 10**18, True, f"mtime with size {size}")
        expect(after.st_ctime_ns > before, True, f"ctime with size {size}")


@case
def sparse_files_take_no_space_and_are_all_zeros(d):
    tib16 = (16 << 40) - PAGE
    with opened(d / "f") as fd:
        os.ftruncate(fd, tib16)
        expect(os.fstat(fd).st_size, tib16)
        expect(os.fstat(fd).st_blocks, 0)
        expect_bytes(os.pread(fd, PAGE, tib16 - PAGE), bytes(PAGE))
        os.pwrite(fd, b"end", tib16 - 3)
        os.fsync(fd)
        expect(os.fstat(fd).st_blocks <= 64, True, f"{os.fstat(fd).st_blocks} blocks")
        expect_bytes(os.pread(fd, 100, tib16 - 10), bytes(7) + b"end")
        os.ftruncate(fd, tib16 - 1)
        expect_bytes(os.pread(fd, 100, tib16 - 10), bytes(7) + b"en")
        expect(os.lseek(fd, 0, os.SEEK_END), tib16 - 1)


@case
def what_is_too_large_is_efbig(d):
    with opened(d / "f") as fd, opened(d / "f", os.O_RDWR | os.O_DIRECT) as direct:
        largest = LARGEST
        while True:
            try:
                os.ftruncate(fd, largest)
                break
            except OSError as err:
                expect(err.errno, errno.EFBIG)
                largest >>= 1
        expect(largest + 1 >= 1 << 43, True, f"the largest size is {largest}")
        expect(os.fstat(fd).st_size, largest)
        os.ftruncate(fd, 0)
        with fails_with(errno.EFBIG, errno.EINVAL):
            os.pwrite(fd, b"x" * PAGE, LARGEST)
        with fails_with(errno.EFBIG, errno.EINVAL):
            os.pwritev(direct, [aligned(PAGE)], LARGEST & ~(PAGE - 1))
            os.pwritev(direct, [aligned(PAGE)], LARGEST)
        expect(os.preadv(direct, [aligned(PAGE)], 1 << 50), 0)


def limited(bytes_):
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


@case
def beyond_its_limit_a_program_gets_sigxfsz(d):
    def truncates():
        limited(10000)
        with opened(d / "t") as fd:
            os.ftruncate(fd, 10000)
            os.ftruncate(fd, 10001)

    def writes():
        limited(10000)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        with opened(d / "w") as fd:
            os.pwrite(fd, b"x", 10000)

    def allocates():
        limited(10000)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        with opened(d / "a") as fd:
            os.posix_fallocate(fd, 0, 20000)

    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    for what in (truncates, writes, allocates):
        expect(killed_by(what), signal.SIGXFSZ, what.__name__)
    expect(size_of(d / "t"), 10000)
    expect(size_of(d / "w"), 0)


@case
def with_sigxfsz_ignored_it_gets_efbig_and_what_fits_is_written(d):
    def program():
        limited(3 * 4096)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with opened(d / "f") as fd, opened(d / "g", os.O_RDWR | os.O_CREAT | os.O_DIRECT) as direct:
            with fails_with(errno.EFBIG):
                os.ftruncate(fd, 20000)
            expect(os.pwrite(fd, b"x" * 8192, 8192), 4096)
            with fails_with(errno.EFBIG):
                os.pwrite(fd, b"x", 3 * 4096)
            expect(os.pwritev(direct, [aligned(8192)], 8192), 4096)
            with fails_with(errno.EFBIG):
                os.pwritev(direct, [aligned(4096)], 3 * 4096)
    in_child(program)
    expect(size_of(d / "f"), 3 * 4096)
    expect(size_of(d / "g"), 3 * 4096)


@case
def sizes_go_up_and_down_under_parallel_writers(d):
    """Every byte is a zero or what some writer put at its place; the end is a true one."""
    size = 64 * PAGE
    path = d / "f"
    path.write_bytes(b"")
    stop = time.monotonic() + 1.0

    def stamp(page):
        return bytes([page + 1]) * PAGE

    def write(flags):
        data = [aligned(PAGE, stamp(page)) for page in range(64)]
        with opened(path, os.O_RDWR | flags) as fd:
            page = 0
            while time.monotonic() < stop:
                expect(os.pwritev(fd, [data[page]], page * PAGE), PAGE)
                page = (page * 5 + 1) % 64

    def resize():
        with opened(path, os.O_RDWR) as fd:
            at = 1
            while time.monotonic() < stop:
                at = at * 7919 % size
                os.ftruncate(fd, at)

    def read():
        into = aligned(size)
        with opened(path, os.O_RDONLY | os.O_DIRECT) as direct, opened(path, os.O_RDONLY) as fd:
            while time.monotonic() < stop:
                got = os.preadv(direct, [into], 0)
                check_pages(into[:got])
                check_pages(os.pread(fd, size, 0))

    def check_pages(data):
        for page in range(0, len(data), PAGE):
            part = data[page:page + PAGE]
            if part.strip(stamp(page // PAGE)[:1] + b"\0"):
                raise AssertionError(f"foreign bytes in page {page // PAGE}")

    in_children(lambda: write(os.O_DIRECT), lambda: write(0), resize, read)
    in_children(lambda: write(os.O_DIRECT), lambda: write(os.O_DIRECT), resize, read)
    check_pages(path.read_bytes())


if __name__ == "__main__":
    main()
