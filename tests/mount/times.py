#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which call moves which time: atime, mtime and ctime from outside, and how fine they are.

usage: times.py DIR [CASE]. As root; right on ext4 with relatime, too."""

import ctypes
import errno
import mmap
import os
import stat
import subprocess
import threading
import time

from checks import case, expect, fails_with, main, make, make_dir

LIBC = ctypes.CDLL(None, use_errno=True)
S = 10 ** 9
# Long ago, and of a kind that any rounding shows.
OLD = 10 ** 18 + 123456789
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16


def tick():
    """So long that the clock of the kernel's times has moved."""
    time.sleep(0.012)


def times(path):
    st = os.stat(path, follow_symlinks=False) if isinstance(path, str) else os.stat(path)
    return st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns


def age(path):
    """Old times, and an atime that any read is to move."""
    os.utime(path, ns=(OLD, OLD), follow_symlinks=False)


def moved(function, *paths):
    """Which times of each path the function has moved, as letters: "a", "mc"..."""
    for path in paths:
        age(path)
    before = [times(path) for path in paths]
    tick()
    floor = time.time_ns() - 8 * 10 ** 6
    function()
    after = [times(path) for path in paths]
    for old, new in zip(before, after):
        for was, now in zip(old, new):
            if was != now and now < floor:
                raise AssertionError(f"a time moved to {now}, before the call: {floor}")
    tick()
    expect([times(path) for path in paths], after, "times a moment later")
    return [letters(old, new) for old, new in zip(before, after)]


def letters(old, new):
    return "".join(c for c, was, now in zip("amc", old, new) if was != now)


def with_open(flags, function):
    def run():
        fd = os.open("f", flags)
        try:
            function(fd)
        finally:
            os.close(fd)
    return run


def page():
    memory = mmap.mmap(-1, 4096)
    memory.write(b"x" * 4096)
    return memory


def fallocate(fd, mode, offset, length):
    if LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) < 0:
        raise OSError(ctypes.get_errno(), "fallocate")


# ---- the file's content ----

def write_cases():
    direct = page()
    return {
        "write": with_open(os.O_WRONLY, lambda fd: os.write(fd, b"x")),
        "append": with_open(os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"x")),
        "pwrite beyond the end": with_open(os.O_WRONLY, lambda fd: os.pwrite(fd, b"x", 99999)),
        "direct write": with_open(os.O_WRONLY | os.O_DIRECT, lambda fd: os.write(fd, direct)),
        "synchronous write": with_open(os.O_WRONLY | os.O_SYNC, lambda fd: os.write(fd, b"x")),
        "write to a shared mapping": with_open(os.O_RDWR, write_mapped),
        "truncation": lambda: os.truncate("f", 10),
        "extension": lambda: os.truncate("f", 20000),
        "ftruncate to the same size": with_open(
            os.O_WRONLY, lambda fd: os.ftruncate(fd, os.fstat(fd).st_size)),
        "open to truncate": with_open(os.O_WRONLY | os.O_TRUNC, lambda fd: None),
        "open an empty file to truncate": with_open(os.O_WRONLY | os.O_TRUNC, lambda fd: None),
        "fallocate": with_open(os.O_WRONLY, lambda fd: fallocate(fd, 0, 0, 50000)),
        "fallocate that keeps the size": with_open(
            os.O_WRONLY, lambda fd: fallocate(fd, KEEP_SIZE, 60000, 50000)),
        "punch of a hole": with_open(
            os.O_WRONLY, lambda fd: fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 0, 4096)),
        "zeroing of a range": with_open(
            os.O_WRONLY, lambda fd: fallocate(fd, ZERO_RANGE, 4096, 4096)),
    }


def write_mapped(fd):
    with mmap.mmap(fd, 1) as memory:
        memory[0:1] = b"y"
        memory.flush()


@case
def what_changes_the_content_moves_mtime_and_ctime():
    make("f", "text" * 5000)
    for what, function in write_cases().items():
        got = moved(function, "f")[0]
        expect(got.lstrip("a") if "mapping" in what else got, "mc", what)


@case
def while_a_file_is_open_its_times_are_true():
    make("f", "text" * 5000)
    direct = page()
    for flags in (os.O_RDWR, os.O_RDWR | os.O_DIRECT):
        fd = os.open("f", flags)
        for what in ("first", "second"):
            expect(moved(lambda fd=fd: os.pwrite(fd, direct, 0), "f"), ["mc"], f"{what} write")
            st = os.fstat(fd)
            expect(abs(st.st_mtime_ns - st.st_ctime_ns) < S, True, "mtime is about the ctime")
        os.close(fd)


