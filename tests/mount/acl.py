#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""POSIX access control lists from outside: what they grant, and how they and modes agree.

usage: acl.py DIR [CASE]. As root; right on ext4, too."""

import errno
import os
import struct
import subprocess

from checks import (ALICE, BOB, CAROL, GUESTS, STAFF, as_user, case, expect, fails_with, main, make,
                    make_dir, mode_of)

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NONE = 0xFFFFFFFF


def value(*entries, version=2):
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *e) for e in entries)


BASE = [(USER_OBJ, 6, NONE), (GROUP_OBJ, 4, NONE), (OTHER, 4, NONE)]


def tool(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def lists(path):
    """getfacl's lines, of the access list and the default one."""
    out = tool("getfacl", "-cpnE", path)
    return [line for line in out.split() if line]


def setfacl(*words):
    tool("setfacl", *words)


def names(path):
    return sorted(n for n in os.listxattr(path) if n.startswith("system."))


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def append(path):
    with open(path, "a", encoding="utf-8") as f:
        f.write("more")


@case
def a_named_user_gets_what_the_list_says():
    make("f", "text", 0o640)
    setfacl("-m", f"u:{ALICE}:r", "f")
    as_user(ALICE, read, "f")
    with fails_with(errno.EACCES):
        as_user(ALICE, append, "f")
    with fails_with(errno.EACCES):
        as_user(BOB, read, "f")


@case
def a_named_group_gets_what_the_list_says():
    make("f", "text", 0o600)
    setfacl("-m", f"g:{STAFF}:rw", "f")
    as_user(ALICE, append, "f", groups=[STAFF])
    as_user(BOB, append, "f", gid=STAFF)
    with fails_with(errno.EACCES):
        as_user(CAROL, read, "f", groups=[GUESTS])


@case
def the_mask_limits_named_users_and_the_group():
    make("f", "text", 0o660, 0, STAFF)
    setfacl("-m", f"u:{ALICE}:rw,m::r", "f")
    expect(mode_of("f"), 0o640, "the group's bits are the mask")
    as_user(ALICE, read, "f")
    with fails_with(errno.EACCES):
        as_user(ALICE, append, "f")
    with fails_with(errno.EACCES):
        as_user(BOB, append, "f", gid=STAFF)


@case
def a_named_user_without_rights_is_refused_though_others_are_not():
    make("f", "text", 0o644)
    setfacl("-m", f"u:{ALICE}:-", "f")
    with fails_with(errno.EACCES):
        as_user(ALICE, read, "f")
    as_user(BOB, read, "f")


@case
def a_directory_is_entered_by_its_list():
    make_dir("d", 0o700)
    make("d/f", "text")
    setfacl("-m", f"u:{ALICE}:x", "d")
    as_user(ALICE, read, "d/f")
    with fails_with(errno.EACCES):
        as_user(ALICE, os.listdir, "d")
    with fails_with(errno.EACCES):
        as_user(BOB, read, "d/f")


@case
def setting_a_list_changes_the_mode():
    make("f", mode=0o600)
    setfacl("-m", f"u::rwx,u:{ALICE}:r,g::-,o::x,m::rw", "f")
    expect(mode_of("f"), 0o761, "mode")
    expect(names("f"), [ACCESS], "attributes")


@case
def a_list_that_is_a_mode_becomes_one():
    make("f", mode=0o600)
    os.setxattr("f", ACCESS, value(*BASE))
    expect(mode_of("f"), 0o644, "mode")
    expect(names("f"), [], "attributes")
    with fails_with(errno.ENODATA):
        os.getxattr("f", ACCESS)


@case
def a_list_that_becomes_a_mode_again_is_gone():
    make("f", mode=0o600)
    setfacl("-m", f"u:{ALICE}:rw", "f")
    expect(names("f"), [ACCESS], "attributes")
    os.setxattr("f", ACCESS, value(*BASE))
    expect(names("f"), [], "attributes")
    with fails_with(errno.EACCES):
        as_user(ALICE, append, "f")


@case
def chmod_changes_owner_mask_and_others():
    make("f", mode=0o664, gid=STAFF)
    setfacl("-m", f"u:{ALICE}:rwx,g:{GUESTS}:rx", "f")
    os.chmod("f", 0o741)
    expect(lists("f"), ["user::rwx", f"user:{ALICE}:rwx", "group::rw-", f"group:{GUESTS}:r-x",
                        "mask::r--", "other::--x"], "list")
    expect(mode_of("f"), 0o741, "mode")


@case
def chmod_changes_the_group_where_there_is_no_mask():
    make_dir("d", 0o755)
    setfacl("-d", "-m", "u::rwx,g::rwx,o::-", "d")
    os.chmod("d", 0o751)
    expect(lists("d"), ["user::rwx", "group::r-x", "other::--x", "default:user::rwx",
                        "default:group::rwx", "default:other::---"], "lists")


