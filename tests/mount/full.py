#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A filesystem that is full, of data or of names: each call works or fails with ENOSPC, what was
there stays as it is, and everything can be removed. Give it a small one (tens of MiB).
usage: full.py DIRECTORY [CASE...]"""

import errno
import mmap
import os

from checks import case, expect, fails_with, main

MIB = 1 << 20


def free_blocks():
    return os.statvfs(".").f_bfree


def settle():
    """What was removed is free when that is durable."""
    fd = os.open(".", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def write_all(fd, data):
    done = 0
    while done < len(data):
        done += os.write(fd, data[done:])


def fill(step):
    """Call it with 0, 1, 2 ... until it says ENOSPC. How often it worked."""
    n = 0
    try:
        while True:
            step(n)
            n += 1
    except OSError as err:
        expect(err.errno, errno.ENOSPC, "the error of a full filesystem")
    return n


def write_file(name, size, byte=b"d", sync=True):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY, 0o644)
    try:
        for at in range(0, size, MIB):
            write_all(fd, byte * min(MIB, size - at))
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def remove_tree():
    for top, dirs, files in os.walk(".", topdown=False):
        for name in files + [d for d in dirs if os.path.islink(os.path.join(top, d))]:
            os.unlink(os.path.join(top, name))
        for name in dirs:
            if not os.path.islink(os.path.join(top, name)):
                os.rmdir(os.path.join(top, name))


def comes_back(function):
    """All that the case took is free again once it is removed."""
    def wrapped():
        settle()
        before = free_blocks()
        function()
        remove_tree()
        settle()
        expect(free_blocks(), before, "free blocks once all is removed")
    wrapped.__name__ = function.__name__
    return wrapped


def fill_with_data():
    """To the last block, beside a file that is there already."""
    write_file("kept", 300000, b"k")
    fill(lambda n: write_file(f"big{n}", 4 * MIB))
    fill(lambda n: write_file(f"middling{n}", 128 << 10))
    fill(lambda n: write_file(f"small{n}", 4096))
    expect(free_blocks(), 0, "free blocks of a full filesystem")
    expect(os.statvfs(".").f_bavail, 0, "available ones")


def kept_is_whole():
    with open("kept", "rb") as f:
        expect(f.read(), b"k" * 300000, "the file that was there before")


@case
@comes_back
def data_goes_in_to_the_last_block():
    fill_with_data()
    kept_is_whole()


@case
@comes_back
def what_replaces_nothing_new_works_when_it_is_full():
    fill_with_data()
    fd = os.open("kept", os.O_RDWR)
    write_all(fd, b"K" * 300000)
    os.fsync(fd)
    os.ftruncate(fd, 1000)
    os.ftruncate(fd, 10 * MIB)
    os.close(fd)
    os.rename("kept", "renamed")
    os.chmod("renamed", 0o600)
    os.link("renamed", "linked")
    os.mkdir("dir")
    os.symlink("anywhere", "link")
    expect(os.stat("linked").st_nlink, 2)


@case
@comes_back
def what_needs_blocks_says_that_there_are_none():
    fill_with_data()
    with fails_with(errno.ENOSPC):
        write_file("new", 100000)
    with fails_with(errno.ENOSPC):
        fd = os.open("kept", os.O_RDWR | os.O_DIRECT)
        try:
            page = mmap.mmap(-1, 4096)
            os.pwrite(fd, page, 4 * MIB)
        finally:
            os.close(fd)
    fd = os.open("kept", os.O_RDWR)
    with fails_with(errno.ENOSPC):
        os.posix_fallocate(fd, 0, 4 * MIB)
    os.close(fd)
    kept = os.stat("kept")
    expect(kept.st_size >= 300000, True, "its size")
    with open("kept", "rb") as f:
        expect(f.read(300000), b"k" * 300000, "its first bytes")


@case
@comes_back
def a_store_through_a_mapping_that_finds_no_block_is_told_at_msync():
    fill_with_data()
    fd = os.open("sparse", os.O_CREAT | os.O_RDWR, 0o644)
    os.ftruncate(fd, MIB)
    mapping = mmap.mmap(fd, MIB)
    mapping[0:MIB] = b"m" * MIB
    with fails_with(errno.ENOSPC, errno.EIO):
        mapping.flush()
        os.fsync(fd)
    mapping.close()
    os.close(fd)


@case
@comes_back
def a_hole_that_is_punched_makes_room_for_others():
    fill_with_data()
    fd = os.open("kept", os.O_RDWR)
    with fails_with(errno.ENOSPC):
        write_file("more", 8192)
    os.ftruncate(fd, 0)
    os.fsync(fd)
    os.close(fd)
    write_file("room", 200000)


@case
@comes_back
def sparse_files_are_as_long_as_16_tib():
    fd = os.open("sparse", os.O_CREAT | os.O_RDWR, 0o644)
    os.ftruncate(fd, 16 << 40)
    os.pwrite(fd, b"far", (16 << 40) - 3)
    os.fsync(fd)
    expect(os.fstat(fd).st_size, 16 << 40)
    expect(os.fstat(fd).st_blocks, 8, "st_blocks")
    expect(os.pread(fd, 10, (16 << 40) - 5), b"\0\0far")
    os.close(fd)


# ---- names ----

def check_names_fill(make):
    """Until there is no room for more; then what is there can be changed and removed."""
    n = fill(make)
    expect(n > 100, True, f"{n} were made; more than 100")
    expect(os.statvfs(".").f_favail < 400, True,
           f"{os.statvfs('.').f_favail} more files; less than 400")
    remove_tree()
    settle()
    expect(fill(make) > n * 3 // 4, True, "as many can be made again")


@case
@comes_back
def long_names_fill_it():
    check_names_fill(lambda n: os.close(os.open(f"{n:0255}", os.O_CREAT | os.O_WRONLY)))


@case
@comes_back
def symlinks_fill_it():
    check_names_fill(lambda n: os.symlink("t" * 4000, f"link{n}"))


@case
@comes_back
def deep_trees_fill_it():
    def make(n):
        os.makedirs("/".join([f"{n}"] + ["d" * 200] * 12))
    check_names_fill(lambda n: [make(n * 100 + i) for i in range(1)] and None)


@case
@comes_back
def attributes_fill_it():
    def make(n):
        name = f"file{n // 8}"
        if n % 8 == 0:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
        os.setxattr(name, f"user.{n}", b"v" * 3500)
    check_names_fill(make)


@case
@comes_back
def without_room_for_names_data_and_what_is_there_can_still_be_changed():
    write_file("kept", 300000, b"k")
    fill(lambda n: os.close(os.open(f"{n:0255}", os.O_CREAT | os.O_WRONLY)))
    with fails_with(errno.ENOSPC):
        for i in range(1000):
            os.link("kept", f"{i}" + "l" * 240)
    with fails_with(errno.ENOSPC):
        for i in range(1000):
            os.setxattr("kept", f"user.{i}", b"v" * 60000)
    fd = os.open("kept", os.O_RDWR)
    write_all(fd, b"K" * 300000)
    os.fsync(fd)
    os.close(fd)
    os.chmod("kept", 0o600)
    os.truncate("kept", 100)
    os.unlink("kept")


if __name__ == "__main__":
    main()