@case
def direct_and_buffered_writers_of_one_file_move_its_times():
    make("f", "text" * 5000)
    direct = page()
    one = os.open("f", os.O_RDWR)
    two = os.open("f", os.O_RDWR | os.O_DIRECT)
    last = 0
    for _ in range(3):
        for fd, what in ((one, "buffered"), (two, "direct")):
            tick()
            os.pwrite(fd, direct, 4096)
            now = os.stat("f").st_mtime_ns
            expect(now > last, True, f"mtime after a {what} write is later")
            last = now
    os.close(one)
    os.close(two)
    expect(os.stat("f").st_mtime_ns, last, "mtime after all were closed")


@case
def the_times_of_a_direct_write_are_there_when_the_file_is_opened_again():
    make("f", "text" * 5000)
    direct = page()
    fd = os.open("f", os.O_WRONLY | os.O_DIRECT)
    age("f")
    tick()
    os.write(fd, direct)
    os.close(fd)
    first = times("f")
    tick()
    subprocess.run(["cat", "f"], check=True, capture_output=True)
    expect(times("f")[1:], first[1:], "mtime and ctime after a read")
    expect(first[1] > OLD, True, "the mtime is new")


@case
def a_write_of_nothing_moves_nothing():
    make("f", "text")
    expect(moved(with_open(os.O_WRONLY, lambda fd: os.write(fd, b"")), "f"), [""], "empty write")
    expect(moved(with_open(os.O_RDONLY, lambda fd: os.read(fd, 0)), "f"), [""], "empty read")


@case
def a_refused_write_moves_nothing():
    make("f", "text")

    def refused():
        with fails_with(errno.EBADF):
            with_open(os.O_RDONLY, lambda fd: os.write(fd, b"x"))()
        with fails_with(errno.EINVAL):
            os.truncate("f", -1)
    expect(moved(refused, "f"), [""], "refused calls")


# ---- reading ----

def read_cases():
    direct = page()
    return {
        "read": with_open(os.O_RDONLY, lambda fd: os.read(fd, 10)),
        "read by one who may write": with_open(os.O_RDWR, lambda fd: os.read(fd, 10)),
        "direct read": with_open(os.O_RDONLY | os.O_DIRECT, lambda fd: os.preadv(fd, [direct], 0)),
        "read of a mapping": with_open(os.O_RDONLY, read_mapped),
        "sendfile": with_open(os.O_RDONLY, send_file),
    }


def read_mapped(fd):
    with mmap.mmap(fd, 1, prot=mmap.PROT_READ) as memory:
        expect(memory[0], ord("t"), "first byte")


def send_file(fd):
    out = os.open("/dev/null", os.O_WRONLY)
    os.sendfile(out, fd, 0, 10)
    os.close(out)


@case
def reads_move_the_atime_alone():
    make("f", "text" * 5000)
    for what, function in read_cases().items():
        expect(moved(function, "f"), ["a"], what)


@case
def reads_of_what_was_just_written_move_the_atime():
    for i, (what, function) in enumerate(read_cases().items()):
        make("f", f"text {i} " * 5000)
        expect(moved(function, "f"), ["a"], what)
        os.unlink("f")


@case
def an_atime_that_is_due_moves_once():
    make("f", "text")
    function = with_open(os.O_RDONLY, lambda fd: os.read(fd, 10))
    expect(moved(function, "f"), ["a"], "first read")
    first = times("f")
    tick()
    function()
    expect(times("f"), first, "times after the second read")


def relatime_moves(function, path):
    before = times(path)
    tick()
    function()
    return letters(before, times(path))


@case
def after_a_change_the_atime_is_due_again():
    make("f", "text")
    function = with_open(os.O_RDONLY, lambda fd: os.read(fd, 10))
    for change in (lambda: os.chmod("f", 0o600), lambda: make("f", "text"),
                   lambda: os.utime("f")):
        function()
        tick()
        change()
        expect(relatime_moves(function, "f"), "a", "after a change")
        expect(relatime_moves(function, "f"), "", "and not again")