@case
def the_mask_of_a_chmod_counts_at_once():
    make("f", "text", 0o660)
    setfacl("-m", f"u:{ALICE}:rw", "f")
    as_user(ALICE, append, "f")
    os.chmod("f", 0o640)
    with fails_with(errno.EACCES):
        as_user(ALICE, append, "f")
    os.chmod("f", 0o660)
    as_user(ALICE, append, "f")


@case
def files_inherit_the_default_list_and_no_umask_counts():
    make_dir("d", 0o755)
    setfacl("-d", "-m", f"u:{ALICE}:rw,g::rx,o::r", "d")
    os.umask(0o077)
    with open("d/f", "x", encoding="utf-8"):
        pass
    expect(lists("d/f"), ["user::rw-", f"user:{ALICE}:rw-", "group::r-x", "mask::rw-",
                          "other::r--"], "list")
    expect(mode_of("d/f"), 0o664, "mode")
    expect(names("d/f"), [ACCESS], "attributes")


@case
def directories_inherit_both_lists():
    make_dir("d", 0o755)
    setfacl("-d", "-m", f"u:{ALICE}:rwx,g::rx,o::-", "d")
    os.mkdir("d/sub", 0o777)
    expect(names("d/sub"), [ACCESS, DEFAULT], "attributes")
    expect(mode_of("d/sub"), 0o770, "mode")
    os.mkdir("d/sub/deeper", 0o700)
    expect(lists("d/sub/deeper"),
           ["user::rwx", f"user:{ALICE}:rwx", "group::r-x", "mask::---", "other::---",
            "default:user::rwx", f"default:user:{ALICE}:rwx", "default:group::r-x",
            "default:mask::rwx", "default:other::---"], "lists")


@case
def a_default_list_that_is_a_mode_makes_modes():
    make_dir("d", 0o755)
    setfacl("-d", "-m", "u::rw,g::rw,o::r", "d")
    os.umask(0o077)
    with open("d/f", "x", encoding="utf-8"):
        pass
    expect(mode_of("d/f"), 0o664, "mode")
    expect(names("d/f"), [], "attributes")
    os.mkdir("d/sub", 0o777)
    expect(mode_of("d/sub"), 0o664, "mode")
    expect(names("d/sub"), [DEFAULT], "attributes")


@case
def pipes_and_devices_inherit_and_symlinks_do_not():
    make_dir("d", 0o755)
    setfacl("-d", "-m", f"u:{ALICE}:rw", "d")
    os.mkfifo("d/pipe", 0o666)
    expect(names("d/pipe"), [ACCESS], "of a pipe")
    os.symlink("x", "d/link")
    with fails_with(errno.ENODATA, errno.EOPNOTSUPP):
        os.getxattr("d/link", ACCESS, follow_symlinks=False)


