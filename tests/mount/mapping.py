#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mappings: what others see of them and they of others; the end of the file; copies in the kernel.

usage: mapping.py DIR [TEXT]. Right on any filesystem with 4 KiB pages: run it on ext4 when in
doubt about a case. Every pairing of ways to read and write is coherence.py's."""

import ctypes
import errno
import mmap
import os
import signal
import socket
import threading

from cases import (LIBC, PAGE, aligned, case, expect, expect_bytes, fails_with, in_child, killed_by,
                   libc, main, opened, pattern)

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
PAGES = 16
SIZE = PAGES * PAGE


def fallocate(fd, mode, offset, length):
    libc("fallocate", fd, mode, ctypes.c_long(offset), ctypes.c_long(length))


def address_of(view):
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def read_directly(path, offset=0, length=SIZE):
    """In another process, as one who has never seen the file."""
    with opened(path, os.O_RDONLY | os.O_DIRECT) as fd:
        into = aligned(length)
        return into[:os.preadv(fd, [into], offset)]


def write_directly(path, data, offset=0):
    with opened(path, os.O_WRONLY | os.O_DIRECT) as fd:
        expect(os.pwritev(fd, [aligned(len(data), data)], offset), len(data))


def filled(path, seed=1, length=SIZE):
    data = pattern(seed, length)
    path.write_bytes(data)
    return bytearray(data)


# --- what others see -----------------------------------------------------------------------------


@case
def stores_are_read_directly_by_another_process_at_once(d):
    model = filled(d / "f")
    with opened(d / "f") as fd, mmap.mmap(fd, SIZE) as view:
        for number in range(20):
            at = number * 3001 % (SIZE - 100)
            view[at:at + 100] = model[at:at + 100] = bytes([number + 1]) * 100
            in_child(lambda: expect_bytes(read_directly(d / "f"), model, f"store {number}"))


@case
def direct_writes_of_another_process_are_in_old_mappings_at_once(d):
    model = filled(d / "f")
    with opened(d / "f") as fd, mmap.mmap(fd, SIZE) as view, \
            mmap.mmap(fd, SIZE, prot=mmap.PROT_READ) as other:
        expect_bytes(view[:], model)
        expect_bytes(other[:], model)
        for number in range(20):
            at = number % PAGES * PAGE
            data = bytes([number + 1]) * PAGE
            in_child(lambda: write_directly(d / "f", data, at))
            model[at:at + PAGE] = data
            expect_bytes(view[:], model, f"write {number}")
            expect_bytes(other[:], model, f"write {number}, read-only")


@case
def a_store_beside_a_direct_write_of_a_part_of_its_page_loses_nothing(d):
    """512 bytes directly, its neighbours by stores, in turn."""
    model = filled(d / "f", length=PAGE)
    with opened(d / "f") as fd, mmap.mmap(fd, PAGE) as view:
        for number in range(16):
            data = bytes([number + 1]) * 512
            at, beside = number % 8 * 512, (number + 1) % 8 * 512
            view[beside:beside + 512] = model[beside:beside + 512] = data
            write_directly(d / "f", data, at)
            model[at:at + 512] = data
            expect_bytes(view[:], model, f"round {number}")
        view.flush()
    expect_bytes(read_directly(d / "f", 0, PAGE), model)


@case
def a_file_opened_for_direct_io_is_mapped_shared(d):
    model = filled(d / "f")
    with opened(d / "f", os.O_RDWR | os.O_DIRECT) as fd, mmap.mmap(fd, SIZE) as view:
        expect_bytes(view[:], model)
        view[5000:5010] = model[5000:5010] = b"0123456789"
        into = aligned(SIZE)
        expect(os.preadv(fd, [into], 0), SIZE)
        expect_bytes(into[:], model)
        os.pwritev(fd, [aligned(PAGE, b"d" * PAGE)], PAGE)
        model[PAGE:2 * PAGE] = b"d" * PAGE
        expect_bytes(view[:], model)
    expect_bytes((d / "f").read_bytes(), model)


@case
def a_private_mapping_keeps_its_stores_to_itself(d):
    model = filled(d / "f")
    for flags in (0, os.O_DIRECT):
        with opened(d / "f", os.O_RDWR | flags) as fd, \
                mmap.mmap(fd, SIZE, flags=mmap.MAP_PRIVATE) as view:
            view[100:200] = b"p" * 100
            expect_bytes(read_directly(d / "f"), model)
            data = pattern(7 + flags, PAGE)
            os.pwritev(fd, [aligned(PAGE, data)], 2 * PAGE)
            model[2 * PAGE:3 * PAGE] = data
            expect_bytes(view[2 * PAGE:], model[2 * PAGE:], "pages that were not stored into")
            expect_bytes(view[100:200], b"p" * 100)
        expect_bytes((d / "f").read_bytes(), model)