@case
def what_only_looks_moves_nothing():
    make("f", "text" * 5000)
    make_dir("d")
    os.setxattr("f", "user.a", b"1")

    def look():
        os.stat("f")
        os.access("f", os.R_OK)
        os.getxattr("f", "user.a")
        os.listxattr("f")
        fd = os.open("f", os.O_RDWR)
        os.lseek(fd, 0, os.SEEK_DATA)
        os.lseek(fd, 0, os.SEEK_HOLE)
        os.fsync(fd)
        os.fdatasync(fd)
        os.close(fd)
        os.close(os.open("f", os.O_RDWR | os.O_CREAT, 0o644))
        os.statvfs("d")
        with fails_with(errno.ENOENT):
            os.stat("d/none")
    expect(moved(look, "f", "d"), ["", ""], "looking")


@case
def a_file_opened_with_noatime_keeps_its_atime():
    make("f", "text" * 5000)
    flags = os.O_RDONLY | os.O_NOATIME
    expect(moved(with_open(flags, lambda fd: os.read(fd, 10)), "f"), [""], "read")
    expect(moved(with_open(flags, read_mapped), "f"), [""], "mapping")


@case
def running_a_program_moves_its_atime():
    make("f", "#!/bin/true\n", 0o755)
    expect(moved(lambda: subprocess.run(["./f"], check=True), "f"), ["a"], "script")
    subprocess.run(["cp", "/bin/true", "p"], check=True)
    expect(moved(lambda: subprocess.run(["./p"], check=True), "p"), ["a"], "binary")


@case
def a_copied_range_moves_the_atime_here_and_the_mtime_there():
    make("f", "text" * 5000)
    make("g", "old" * 5000)

    def copy():
        source, target = os.open("f", os.O_RDONLY), os.open("g", os.O_WRONLY)
        expect(os.copy_file_range(source, target, 10000), 10000, "bytes")
        os.close(source)
        os.close(target)
    expect(moved(copy, "f", "g"), ["a", "mc"], "source and target")


# ---- directories and links ----

@case
def listing_a_directory_moves_its_atime():
    make_dir("d")
    make("d/f")
    expect(moved(lambda: os.listdir("d"), "d"), ["a"], "listing")
    expect(relatime_moves(lambda: os.listdir("d"), "d"), "", "listing again")
    expect(moved(lambda: os.stat("d/f"), "d"), [""], "looking a name up")


@case
def reading_a_symlink_moves_its_atime():
    os.symlink("target", "link")
    for _ in range(2):
        expect(moved(lambda: os.readlink("link"), "link"), ["a"], "readlink")