@case
def without_a_default_list_the_umask_counts():
    def umask_makes(mask, mode):
        os.umask(mask)
        os.close(os.open(f"f{mask}", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(f"d{mask}", 0o777)
        os.mknod(f"p{mask}", 0o666 | 0o010000)
        expect(mode_of(f"f{mask}"), mode & 0o666, f"file, umask {mask:o}")
        expect(mode_of(f"d{mask}"), mode, f"directory, umask {mask:o}")
        expect(mode_of(f"p{mask}"), mode & 0o666, f"pipe, umask {mask:o}")
    for mask in (0, 0o022, 0o077, 0o777):
        umask_makes(mask, 0o777 & ~mask)


@case
def a_changed_default_list_leaves_what_is_there_alone():
    make_dir("d", 0o755)
    make("d/old", mode=0o600)
    setfacl("-d", "-m", f"u:{ALICE}:rw", "d")
    expect(names("d/old"), [], "attributes of the old file")
    expect(mode_of("d"), 0o755, "mode of the directory")


@case
def default_lists_are_for_directories():
    make("f")
    with fails_with(errno.EACCES):
        os.setxattr("f", DEFAULT, value(*BASE))
    with fails_with(errno.ENODATA):
        os.getxattr("f", DEFAULT)


@case
def malformed_lists_are_refused():
    make("f", mode=0o640)
    bad = {
        "too short": b"\2\0\0",
        "half an entry": value(*BASE) + b"1234",
        "no owner": value(*BASE[1:]),
        "no others": value(*BASE[:2]),
        "out of order": value(BASE[1], BASE[0], BASE[2]),
        "two owners": value(BASE[0], *BASE),
        "rights unknown": value((USER_OBJ, 8, NONE), *BASE[1:]),
        "tag unknown": value(*BASE, (64, 4, NONE)),
        "named without a mask": value(BASE[0], (USER, 4, ALICE), *BASE[1:]),
        "two masks": value(*BASE[:2], (MASK, 4, NONE), (MASK, 4, NONE), BASE[2]),
    }
    for what, text in bad.items():
        try:
            os.setxattr("f", ACCESS, text)
            raise AssertionError(f"{what}: was taken")
        except OSError as err:
            expect(err.errno, errno.EINVAL, what)
    with fails_with(errno.EOPNOTSUPP):
        os.setxattr("f", ACCESS, value(*BASE, version=1))
    expect(mode_of("f"), 0o640, "mode")
    expect(names("f"), [], "attributes")


@case
def a_list_goes_away_and_the_mode_stays():
    make("f", mode=0o600)
    setfacl("-m", f"u:{ALICE}:rw", "f")
    os.removexattr("f", ACCESS)
    expect(names("f"), [], "attributes")
    expect(mode_of("f"), 0o660, "mode")
    with fails_with(errno.EACCES):
        as_user(ALICE, read, "f")


@case
def a_default_list_goes_away():
    make_dir("d", 0o755)
    setfacl("-d", "-m", f"u:{ALICE}:rw", "d")
    setfacl("-k", "d")
    expect(names("d"), [], "attributes")
    os.umask(0o027)
    os.mkdir("d/sub", 0o777)
    expect(mode_of("d/sub"), 0o750, "mode under a umask")


@case
def only_the_owner_changes_lists():
    make("f", "text", 0o666, ALICE)
    with fails_with(errno.EPERM):
        as_user(BOB, os.setxattr, "f", ACCESS, value(*BASE))
    setfacl("-m", f"u:{BOB}:rw", "f")
    with fails_with(errno.EPERM):
        as_user(BOB, os.removexattr, "f", ACCESS)
    as_user(ALICE, os.removexattr, "f", ACCESS)


@case
def setgid_goes_with_a_list_set_by_one_who_is_not_in_the_group():
    make("f", mode=0o2755, uid=ALICE, gid=STAFF)
    as_user(ALICE, os.setxattr, "f", ACCESS, value(*BASE), groups=[STAFF])
    expect(mode_of("f"), 0o2644, "mode after the list of a member")
    as_user(ALICE, os.setxattr, "f", ACCESS, value(*BASE))
    expect(mode_of("f"), 0o644, "mode after the list of a stranger")
    os.chmod("f", 0o2755)
    os.setxattr("f", ACCESS, value(*BASE))
    expect(mode_of("f"), 0o2644, "mode after root's list")


@case
def a_list_moves_the_ctime_alone():
    make("f")
    os.utime("f", ns=(10 ** 18, 10 ** 18))
    before = os.stat("f")
    setfacl("-m", f"u:{ALICE}:rw", "f")
    after = os.stat("f")
    expect((after.st_mtime_ns, after.st_atime_ns), (10 ** 18, 10 ** 18), "mtime and atime")
    if after.st_ctime_ns < before.st_ctime_ns:
        raise AssertionError("the ctime went back")


@case
def cp_keeps_lists():
    make("f", mode=0o600)
    setfacl("-m", f"u:{ALICE}:rw", "f")
    make_dir("d")
    setfacl("-m", f"u:{BOB}:rx,d:u:{BOB}:rx", "d")
    tool("cp", "-a", "f", "g")
    tool("cp", "-a", "d", "e")
    expect(lists("g"), lists("f"), "of a file")
    expect(lists("e"), lists("d"), "of a directory")


@case
def tar_keeps_lists():
    make_dir("d")
    make("d/f", mode=0o640)
    setfacl("-m", f"u:{ALICE}:rw,d:g:{STAFF}:rwx", "d")
    setfacl("-m", f"g:{STAFF}:r", "d/f")
    tool("tar", "--acls", "-cf", "t.tar", "d")
    os.mkdir("out")
    tool("tar", "--acls", "-xpf", "t.tar", "-C", "out")
    expect(lists("out/d"), lists("d"), "of the directory")
    expect(lists("out/d/f"), lists("d/f"), "of the file")


@case
def rsync_keeps_lists():
    make_dir("d")
    make("d/f", mode=0o640)
    setfacl("-m", f"u:{ALICE}:rw,d:g:{STAFF}:rwx", "d")
    setfacl("-m", f"g:{STAFF}:r", "d/f")
    tool("rsync", "-aA", "d", "out/")
    expect(lists("out/d"), lists("d"), "of the directory")
    expect(lists("out/d/f"), lists("d/f"), "of the file")


@case
def a_long_list_is_kept_whole():
    make("f", mode=0o600)
    named = [(USER, 4, 100000 + i) for i in range(400)]
    text = value((USER_OBJ, 6, NONE), *named, (GROUP_OBJ, 0, NONE), (MASK, 4, NONE),
                 (OTHER, 0, NONE))
    os.setxattr("f", ACCESS, text)
    expect(os.getxattr("f", ACCESS), text, "list")
    as_user(100399, read, "f")


if __name__ == "__main__":
    main()