@case
def stores_of_a_mapping_whose_file_was_closed_arrive(d):
    model = filled(d / "f")
    fd = os.open(d / "f", os.O_RDWR)
    view = mmap.mmap(fd, SIZE)
    os.close(fd)
    view[7000:7004] = model[7000:7004] = b"late"
    expect_bytes(read_directly(d / "f"), model)
    view[8000:8004] = model[8000:8004] = b"last"
    view.close()
    expect_bytes(read_directly(d / "f"), model)


@case
def stores_into_a_file_without_a_name_stay_readable(d):
    model = filled(d / "f")
    with opened(d / "f") as fd, opened(d / "f", os.O_RDWR | os.O_DIRECT) as direct:
        with mmap.mmap(fd, SIZE) as view:
            os.unlink(d / "f")
            view[:4] = model[:4] = b"gone"
            into = aligned(SIZE)
            expect(os.preadv(direct, [into], 0), SIZE)
            expect_bytes(into[:], model)


# --- the end of the file -------------------------------------------------------------------------


@case
def behind_the_last_page_a_mapping_is_sigbus(d):
    filled(d / "f", length=SIZE)
    signal.signal(signal.SIGBUS, signal.SIG_DFL)
    with opened(d / "f") as fd, mmap.mmap(fd, SIZE) as view:
        def touch(at):
            return lambda: view[at]
        expect_bytes(view[:], pattern(1, SIZE))
        os.ftruncate(fd, 2 * PAGE + 10)
        expect(killed_by(touch(3 * PAGE)), signal.SIGBUS, "read behind it")
        expect(killed_by(lambda: view.__setitem__(5 * PAGE, 1)), signal.SIGBUS, "store behind it")
        expect(killed_by(touch(3 * PAGE - 1)), 0, "in the last page")
        expect_bytes(view[2 * PAGE + 10:3 * PAGE], bytes(PAGE - 10), "behind the end")
        os.ftruncate(fd, SIZE)
        expect_bytes(view[2 * PAGE + 10:], bytes(SIZE - 2 * PAGE - 10), "after growth")
        expect_bytes(view[:2 * PAGE + 10], pattern(1, SIZE)[:2 * PAGE + 10])


@case
def a_mapping_sees_a_file_grow_whichever_way(d):
    for number, grow in enumerate((
            lambda fd: os.ftruncate(fd, SIZE),
            lambda fd: os.pwrite(fd, b"\0", SIZE - 1),
            lambda fd: fallocate(fd, 0, 0, SIZE),
            lambda fd: write_directly(f"/proc/self/fd/{fd}", bytes(PAGE), SIZE - PAGE))):
        (d / f"f{number}").write_bytes(b"abc")
        with opened(d / f"f{number}") as fd, grown_later(fd, grow) as view:
            expect_bytes(view[:10], b"abc" + bytes(7))
            view[SIZE - PAGE] = 0x7a
            expect_bytes(os.pread(fd, 1, SIZE - PAGE), b"z")


def grown_later(fd, grow):
    """Python does not map behind the end: the mapping is made while the file was that long once."""
    os.ftruncate(fd, SIZE)
    view = mmap.mmap(fd, SIZE)
    os.ftruncate(fd, 3)
    grow(fd)
    return view


# --- holes ---------------------------------------------------------------------------------------


@case
def a_hole_under_a_mapping_reads_as_zeros_everywhere(d):
    for mode in (KEEP_SIZE | PUNCH_HOLE, ZERO_RANGE):
        for dirty in (False, True):
            model = filled(d / "f")
            with opened(d / "f") as fd, mmap.mmap(fd, SIZE) as view:
                expect_bytes(view[:], model)
                if dirty:
                    view[:] = bytes(model)
                begin, end = PAGE + 100, 5 * PAGE + 50
                fallocate(fd, mode, begin, end - begin)
                model[begin:end] = bytes(end - begin)
                expect_bytes(view[:], model, "mapped")
                expect_bytes(read_directly(d / "f"), model, "read directly")
                expect_bytes(os.pread(fd, SIZE, 0), model, "cached")
                view[3 * PAGE] = model[3 * PAGE] = 9
                view.flush()
            expect_bytes(read_directly(d / "f"), model, "after a store into it")


