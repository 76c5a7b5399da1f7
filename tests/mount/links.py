#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""link, unlink, mkdir, rmdir, symlink, mknod, and the limits of names and paths.

usage: links.py DIR [TEXT]. Right on any filesystem: run it on ext4 when in doubt about a case."""

import errno
import fcntl
import os
import socket
import stat
import time

from cases import case, expect, expect_bytes, fails_with, in_child, in_children, main, opened, pattern

SLOW = bool(os.environ.get("STABLEFS_SLOW"))


def made(path, text="x"):
    path.write_text(text)
    return path


# --- links ---------------------------------------------------------------------------------------


@case
def all_names_of_a_file_are_equal(d):
    made(d / "a", "text")
    (d / "sub").mkdir()
    os.link(d / "a", d / "sub" / "b")
    one, other = os.stat(d / "a"), os.stat(d / "sub" / "b")
    expect((one.st_ino, one.st_nlink), (other.st_ino, 2))
    with opened(d / "sub" / "b", os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b" more")
    expect((d / "a").read_text(), "text more")
    os.unlink(d / "a")
    expect((os.stat(d / "sub" / "b").st_nlink, (d / "sub" / "b").read_text()), (1, "text more"))


@case
def a_link_moves_ctime_and_the_times_of_its_directory(d):
    made(d / "a")
    (d / "sub").mkdir()
    before, directory = os.stat(d / "a"), os.stat(d / "sub")
    time.sleep(0.02)
    os.link(d / "a", d / "sub" / "b")
    after = os.stat(d / "a")
    expect((after.st_ctime_ns > before.st_ctime_ns, after.st_mtime_ns), (True, before.st_mtime_ns))
    expect(os.stat(d / "sub").st_mtime_ns > directory.st_mtime_ns, True)
    time.sleep(0.02)
    os.unlink(d / "sub" / "b")
    expect(os.stat(d / "a").st_ctime_ns > after.st_ctime_ns, True, "ctime after unlink")


@case
def anything_but_a_directory_can_be_linked(d):
    (d / "dir").mkdir()
    os.mkfifo(d / "fifo")
    os.mknod(d / "dev", stat.S_IFBLK | 0o600, os.makedev(7, 99))
    os.symlink("nothing", d / "link")
    with fails_with(errno.EPERM):
        os.link(d / "dir", d / "dir2")
    for name in ("fifo", "dev", "link"):
        os.link(d / name, d / f"{name}2", follow_symlinks=False)
        one, other = os.lstat(d / name), os.lstat(d / f"{name}2")
        expect((other.st_ino, other.st_mode, other.st_nlink), (one.st_ino, one.st_mode, 2), name)


@case
def a_link_replaces_nothing(d):
    made(d / "a")
    made(d / "b")
    (d / "dir").mkdir()
    os.symlink("nothing", d / "dangling")
    for name in ("a", "b", "dir", "dangling"):
        with fails_with(errno.EEXIST):
            os.link(d / "a", d / name)
    for old, new, number in (("none", "x", errno.ENOENT), ("a", "none/x", errno.ENOENT),
                             ("a", "b/x", errno.ENOTDIR)):
        with fails_with(number):
            os.link(d / old, d / new)
    expect(os.stat(d / "a").st_nlink, 1)


@case
def a_file_has_thousands_of_names(d):
    count = 500 if SLOW else 3000
    made(d / "f")
    for number in range(count):
        os.link(d / "f", d / f"link-{number}")
    expect(os.stat(d / "f").st_nlink, count + 1)
    expect(len(os.listdir(d)), count + 1)
    for number in range(count):
        os.unlink(d / f"link-{number}")
    expect(os.stat(d / "f").st_nlink, 1)


# --- unlink --------------------------------------------------------------------------------------


@case
def an_unlinked_file_lives_while_it_is_open(d):
    data = pattern(1, 200_000)
    with opened(d / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, data[:100_000])
        os.unlink(d / "f")
        expect(os.fstat(fd).st_nlink, 0)
        os.write(fd, data[100_000:])
        os.fsync(fd)
        expect_bytes(os.pread(fd, 300_000, 0), data)
        os.ftruncate(fd, 5)
        expect(os.fstat(fd).st_size, 5)
        os.fchmod(fd, 0o600)
        made(d / "f", "another")
        expect(os.pread(fd, 9, 0), data[:5])
    expect((d / "f").read_text(), "another")


@case
def space_of_an_unlinked_file_is_free_when_it_is_closed(d):
    def used():
        s = os.statvfs(d)
        return (s.f_blocks - s.f_bfree) * s.f_frsize

    with opened(d / "f", os.O_CREAT | os.O_RDWR) as fd:
        before = used()
        os.write(fd, bytes(8 << 20))
        os.fsync(fd)
        os.unlink(d / "f")
        expect(used() - before >= 8 << 20, True, "used while it is open")
    deadline = time.monotonic() + 5
    while used() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    expect(used() <= before, True, "free afterwards")


@case
def what_cannot_be_unlinked(d):
    (d / "dir").mkdir()
    made(d / "f")
    for name, number in (("dir", errno.EISDIR), ("none", errno.ENOENT), ("f/x", errno.ENOTDIR)):
        with fails_with(number):
            os.unlink(d / name)
    with fails_with(errno.ENOTDIR):
        os.unlink(os.fsencode(d) + b"/f/")
    expect(sorted(os.listdir(d)), ["dir", "f"])


@case
def of_many_that_unlink_one_name_one_succeeds(d):
    for turn in range(40):
        made(d / f"f{turn}")
    for number in range(3):
        (d / f"won-{number}").mkdir()

    def one(number):
        for turn in range(40):
            try:
                os.unlink(d / f"f{turn}")
                made(d / f"won-{number}" / str(turn))
            except FileNotFoundError:
                pass

    in_children(*[lambda n=n: one(n) for n in range(3)])
    expect(sum(len(os.listdir(d / f"won-{n}")) for n in range(3)), 40)


# --- directories ---------------------------------------------------------------------------------


@case
def directories_count_their_subdirectories(d):
    count = 100 if SLOW else 1000
    expect(os.stat(d).st_nlink, 2)
    for number in range(count):
        os.mkdir(d / f"{number}")
    made(d / "file")
    expect(os.stat(d).st_nlink, count + 2)
    for number in range(count):
        os.rmdir(d / f"{number}")
    expect(os.stat(d).st_nlink, 2)


@case
def only_empty_directories_are_removed(d):
    (d / "a" / "b").mkdir(parents=True)
    made(d / "f")
    for name, number in (("a", errno.ENOTEMPTY), ("f", errno.ENOTDIR), ("none", errno.ENOENT)):
        with fails_with(number):
            os.rmdir(d / name)
    top = os.fsencode(d)
    with fails_with(errno.EINVAL):
        os.rmdir(top + b"/a/b/.")
    with fails_with(errno.ENOTEMPTY):
        os.rmdir(top + b"/a/b/..")
    with fails_with(errno.EEXIST):
        os.mkdir(d / "a")
    with fails_with(errno.EEXIST):
        os.mkdir(d / "f")
    os.rmdir(top + b"/a/b/")
    os.rmdir(d / "a")


@case
def in_a_removed_directory_nothing_is_made(d):
    os.mkdir(d / "gone")
    os.chdir(d / "gone")
    fd = os.open(".", os.O_RDONLY)
    os.rmdir(d / "gone")
    expect(os.fstat(fd).st_nlink, 0)
    for call in (lambda: os.open("f", os.O_CREAT | os.O_RDWR), lambda: os.mkdir("sub"),
                 lambda: os.symlink("x", "l"), lambda: os.mkfifo("p"),
                 lambda: os.stat("f")):
        with fails_with(errno.ENOENT):
            call()
    with fails_with(errno.ENOENT, errno.EPERM):
        os.open(".", os.O_TMPFILE | os.O_RDWR)
    expect(os.listdir(fd), [])
    os.stat(".")
    os.mkdir(d / "gone")
    expect(os.stat(d / "gone").st_ino != os.fstat(fd).st_ino, True, "another directory")
    os.close(fd)
    os.chdir("/")


@case
def directories_are_nested_as_deep_as_anybody_goes(d):
    depth = 100 if SLOW else 400
    name = "n" * 40
    top = os.open(d, os.O_RDONLY)
    at = os.dup(top)
    for _ in range(depth):  # far deeper than one path can say
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    expect(os.listdir(at), ["f"])
    os.unlink("f", dir_fd=at)
    for _ in range(depth):
        above = os.open("..", os.O_RDONLY, dir_fd=at)
        os.rmdir(name, dir_fd=above)
        os.close(at)
        at = above
    expect(os.listdir(top), [])
    expect(os.fstat(at).st_ino, os.fstat(top).st_ino)


# --- names and paths -----------------------------------------------------------------------------


@case
def names_are_any_bytes_but_a_slash(d):
    top = os.fsencode(d) + b"/"
    names = {bytes([n]) for n in range(1, 256) if n not in b"./"}
    names |= {bytes([n]) * 255 for n in (1, 10, 32, 127, 128, 255)}
    names |= {b"...", b" .", b"\xff\xfe.\x01", "名前".encode(), b"a\\b", b"%s%n", b"-rf", b"~"}
    for name in names:
        with opened(top + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as fd:
            os.write(fd, name)
    expect(set(os.listdir(top)), names)
    for name in names:
        with open(top + name, "rb") as f:
            expect(f.read(), name)
        os.unlink(top + name)
    expect(os.listdir(d), [])


@case
def names_differ_in_every_byte_and_in_case(d):
    for name in ("a", "A", "é", "e\u0301", "a ", " a", "a.", "aa"):
        made(d / name, name)
    expect(len(os.listdir(d)), 8)
    expect((d / "é").read_text(), "é")
    expect((d / "e\u0301").read_text(), "e\u0301")


@case
def a_name_of_256_bytes_is_too_long_for_every_call(d):
    name, good = d / ("x" * 256), d / ("x" * 255)
    made(d / "f")
    for call in (lambda: os.open(name, os.O_CREAT | os.O_RDWR), lambda: os.open(name, os.O_RDONLY),
                 lambda: os.mkdir(name), lambda: os.symlink("x", name), lambda: os.mkfifo(name),
                 lambda: os.link(d / "f", name), lambda: os.rename(d / "f", name),
                 lambda: os.stat(name), lambda: os.unlink(name), lambda: os.rmdir(name),
                 lambda: os.readlink(name), lambda: os.chmod(name, 0), lambda: os.truncate(name, 0)):
        with fails_with(errno.ENAMETOOLONG):
            call()
    expect(os.pathconf(d, "PC_NAME_MAX"), 255)
    made(good)
    os.unlink(good)
    os.mkdir(good)
    os.rmdir(good)


@case
def paths_reach_to_path_max(d):
    os.chdir(d)
    part = "p" * 199
    for _ in range(20):
        os.mkdir(part)
        os.chdir(part)
    os.chdir(d)
    deep = "/".join([part] * 20)
    full = f"{deep}/" + "f" * (4095 - len(deep) - 1)
    expect(len(full), 4095)
    with open(full, "w", encoding="ascii") as f:
        f.write("deep")
    with open(full, encoding="ascii") as f:
        expect(f.read(), "deep")
    with fails_with(errno.ENAMETOOLONG):
        os.stat(full + "f")


# --- symbolic links ------------------------------------------------------------------------------


@case
def a_symbolic_link_holds_up_to_4095_bytes(d):
    for length in (1, 59, 60, 255, 1000, 4094, 4095):
        target = os.fsencode("t" * (length - 1)) + b"\xff"
        os.symlink(target, os.fsencode(d / str(length)))
        expect(os.readlink(os.fsencode(d / str(length))), target, length)
        expect(os.lstat(d / str(length)).st_size, length)
    with fails_with(errno.ENAMETOOLONG):
        os.symlink("t" * 4096, d / "long")
    with fails_with(errno.ENOENT):
        os.symlink("", d / "empty")
    with fails_with(errno.EEXIST):
        os.symlink("x", d / "1")
    with fails_with(errno.EINVAL):
        os.readlink(d)


@case
def links_are_followed_and_circles_are_found(d):
    made(d / "f", "text")
    os.symlink("f", d / "l0")
    for number in range(1, 39):
        os.symlink(f"l{number - 1}", d / f"l{number}")
    expect((d / "l38").read_text(), "text")
    for number in range(39, 60):
        os.symlink(f"l{number - 1}", d / f"l{number}")
    os.symlink("self", d / "self")
    os.symlink("b", d / "a")
    os.symlink("a", d / "b")
    for name in ("l59", "self", "a"):
        with fails_with(errno.ELOOP):
            os.stat(d / name)
        with fails_with(errno.ELOOP):
            os.open(d / name, os.O_CREAT | os.O_RDWR)
    expect(stat.S_ISLNK(os.lstat(d / "self").st_mode), True)
    os.unlink(d / "l0")
    expect((d / "f").read_text(), "text")


@case
def a_link_that_was_replaced_leads_to_the_new_place(d):
    made(d / "one", "1")
    made(d / "two", "2")
    os.symlink("one", d / "link")
    for turn in range(20):
        expect((d / "link").read_text(), "12"[turn % 2])
        os.symlink("two" if turn % 2 == 0 else "one", d / "temp")
        os.rename(d / "temp", d / "link")


# --- special files -------------------------------------------------------------------------------


@case
def device_nodes_keep_their_numbers(d):
    for kind, check in ((stat.S_IFCHR, stat.S_ISCHR), (stat.S_IFBLK, stat.S_ISBLK)):
        for major, minor in ((0, 0), (1, 3), (8, 255), (255, 256), (4095, 1048575)):
            name = d / f"{kind:o}-{major}-{minor}"
            os.mknod(name, kind | 0o640, os.makedev(major, minor))
            s = os.lstat(name)
            expect((check(s.st_mode), os.major(s.st_rdev), os.minor(s.st_rdev)),
                   (True, major, minor))
            expect((s.st_size, stat.S_IMODE(s.st_mode) & 0o700), (0, 0o600))


@case
def a_device_without_rights_is_made_by_root_alone(d):
    os.chmod(d, 0o777)
    os.chdir(d)

    def as_nobody():
        os.setresuid(65534, 65534, 65534)
        with fails_with(errno.EPERM):
            os.mknod("dev", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mkfifo("fifo")
        os.mknod("file", stat.S_IFREG | 0o600)

    in_child(as_nobody)
    expect(sorted(os.listdir(".")), ["fifo", "file"])
    expect(os.stat("file").st_uid, 65534)


@case
def a_socket_is_bound_and_found(d):
    os.chdir(d)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("s")
        expect(stat.S_ISSOCK(os.stat("s").st_mode), True)
        server.listen()
        client.connect("s")
        conn = server.accept()[0]
        client.send(b"hello")
        expect(conn.recv(9), b"hello")
        conn.close()
        with fails_with(errno.ENXIO):
            os.open("s", os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as again, fails_with(errno.EADDRINUSE):
        again.bind("s")
    os.unlink("s")


@case
def a_fifo_carries_what_is_written(d):
    os.mkfifo(d / "p")
    data = pattern(2, 200_000)

    def write():
        with open(d / "p", "wb") as f:
            f.write(data)

    def read():
        with open(d / "p", "rb") as f:
            expect_bytes(f.read(), data)

    in_children(write, read)
    expect(os.stat(d / "p").st_size, 0)


@case
def a_clone_is_refused_and_a_copy_works(d):
    """FICLONE: where blocks cannot be shared it says so, and cp falls back to copying."""
    made(d / "a", "text" * 5000)
    with opened(d / "a", os.O_RDONLY) as source, opened(d / "b") as target:
        with fails_with(errno.EOPNOTSUPP):
            fcntl.ioctl(target, 0x40049409, source)
        expect(os.copy_file_range(source, target, 20000), 20000)
    expect((d / "b").read_text(), "text" * 5000)


if __name__ == "__main__":
    main()
