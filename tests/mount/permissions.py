#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Who may do what, and which bits go when: owners, modes, setuid, setgid, sticky, capabilities.

usage: permissions.py DIR [CASE]. As root; right on ext4, too."""

import ctypes
import errno
import mmap
import os
import stat
import struct

from checks import (ALICE, BOB, CAROL, GUESTS, STAFF, as_user, case, expect, fails_with, main, make,
                    make_dir, mode_of)

LIBC = ctypes.CDLL(None, use_errno=True)
CAPABILITY = "security.capability"
# cap_net_bind_service=ep, revision 2 (struct vfs_cap_data).
NET_BIND = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


class Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def utimensat(path, atime, mtime):
    """Each time: (seconds, nanoseconds), or UTIME_NOW or UTIME_OMIT as nanoseconds."""
    times = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
    if LIBC.utimensat(-100, os.fsencode(path), times, 0) < 0:
        raise OSError(ctypes.get_errno(), "utimensat")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, flags=0):
    fd = os.open(path, os.O_WRONLY | flags)
    try:
        os.write(fd, b"text")
    finally:
        os.close(fd)


def write_direct(path):
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 4096) as page:
            os.write(fd, page)
    finally:
        os.close(fd)


def ftruncate(path, size):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(fd, size)
    finally:
        os.close(fd)


def fallocate(path):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.posix_fallocate(fd, 0, 8192)
    finally:
        os.close(fd)


def copy_range(path):
    source = os.open(path + ".source", os.O_RDONLY)
    fd = os.open(path, os.O_WRONLY)
    try:
        os.copy_file_range(source, fd, 4)
    finally:
        os.close(fd)
        os.close(source)


def create(path, mode=0o644):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def exists(path, name=CAPABILITY):
    return name in os.listxattr(path)


# ---- the three classes ----

@case
def the_first_class_that_fits_decides():
    make("owner", mode=0o077, uid=ALICE, gid=STAFF)
    make("group", mode=0o707, uid=BOB, gid=STAFF)
    make("other", mode=0o770, uid=BOB, gid=STAFF)
    for name in ("owner", "group"):
        with fails_with(errno.EACCES):
            as_user(ALICE, read, name, groups=[STAFF])
    with fails_with(errno.EACCES):
        as_user(CAROL, read, "other", groups=[GUESTS])
    as_user(CAROL, read, "other", groups=[GUESTS, STAFF])
    as_user(CAROL, read, "group")


@case
def reading_and_writing_are_two_rights():
    make("r", "text", 0o444)
    make("w", "text", 0o222)
    as_user(ALICE, read, "r")
    as_user(ALICE, write, "w")
    for how, name in ((os.O_WRONLY, "r"), (os.O_RDWR, "r"), (os.O_RDONLY, "w"), (os.O_RDWR, "w"),
                      (os.O_RDONLY | os.O_TRUNC, "r")):
        with fails_with(errno.EACCES):
            as_user(ALICE, os.open, name, how)
    expect(read("r"), b"text", "what could not be truncated")


@case
def a_directory_is_searched_listed_and_changed_by_three_rights():
    for bits in range(8):
        make_dir(f"d{bits}", 0o700 | bits)
        make(f"d{bits}/f", "text", 0o666)
        rights = {
            "listed": (4, os.listdir, f"d{bits}"),
            "searched": (1, read, f"d{bits}/f"),
            "added to": (3, create, f"d{bits}/new"),
            "taken from": (3, os.unlink, f"d{bits}/f"),
        }
        for what, (need, function, *args) in rights.items():
            try:
                as_user(ALICE, function, *args)
                got = True
            except PermissionError:
                got = False
            expect(got, bits & need == need, f"{what} with rights {bits}")


@case
def root_passes_by_all_but_execution():
    make("f", "#!/bin/sh\nexit 7\n", 0o000, ALICE)
    read("f")
    write("f")
    expect(os.access("f", os.R_OK | os.W_OK), True, "access for reading and writing")
    expect(os.access("f", os.X_OK), False, "access for execution")
    os.chmod("f", 0o001)
    expect(os.access("f", os.X_OK), True, "access for execution of what others may")


@case
def access_asks_for_the_real_user():
    make("f", "text", 0o600, ALICE)

    def look():
        os.setresuid(BOB, ALICE, BOB)
        expect(os.access("f", os.R_OK), False, "as the real user")
        expect(os.access("f", os.R_OK, effective_ids=True), True, "as the effective one")
    pid = os.fork()
    if pid == 0:
        try:
            look()
            os._exit(0)
        except AssertionError:
            os._exit(1)
    expect(os.waitpid(pid, 0)[1], 0, "status")


@case
def a_program_is_run_by_those_who_may():
    make("f", "#!/bin/sh\nexit 0\n", 0o744, ALICE)
    as_user(ALICE, run, "./f")
    with fails_with(errno.EACCES):
        as_user(BOB, run, "./f")


def run(path):
    pid = os.posix_spawn(path, [path], {})
    expect(os.waitpid(pid, 0)[1], 0, "status")


# ---- chmod and chown ----

@case
def only_the_owner_and_root_change_modes():
    make("f", mode=0o666, uid=ALICE)
    as_user(ALICE, os.chmod, "f", 0o600)
    with fails_with(errno.EPERM):
        as_user(BOB, os.chmod, "f", 0o666)
    expect(mode_of("f"), 0o600, "mode")
    os.chmod("f", 0o640)


@case
def setgid_is_not_given_by_one_who_is_not_in_the_group():
    make("f", mode=0o755, uid=ALICE, gid=STAFF)
    make_dir("d", 0o755, ALICE, STAFF)
    for name in ("f", "d"):
        as_user(ALICE, os.chmod, name, 0o2755)
        expect(mode_of(name), 0o755, f"{name}, by a stranger")
        as_user(ALICE, os.chmod, name, 0o2755, groups=[STAFF])
        expect(mode_of(name), 0o2755, f"{name}, by a member")
        as_user(ALICE, os.chmod, name, 0o6755)
        expect(mode_of(name), 0o4755, f"{name}, taken by a later chmod")


@case
def only_root_gives_files_away():
    make("f", uid=ALICE, gid=ALICE)
    for uid, gid in ((BOB, -1), (-1, STAFF), (BOB, STAFF)):
        with fails_with(errno.EPERM):
            as_user(ALICE, os.chown, "f", uid, gid)
    as_user(ALICE, os.chown, "f", ALICE, STAFF, groups=[STAFF])
    as_user(ALICE, os.chown, "f", -1, ALICE)
    with fails_with(errno.EPERM):
        as_user(BOB, os.chown, "f", BOB, BOB)
    os.chown("f", BOB, GUESTS)
    st = os.stat("f")
    expect((st.st_uid, st.st_gid), (BOB, GUESTS), "owner")


@case
def chown_takes_setuid_and_setgid_of_programs():
    for who in (0, ALICE):
        make("f", mode=0o6755, uid=ALICE, gid=STAFF)
        if who:
            as_user(who, os.chown, "f", -1, STAFF, groups=[STAFF])
        else:
            os.chown("f", ALICE, STAFF)
        expect(mode_of("f"), 0o755, f"after user {who}")


@case
def chown_to_nobody_takes_them_too():
    for who in (0, ALICE):
        make("f", mode=0o6755, uid=ALICE, gid=STAFF)
        if who:
            as_user(who, os.chown, "f", -1, -1, groups=[STAFF])
        else:
            os.chown("f", -1, -1)
        expect(mode_of("f"), 0o755, f"after user {who}")
    os.chmod("f", 0o6755)
    with fails_with(errno.EPERM):
        as_user(BOB, os.chown, "f", -1, -1)
    expect(mode_of("f"), 0o6755, "after a stranger")


@case
def chown_leaves_setgid_without_execution_to_members_and_root():
    make("f", mode=0o2644, uid=ALICE, gid=STAFF)
    os.chown("f", ALICE, STAFF)
    expect(mode_of("f"), 0o2644, "after root")
    as_user(ALICE, os.chown, "f", -1, STAFF, groups=[STAFF])
    expect(mode_of("f"), 0o2644, "after a member")
    as_user(ALICE, os.chown, "f", ALICE, -1)
    expect(mode_of("f"), 0o644, "after a stranger")


@case
def chown_of_a_directory_takes_no_bits():
    make_dir("d", 0o7755, ALICE, STAFF)
    os.chown("d", BOB, GUESTS)
    expect(mode_of("d"), 0o7755, "after root")
    as_user(BOB, os.chown, "d", -1, STAFF, groups=[STAFF])
    expect(mode_of("d"), 0o7755, "after its owner")


@case
def a_symlink_has_an_owner_of_its_own():
    make("f", uid=ALICE)
    os.symlink("f", "link")
    os.lchown("link", BOB, GUESTS)
    expect(os.lstat("link").st_uid, BOB, "of the link")
    expect(os.stat("link").st_uid, ALICE, "of the file")


# ---- what a change of the content takes ----

CHANGES = {
    "write": write,
    "append": lambda path: write(path, os.O_APPEND),
    "direct write": write_direct,
    "truncation": lambda path: os.truncate(path, 2),
    "extension": lambda path: os.truncate(path, 10000),
    "ftruncate": lambda path: ftruncate(path, 1),
    "open to truncate": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)),
    "fallocate": fallocate,
    "copy of a range": copy_range,
}


def program(mode, capability=False):
    if os.path.exists("f"):
        os.unlink("f")
    make("f", "x" * 4096, mode, 0, STAFF)
    make("f.source", "text")
    if capability:
        os.setxattr("f", CAPABILITY, NET_BIND)


@case
def a_change_by_a_user_takes_setuid_and_setgid():
    for what, function in CHANGES.items():
        program(0o6777)
        as_user(ALICE, function, "f")
        expect(mode_of("f"), 0o777, what)


@case
def a_change_by_root_takes_neither():
    for what, function in CHANGES.items():
        program(0o6777)
        function("f")
        expect(mode_of("f"), 0o6777, what)


@case
def setgid_without_execution_stays_with_members():
    for what, function in CHANGES.items():
        program(0o2666)
        as_user(ALICE, function, "f", groups=[STAFF])
        expect(mode_of("f"), 0o2666, f"{what} by a member")
        program(0o2666)
        as_user(ALICE, function, "f")
        expect(mode_of("f"), 0o666, f"{what} by a stranger")


@case
def a_second_write_through_one_open_file_takes_new_bits():
    program(0o777)
    fd = os.open("f", os.O_WRONLY)

    def write_twice():
        os.write(fd, b"1")
        os.write(told, b"x")
        os.read(go, 1)
        os.write(fd, b"2")
    wait, told = os.pipe()
    go, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        as_user(ALICE, write_twice)
        os._exit(0)
    os.read(wait, 1)
    os.chmod("f", 0o6777)
    os.write(ready, b"x")
    expect(os.waitpid(pid, 0)[1], 0, "status")
    for descriptor in (fd, wait, told, go, ready):
        os.close(descriptor)
    expect(mode_of("f"), 0o777, "mode")


@case
def capabilities_go_with_any_change_by_anybody():
    for who in (ALICE, 0):
        for what, function in CHANGES.items():
            program(0o777, capability=True)
            if who:
                as_user(who, function, "f")
            else:
                function("f")
            expect(exists("f"), False, f"{what} by user {who}")


@case
def capabilities_go_with_the_owner_and_not_with_the_mode():
    program(0o755, capability=True)
    os.chmod("f", 0o711)
    expect(exists("f"), True, "after chmod")
    expect(os.getxattr("f", CAPABILITY), NET_BIND, "value")
    os.chown("f", ALICE, -1)
    expect(exists("f"), False, "after chown")


@case
def users_give_no_capabilities():
    make("f", uid=ALICE)
    with fails_with(errno.EPERM):
        as_user(ALICE, os.setxattr, "f", CAPABILITY, NET_BIND)


# ---- setgid and sticky directories ----

@case
def setgid_directories_pass_their_group_on():
    make_dir("d", 0o2777, 0, STAFF)

    def fill():
        create("d/f")
        os.mkdir("d/sub", 0o755)
        os.mkfifo("d/pipe")
        os.symlink("f", "d/link")
        create("d/sub/f")
    as_user(ALICE, fill)
    for name in ("f", "sub", "pipe", "link", "sub/f"):
        expect(os.lstat(f"d/{name}").st_gid, STAFF, name)
        expect(os.lstat(f"d/{name}").st_uid, ALICE, f"owner of {name}")
    expect(mode_of("d/sub"), 0o2755, "mode of the directory")
    expect(mode_of("d/f"), 0o644, "mode of the file")


@case
def a_stranger_makes_no_setgid_program_in_a_setgid_directory():
    make_dir("d", 0o2777, 0, STAFF)
    as_user(ALICE, create, "d/stranger", 0o2755, umask=0)
    as_user(ALICE, create, "d/member", 0o2755, groups=[STAFF], umask=0)
    expect(mode_of("d/stranger"), 0o755, "a stranger's")
    expect(mode_of("d/member"), 0o2755, "a member's")


@case
def elsewhere_the_group_is_the_creators():
    make_dir("d", 0o777, 0, STAFF)
    as_user(ALICE, create, "d/f", gid=GUESTS)
    expect(os.stat("d/f").st_gid, GUESTS, "group")


@case
def in_a_sticky_directory_all_keep_what_is_theirs():
    make_dir("d", 0o1777)
    for name in ("f", "g"):
        make(f"d/{name}", uid=ALICE, mode=0o666)
    make_dir("d/sub", 0o777, ALICE)
    make("d/mine", uid=BOB)
    for function, *args in ((os.unlink, "d/f"), (os.rename, "d/f", "d/h"), (os.rmdir, "d/sub"),
                            (os.rename, "d/mine", "d/f")):
        with fails_with(errno.EPERM, errno.EACCES):
            as_user(BOB, function, *args)
    as_user(ALICE, os.rename, "d/f", "d/h")
    as_user(ALICE, os.unlink, "d/h")
    os.unlink("d/g")


@case
def the_owner_of_a_sticky_directory_removes_what_is_in_it():
    make_dir("d", 0o1777, CAROL)
    make("d/f", uid=ALICE)
    as_user(CAROL, os.unlink, "d/f")


@case
def moving_a_directory_elsewhere_needs_the_right_to_change_it():
    for name in ("a", "b"):
        make_dir(name, 0o777)
    make_dir("a/d", 0o555, BOB)
    with fails_with(errno.EACCES):
        as_user(ALICE, os.rename, "a/d", "b/d")
    as_user(ALICE, os.rename, "a/d", "a/e")


# ---- special files, flags ----

@case
def users_make_pipes_and_sockets_and_no_devices():
    as_user(ALICE, os.mkfifo, "pipe")
    as_user(ALICE, os.mknod, "socket", stat.S_IFSOCK | 0o666)
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        with fails_with(errno.EPERM):
            as_user(ALICE, os.mknod, "device", kind | 0o666, os.makedev(1, 3))


@case
def a_device_keeps_its_numbers_and_its_mode():
    os.umask(0)
    os.mknod("device", stat.S_IFCHR | 0o640, os.makedev(259, 70000))
    st = os.stat("device")
    expect((os.major(st.st_rdev), os.minor(st.st_rdev)), (259, 70000), "numbers")
    expect(mode_of("device"), 0o640, "mode")


@case
def all_twelve_bits_are_kept():
    make("f")
    make_dir("d")
    for mode in (0, 0o7777, 0o4000, 0o2010, 0o1000, 0o421, 0o6711):
        for name in ("f", "d"):
            os.chmod(name, mode)
            expect(mode_of(name), mode, name)


# ---- utimensat ----

@case
def the_owner_sets_any_time():
    make("f", mode=0o400, uid=ALICE)
    as_user(ALICE, utimensat, "f", (5, 6), (7, 8))
    st = os.stat("f")
    expect((st.st_atime_ns, st.st_mtime_ns), (5 * 10 ** 9 + 6, 7 * 10 ** 9 + 8), "times")
    as_user(ALICE, utimensat, "f", (0, UTIME_NOW), (0, UTIME_NOW))


@case
def who_may_write_sets_both_times_to_now_and_no_others():
    make("f", mode=0o666, uid=ALICE)
    as_user(BOB, utimensat, "f", (0, UTIME_NOW), (0, UTIME_NOW))
    for times in (((1, 0), (1, 0)), ((0, UTIME_NOW), (0, UTIME_OMIT)), ((0, UTIME_NOW), (1, 0)),
                  ((0, UTIME_OMIT), (0, UTIME_NOW))):
        with fails_with(errno.EPERM):
            as_user(BOB, utimensat, "f", *times)


@case
def who_may_not_write_sets_no_time():
    make("f", mode=0o644, uid=ALICE)
    with fails_with(errno.EACCES):
        as_user(BOB, utimensat, "f", (0, UTIME_NOW), (0, UTIME_NOW))
    with fails_with(errno.EPERM):
        as_user(BOB, utimensat, "f", (1, 0), (1, 0))
    as_user(BOB, utimensat, "f", (0, UTIME_OMIT), (0, UTIME_OMIT))


if __name__ == "__main__":
    main()
