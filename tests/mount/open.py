#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""open(2) and its flags, O_TMPFILE, appends by many.

usage: open.py DIR [TEXT]. Right on any filesystem: run it on ext4 when in doubt about a case."""

import errno
import fcntl
import os
import stat
import time

from cases import (case, expect, expect_bytes, fails_with, in_child, in_children, libc, main, opened,
                   pattern)

AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
WAYS = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)


def made(path, data=b""):
    path.write_bytes(data)
    return path


def link_fd(fd, path):
    """Give the open file a name."""
    libc("linkat", AT_FDCWD, f"/proc/self/fd/{fd}".encode(), AT_FDCWD, os.fsencode(path),
         AT_SYMLINK_FOLLOW)


# --- creation ------------------------------------------------------------------------------------


@case
def what_is_not_there_is_not_opened_without_o_creat(d):
    for flags in WAYS + (os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_APPEND, os.O_PATH):
        with fails_with(errno.ENOENT):
            os.open(d / "none", flags)
    with fails_with(errno.ENOENT):
        os.open(d / "none" / "x", os.O_CREAT | os.O_RDWR)
    expect(os.listdir(d), [])


@case
def o_creat_makes_a_file_of_the_mode_without_the_umask(d):
    os.umask(0o026)
    for mode in (0o777, 0o666, 0o600, 0o444, 0):
        with opened(d / f"{mode:o}", os.O_CREAT | os.O_RDWR, mode) as fd:
            expect(stat.S_IMODE(os.fstat(fd).st_mode), mode & ~0o026)
            os.write(fd, b"also where the mode would not let it be opened again")


@case
def o_creat_opens_what_is_there_and_leaves_it_as_it_is(d):
    made(d / "f", b"old")
    os.chmod(d / "f", 0o640)
    with opened(d / "f", os.O_CREAT | os.O_RDWR, 0o777) as fd:
        expect(os.read(fd, 10), b"old")
        expect(stat.S_IMODE(os.fstat(fd).st_mode), 0o640)


@case
def o_excl_refuses_whatever_has_the_name(d):
    made(d / "file")
    (d / "dir").mkdir()
    os.mkfifo(d / "fifo")
    os.symlink("file", d / "link")
    os.symlink("nothing", d / "dangling")
    for name in ("file", "dir", "fifo", "link", "dangling"):
        with fails_with(errno.EEXIST):
            os.open(d / name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    expect(os.path.lexists(d / "nothing"), False)


@case
def of_many_that_create_exclusively_one_succeeds(d):
    def one(number):
        for turn in range(40):
            try:
                fd = os.open(d / f"f{turn}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                os.write(fd, b"%d" % number)
                os.close(fd)
                made(d / f"won-{turn}-{number}")
            except FileExistsError:
                pass

    in_children(*[lambda n=n: one(n) for n in range(4)])
    winners = [name for name in os.listdir(d) if name.startswith("won-")]
    expect(len(winners), 40)
    for name in winners:
        _, turn, number = name.split("-")
        expect((d / f"f{turn}").read_bytes(), number.encode())


@case
def o_creat_follows_a_link_to_nothing_and_makes_its_target(d):
    os.symlink("target", d / "link")
    with opened(d / "link", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"x")
    expect((d / "target").read_bytes(), b"x")


@case
def creating_moves_the_times_of_the_directory_and_opening_does_not(d):
    before = os.stat(d)
    time.sleep(0.02)
    made(d / "f")
    after = os.stat(d)
    expect(after.st_mtime_ns > before.st_mtime_ns, True, "mtime moved")
    expect(after.st_ctime_ns > before.st_ctime_ns, True, "ctime moved")
    time.sleep(0.02)
    with opened(d / "f", os.O_CREAT | os.O_RDWR):
        pass
    expect(os.stat(d).st_mtime_ns, after.st_mtime_ns, "mtime of the directory")


# --- truncation ----------------------------------------------------------------------------------


@case
def o_trunc_empties_a_file_and_moves_its_times(d):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_APPEND):
        made(d / "f", pattern(1, 10000))
        before = os.stat(d / "f")
        time.sleep(0.01)
        with opened(d / "f", flags | os.O_TRUNC) as fd:
            after = os.fstat(fd)
            expect((after.st_size, after.st_blocks), (0, 0))
            expect(after.st_mtime_ns > before.st_mtime_ns, True, "mtime moved")
    (d / "sub").mkdir()
    with fails_with(errno.EISDIR):
        os.open(d / "sub", os.O_RDWR | os.O_TRUNC)


@case
def another_descriptor_sees_the_truncation_by_an_open(d):
    with opened(made(d / "f", b"0123456789"), os.O_RDWR) as fd:
        with opened(d / "f", os.O_WRONLY | os.O_TRUNC):
            expect(os.fstat(fd).st_size, 0)
            expect(os.pread(fd, 10, 0), b"")
        os.pwrite(fd, b"x", 4)
        expect((d / "f").read_bytes(), b"\0\0\0\0x")


# --- what kind of thing it is --------------------------------------------------------------------


@case
def o_directory_wants_a_directory(d):
    made(d / "file")
    (d / "dir").mkdir()
    os.symlink("file", d / "to-file")
    os.symlink("dir", d / "to-dir")
    for name in ("file", "to-file"):
        with fails_with(errno.ENOTDIR):
            os.open(d / name, os.O_DIRECTORY | os.O_RDONLY)
    for name in ("dir", "to-dir"):
        with opened(d / name, os.O_DIRECTORY | os.O_RDONLY) as fd:
            expect(stat.S_ISDIR(os.fstat(fd).st_mode), True)


@case
def a_directory_is_not_opened_for_writing(d):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_CREAT):
        with fails_with(errno.EISDIR):
            os.open(d, flags)
    with opened(d, os.O_RDONLY) as fd:
        with fails_with(errno.EISDIR):
            os.read(fd, 1)


@case
def o_nofollow_refuses_a_link_at_the_end_only(d):
    (d / "dir").mkdir()
    made(d / "dir" / "f", b"x")
    os.symlink("dir", d / "up")
    os.symlink("dir/f", d / "link")
    with fails_with(errno.ELOOP):
        os.open(d / "link", os.O_NOFOLLOW | os.O_RDONLY)
    with fails_with(errno.ENOTDIR):  # with O_DIRECTORY: a link is none
        os.open(d / "up", os.O_NOFOLLOW | os.O_DIRECTORY | os.O_RDONLY)
    with opened(d / "up" / "f", os.O_NOFOLLOW | os.O_RDONLY) as fd:
        expect(os.read(fd, 1), b"x")


@case
def o_path_names_without_opening(d):
    made(d / "f", b"data")
    os.chmod(d / "f", 0)
    os.symlink("f", d / "link")
    with opened(d / "f", os.O_PATH) as fd:
        expect(os.fstat(fd).st_size, 4)
        for call in (lambda: os.read(fd, 1), lambda: os.write(fd, b"x"),
                     lambda: os.fchmod(fd, 0o600), lambda: os.ftruncate(fd, 0)):
            with fails_with(errno.EBADF):
                call()
        os.chmod(f"/proc/self/fd/{fd}", 0o600)
        with opened(f"/proc/self/fd/{fd}", os.O_RDONLY) as again:
            expect(os.read(again, 4), b"data")
    with opened(d / "link", os.O_PATH | os.O_NOFOLLOW) as fd:
        expect(stat.S_ISLNK(os.fstat(fd).st_mode), True)
        expect(os.readlink("", dir_fd=fd), "f")


@case
def a_name_behind_a_file_leads_nowhere(d):
    made(d / "f")
    os.symlink("f", d / "l")
    for name in ("f/x", "f/", "l/x", "f/.", "f/.."):
        with fails_with(errno.ENOTDIR):
            os.open(os.fsencode(d) + b"/" + name.encode(), os.O_RDONLY)
    with fails_with(errno.EISDIR, errno.ENOENT):
        os.open(os.fsencode(d) + b"/new/", os.O_CREAT | os.O_RDWR)


@case
def a_fifo_without_a_reader_is_not_opened_for_writing_at_once(d):
    os.mkfifo(d / "p")
    with fails_with(errno.ENXIO):
        os.open(d / "p", os.O_WRONLY | os.O_NONBLOCK)
    with opened(d / "p", os.O_RDONLY | os.O_NONBLOCK) as reader:
        with opened(d / "p", os.O_WRONLY | os.O_NONBLOCK) as writer:
            os.write(writer, b"through")
            expect(os.read(reader, 10), b"through")


@case
def a_running_program_is_not_opened_for_writing(d):
    with open("/bin/sleep", "rb") as f:
        made(d / "prog", f.read())
    os.chmod(d / "prog", 0o755)
    pid = os.posix_spawn(d / "prog", ["prog", "30"], {})
    try:
        with fails_with(errno.ETXTBSY):
            os.open(d / "prog", os.O_WRONLY)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    with opened(d / "prog", os.O_WRONLY):
        pass


# --- access modes --------------------------------------------------------------------------------


@case
def a_descriptor_reads_and_writes_as_it_was_opened(d):
    made(d / "f", b"data")
    with opened(d / "f", os.O_RDONLY) as fd:
        for call in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 1)):
            with fails_with(errno.EBADF, errno.EINVAL):
                call()
    with opened(d / "f", os.O_WRONLY) as fd:
        with fails_with(errno.EBADF):
            os.read(fd, 1)
        os.pwrite(fd, b"D", 0)
    expect((d / "f").read_bytes(), b"Data")


@case
def modes_of_files_bind_users_when_they_open_and_not_later(d):
    made(d / "f", b"data")
    os.chmod(d / "f", 0o400)
    os.chdir(d)  # others may not come here by its path

    def as_nobody():
        os.setresuid(65534, 65534, 65534)
        for flags in WAYS:
            with fails_with(errno.EACCES):
                os.open("f", flags)
        with fails_with(errno.EACCES):
            os.open("new", os.O_CREAT | os.O_RDWR)

    in_child(as_nobody)
    with opened("f", os.O_RDWR) as fd:
        os.fchmod(fd, 0)
        os.pwrite(fd, b"D", 0)
        expect(os.pread(fd, 4, 0), b"Data")


@case
def flags_of_an_open_file_can_be_asked_and_changed(d):
    with opened(d / "f", os.O_CREAT | os.O_WRONLY | os.O_APPEND) as fd:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        expect((flags & os.O_ACCMODE, bool(flags & os.O_APPEND)), (os.O_WRONLY, True))
        os.write(fd, b"one")
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
        os.lseek(fd, 0, 0)
        os.write(fd, b"T")
    expect((d / "f").read_bytes(), b"Tne")


# --- appending -----------------------------------------------------------------------------------


@case
def what_many_append_is_whole_and_all_there(d):
    """Records of sizes of their own, from processes that each have the file open themselves."""
    writers, records = 4, 100
    made(d / "f")

    def write(number):
        with opened(d / "f", os.O_WRONLY | os.O_APPEND) as fd:
            for turn in range(records):
                body = b"%d:%d:" % (number, turn) + b"x" * (turn * 37 % 3000)
                expect(os.write(fd, body + b"\n"), len(body) + 1)

    in_children(*[lambda n=n: write(n) for n in range(writers)])
    seen = {n: 0 for n in range(writers)}
    for line in (d / "f").read_bytes().splitlines():
        number, turn, body = line.split(b":")
        expect(int(turn), seen[int(number)], "the records of a writer in their order")
        expect(len(body), int(turn) * 37 % 3000)
        seen[int(number)] += 1
    expect(set(seen.values()), {records})


@case
def an_append_goes_to_the_end_wherever_the_offset_is(d):
    with opened(made(d / "f", b"12345"), os.O_RDWR | os.O_APPEND) as fd:
        os.lseek(fd, 1, 0)
        os.write(fd, b"67")
        expect(os.lseek(fd, 0, 1), 7)
        os.ftruncate(fd, 3)
        os.write(fd, b"x")
        expect(os.pread(fd, 10, 0), b"123x")


# --- without a name ------------------------------------------------------------------------------


@case
def a_file_without_a_name_is_in_no_listing(d):
    before = os.stat(d)
    with opened(d, os.O_TMPFILE | os.O_RDWR, 0o640) as fd:
        s = os.fstat(fd)
        expect((s.st_nlink, s.st_size, stat.S_IMODE(s.st_mode)), (0, 0, 0o640))
        os.write(fd, pattern(2, 100_000))
        expect_bytes(os.pread(fd, 200_000, 0), pattern(2, 100_000))
        expect(os.listdir(d), [])
    expect(os.stat(d).st_mtime_ns, before.st_mtime_ns, "mtime of the directory")
    expect(os.stat(d).st_nlink, before.st_nlink)


@case
def a_file_without_a_name_takes_one_with_its_data(d):
    data = pattern(3, 300_000)
    with opened(d, os.O_TMPFILE | os.O_RDWR, 0o600) as fd:
        os.write(fd, data)
        link_fd(fd, d / "f")
        expect(os.fstat(fd).st_nlink, 1)
        expect(os.stat(d / "f").st_ino, os.fstat(fd).st_ino)
        link_fd(fd, d / "g")
        expect(os.fstat(fd).st_nlink, 2)
        with fails_with(errno.EEXIST):
            link_fd(fd, d / "g")
        os.fsync(fd)
    expect_bytes((d / "f").read_bytes(), data)
    os.unlink(d / "f")
    expect_bytes((d / "g").read_bytes(), data)


@case
def with_o_excl_it_never_gets_a_name(d):
    with opened(d, os.O_TMPFILE | os.O_EXCL | os.O_RDWR, 0o600) as fd:
        with fails_with(errno.ENOENT):
            link_fd(fd, d / "f")


@case
def one_that_lost_its_last_name_gets_none_again(d):
    with opened(d / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.unlink(d / "f")
        with fails_with(errno.ENOENT):
            link_fd(fd, d / "g")


@case
def a_file_without_a_name_wants_a_directory_and_writing(d):
    made(d / "f")
    with fails_with(errno.EINVAL):
        os.open(d, os.O_TMPFILE | os.O_RDONLY)
    with fails_with(errno.ENOTDIR):
        os.open(d / "f", os.O_TMPFILE | os.O_RDWR)
    with fails_with(errno.ENOENT):
        os.open(d / "none", os.O_TMPFILE | os.O_RDWR)


@case
def it_obeys_the_umask_and_the_group_of_the_directory(d):
    os.chown(d, 0, 1234)
    os.chmod(d, 0o2777)
    os.umask(0o027)
    with opened(d, os.O_TMPFILE | os.O_RDWR, 0o666) as fd:
        expect(stat.S_IMODE(os.fstat(fd).st_mode), 0o640)
        expect(os.fstat(fd).st_gid, 1234)


@case
def its_space_is_free_when_it_is_closed(d):
    def used():
        s = os.statvfs(d)
        return s.f_blocks - s.f_bfree

    with opened(d, os.O_TMPFILE | os.O_RDWR, 0o600) as fd:
        before = used()
        os.write(fd, bytes(8 << 20))
        os.fsync(fd)
        expect(used() - before >= (8 << 20) // os.statvfs(d).f_frsize, True, "8 MiB are used")
    deadline = time.monotonic() + 5
    while used() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    expect(used() <= before, True, "they are free again")


@case
def it_can_be_mapped_locked_and_opened_through_proc(d):
    with opened(d, os.O_TMPFILE | os.O_RDWR, 0o600) as fd:
        os.write(fd, b"content")
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.setxattr(fd, "user.of", b"nobody")
        with opened(f"/proc/self/fd/{fd}", os.O_RDONLY) as again:
            expect(os.read(again, 10), b"content")
            expect(os.getxattr(again, "user.of"), b"nobody")
        link_fd(fd, d / "f")
    expect(os.getxattr(d / "f", "user.of"), b"nobody")


if __name__ == "__main__":
    main()
