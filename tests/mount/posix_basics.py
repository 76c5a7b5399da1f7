#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What every POSIX filesystem does, tried in the directory given; prints ok / not ok lines.

usage: posix_basics.py DIR. Right on any filesystem: run it on ext4 when in doubt about a case."""

import ctypes
import errno
import mmap
import os
import random
import stat
import time
from pathlib import Path

from cases import LIBC, case, expect, fails_with, main, opened, pattern

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
AT_FDCWD = -100


def renameat2(old, new, flags):
    if LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


# --- names ---------------------------------------------------------------------------------------


@case
def a_new_file_has_the_mode_that_umask_leaves(d):
    old = os.umask(0o027)
    try:
        with opened(d / "f", os.O_CREAT | os.O_WRONLY, 0o666):
            pass
        os.mkdir(d / "sub", 0o777)
    finally:
        os.umask(old)
    expect(stat.S_IMODE(os.stat(d / "f").st_mode), 0o640)
    expect(stat.S_IMODE(os.stat(d / "sub").st_mode), 0o750)


@case
def exclusive_creation_fails_where_the_name_exists(d):
    (d / "f").write_bytes(b"x")
    with fails_with(errno.EEXIST):
        os.open(d / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    with fails_with(errno.EEXIST):
        os.mkdir(d / "f")


@case
def a_name_of_255_bytes_works_and_one_of_256_is_too_long(d):
    (d / ("n" * 255)).write_bytes(b"long")
    expect(os.listdir(d), ["n" * 255])
    with fails_with(errno.ENAMETOOLONG):
        (d / ("n" * 256)).write_bytes(b"")
    with fails_with(errno.ENAMETOOLONG):
        os.stat(d / ("n" * 256))


@case
def names_are_bytes_and_keep_their_case(d):
    names = [b"with space", b"\xff\xfe not utf-8", "ä\u2603".encode(), b"A", b"a", b"new\nline",
             b"'; DROP TABLE x; --", b"%s%n", b"..."]
    for name in names:
        with open(os.path.join(os.fsencode(d), name), "wb") as file:
            file.write(name)
    expect(sorted(os.listdir(os.fsencode(d))), sorted(names))
    for name in names:
        with open(os.path.join(os.fsencode(d), name), "rb") as file:
            expect(file.read(), name)


@case
def a_missing_name_is_enoent_also_after_it_was_looked_up(d):
    with fails_with(errno.ENOENT):
        os.stat(d / "f")
    (d / "f").write_bytes(b"now")
    os.stat(d / "f")
    os.unlink(d / "f")
    with fails_with(errno.ENOENT):
        os.stat(d / "f")
    with fails_with(errno.ENOENT):
        os.open(d / "none" / "f", os.O_CREAT | os.O_WRONLY)


@case
def a_directory_counts_its_subdirectories_as_links(d):
    before = os.stat(d).st_nlink
    os.mkdir(d / "a")
    os.mkdir(d / "b")
    expect(os.stat(d).st_nlink, before + 2)
    os.rename(d / "b", d / "a" / "b")
    expect((os.stat(d).st_nlink, os.stat(d / "a").st_nlink), (before + 1, 3))
    os.rmdir(d / "a" / "b")
    os.rmdir(d / "a")
    expect(os.stat(d).st_nlink, before)


@case
def a_directory_that_holds_something_is_not_removed(d):
    os.makedirs(d / "a" / "b")
    with fails_with(errno.ENOTEMPTY, errno.EEXIST):
        os.rmdir(d / "a")
    with fails_with(errno.EISDIR, errno.EPERM):
        os.unlink(d / "a")
    (d / "f").write_bytes(b"")
    with fails_with(errno.ENOTDIR):
        os.rmdir(d / "f")
    with fails_with(errno.ENOTDIR):
        os.stat(d / "f" / "g")


@case
def deep_paths_work(d):
    path = d.joinpath(*["d"] * 60)
    path.mkdir(parents=True)
    (path / "f").write_bytes(b"deep")
    expect((path / "f").read_bytes(), b"deep")


@case
def dot_dot_leads_to_the_parent_also_after_a_move(d):
    os.makedirs(d / "a" / "x")
    os.mkdir(d / "b")
    os.rename(d / "a" / "x", d / "b" / "x")
    expect(os.stat(d / "b" / "x" / "..").st_ino, os.stat(d / "b").st_ino)


# --- links ---------------------------------------------------------------------------------------


@case
def hard_links_share_content_and_inode(d):
    (d / "f").write_bytes(b"one")
    os.link(d / "f", d / "g")
    first, second = os.stat(d / "f"), os.stat(d / "g")
    expect((first.st_ino, first.st_nlink), (second.st_ino, 2))
    with open(d / "g", "ab") as file:
        file.write(b" two")
    expect((d / "f").read_bytes(), b"one two")
    os.unlink(d / "f")
    expect(((d / "g").read_bytes(), os.stat(d / "g").st_nlink), (b"one two", 1))


@case
def a_directory_cannot_be_hard_linked(d):
    os.mkdir(d / "a")
    with fails_with(errno.EPERM):
        os.link(d / "a", d / "b")
    (d / "f").write_bytes(b"")
    (d / "g").write_bytes(b"")
    with fails_with(errno.EEXIST):
        os.link(d / "f", d / "g")


@case
def symbolic_links_keep_their_text(d):
    for text in ("f", "../up/../f", "/absolute/none", "x" * 1000):
        os.symlink(text, d / "l")
        expect(os.readlink(d / "l"), text)
        expect(os.lstat(d / "l").st_size, len(text))
        os.unlink(d / "l")
    (d / "f").write_bytes(b"target")
    os.symlink("f", d / "l")
    expect((d / "l").read_bytes(), b"target")
    os.symlink("loop", d / "loop")
    with fails_with(errno.ELOOP):
        os.stat(d / "loop")


@case
def an_unlinked_file_lives_until_it_is_closed(d):
    with opened(d / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"still ")
        os.unlink(d / "f")
        with fails_with(errno.ENOENT):
            os.stat(d / "f")
        os.write(fd, b"here")
        expect(os.fstat(fd).st_nlink, 0)
        expect(os.pread(fd, 100, 0), b"still here")
        (d / "f").write_bytes(b"another")
        expect(os.pread(fd, 100, 0), b"still here")
    expect((d / "f").read_bytes(), b"another")


@case
def fifos_and_sockets_are_kept_as_what_they_are(d):
    os.mkfifo(d / "p", 0o600)
    expect(stat.S_ISFIFO(os.stat(d / "p").st_mode), True)
    os.mknod(d / "s", stat.S_IFSOCK | 0o600)
    expect(stat.S_ISSOCK(os.stat(d / "s").st_mode), True)


# --- rename --------------------------------------------------------------------------------------


@case
def rename_replaces_a_file(d):
    (d / "a").write_bytes(b"new")
    (d / "b").write_bytes(b"old")
    with opened(d / "b", os.O_RDONLY) as fd:
        os.rename(d / "a", d / "b")
        expect(os.read(fd, 10), b"old")
    expect(os.listdir(d), ["b"])
    expect((d / "b").read_bytes(), b"new")


@case
def rename_of_directories_follows_the_rules(d):
    os.makedirs(d / "a" / "b")
    os.mkdir(d / "empty")
    os.makedirs(d / "full" / "x")
    (d / "f").write_bytes(b"")
    with fails_with(errno.EINVAL):
        os.rename(d / "a", d / "a" / "b" / "c")
    with fails_with(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(d / "a", d / "full")
    with fails_with(errno.ENOTDIR):
        os.rename(d / "a", d / "f")
    with fails_with(errno.EISDIR):
        os.rename(d / "f", d / "a")
    os.rename(d / "a", d / "empty")
    expect(sorted(os.listdir(d)), ["empty", "f", "full"])
    expect(os.listdir(d / "empty"), ["b"])


@case
def rename_of_a_hard_link_onto_the_other_does_nothing(d):
    (d / "a").write_bytes(b"x")
    os.link(d / "a", d / "b")
    os.rename(d / "a", d / "b")
    expect(sorted(os.listdir(d)), ["a", "b"])


@case
def rename_without_replacing_keeps_the_target(d):
    (d / "a").write_bytes(b"a")
    (d / "b").write_bytes(b"b")
    with fails_with(errno.EEXIST):
        renameat2(d / "a", d / "b", RENAME_NOREPLACE)
    renameat2(d / "a", d / "c", RENAME_NOREPLACE)
    expect(((d / "b").read_bytes(), (d / "c").read_bytes()), (b"b", b"a"))


@case
def exchange_swaps_two_names_or_says_that_it_cannot(d):
    (d / "a").write_bytes(b"a")
    os.mkdir(d / "b")
    (d / "b" / "in").write_bytes(b"in")
    try:
        renameat2(d / "a", d / "b", RENAME_EXCHANGE)
    except OSError as err:
        expect(err.errno, errno.EINVAL)
        expect((d / "a").read_bytes(), b"a")
        return
    expect((d / "b").read_bytes(), b"a")
    expect((d / "a" / "in").read_bytes(), b"in")


# --- content -------------------------------------------------------------------------------------


@case
def what_is_written_is_read_at_every_alignment(d):
    model = bytearray()
    rng = random.Random(1)
    with opened(d / "f", os.O_CREAT | os.O_RDWR) as fd:
        for _ in range(300):
            offset = rng.randrange(0, 400_000)
            data = rng.randbytes(rng.choice([1, 7, 511, 512, 4095, 4096, 4097, 65536, 100_000]))
            os.pwrite(fd, data, offset)
            model.extend(bytes(max(0, offset + len(data) - len(model))))
            model[offset:offset + len(data)] = data
            if rng.random() < 0.1:
                size = rng.randrange(0, 500_000)
                os.ftruncate(fd, size)
                del model[size:]
                model.extend(bytes(size - len(model)))
        expect(os.fstat(fd).st_size, len(model))
        expect(os.pread(fd, len(model) + 1, 0) == bytes(model), True, "content before fsync")
        os.fsync(fd)
    expect((d / "f").read_bytes() == bytes(model), True, "content after fsync")


@case
def holes_and_grown_files_read_as_zeros(d):
    with opened(d / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.pwrite(fd, b"end", 10_000_000)
        expect(os.pread(fd, 8192, 5_000_000), bytes(8192))
        os.ftruncate(fd, 3)
        os.ftruncate(fd, 10_000)
        expect(os.pread(fd, 20_000, 0), bytes(10_000))
        os.pwrite(fd, b"x" * 5000, 0)
        os.ftruncate(fd, 100)
        os.ftruncate(fd, 5000)
        expect(os.pread(fd, 5000, 0), b"x" * 100 + bytes(4900))


@case
def a_sparse_file_takes_no_blocks_for_its_hole(d):
    with opened(d / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.pwrite(fd, b"x" * 4096, 1 << 40)
        os.fsync(fd)
        info = os.fstat(fd)
        expect(info.st_size, (1 << 40) + 4096)
        expect(info.st_blocks * 512 < 1 << 20, True, f"st_blocks {info.st_blocks}")
        expect(os.pread(fd, 4096, 1 << 40), b"x" * 4096)


@case
def appending_goes_to_the_end_whatever_the_offset(d):
    with opened(d / "f", os.O_CREAT | os.O_WRONLY | os.O_APPEND) as one, \
            opened(d / "f", os.O_WRONLY | os.O_APPEND) as two:
        for i in range(200):
            os.lseek(one, 0, os.SEEK_SET)
            os.write(one, b"1%03d" % i)
            os.write(two, b"2%03d" % i)
    want = b"".join(b"1%03d2%03d" % (i, i) for i in range(200))
    expect((d / "f").read_bytes(), want)


@case
def truncating_opens_empty_the_file(d):
    (d / "f").write_bytes(b"x" * 100_000)
    with opened(d / "f", os.O_WRONLY | os.O_TRUNC):
        pass
    expect(os.stat(d / "f").st_size, 0)
    expect(os.stat(d / "f").st_blocks, 0)


@case
def access_modes_of_descriptors_hold(d):
    (d / "f").write_bytes(b"abc")
    with opened(d / "f", os.O_RDONLY) as fd:
        with fails_with(errno.EBADF):
            os.write(fd, b"x")
        with fails_with(errno.EINVAL, errno.EBADF):
            os.ftruncate(fd, 1)
    with opened(d / "f", os.O_WRONLY) as fd:
        with fails_with(errno.EBADF):
            os.read(fd, 1)
        os.pwrite(fd, b"B", 1)
    expect((d / "f").read_bytes(), b"aBc")
    with fails_with(errno.EISDIR):
        os.open(d, os.O_WRONLY)


@case
def a_shared_mapping_reads_and_writes_the_file(d):
    data = bytearray(pattern(3, 300_000))
    (d / "f").write_bytes(data)
    with opened(d / "f", os.O_RDWR) as fd, mmap.mmap(fd, 300_000) as view:
        expect(view[:] == bytes(data), True, "mapped content")
        view[4090:4100] = data[4090:4100] = b"0123456789"
        view.flush()
    expect((d / "f").read_bytes() == bytes(data), True, "content after msync")


@case
def copy_between_files_in_the_kernel_gives_the_same_bytes(d):
    data = pattern(4, 3_000_000)
    (d / "f").write_bytes(data)
    with opened(d / "f", os.O_RDONLY) as source, \
            opened(d / "g", os.O_CREAT | os.O_WRONLY) as target:
        left = len(data)
        while left:
            left -= os.copy_file_range(source, target, left)
    expect((d / "g").read_bytes() == data, True, "copy")
    with opened(d / "f", os.O_RDONLY) as source, \
            opened(d / "h", os.O_CREAT | os.O_WRONLY) as target:
        sent = 0
        while sent < len(data):
            sent += os.sendfile(target, source, sent, len(data) - sent)
    expect((d / "h").read_bytes() == data, True, "sendfile")


@case
def space_set_aside_reads_as_zeros_or_cannot_be_had(d):
    with opened(d / "f", os.O_CREAT | os.O_RDWR) as fd:
        try:
            os.posix_fallocate(fd, 0, 1_000_000)
        except OSError as err:
            expect(err.errno in (errno.EOPNOTSUPP, errno.EINVAL), True, str(err))
            return
        expect(os.fstat(fd).st_size, 1_000_000)
        expect(os.pread(fd, 1_000_000, 0) == bytes(1_000_000), True, "zeros")


@case
def data_and_holes_are_found_where_they_are(d):
    with opened(d / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.pwrite(fd, b"x" * 65536, 1 << 20)
        os.ftruncate(fd, 4 << 20)
        first = os.lseek(fd, 0, os.SEEK_DATA)
        expect(first <= 1 << 20, True, f"data at {first} hides what is at 1 MiB")
        hole = os.lseek(fd, 1 << 20, os.SEEK_HOLE)
        expect(hole >= (1 << 20) + 65536, True, f"hole at {hole} is inside data")
        expect(os.lseek(fd, (4 << 20) - 1, os.SEEK_HOLE) <= 4 << 20, True, "hole at the end")
        with fails_with(errno.ENXIO):
            os.lseek(fd, 4 << 20, os.SEEK_DATA)


# --- attributes ----------------------------------------------------------------------------------


@case
def modes_and_owners_are_kept(d):
    (d / "f").write_bytes(b"")
    for mode in (0o000, 0o644, 0o4755, 0o1777, 0o2750):
        os.chmod(d / "f", mode)
        expect(stat.S_IMODE(os.stat(d / "f").st_mode), mode)
    if os.geteuid() == 0:
        os.chown(d / "f", 1234, 5678)
        info = os.stat(d / "f")
        expect((info.st_uid, info.st_gid), (1234, 5678))
        os.symlink("f", d / "l")
        os.chown(d / "l", 42, 43, follow_symlinks=False)
        expect((os.lstat(d / "l").st_uid, os.stat(d / "f").st_uid), (42, 1234))


@case
def permissions_bind_other_users(d):
    if os.geteuid() != 0:
        return
    (d / "secret").write_bytes(b"x")
    os.chmod(d / "secret", 0o600)
    (d / "open").write_bytes(b"x")
    os.chmod(d / "open", 0o644)
    child = os.fork()
    if child == 0:
        status = 0
        os.chdir(d)
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        for name, flags, want in (("secret", os.O_RDONLY, errno.EACCES), ("open", os.O_RDONLY, 0),
                                  ("open", os.O_WRONLY, errno.EACCES)):
            try:
                os.close(os.open(name, flags))
                got = 0
            except OSError as err:
                got = err.errno
            status |= got != want
        os._exit(status)
    expect(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)


@case
def times_are_kept_to_the_nanosecond(d):
    (d / "f").write_bytes(b"x")
    for pair in ((1_000_000_000_123_456_789, 1_500_000_000_987_654_321), (0, 1)):
        os.utime(d / "f", ns=pair)
        info = os.stat(d / "f")
        expect((info.st_atime_ns, info.st_mtime_ns), pair)


@case
def a_write_moves_the_modification_time_and_a_rename_does_not(d):
    (d / "f").write_bytes(b"x")
    os.utime(d / "f", ns=(10**18, 10**18))
    os.rename(d / "f", d / "g")
    expect(os.stat(d / "g").st_mtime_ns, 10**18)
    with open(d / "g", "ab") as file:
        file.write(b"y")
    expect(abs(os.stat(d / "g").st_mtime - time.time()) < 60, True, "mtime is now")


@case
def a_changed_directory_has_a_new_modification_time(d):
    os.mkdir(d / "a")
    for change in (lambda: (d / "a" / "f").write_bytes(b""), lambda: os.unlink(d / "a" / "f")):
        os.utime(d / "a", ns=(10**18, 10**18))
        change()
        expect(os.stat(d / "a").st_mtime_ns > 10**18, True, "mtime of the directory")


@case
def statfs_counts_what_is_written(d):
    before = os.statvfs(d)
    with opened(d / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, pattern(5, 4 << 20))
        os.fsync(fd)
    after = os.statvfs(d)
    used = (before.f_bfree - after.f_bfree) * before.f_frsize
    # Others may write to a shared filesystem at the same time; ours is alone in its volume.
    expect(used >= 3 << 20, True, f"{used} bytes fewer are free")
    expect(after.f_namemax, 255)


@case
def a_directory_can_be_synced(d):
    (d / "f").write_bytes(b"x")
    with opened(d, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)


@case
def locks_exclude_other_descriptions(d):
    import fcntl
    (d / "f").write_bytes(b"x")
    with opened(d / "f", os.O_RDWR) as one, opened(d / "f", os.O_RDWR) as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with fails_with(errno.EWOULDBLOCK):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- large directories ---------------------------------------------------------------------------


def make_files(directory, count):
    directory.mkdir()
    names = {f"file-{i:05d}" for i in range(count)}
    for name in names:
        os.close(os.open(directory / name, os.O_CREAT | os.O_WRONLY))
    return names


@case
def five_thousand_names_are_listed_once_each(d):
    names = make_files(d / "many", 5000)
    listed = os.listdir(d / "many")
    expect(len(listed), 5000)
    expect(set(listed) == names, True, "the names")


@case
def a_listing_under_deletion_loses_and_repeats_nothing_that_stays(d):
    names = make_files(d / "many", 5000)
    keep = {name for name in names if int(name[5:]) % 3 == 0}
    seen = []
    with os.scandir(d / "many") as entries:
        for entry in entries:
            seen.append(entry.name)
            if entry.name not in keep:
                Path(entry.path).unlink(missing_ok=True)  # it may have gone after it was buffered
            if len(seen) % 7 == 0:  # also one further on that was not reached yet
                ahead = d / "many" / f"file-{(int(entry.name[5:]) * 31 + 1) % 5000:05d}"
                if ahead.name not in keep and ahead.exists():
                    os.unlink(ahead)
    expect(len(seen), len(set(seen)), "names listed")
    expect(keep - set(seen), set(), "names that stay and were not seen")
    expect(set(os.listdir(d / "many")) == keep, True, "what is left")


@case
def a_listing_under_creation_repeats_nothing(d):
    names = make_files(d / "many", 2000)
    seen = []
    with os.scandir(d / "many") as entries:
        for number, entry in enumerate(entries):
            seen.append(entry.name)
            if number < 1000:
                os.close(os.open(d / "many" / f"new-{number}", os.O_CREAT | os.O_WRONLY))
    expect(len(seen), len(set(seen)), "names listed")
    expect(names - set(seen), set(), "names that were there and were not seen")


if __name__ == "__main__":
    main()
