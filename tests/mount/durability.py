#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Durability from outside: durability.py make DIR | check DIR | errors DIR | commits DIR

make does things to files below DIR, each acknowledged by a call that promises durability, and some
that nobody promised; after a crash, check says what of it is there. errors wants a mount with
-o inject of a volume without redundancy: which open file hears of what could not be stored. commits
counts the transactions of fdatasync and of many fsyncs. Prints ok and not ok lines.
"""
import ctypes
import errno
import hashlib
import json
import mmap
import os
import sys
import threading

CASES = []
failed = 0


def case(function):
    CASES.append(function)
    return function


def data(name, size, version=0):
    """Bytes that follow from a name; no two 512-byte sectors are alike."""
    out = bytearray()
    for sector in range((size + 511) // 512):
        out += hashlib.sha512(f"{name} {version} {sector}".encode()).digest() * 8
    return bytes(out[:size])


def read(path):
    with open(path, "rb") as f:
        return f.read()


def sync_dir(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def put(path, content, flags=0, sync=None):
    fd = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view[:40000]):]
        if sync:
            sync(fd)
    finally:
        os.close(fd)


def put_direct(path, content, flags, sync=None):
    buffer = mmap.mmap(-1, len(content))
    buffer[:] = content
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT | flags, 0o644)
    try:
        os.pwrite(fd, buffer, 0)
        if sync:
            sync(fd)
    finally:
        os.close(fd)


class Case:
    def __init__(self, d, name):
        self.dir, self.name = d, name
        self.path = os.path.join(d, name)
        self.old, self.new = data(name, 90000, 0), data(name, 90000, 1)

    def same(self, wanted):
        return read(self.path) == wanted


# ---- what is acknowledged: make, then check ----

@case
def fsync(c, make):
    if make:
        put(c.path, c.new, sync=os.fsync)
    return c.same(c.new)


@case
def fdatasync(c, make):
    if make:
        put(c.path, c.new, sync=os.fdatasync)
    return c.same(c.new)


@case
def o_sync(c, make):
    if make:
        put(c.path, c.new, os.O_SYNC)
    return c.same(c.new)


@case
def o_dsync(c, make):
    if make:
        put(c.path, c.new, os.O_DSYNC)
    return c.same(c.new)


@case
def rwf_dsync(c, make):
    if make:
        fd = os.open(c.path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwritev(fd, [c.new], 0, os.RWF_DSYNC)
        os.close(fd)
    return c.same(c.new)


@case
def direct_o_dsync(c, make):
    if make:
        put_direct(c.path, c.new[:65536], os.O_DSYNC)
    return c.same(c.new[:65536])


@case
def direct_overwrite_fdatasync(c, make):
    if make:
        put_direct(c.path, c.old[:65536], 0, os.fsync)
        put_direct(c.path, c.new[:65536], 0, os.fdatasync)
    return c.same(c.new[:65536])


@case
def overwrite_fdatasync(c, make):
    if make:
        put(c.path, c.old, sync=os.fsync)
        put(c.path, c.new, sync=os.fdatasync)
    return c.same(c.new)


@case
def msync(c, make):
    if make:
        put(c.path, c.old, sync=os.fsync)
        with open(c.path, "r+b") as f, mmap.mmap(f.fileno(), len(c.new)) as m:
            m[:] = c.new
            m.flush()
    return c.same(c.new)


@case
def truncate_fsync(c, make):
    if make:
        put(c.path, c.new, sync=os.fsync)
        fd = os.open(c.path, os.O_RDWR)
        os.ftruncate(fd, 5000)
        os.ftruncate(fd, 20000)
        os.fsync(fd)
        os.close(fd)
    return c.same(c.new[:5000] + bytes(15000))


@case
def append_fsync(c, make):
    if make:
        for i in range(5):
            put(c.path, c.new[i * 7000:i * 7000 + 7000], os.O_APPEND, os.fsync)
    return c.same(c.new[:35000])


@case
def punch_fsync(c, make):
    if make:
        put(c.path, c.new, sync=os.fsync)
        fd = os.open(c.path, os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        if libc.fallocate(fd, 3, 4096, 20000) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")
        os.fsync(fd)
        os.close(fd)
    return c.same(c.new[:4096] + bytes(20000) + c.new[24096:])


@case
def attributes_fsync(c, make):
    if make:
        put(c.path, b"x")
        fd = os.open(c.path, os.O_RDWR)
        os.fchmod(fd, 0o640)
        os.setxattr(fd, "user.colour", b"green")
        os.utime(fd, ns=(10**18 + 5, 10**18 + 7))
        os.fsync(fd)
        os.close(fd)
    st = os.stat(c.path)
    return (st.st_mode & 0o7777 == 0o640 and os.getxattr(c.path, "user.colour") == b"green" and
            st.st_mtime_ns == 10**18 + 7)


@case
def names_fsync_of_directory(c, make):
    if make:
        os.mkdir(c.path)
        for name in ("gone", "moved", "kept"):
            put(os.path.join(c.path, name), name.encode(), sync=os.fsync)
        os.unlink(os.path.join(c.path, "gone"))
        os.rename(os.path.join(c.path, "moved"), os.path.join(c.path, "here"))
        os.link(os.path.join(c.path, "kept"), os.path.join(c.path, "link"))
        os.symlink("kept", os.path.join(c.path, "symlink"))
        os.mkdir(os.path.join(c.path, "sub"))
        os.mkfifo(os.path.join(c.path, "fifo"))
        sync_dir(c.path)
    return (sorted(os.listdir(c.path)) == ["fifo", "here", "kept", "link", "sub", "symlink"] and
            read(os.path.join(c.path, "here")) == b"moved" and
            os.stat(os.path.join(c.path, "kept")).st_nlink == 2)


@case
def small_files_fsync_of_directory(c, make):
    """Closed, and not synced one by one: some are still on their way to the array."""
    names = [str(n) for n in range(200)]
    if make:
        os.mkdir(c.path)
        for name in names:
            put(os.path.join(c.path, name), data(name, 6000))
        sync_dir(c.path)
    return all(read(os.path.join(c.path, name)) == data(name, 6000) for name in names)


@case
def new_file_in_place_of_old_synced_before(c, make):
    """The idiom: without a sync of the directory it is the old file or the new one, whole."""
    if make:
        put(c.path, c.old, sync=os.fsync)
        put(c.path + ".new", c.new[:70000], sync=os.fsync)
        os.rename(c.path + ".new", c.path)
    return c.same(c.old) or c.same(c.new[:70000])


@case
def new_file_in_place_of_old_with_directory(c, make):
    if make:
        put(c.path, c.old, sync=os.fsync)
        put(c.path + ".new", c.new[:70000], sync=os.fsync)
        os.rename(c.path + ".new", c.path)
        sync_dir(c.dir)
    return c.same(c.new[:70000])


@case
def not_synced_is_old_or_new_or_zeros(c, make):
    """What nobody acknowledged, sector by sector; never what was not written there."""
    if make:
        put(c.path, c.old[:45056], sync=os.fsync)
        put(c.path, c.new)
        return c.same(c.new)
    found = read(c.path)
    for at in range(0, len(found), 512):
        sector = found[at:at + 512]
        old = c.old[at:at + 512] if at < 45056 else b""
        if sector.strip(b"\0") and sector not in (old, c.new[at:at + 512]):
            return False
    return len(found) in (45056, len(c.new))


def tell(name, good, why=""):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} {name}")
    if why:
        print(f"# {why}")


def run_cases(d, make):
    for f in CASES:
        try:
            good, why = f(Case(d, f.__name__), make), ""
        except OSError as error:
            good, why = False, str(error)
        tell(f"{f.__name__.replace('_', ' ')}: {'done' if make else 'is there'}", good, why)


# ---- errors ----

def control(d, line):
    with open(os.path.join(d, ".stablefs", "inject"), "w") as f:
        f.write(line + "\n")


def told(sync, fd):
    try:
        sync(fd)
        return 0
    except OSError as error:
        return error.errno


def error_of(d, name, fault, sync, offset=0):
    """Two files are open when bytes cannot be stored: each hears of it once, a later one does not."""
    path = os.path.join(d, name)
    put(path, data(name, 16384), sync=os.fsync)
    first, second = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    os.pwrite(first, data(name, 8192, 1), offset)
    control(d, fault)
    heard = [told(sync, first)]
    control(d, "disarm all")
    heard += [told(sync, first), told(sync, second), told(sync, second)]
    later = os.open(path, os.O_RDWR)
    heard.append(told(sync, later))
    for fd in (first, second, later):
        os.close(fd)
    tell(f"{name}: each open file hears of it once, a later one does not",
         heard == [errno.EIO, 0, errno.EIO, 0, 0], f"heard {heard}")


def errors(d):
    error_of(d, "a write that fails, fsync", "write-error area=data", os.fsync)
    error_of(d, "a write that fails, fdatasync", "write-error area=data", os.fdatasync)
    error_of(d, "a first write that fails, fsync", "write-error area=data", os.fsync, 1 << 20)
    error_of(d, "a first write that fails, fdatasync", "write-error area=data", os.fdatasync, 1 << 20)
    error_of(d, "a flush that fails", "flush-error", os.fdatasync)
    path = os.path.join(d, "again")
    put(path, data("again", 16384), sync=os.fsync)
    tell("the volume goes on", read(path) == data("again", 16384))


# ---- commits ----

def commits_of(d):
    with open(os.path.join(d, ".stablefs", "stats.json")) as f:
        return json.load(f)["files"]["commits"]


def overwrites(d):
    path = os.path.join(d, "overwritten")
    put(path, data("overwritten", 65536), sync=os.fsync)
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    before = commits_of(d)
    for i in range(100):
        os.pwrite(fd, data("overwritten", 4096, i), i % 16 * 4096)
        os.fdatasync(fd)
    after = commits_of(d)
    os.close(fd)
    tell("fdatasync of an overwrite commits nothing", after == before,
         f"{after - before} commits for 100 of them")


def together(d, threads=8, rounds=12):
    def work(index):
        for i in range(rounds):
            put(os.path.join(d, f"together-{index}-{i}"), b"x" * 100, sync=os.fsync)

    before = commits_of(d)
    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    commits = commits_of(d) - before
    tell("fsyncs of many threads share commits", commits < threads * rounds * 3 // 4,
         f"{commits} commits for {threads * rounds} fsyncs")


def main():
    what, d = sys.argv[1:]
    if what in ("make", "check"):
        run_cases(d, what == "make")
    elif what == "errors":
        errors(d)
    else:
        overwrites(d)
        together(d)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
