#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rename(2) and renameat2(2): what moves, what gives way, what is refused, what others see of it.

usage: rename.py DIR [TEXT]. Right on any filesystem: run it on ext4 when in doubt about a case."""

import errno
import os
import stat
import time

from cases import case, expect, fails_with, in_child, in_children, libc, main, opened

AT_FDCWD = -100
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


def renameat2(old, new, flags):
    libc("renameat2", AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags)


def made(path, text="x"):
    path.write_text(text)
    return path


def ino(path):
    return os.lstat(path).st_ino


# --- what moves ----------------------------------------------------------------------------------


@case
def everything_that_has_a_name_is_renamed_and_stays_what_it_is(d):
    made(d / "file", "text")
    (d / "dir").mkdir()
    made(d / "dir" / "inner", "inner")
    os.symlink("nowhere", d / "link")
    os.mkfifo(d / "fifo")
    os.mknod(d / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    (d / "to").mkdir()
    for name in ("file", "dir", "link", "fifo", "null"):
        before = os.lstat(d / name)
        os.rename(d / name, d / "to" / f"new-{name}")
        after = os.lstat(d / "to" / f"new-{name}")
        expect((after.st_ino, after.st_mode, after.st_rdev, after.st_mtime_ns, after.st_nlink),
               (before.st_ino, before.st_mode, before.st_rdev, before.st_mtime_ns,
                before.st_nlink), name)
        expect(os.path.lexists(d / name), False)
    expect((d / "to" / "new-dir" / "inner").read_text(), "inner")
    expect(os.readlink(d / "to" / "new-link"), "nowhere")


@case
def a_rename_moves_the_times_of_both_directories(d):
    for name in ("a", "b"):
        (d / name).mkdir()
    made(d / "a" / "f")
    before = [os.stat(d / name).st_mtime_ns for name in ("a", "b")]
    changed = os.stat(d / "a" / "f").st_ctime_ns
    time.sleep(0.02)
    os.rename(d / "a" / "f", d / "b" / "f")
    after = [os.stat(d / name).st_mtime_ns for name in ("a", "b")]
    expect([x < y for x, y in zip(before, after)], [True, True])
    expect(os.stat(d / "b" / "f").st_ctime_ns > changed, True, "ctime of the file")


@case
def a_directory_that_moves_takes_its_link_of_the_parent_along(d):
    for name in ("a", "b", "a/sub"):
        (d / name).mkdir()
    expect((os.stat(d / "a").st_nlink, os.stat(d / "b").st_nlink), (3, 2))
    os.rename(d / "a" / "sub", d / "b" / "sub")
    expect((os.stat(d / "a").st_nlink, os.stat(d / "b").st_nlink), (2, 3))
    expect(ino(d / "b" / "sub" / ".."), ino(d / "b"))
    (d / "a" / "empty").mkdir()
    os.rename(d / "b" / "sub", d / "a" / "empty")
    expect((os.stat(d / "a").st_nlink, os.stat(d / "b").st_nlink), (3, 2))


@case
def an_open_file_and_a_working_directory_are_renamed_under_their_users(d):
    (d / "dir").mkdir()
    with opened(made(d / "dir" / "f", "text"), os.O_RDWR) as fd:
        os.chdir(d / "dir")
        os.rename("../dir", "../moved")
        expect(os.path.basename(os.getcwd()), "moved")
        os.rename("f", "g")
        expect(os.readlink(f"/proc/self/fd/{fd}").endswith("moved/g"), True)
        os.write(fd, b"TEXT")
        expect(os.stat("g").st_size, 4)
        expect(os.listdir("."), ["g"])


@case
def names_of_255_bytes_and_of_any_bytes_are_renamed(d):
    top = os.fsencode(d)
    names = [b"\x01\xff\n" + b"\xfe" * 252, "ä".encode() * 127 + b"x", b" ", b"...", b"-", b"\\"]
    made(d / "f")
    at = top + b"/f"
    for name in names:
        os.rename(at, top + b"/" + name)
        at = top + b"/" + name
        expect(os.listdir(top), [name])
    with fails_with(errno.ENAMETOOLONG):
        os.rename(at, top + b"/" + b"x" * 256)
    with fails_with(errno.ENAMETOOLONG):
        os.rename(top + b"/" + b"x" * 256, at)


# --- what gives way ------------------------------------------------------------------------------


@case
def a_file_that_is_replaced_lives_while_it_is_open(d):
    made(d / "new", "new")
    with opened(made(d / "old", "old"), os.O_RDONLY) as fd:
        os.rename(d / "new", d / "old")
        expect((os.fstat(fd).st_nlink, os.read(fd, 9)), (0, b"old"))
        expect((d / "old").read_text(), "new")
    expect(os.listdir(d), ["old"])


@case
def types_that_do_not_fit_are_not_replaced(d):
    made(d / "file")
    (d / "empty").mkdir()
    (d / "full").mkdir()
    made(d / "full" / "f")
    (d / "dir").mkdir()
    with fails_with(errno.EISDIR):
        os.rename(d / "file", d / "empty")
    with fails_with(errno.ENOTDIR):
        os.rename(d / "dir", d / "file")
    with fails_with(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(d / "dir", d / "full")
    os.rename(d / "dir", d / "empty")
    expect(sorted(os.listdir(d)), ["empty", "file", "full"])
    expect(os.stat(d).st_nlink, 4)


@case
def an_empty_directory_that_is_replaced_is_a_dead_one(d):
    (d / "old").mkdir()
    (d / "new").mkdir()
    made(d / "new" / "f")
    with opened(d / "old", os.O_RDONLY) as fd:
        os.rename(d / "new", d / "old")
        expect(os.fstat(fd).st_nlink, 0)
        with fails_with(errno.ENOENT):
            os.open("x", os.O_CREAT | os.O_RDWR, dir_fd=fd)
    expect(os.listdir(d / "old"), ["f"])


@case
def two_names_of_one_file_both_stay(d):
    made(d / "a")
    os.link(d / "a", d / "b")
    os.rename(d / "a", d / "b")
    expect(sorted(os.listdir(d)), ["a", "b"])
    os.rename(d / "a", d / "a")
    expect(os.stat(d / "a").st_nlink, 2)


# --- what is refused -----------------------------------------------------------------------------


@case
def a_directory_does_not_move_into_itself(d):
    (d / "a" / "b" / "c").mkdir(parents=True)
    for to in ("a/x", "a/b/x", "a/b/c/x", "a/b/c"):
        with fails_with(errno.EINVAL):
            os.rename(d / "a", d / to)
    with fails_with(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(d / "a" / "b" / "c", d / "a")
    with fails_with(errno.EINVAL):
        renameat2(d / "a", d / "a" / "b", EXCHANGE)
    with fails_with(errno.EINVAL):
        renameat2(d / "a" / "b", d / "a", EXCHANGE)


@case
def what_is_not_there_and_dots_are_not_renamed(d):
    made(d / "f")
    (d / "dir").mkdir()
    for old, new, number in (("none", "x", errno.ENOENT), ("f", "none/x", errno.ENOENT),
                             ("f/x", "y", errno.ENOTDIR), ("f", "f/x", errno.ENOTDIR)):
        with fails_with(number):
            os.rename(d / old, d / new)
    top = os.fsencode(d)
    for old, new in ((b"dir/.", b"x"), (b"dir/..", b"x"), (b"dir", b"dir/."), (b"dir", b"..")):
        with fails_with(errno.EBUSY, errno.EINVAL, errno.EEXIST, errno.ENOTEMPTY):
            os.rename(top + b"/" + old, top + b"/" + new)
    with fails_with(errno.ENOTDIR):
        os.rename(top + b"/f", top + b"/new/")
    os.rename(top + b"/dir/", top + b"/moved/")
    expect(sorted(os.listdir(d)), ["f", "moved"])


@case
def into_a_directory_that_was_removed_nothing_is_renamed(d):
    (d / "gone").mkdir()
    made(d / "f")
    with opened(d / "gone", os.O_RDONLY) as fd:
        os.rmdir(d / "gone")
        with fails_with(errno.ENOENT):
            os.rename(d / "f", "f", dst_dir_fd=fd)
    expect(os.listdir(d), ["f"])


@case
def in_a_sticky_directory_others_rename_only_what_is_theirs(d):
    os.chmod(d, 0o1777)
    os.chdir(d)
    for name in ("roots", "theirs", "target"):
        with open(name, "w", encoding="ascii") as f:
            f.write(name)
    os.chown("theirs", 65534, 65534)

    def as_nobody():
        os.setresuid(65534, 65534, 65534)
        for old, new in (("roots", "new"), ("theirs", "target")):
            with fails_with(errno.EPERM, errno.EACCES):
                os.rename(old, new)
        with fails_with(errno.EPERM, errno.EACCES):
            os.unlink("roots")
        with fails_with(errno.EPERM, errno.EACCES):
            renameat2("theirs", "roots", EXCHANGE)
        os.rename("theirs", "mine")

    in_child(as_nobody)
    expect(sorted(os.listdir(".")), ["mine", "roots", "target"])


# --- flags ---------------------------------------------------------------------------------------


@case
def noreplace_replaces_nothing(d):
    made(d / "a", "a")
    made(d / "b", "b")
    (d / "dir").mkdir()
    os.symlink("nothing", d / "dangling")
    os.link(d / "a", d / "same")
    for name in ("b", "dir", "dangling", "same", "a"):
        with fails_with(errno.EEXIST):
            renameat2(d / "a", d / name, NOREPLACE)
    renameat2(d / "a", d / "c", NOREPLACE)
    expect((d / "c").read_text(), "a")
    with fails_with(errno.ENOENT):
        renameat2(d / "a", d / "x", NOREPLACE)


@case
def exchange_swaps_whatever_the_two_are(d):
    made(d / "file", "text")
    (d / "x" / "dir").mkdir(parents=True)
    made(d / "x" / "dir" / "inner")
    os.symlink("x", d / "link")
    numbers = {name: ino(d / name) for name in ("file", "x/dir", "link")}
    renameat2(d / "file", d / "x" / "dir", EXCHANGE)
    expect((ino(d / "file"), ino(d / "x" / "dir")), (numbers["x/dir"], numbers["file"]))
    expect(os.listdir(d / "file"), ["inner"])
    expect((os.stat(d).st_nlink, os.stat(d / "x").st_nlink), (4, 2))
    expect(ino(d / "file" / ".."), ino(d))
    renameat2(d / "link", d / "file", EXCHANGE)
    expect((ino(d / "file"), ino(d / "link")), (numbers["link"], numbers["x/dir"]))
    with fails_with(errno.ENOENT):
        renameat2(d / "file", d / "none", EXCHANGE)
    renameat2(d / "file", d / "file", EXCHANGE)


@case
def flags_that_contradict_or_are_unknown_are_refused(d):
    made(d / "a")
    made(d / "b")
    for flags in (NOREPLACE | EXCHANGE, WHITEOUT | EXCHANGE, 8, 1 << 30):
        with fails_with(errno.EINVAL):
            renameat2(d / "a", d / "b", flags)
    expect(sorted(os.listdir(d)), ["a", "b"])


@case
def a_whiteout_takes_the_old_name(d):
    made(d / "a", "a")
    renameat2(d / "a", d / "b", WHITEOUT)
    s = os.lstat(d / "a")
    expect((stat.S_ISCHR(s.st_mode), s.st_rdev, s.st_nlink), (True, 0, 1))
    expect((d / "b").read_text(), "a")
    made(d / "c", "c")
    with fails_with(errno.EEXIST):
        renameat2(d / "c", d / "b", WHITEOUT | NOREPLACE)
    renameat2(d / "c", d / "b", WHITEOUT)
    expect((d / "b").read_text(), "c")
    os.unlink(d / "a")
    os.unlink(d / "c")
    expect(os.listdir(d), ["b"])


# --- what others see -----------------------------------------------------------------------------


@case
def a_name_that_is_replaced_again_and_again_is_always_there(d):
    made(d / "name", "0" * 1000)
    stop = d / "stop"

    def replace():
        for turn in range(300):
            made(d / "temp", str(turn % 10) * 1000)
            os.rename(d / "temp", d / "name")
        made(stop)

    def watch():
        while not stop.exists():
            text = (d / "name").read_text()
            expect((len(text), len(set(text))), (1000, 1), "one whole version")

    in_children(replace, watch, watch)


@case
def of_many_that_rename_to_one_name_without_replacing_one_succeeds(d):
    for number in range(4):
        (d / f"won-{number}").mkdir()

    def one(number):
        for turn in range(30):
            made(d / f"from-{number}", str(number))
            try:
                renameat2(d / f"from-{number}", d / f"to-{turn}", NOREPLACE)
                made(d / f"won-{number}" / str(turn))
            except FileExistsError:
                pass

    in_children(*[lambda n=n: one(n) for n in range(4)])
    expect(sum(len(os.listdir(d / f"won-{n}")) for n in range(4)), 30)


@case
def directories_that_are_renamed_into_each_other_at_once_stay_a_tree(d):
    for name in ("a", "b", "a/x", "b/y"):
        (d / name).mkdir()

    def move(names):
        for _ in range(100):
            for old, new in names:
                try:
                    os.rename(d / old, d / new)
                except OSError as err:
                    if err.errno not in (errno.ENOENT, errno.EINVAL, errno.ENOTEMPTY,
                                         errno.ENOTDIR, errno.EEXIST):
                        raise

    in_children(lambda: move([("a", "b/y/a"), ("b/y/a", "a")]),
                lambda: move([("b", "a/x/b"), ("a/x/b", "b")]))
    found = sum(len(directories) for _, directories, _ in os.walk(d))
    expect(found, 4, "directories that can be reached")


@case
def what_is_synced_and_renamed_is_read_by_its_new_name(d):
    for turn in range(20):
        with opened(d / "temp", os.O_CREAT | os.O_WRONLY | os.O_TRUNC) as fd:
            os.write(fd, b"%d" % turn)
            os.fsync(fd)
        os.rename(d / "temp", d / "name")
        expect((d / "name").read_bytes(), b"%d" % turn)


if __name__ == "__main__":
    main()