@case
def what_changes_a_directory_moves_its_mtime_and_ctime():
    make_dir("d")
    make("g")
    calls = {
        "create": lambda: make("d/f"),
        "mkdir": lambda: os.mkdir("d/sub"),
        "symlink": lambda: os.symlink("x", "d/link"),
        "mkfifo": lambda: os.mkfifo("d/pipe"),
        "mknod": lambda: os.mknod("d/device", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
        "link": lambda: os.link("g", "d/hard"),
        "rename inside": lambda: os.rename("d/f", "d/g"),
        "rename over": lambda: os.rename("d/g", "d/hard"),
        "unlink": lambda: os.unlink("d/pipe"),
        "rmdir": lambda: os.rmdir("d/sub"),
        "rename into": lambda: os.rename("g", "d/moved"),
        "rename out": lambda: os.rename("d/moved", "g"),
    }
    for what, function in calls.items():
        expect(moved(function, "d"), ["mc"], what)


@case
def a_new_file_has_three_new_times():
    tick()
    floor = time.time_ns() - 8 * 10 ** 6
    make("f")
    os.mkdir("d")
    os.symlink("x", "l")
    os.mkfifo("p")
    for name in ("f", "d", "l", "p"):
        for t in times(name):
            expect(floor <= t <= time.time_ns(), True, f"{name}: a time is now")


@case
def names_move_the_ctime_of_what_they_name():
    make("f")
    make("victim")
    os.link("victim", "victim2")
    expect(moved(lambda: os.link("f", "g"), "f"), ["c"], "link")
    expect(moved(lambda: os.unlink("g"), "f"), ["c"], "unlink of one of two")
    age("f")
    before = times("f")
    tick()
    os.rename("f", "h")
    expect(letters(before, times("h")), "c", "rename")
    before = times("victim2")
    tick()
    os.rename("h", "victim")
    expect(letters(before, times("victim2")), "c", "being replaced")
    make_dir("d")
    make_dir("e")
    make_dir("d/sub")
    age("d/sub")
    before = times("d/sub")
    tick()
    os.rename("d/sub", "e/sub")
    expect(letters(before, times("e/sub")), "c", "rename of a directory")


@case
def attributes_move_the_ctime():
    make("f")
    make_dir("d")
    os.symlink("x", "l")
    for name in ("f", "d"):
        calls = {
            "chmod": lambda n=name: os.chmod(n, 0o700),
            "chmod to the same": lambda n=name: os.chmod(n, 0o700),
            "chown": lambda n=name: os.chown(n, 1, 1),
            "chown to the same": lambda n=name: os.chown(n, 1, 1),
            "chown to nobody": lambda n=name: os.chown(n, -1, -1),
            "setxattr": lambda n=name: os.setxattr(n, "user.a", b"1"),
            "removexattr": lambda n=name: os.removexattr(n, "user.a"),
        }
        for what, function in calls.items():
            expect(moved(function, name), ["c"], f"{what} of {name}")
    expect(moved(lambda: os.lchown("l", 1, 1), "l"), ["c"], "lchown")


@case
def what_stays_the_same_in_an_open_file_moves_its_ctime():
    make("f", "text")
    fd = os.open("f", os.O_RDWR)
    for function in (lambda: os.fchmod(fd, 0o600), lambda: os.fchown(fd, 2, 2)):
        expect(moved(function, "f"), ["c"], "by the open file")
    os.close(fd)


# ---- setting ----

@case
def times_are_set_to_the_nanosecond():
    make("f")
    make_dir("d")
    os.symlink("x", "l")
    for name in ("f", "d", "l"):
        for a, m in ((1, 2), (S - 1, 2 * S + 1), (OLD + 1, OLD), (4 * 10 ** 18 + 5, 3 * S),
                     (-1, -S - 1)):
            os.utime(name, ns=(a, m), follow_symlinks=False)
            expect(times(name)[:2], (a, m), name)


@case
def one_time_is_set_and_the_other_stays():
    class Timespec(ctypes.Structure):
        _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]
    now, omit = (1 << 30) - 1, (1 << 30) - 2
    make("f")

    def utimensat(atime, mtime):
        pair = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
        expect(LIBC.utimensat(-100, b"f", pair, 0), 0, "utimensat")
    for atime, mtime, want in (((5, 6), (0, omit), "ac"), ((0, omit), (7, 8), "mc"),
                               ((0, now), (0, omit), "ac"), ((0, omit), (0, now), "mc"),
                               ((0, now), (0, now), "amc"), ((0, omit), (0, omit), "")):
        age("f")
        before = times("f")
        tick()
        utimensat(atime, mtime)
        expect(letters(before, times("f")), want, f"{atime} {mtime}")
    os.utime("f")
    a, m, c = times("f")
    expect(a == m == c, True, "both now, and the ctime too")


@case
def set_times_stay_when_the_file_is_open_and_dirty():
    make("f", "text")
    fd = os.open("f", os.O_RDWR)
    os.write(fd, b"new")
    os.utime(fd, ns=(OLD, OLD + 1))
    os.fsync(fd)
    expect(times("f")[:2], (OLD, OLD + 1), "after fsync")
    os.close(fd)
    expect(times("f")[:2], (OLD, OLD + 1), "after close")


@case
def cp_and_touch_keep_and_set_times():
    make("f", "text")
    age("f")
    subprocess.run(["cp", "-p", "f", "g"], check=True)
    expect(os.stat("g").st_mtime_ns, OLD, "mtime of the copy")
    subprocess.run(["touch", "-r", "f", "h"], check=True)
    expect(os.stat("h").st_mtime_ns, OLD, "mtime of a reference")


@case
def writers_side_by_side_never_move_the_mtime_back():
    make("f", "text" * 5000)
    direct = page()
    seen = []
    stop = threading.Event()

    def look():
        while not stop.is_set():
            seen.append(os.stat("f").st_mtime_ns)
    looker = threading.Thread(target=look)
    looker.start()
    buffered, around = os.open("f", os.O_WRONLY), os.open("f", os.O_WRONLY | os.O_DIRECT)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        os.pwrite(around, direct, 0)
        os.pwrite(buffered, b"x", 8192)
    stop.set()
    looker.join()
    os.close(buffered)
    os.close(around)
    expect(seen, sorted(seen), "mtimes in order")


if __name__ == "__main__":
    main()
