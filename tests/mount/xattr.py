#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Extended attributes from outside: namespaces, sizes, who may.

usage: xattr.py DIR [CASE]. As root; right on ext4, too (with its feature ea_inode for long values)."""

import ctypes
import errno
import os
import subprocess

from checks import ALICE, BOB, as_user, case, expect, fails_with, main, make, make_dir

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.getxattr.restype = LIBC.listxattr.restype = ctypes.c_ssize_t
LIST_MAX = 65536


def raw(function, *args):
    got = function(*args)
    if got < 0:
        raise OSError(ctypes.get_errno(), "xattr")
    return got


def all_of(path):
    return {n: os.getxattr(path, n) for n in os.listxattr(path)}


def ctime(path):
    return os.lstat(path).st_ctime_ns


@case
def three_namespaces_keep_any_bytes():
    make("f")
    want = {"user.a": b"", "user.b": bytes(range(256)), "trusted.a": b"t", "security.a": b"\0"}
    for name, text in want.items():
        os.setxattr("f", name, text)
    expect(all_of("f"), want, "attributes")
    os.setxattr("f", "user.b", b"shorter")
    os.setxattr("f", "user.a", b"longer than it was before")
    expect(os.getxattr("f", "user.b"), b"shorter", "replaced by less")
    expect(os.getxattr("f", "user.a"), b"longer than it was before", "replaced by more")


@case
def names_are_any_bytes_and_case_counts():
    make("f")
    names = [b"user.A", b"user.a", b"user.\xff\xfe", b"user.with space", b"user.=\"\\\n",
             b"user.a.b.c"]
    for name in names:
        os.setxattr("f", name, name)
    got = sorted(os.fsencode(n) for n in os.listxattr("f"))
    expect(got, sorted(names), "names")
    for name in names:
        expect(os.getxattr("f", name), name, "value")


@case
def an_attribute_that_is_not_there_is_not_found():
    make("f")
    for function in (os.getxattr, os.removexattr):
        with fails_with(errno.ENODATA):
            function("f", "user.none")
    os.setxattr("f", "user.one", b"1")
    os.removexattr("f", "user.one")
    for function in (os.getxattr, os.removexattr):
        with fails_with(errno.ENODATA):
            function("f", "user.one")
    expect(os.listxattr("f"), [], "names")


@case
def create_and_replace_look_whether_it_is_there():
    make("f")
    with fails_with(errno.ENODATA):
        os.setxattr("f", "user.a", b"1", os.XATTR_REPLACE)
    os.setxattr("f", "user.a", b"2", os.XATTR_CREATE)
    with fails_with(errno.EEXIST):
        os.setxattr("f", "user.a", b"3", os.XATTR_CREATE)
    expect(os.getxattr("f", "user.a"), b"2", "value")
    os.setxattr("f", "user.a", b"4", os.XATTR_REPLACE)
    expect(os.getxattr("f", "user.a"), b"4", "value")
    with fails_with(errno.EINVAL):
        os.setxattr("f", "user.a", b"5", 64)


@case
def other_namespaces_are_not_supported():
    make("f")
    for name in ("nothing", "none.a", "system.a", "userx", "a.user.b"):
        with fails_with(errno.EOPNOTSUPP):
            os.setxattr("f", name, b"1")
        with fails_with(errno.EOPNOTSUPP):
            os.getxattr("f", name)
    for name in ("user.", "trusted."):
        with fails_with(errno.EINVAL):
            os.setxattr("f", name, b"1")


@case
def lengths_are_told_and_short_buffers_refused():
    make("f")
    os.setxattr("f", "user.a", b"x" * 100)
    os.setxattr("f", "user.bc", b"")
    room = ctypes.create_string_buffer(200)
    expect(raw(LIBC.getxattr, b"f", b"user.a", None, 0), 100, "length of the value")
    expect(raw(LIBC.getxattr, b"f", b"user.a", room, 100), 100, "with just enough room")
    with fails_with(errno.ERANGE):
        raw(LIBC.getxattr, b"f", b"user.a", room, 99)
    expect(raw(LIBC.getxattr, b"f", b"user.bc", room, 200), 0, "an empty value")
    length = len("user.a") + len("user.bc") + 2
    expect(raw(LIBC.listxattr, b"f", None, 0), length, "length of the list")
    expect(raw(LIBC.listxattr, b"f", room, length), length, "with just enough room")
    with fails_with(errno.ERANGE):
        raw(LIBC.listxattr, b"f", room, length - 1)


@case
def names_are_up_to_255_bytes():
    make("f")
    longest = "user." + "n" * 250
    os.setxattr("f", longest, b"1")
    expect(os.getxattr("f", longest), b"1", "value")
    expect(os.listxattr("f"), [longest], "names")
    for function, *args in ((os.setxattr, longest + "n", b"1"), (os.getxattr, longest + "n")):
        with fails_with(errno.ERANGE):
            function("f", *args)


@case
def values_are_up_to_64_kib():
    make("f")
    for size in (4000, 4096, 5000, 40000, 65535, 65536):
        text = os.urandom(size)
        os.setxattr("f", "user.big", text)
        expect(os.getxattr("f", "user.big") == text, True, f"{size} bytes")
    with fails_with(errno.E2BIG):
        os.setxattr("f", "user.big", b"x" * 65537)
    os.setxattr("f", "user.big", b"small")
    expect(os.getxattr("f", "user.big"), b"small", "value")


@case
def many_attributes_are_all_there():
    make("f")
    want = {}
    for i in range(2000):
        name, text = f"user.number.{i}", str(i).encode() * 3
        try:
            os.setxattr("f", name, text)
        except OSError as err:
            expect(err.errno, errno.ENOSPC, f"error of number {i}")
            break
        want[name] = text
    expect(all_of("f"), want, "attributes")
    for name in list(want)[::2]:
        os.removexattr("f", name)
        del want[name]
    expect(all_of("f"), want, "what is left")


@case
def no_more_names_are_taken_than_can_be_listed():
    make("f")
    names = []
    with fails_with(errno.ENOSPC):
        for i in range(LIST_MAX // 256 + 2):
            name = f"user.{i:04}".ljust(255, "x")
            os.setxattr("f", name, b"")
            names.append(name)
    expect(sorted(os.listxattr("f")), sorted(names), "names")
    os.setxattr("f", names[0], b"a new value")
    os.removexattr("f", names[1])
    os.setxattr("f", names[1], b"back")


@case
def symlinks_and_special_files_have_none_of_users():
    os.symlink("nowhere", "link")
    os.mkfifo("pipe")
    for name in ("link", "pipe"):
        with fails_with(errno.EPERM):
            os.setxattr(name, "user.a", b"1", follow_symlinks=False)
        with fails_with(errno.ENODATA, errno.EPERM):
            os.getxattr(name, "user.a", follow_symlinks=False)
        os.setxattr(name, "trusted.a", b"1", follow_symlinks=False)
        expect(os.getxattr(name, "trusted.a", follow_symlinks=False), b"1", name)
        expect(os.listxattr(name, follow_symlinks=False), ["trusted.a"], name)


@case
def trusted_ones_are_the_administrators():
    make("f", mode=0o666, uid=ALICE)
    os.setxattr("f", "trusted.a", b"1")
    os.setxattr("f", "user.a", b"1")
    with fails_with(errno.EPERM):
        as_user(ALICE, os.setxattr, "f", "trusted.a", b"2")
    with fails_with(errno.EPERM):
        as_user(ALICE, os.removexattr, "f", "trusted.a")
    with fails_with(errno.ENODATA):
        as_user(ALICE, os.getxattr, "f", "trusted.a")
    as_user(ALICE, lambda: expect(os.listxattr("f"), ["user.a"], "what a user sees"))
    expect(sorted(os.listxattr("f")), ["trusted.a", "user.a"], "what root sees")


@case
def who_reads_and_writes_the_file_does_so_with_its_attributes():
    make("f", mode=0o644, uid=ALICE)
    make("secret", mode=0o600, uid=ALICE)
    as_user(ALICE, os.setxattr, "f", "user.a", b"1")
    as_user(ALICE, os.setxattr, "secret", "user.a", b"1")
    as_user(BOB, os.getxattr, "f", "user.a")
    for function, *args in ((os.setxattr, "f", "user.a", b"2"), (os.removexattr, "f", "user.a"),
                            (os.getxattr, "secret", "user.a")):
        with fails_with(errno.EACCES):
            as_user(BOB, function, *args)
    with fails_with(errno.EPERM):
        as_user(ALICE, os.setxattr, "f", "security.a", b"1")


@case
def a_sticky_directorys_are_its_owners():
    make_dir("d", 0o1777, ALICE)
    with fails_with(errno.EPERM):
        as_user(BOB, os.setxattr, "d", "user.a", b"1")
    as_user(ALICE, os.setxattr, "d", "user.a", b"1")


@case
def attributes_belong_to_the_file_and_not_to_its_name():
    make("f")
    os.setxattr("f", "user.a", b"1")
    os.link("f", "g")
    os.setxattr("g", "user.b", b"2")
    os.rename("f", "h")
    expect(all_of("h"), {"user.a": b"1", "user.b": b"2"}, "after a rename")
    os.unlink("g")
    os.unlink("h")
    make("h")
    expect(os.listxattr("h"), [], "names of a new file")


@case
def an_open_file_without_a_name_has_them_still():
    make("f")
    fd = os.open("f", os.O_RDWR)
    os.setxattr(fd, "user.a", b"1")
    os.unlink("f")
    expect(os.getxattr(fd, "user.a"), b"1", "value")
    os.setxattr(fd, "user.b", b"2")
    expect(sorted(os.listxattr(fd)), ["user.a", "user.b"], "names")
    os.close(fd)


@case
def a_change_moves_the_ctime_alone():
    make("f")
    os.utime("f", ns=(10 ** 18, 10 ** 18))
    before = ctime("f")
    wait_for_tick(before)
    os.setxattr("f", "user.a", b"1")
    between = ctime("f")
    expect(between > before, True, "ctime after setxattr is later")
    wait_for_tick(between)
    os.getxattr("f", "user.a")
    os.listxattr("f")
    expect(ctime("f"), between, "ctime after reading")
    os.removexattr("f", "user.a")
    expect(ctime("f") > between, True, "ctime after removexattr is later")
    st = os.stat("f")
    expect((st.st_atime_ns, st.st_mtime_ns), (10 ** 18, 10 ** 18), "atime and mtime")


def wait_for_tick(ns):
    """Until a file that is made now is younger than that."""
    while True:
        make("tick")
        if ctime("tick") > ns:
            return


@case
def copies_keep_them():
    make_dir("d")
    make("d/f")
    for name in ("d", "d/f"):
        os.setxattr(name, "user.a", os.fsencode(name))
        os.setxattr(name, "user.binary", b"\0\1\xff")
    subprocess.run(["cp", "-a", "d", "copied"], check=True)
    subprocess.run(["rsync", "-aX", "d/", "synced/"], check=True)
    os.mkdir("untarred")
    subprocess.run("tar --xattrs -c d | tar --xattrs -x -C untarred", shell=True, check=True)
    for copy in ("copied", "synced", "untarred/d"):
        expect(all_of(copy), all_of("d"), copy)
        expect(all_of(copy + "/f"), all_of("d/f"), copy + "/f")


if __name__ == "__main__":
    main()
