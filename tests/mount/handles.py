#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a file is known by and what is known of it: handles, statx, listings, statfs.

usage: handles.py DIR [TEXT]		cases; right on any filesystem that has handles
       handles.py --take DIR FILE	handles of what is in DIR, into FILE
       handles.py --open DIR FILE	they lead to what they were taken of"""

import ctypes
import errno
import json
import os
import stat
import struct
import sys
import time

from cases import LIBC, case, expect, fails_with, in_children, libc, main, opened, pattern

AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW = -100, 0x1000, 0x100
STATX_BASIC_STATS, STATX_BTIME = 0x7FF, 0x800
SLOW = bool(os.environ.get("STABLEFS_SLOW"))


def made(path, text="x"):
    path.write_text(text)
    return path


# --- handles -------------------------------------------------------------------------------------


def handle_of(path):
    buf = ctypes.create_string_buffer(8 + 128)
    struct.pack_into("=Ii", buf, 0, 128, 0)
    mount = ctypes.c_int()
    libc("name_to_handle_at", AT_FDCWD, os.fsencode(path), buf, ctypes.byref(mount), 0)
    return bytes(buf[:8 + struct.unpack_from("=I", buf)[0]])


def open_handle(directory, handle, flags=os.O_RDONLY):
    with opened(directory, os.O_RDONLY) as mount:
        return libc("open_by_handle_at", mount, ctypes.create_string_buffer(handle), flags)


def drop_kernel_caches():
    """So that the kernel has to ask; where it may not be told, the case shows less."""
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
            f.write("2")
    except OSError:
        pass


def take(directory, store):
    """Handles, and what they should lead to."""
    found = {}
    for top, directories, files in os.walk(directory):
        for name in directories + files:
            path = os.path.join(top, name)
            s = os.lstat(path)
            found[path] = [handle_of(path).hex(), s.st_ino, s.st_mode, s.st_size]
    with open(store, "w", encoding="utf-8") as f:
        json.dump(found, f)


def open_taken(directory, store):
    with open(store, encoding="utf-8") as f:
        found = json.load(f)
    for path, (handle, ino, mode, size) in found.items():
        handle = bytes.fromhex(handle)
        if not os.path.lexists(path):
            with fails_with(errno.ESTALE):
                os.close(open_handle(directory, handle, os.O_PATH))
            continue
        fd = open_handle(directory, handle, os.O_PATH)
        s = os.fstat(fd)
        expect((s.st_ino, s.st_mode, s.st_size), (ino, mode, size), path)
        os.close(fd)
        expect(handle_of(path), handle, path)
    print(f"{len(found)} handles")


@case
def a_handle_leads_to_what_it_was_taken_of(d):
    made(d / "f", "text")
    (d / "a" / "b").mkdir(parents=True)
    os.symlink("nothing", d / "l")
    handles = {name: handle_of(d / name) for name in ("f", "a", "a/b", "l", ".")}
    expect(len(set(handles.values())), 5)
    for dropped in (False, True):
        if dropped:
            drop_kernel_caches()
        for name, handle in handles.items():
            fd = open_handle(d, handle, os.O_PATH)
            expect(os.fstat(fd).st_ino, os.lstat(d / name).st_ino, name)
            os.close(fd)
        fd = open_handle(d, handles["f"], os.O_RDWR)
        expect(os.read(fd, 9), b"text")
        os.pwrite(fd, b"T", 0)
        os.close(fd)
        expect((d / "f").read_text(), "Text")
        (d / "f").write_text("text")
        fd = open_handle(d, handles["a"])
        expect(os.listdir(fd), ["b"])
        os.close(fd)


@case
def a_handle_outlives_a_rename_and_other_names(d):
    made(d / "f", "text")
    (d / "sub").mkdir()
    handle = handle_of(d / "f")
    os.link(d / "f", d / "g")
    expect(handle_of(d / "g"), handle)
    os.rename(d / "f", d / "sub" / "h")
    os.unlink(d / "g")
    drop_kernel_caches()
    fd = open_handle(d, handle)
    expect(os.read(fd, 9), b"text")
    os.close(fd)


@case
def a_handle_of_what_was_removed_is_stale(d):
    made(d / "f", "text")
    (d / "sub").mkdir()
    old = [handle_of(d / "f"), handle_of(d / "sub")]
    os.unlink(d / "f")
    os.rmdir(d / "sub")
    for number in range(100):  # none of these may be taken for it
        made(d / f"new-{number}")
        os.mkdir(d / f"dir-{number}")
    for handle in old:
        with fails_with(errno.ESTALE):
            os.close(open_handle(d, handle))
    expect(handle_of(d / "new-0") in old, False)


@case
def a_handle_of_an_open_file_works_until_it_is_closed(d):
    with opened(made(d / "f", "text"), os.O_RDONLY) as fd:
        handle = handle_of(d / "f")
        os.unlink(d / "f")
        again = open_handle(d, handle)
        expect(os.read(again, 9), b"text")
        os.close(again)
        expect(os.fstat(fd).st_nlink, 0)
    with fails_with(errno.ESTALE):
        os.close(open_handle(d, handle))


@case
def what_is_no_handle_is_refused(d):
    made(d / "f")
    handle = bytearray(handle_of(d / "f"))
    for at in range(8, len(handle)):
        wrong = bytes(handle[:at]) + bytes([handle[at] ^ 0x55]) + bytes(handle[at + 1:])
        with fails_with(errno.ESTALE, errno.ENOENT):
            os.close(open_handle(d, wrong))


# --- statx ---------------------------------------------------------------------------------------


def statx(path, mask=STATX_BASIC_STATS | STATX_BTIME, flags=AT_SYMLINK_NOFOLLOW):
    """(mask, btime in ns, ino, nlink, size, mode)"""
    buf = ctypes.create_string_buffer(256)
    libc("statx", AT_FDCWD, os.fsencode(path), flags, mask, buf)
    got, _, _, nlink, _, _, mode = struct.unpack_from("=IIQIIIH", buf)
    ino, size = struct.unpack_from("=QQ", buf, 32)
    sec, nsec = struct.unpack_from("=qI", buf, 80)
    return got, sec * 10**9 + nsec, ino, nlink, size, mode


def born(path):
    got = statx(path)
    expect(bool(got[0] & STATX_BTIME), True, "a birth time is given")
    return got[1]


@case
def everything_has_a_birth_time_that_never_changes(d):
    start = time.time_ns() - 20_000_000  # the clock of the kernel's ticks is a little behind
    made(d / "f")
    (d / "sub").mkdir()
    os.symlink("x", d / "l")
    os.mkfifo(d / "p")
    births = {name: born(d / name) for name in ("f", "sub", "l", "p")}
    for name, birth in births.items():
        expect(start <= birth <= time.time_ns(), True, f"{name} was born when it was made")
    time.sleep(0.03)
    made(d / "f", "more")
    os.utime(d / "f", ns=(0, 0))
    os.chmod(d / "f", 0o600)
    os.link(d / "f", d / "g")
    os.rename(d / "f", d / "sub" / "f")
    made(d / "sub" / "new")
    expect(born(d / "g"), births["f"])
    expect(born(d / "sub"), births["sub"])
    expect(os.stat(d / "g").st_mtime_ns < births["f"], True, "mtime can be older than birth")
    expect(born(d / "sub" / "new") > births["f"], True)


@case
def statx_agrees_with_stat(d):
    made(d / "f", "x" * 12345)
    os.link(d / "f", d / "g")
    for mask in (STATX_BASIC_STATS, STATX_BASIC_STATS | STATX_BTIME, STATX_BTIME):
        s = os.stat(d / "f")
        _, _, ino, nlink, size, mode = statx(d / "f", mask | STATX_BASIC_STATS)
        expect((ino, nlink, size, mode), (s.st_ino, s.st_nlink, s.st_size, s.st_mode))
    with opened(d / "f", os.O_RDWR | os.O_APPEND) as fd:
        os.write(fd, b"x" * 100_000)  # perhaps only the kernel knows of it yet
        expect(statx(d / "f")[4], 112345)
        expect(os.fstat(fd).st_size, 112345)


# --- listings ------------------------------------------------------------------------------------


class Dirent(ctypes.Structure):
    _fields_ = [("d_ino", ctypes.c_uint64), ("d_off", ctypes.c_int64),
                ("d_reclen", ctypes.c_uint16), ("d_type", ctypes.c_uint8),
                ("d_name", ctypes.c_char * 256)]


class Listing:
    """opendir, readdir, telldir, seekdir: what Python does not show."""

    def __init__(self, path):
        LIBC.opendir.restype = ctypes.c_void_p
        LIBC.readdir.restype = ctypes.POINTER(Dirent)
        LIBC.telldir.restype = ctypes.c_long
        self.stream = ctypes.c_void_p(LIBC.opendir(os.fsencode(path)))

    def read(self):
        entry = LIBC.readdir(self.stream)
        return (entry.contents.d_name, entry.contents.d_ino, entry.contents.d_type) if entry else None

    def rest(self):
        return list(iter(self.read, None))

    def tell(self):
        return LIBC.telldir(self.stream)

    def seek(self, place):
        LIBC.seekdir(self.stream, ctypes.c_long(place))

    def rewind(self):
        LIBC.rewinddir(self.stream)

    def close(self):
        LIBC.closedir(self.stream)


@case
def a_listing_goes_on_from_any_place_that_was_told(d):
    count = 300 if SLOW else 1500
    for number in range(count):
        made(d / f"file-{number}", "")
    listing = Listing(d)
    places, names = [], []
    while True:
        places.append(listing.tell())
        entry = listing.read()
        if not entry:
            break
        names.append(entry[0])
    expect(len(set(names)), count + 2)
    for at in (0, 1, 2, 3, count // 2, count, count + 1, count + 2, 7, count // 3):
        listing.seek(places[at])
        expect(listing.tell(), places[at])
        expect([name for name, _, _ in listing.rest()] == names[at:], True, f"from {at} on")
    listing.rewind()
    expect([name for name, _, _ in listing.rest()] == names, True, "from the start again")
    listing.close()


@case
def a_place_stays_when_what_was_there_is_removed(d):
    for number in range(200):
        made(d / f"{number}", "")
    listing = Listing(d)
    names = []
    for _ in range(100):
        names.append(listing.read()[0])
    place = listing.tell()
    rest = {name for name, _, _ in listing.rest()}
    for name in set(names) - {b".", b".."}:
        os.unlink(os.fsencode(d) + b"/" + name)
    listing.seek(place)
    expect({name for name, _, _ in listing.rest()}, rest)
    listing.close()


@case
def a_listing_tells_numbers_and_types(d):
    made(d / "file")
    (d / "dir").mkdir()
    os.symlink("x", d / "link")
    os.mkfifo(d / "fifo")
    os.mknod(d / "char", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    listing = Listing(d)
    entries = {name.decode(): (ino, kind) for name, ino, kind in listing.rest()}
    listing.close()
    expect(set(entries), {".", "..", "file", "dir", "link", "fifo", "char"})
    for name, (ino, kind) in entries.items():
        s = os.lstat(d / name)
        expect((ino, kind), (s.st_ino, stat.S_IFMT(s.st_mode) >> 12), name)


@case
def a_listing_sees_what_was_there_all_the_time_while_others_come_and_go(d):
    stay = {f"stay-{number}" for number in range(400)}
    for name in stay:
        made(d / name, "")
    done = d.parent / f"{d.name}-done"

    def churn():
        try:
            for turn in range(400):
                made(d / f"come-{turn}", "")
                os.rename(d / f"come-{turn}", d / f"other-{turn}")
                if turn % 2:
                    os.unlink(d / f"other-{turn}")
        finally:
            made(done)

    def watch():
        while not done.exists():
            names = os.listdir(d)
            expect(len(names), len(set(names)), "names are listed once")
            expect(stay - set(names), set(), "names that were there all the time")

    in_children(churn, watch, watch)


@case
def attributes_after_a_listing_are_those_of_now(d):
    for number in range(50):
        made(d / f"{number}", "a")
    for text in ("ab", "abc", ""):
        with os.scandir(d) as entries:
            for entry in entries:
                with open(entry.path, "w", encoding="ascii") as f:
                    f.write(text)
                expect(os.stat(entry.path).st_size, len(text))


# --- statfs --------------------------------------------------------------------------------------


@case
def names_and_blocks_are_what_statfs_says(d):
    s = os.statvfs(d)
    expect((s.f_namemax, s.f_bsize), (255, 4096))
    expect(0 < s.f_bfree <= s.f_blocks and s.f_bavail <= s.f_bfree, True, "blocks")
    expect(0 < s.f_ffree <= s.f_files, True, "files")


def of_a_file_system_alone(path, blocks):
    """Free blocks fall by what was written, where nobody else writes: not on a shared disk."""
    if os.environ.get("ALONE"):
        expect(blocks, (os.stat(path).st_blocks + 7) // 8, "blocks that are not free any more")


@case
def free_space_falls_by_what_a_file_takes(d):
    for number, size in enumerate((1, 4096, 4097, 1_000_000, 5_000_000)):
        before = os.statvfs(d)
        path = d / f"f{number}"
        with opened(path) as fd:
            os.write(fd, pattern(number, size))
            os.fsync(fd)
        after = os.statvfs(d)
        expect(os.stat(path).st_blocks * 512 >= size, True, "st_blocks")
        of_a_file_system_alone(path, before.f_bfree - after.f_bfree)
        with opened(d, os.O_RDONLY) as directory:
            os.fsync(directory)
        of_a_file_system_alone(path, before.f_bfree - os.statvfs(d).f_bfree)
        if os.environ.get("ALONE"):
            expect((after.f_files - after.f_ffree) - (before.f_files - before.f_ffree), 1, "files")
            os.unlink(path)
            deadline = time.monotonic() + 5  # the kernel forgets it a little later
            while os.statvfs(d).f_bfree != before.f_bfree and time.monotonic() < deadline:
                time.sleep(0.002)
            expect(os.statvfs(d).f_bfree, before.f_bfree, "after the unlink")


@case
def a_hole_takes_no_space_and_a_preallocation_does(d):
    before = os.statvfs(d).f_bfree
    with opened(d / "sparse") as fd:
        os.ftruncate(fd, 1 << 40 if os.environ.get("ALONE") else 1 << 30)
        os.fsync(fd)
        expect(os.fstat(fd).st_blocks, 0)
        if os.environ.get("ALONE"):
            expect(os.statvfs(d).f_bfree, before)
        os.posix_fallocate(fd, 0, 1 << 20)
        os.fsync(fd)
        expect(os.fstat(fd).st_blocks * 512, 1 << 20)
        if os.environ.get("ALONE"):
            expect(before - os.statvfs(d).f_bfree, 256)


if __name__ == "__main__":
    if sys.argv[1] == "--take":
        take(*sys.argv[2:])
    elif sys.argv[1] == "--open":
        open_taken(*sys.argv[2:])
    else:
        main()