@case
def stores_into_a_hole_and_into_preallocated_space_allocate_it(d):
    with opened(d / "f") as fd:
        os.ftruncate(fd, SIZE)
        fallocate(fd, KEEP_SIZE, 8 * PAGE, 8 * PAGE)
        with mmap.mmap(fd, SIZE) as view:
            expect_bytes(view[:], bytes(SIZE))
            view[PAGE + 5] = view[9 * PAGE + 5] = 7
            view.flush()
        want = bytearray(SIZE)
        want[PAGE + 5] = want[9 * PAGE + 5] = 7
        expect_bytes(read_directly(d / "f"), want)
        expect(os.fstat(fd).st_blocks, 9 * 8)


# --- advice --------------------------------------------------------------------------------------


@case
def pages_that_are_not_needed_are_dropped_and_nothing_is_lost(d):
    model = filled(d / "f")
    with opened(d / "f") as fd, mmap.mmap(fd, SIZE) as view:
        view[3000:3010] = model[3000:3010] = b"d" * 10
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        expect_bytes(os.pread(fd, SIZE, 0), model)
        view.madvise(mmap.MADV_DONTNEED)
        expect_bytes(view[:], model)
        for advice in (os.POSIX_FADV_SEQUENTIAL, os.POSIX_FADV_RANDOM, os.POSIX_FADV_WILLNEED,
                       os.POSIX_FADV_NOREUSE, os.POSIX_FADV_NORMAL):
            os.posix_fadvise(fd, 0, SIZE, advice)
        libc("readahead", fd, ctypes.c_long(0), ctypes.c_size_t(SIZE), result=ctypes.c_ssize_t)
        for advice in (mmap.MADV_WILLNEED, mmap.MADV_SEQUENTIAL, mmap.MADV_RANDOM, mmap.MADV_NORMAL,
                       mmap.MADV_DONTFORK, mmap.MADV_DOFORK):
            view.madvise(advice)
        expect_bytes(view[:], model)
    os.posix_fadvise(os.open(d / "f", os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)
    expect_bytes((d / "f").read_bytes(), model)


@case
def madv_remove_punches_a_hole(d):
    model = filled(d / "f")
    with opened(d / "f") as fd, mmap.mmap(fd, SIZE) as view:
        view.madvise(mmap.MADV_REMOVE, 2 * PAGE, 3 * PAGE)
        model[2 * PAGE:5 * PAGE] = bytes(3 * PAGE)
        expect_bytes(view[:], model)
    expect_bytes(read_directly(d / "f"), model)


@case
def a_mapping_that_moves_and_grows_stays_one_of_the_file(d):
    model = filled(d / "f")
    libc_mmap = dict(result=ctypes.c_void_p)
    with opened(d / "f") as fd:
        at = libc("mmap", None, ctypes.c_size_t(2 * PAGE), 3, 1, fd, ctypes.c_long(0), **libc_mmap)
        ctypes.memset(at + 5, 0x6d, 10)
        model[5:15] = b"m" * 10
        at = libc("mremap", ctypes.c_void_p(at), ctypes.c_size_t(2 * PAGE), ctypes.c_size_t(SIZE), 1,
                  **libc_mmap)
        expect_bytes(ctypes.string_at(at, SIZE), model)
        ctypes.memset(at + 5 * PAGE, 0x6e, 10)
        model[5 * PAGE:5 * PAGE + 10] = b"n" * 10
        expect_bytes(read_directly(d / "f"), model)
        LIBC.munmap(ctypes.c_void_p(at), ctypes.c_size_t(SIZE))


@case
def msync_makes_stores_of_its_range_durable_and_checks_it(d):
    filled(d / "f")
    with opened(d / "f") as fd, mmap.mmap(fd, SIZE) as view:
        view[:4] = b"sync"
        view.flush(0, PAGE)
        at = address_of(view)
        for flags in (1, 2, 4):  # MS_ASYNC, MS_INVALIDATE, MS_SYNC
            libc("msync", ctypes.c_void_p(at), ctypes.c_size_t(SIZE), flags)
        with fails_with(errno.EINVAL):
            libc("msync", ctypes.c_void_p(at + 1), ctypes.c_size_t(10), 4)
        with fails_with(errno.ENOMEM):
            libc("msync", ctypes.c_void_p(PAGE), ctypes.c_size_t(PAGE), 4)


@case
def two_processes_share_a_mapping(d):
    filled(d / "f", length=PAGE)
    with opened(d / "f") as fd, mmap.mmap(fd, PAGE) as view:
        view[:8] = bytes(8)

        def other():
            with opened(d / "f") as mine, mmap.mmap(mine, PAGE) as its:
                its[0] = 1
                while its[1] != 1:
                    pass
                its[2] = 1
        thread = threading.Thread(target=lambda: in_child(other))
        thread.start()
        while view[0] != 1:
            pass
        view[1] = 1
        thread.join()
        expect(view[2], 1)


# --- copies in the kernel ------------------------------------------------------------------------


def splice(fd_in, fd_out, length, offset_in=None, offset_out=None):
    def pointer(value):
        return None if value is None else ctypes.byref(ctypes.c_longlong(value))
    return libc("splice", fd_in, pointer(offset_in), fd_out, pointer(offset_out),
                ctypes.c_size_t(length), 0, result=ctypes.c_ssize_t)


@case
def splice_and_tee_move_what_is_in_the_file(d):
    for flags in (0, os.O_DIRECT):
        model = filled(d / "f", 3, 8 * PAGE)
        with opened(d / "f", os.O_RDWR | flags) as fd, \
                opened(d / "g", os.O_RDWR | os.O_CREAT | os.O_TRUNC | flags) as out:
            read_end, write_end = os.pipe()
            read_two, write_two = os.pipe()
            moved = 0
            while moved < len(model):
                got = splice(fd, write_end, len(model) - moved, offset_in=moved)
                libc("tee", read_end, write_two, ctypes.c_size_t(got), 0, result=ctypes.c_ssize_t)
                put = 0
                while put < got:
                    put += splice(read_end, out, got - put, offset_out=moved + put)
                expect_bytes(os.read(read_two, 1 << 20), model[moved:moved + got], "tee")
                moved += got
            for end in (read_end, write_end, read_two, write_two):
                os.close(end)
        expect_bytes((d / "g").read_bytes(), model, f"flags {flags}")


@case
def sendfile_goes_to_sockets_and_files_from_either_kind_of_open(d):
    for flags in (0, os.O_DIRECT):
        model = filled(d / "f", 4, 300 * 1024)
        with opened(d / "f", os.O_RDONLY | flags) as fd:
            one, two = socket.socketpair()
            got = bytearray()

            def receive():
                while len(got) < len(model):
                    got.extend(two.recv(65536))
            thread = threading.Thread(target=receive)
            thread.start()
            sent = 0
            while sent < len(model):
                sent += os.sendfile(one.fileno(), fd, sent, len(model) - sent)
            thread.join()
            expect_bytes(got, model)


@case
def copy_file_range_copies_within_and_between_files(d):
    model = filled(d / "f", 5, 25 * PAGE)
    for flags in (0, os.O_DIRECT):
        with opened(d / "f", os.O_RDONLY | flags) as fd, \
                opened(d / f"g{flags}", os.O_RDWR | os.O_CREAT) as out:
            done = 0
            while done < len(model):
                done += os.copy_file_range(fd, out, len(model) - done, done, done)
            expect_bytes(os.pread(out, 200_000, 0), model)
            expect(os.copy_file_range(fd, out, PAGE, 25 * PAGE, 0), 0, "at the end")
    with opened(d / "f") as fd:
        expect(os.copy_file_range(fd, fd, 10_000, 1, 50_000), 10_000)
        model[50_000:60_000] = model[1:10_001]
        expect_bytes(os.pread(fd, 200_000, 0), model)
        with fails_with(errno.EINVAL):
            os.copy_file_range(fd, fd, 10_000, 0, 5_000)
    with opened(d / "f", os.O_RDWR) as fd, opened(d / "g", os.O_WRONLY | os.O_CREAT) as out:
        with fails_with(errno.EBADF):
            os.copy_file_range(out, fd, 10)
        with fails_with(errno.EINVAL):
            libc("copy_file_range", fd, None, out, None, ctypes.c_size_t(10), 1,
                 result=ctypes.c_ssize_t)
    with opened(d, os.O_RDONLY) as fd, opened(d / "g") as out, fails_with(errno.EISDIR):
        os.copy_file_range(fd, out, 10)


@case
def what_is_dirty_is_copied_too(d):
    model = filled(d / "f", 6)
    with opened(d / "f") as fd, mmap.mmap(fd, SIZE) as view, opened(d / "g") as out:
        view[100:110] = model[100:110] = b"dirty page"
        expect(os.copy_file_range(fd, out, SIZE, 0, 0), SIZE)
    expect_bytes(read_directly(d / "g"), model)


@case
def a_clone_is_refused_clearly(d):
    import fcntl
    filled(d / "f")
    with opened(d / "f") as fd, opened(d / "g") as out:
        try:
            fcntl.ioctl(out, 0x40049409, fd)  # FICLONE
        except OSError as err:
            expect(err.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL), True, str(err))
            expect(os.fstat(out).st_size, 0)
            return
        expect_bytes(os.pread(out, SIZE, 0), pattern(1, SIZE))


if __name__ == "__main__":
    main()
