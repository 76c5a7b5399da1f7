#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""flock, POSIX and open file description locks, leases.

usage: locks.py DIR [TEXT]. Right on any filesystem: run it on ext4 when in doubt about a case."""

import errno
import fcntl
import os
import signal
import struct
import time

from cases import case, expect, fails_with, in_child, main, opened

F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
F_RDLCK, F_WRLCK, F_UNLCK = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
FLOCK = "hhqqi4x"  # l_type, l_whence, l_start, l_len, l_pid


def lock(fd, command, kind, start=0, length=0, whence=os.SEEK_SET):
    """The struct flock that comes back."""
    packed = struct.pack(FLOCK, kind, whence, start, length, 0)
    return struct.unpack(FLOCK, fcntl.fcntl(fd, command, packed))


def busy():
    return fails_with(errno.EAGAIN, errno.EACCES)


class Child:
    """Another process that does what it is told, step by step."""

    def __init__(self, *steps):
        self.to_child, self.from_child = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                for step in steps:
                    os.read(self.to_child[0], 1)
                    step()
                    os.write(self.from_child[1], b"d")
                status = 0
            finally:
                os._exit(status)
        os.close(self.from_child[1])

    def begin(self):
        os.write(self.to_child[1], b"g")

    def finish(self):
        if not os.read(self.from_child[0], 1):
            raise AssertionError("the other process failed")

    def step(self):
        self.begin()
        self.finish()

    def has_finished(self):
        import select
        return bool(select.select([self.from_child[0]], [], [], 0.05)[0])

    def end(self):
        expect(os.waitpid(self.pid, 0)[1], 0, "the other process")


def blocked(pid, what):
    """Wait until the process sleeps in the call."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as f:
            if f.read().split()[0] == str(what):
                return
        time.sleep(0.01)
    raise AssertionError("it does not wait for the lock")


SYS_FCNTL, SYS_FLOCK = (72, 73) if os.uname().machine == "x86_64" else (25, 32)


# --- flock ---------------------------------------------------------------------------------------


@case
def flock_is_exclusive_between_descriptions_and_shared_by_duplicates(d):
    with opened(d / "f") as one, opened(d / "f") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with busy():
            fcntl.flock(two, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with busy():
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        copy = os.dup(one)
        fcntl.flock(copy, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(copy)
        with busy():  # closing one of two duplicates releases nothing
            fcntl.flock(two, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(one, fcntl.LOCK_SH)
        fcntl.flock(two, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with busy():
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(two, fcntl.LOCK_UN)
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)


@case
def flock_is_inherited_and_ends_with_its_last_descriptor(d):
    with opened(d / "f") as fd:
        one = os.open(d / "f", os.O_RDWR)
        fcntl.flock(one, fcntl.LOCK_EX)
        child = Child(lambda: None)  # has the same description
        os.close(one)
        with busy():
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child.step()
        child.end()
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


@case
def flock_works_on_directories_and_read_only_descriptors(d):
    (d / "f").write_bytes(b"")
    for path in (d, d / "f"):
        with opened(path, os.O_RDONLY) as one, opened(path, os.O_RDONLY) as two:
            fcntl.flock(one, fcntl.LOCK_EX)
            with busy():
                fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)


@case
def a_killed_process_has_no_flock_any_more(d):
    (d / "f").write_bytes(b"")

    def take():
        fcntl.flock(os.open(d / "f", os.O_RDWR), fcntl.LOCK_EX)

    child = Child(take, lambda: time.sleep(100))
    child.step()
    with opened(d / "f") as fd:
        with busy():
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(child.pid, signal.SIGKILL)
        fcntl.flock(fd, fcntl.LOCK_EX)
    os.waitpid(child.pid, 0)


@case
def waiting_for_a_flock_ends_with_the_release_or_a_signal(d):
    (d / "f").write_bytes(b"")
    wait_then_get(d, lambda fd: fcntl.flock(fd, fcntl.LOCK_EX),
                  lambda fd: fcntl.flock(fd, fcntl.LOCK_UN), SYS_FLOCK)
    interrupted_while_waiting(d, lambda fd: fcntl.flock(fd, fcntl.LOCK_EX), SYS_FLOCK)


def wait_then_get(d, take, release, call):
    def waiter():
        with opened(d / "f") as fd:
            take(fd)

    with opened(d / "f") as fd:
        child = Child(waiter)
        take(fd)
        child.begin()
        blocked(child.pid, call)
        expect(child.has_finished(), False, "it has the lock")
        release(fd)
        child.finish()
        child.end()


class Alarm(Exception):
    pass


def interrupted_while_waiting(d, take, call):
    def ring(*_):
        raise Alarm

    def waiter():
        signal.signal(signal.SIGUSR1, ring)
        with opened(d / "f") as fd:
            try:
                take(fd)
                raise AssertionError("it got the lock")
            except Alarm:
                pass

    with opened(d / "f") as fd:
        child = Child(waiter)
        take(fd)
        child.begin()
        blocked(child.pid, call)
        os.kill(child.pid, signal.SIGUSR1)
        child.finish()
        child.end()


# --- POSIX locks ---------------------------------------------------------------------------------


@case
def posix_locks_exclude_other_processes_by_range(d):
    with opened(d / "f") as fd:
        os.pwrite(fd, b"x" * 100, 0)
        lock(fd, fcntl.F_SETLK, F_WRLCK, 10, 10)
        lock(fd, fcntl.F_SETLK, F_RDLCK, 30, 10)
        lock(fd, fcntl.F_SETLK, F_WRLCK, 50, 0)  # to the end, wherever it is

        def other():
            with opened(d / "f") as mine:
                lock(mine, fcntl.F_SETLK, F_WRLCK, 0, 10)
                lock(mine, fcntl.F_SETLK, F_RDLCK, 35, 10)
                for kind, start, length in ((F_RDLCK, 19, 1), (F_WRLCK, 39, 1), (F_WRLCK, 0, 11),
                                            (F_RDLCK, 1 << 40, 1)):
                    with busy():
                        lock(mine, fcntl.F_SETLK, kind, start, length)
        in_child(other)


@case
def getlk_tells_who_holds_what(d):
    with opened(d / "f") as fd:
        lock(fd, fcntl.F_SETLK, F_WRLCK, 10, 5)
        owner = os.getpid()

        def other():
            with opened(d / "f") as mine:
                got = lock(mine, fcntl.F_GETLK, F_RDLCK, 0, 100)
                expect(got[0], F_WRLCK)
                expect(got[2:], (10, 5, owner))
                expect(lock(mine, fcntl.F_GETLK, F_WRLCK, 20, 5)[0], F_UNLCK)
        in_child(other)
        expect(lock(fd, fcntl.F_GETLK, F_WRLCK, 0, 100)[0], F_UNLCK, "my own")


@case
def ranges_of_posix_locks_split_and_join(d):
    with opened(d / "f") as fd:
        lock(fd, fcntl.F_SETLK, F_WRLCK, 0, 30)
        lock(fd, fcntl.F_SETLK, F_UNLCK, 10, 10)
        lock(fd, fcntl.F_SETLK, F_RDLCK, 25, 5)

        def other():
            with opened(d / "f") as mine:
                lock(mine, fcntl.F_SETLK, F_WRLCK, 10, 10)
                lock(mine, fcntl.F_SETLK, F_RDLCK, 25, 5)
                with busy():
                    lock(mine, fcntl.F_SETLK, F_RDLCK, 24, 1)
                with busy():
                    lock(mine, fcntl.F_SETLK, F_RDLCK, 9, 1)
        in_child(other)


@case
def any_close_of_the_file_releases_the_posix_locks_of_its_process(d):
    with opened(d / "f") as fd:
        lock(fd, fcntl.F_SETLK, F_WRLCK)
        os.close(os.open(d / "f", os.O_RDONLY))

        def other():
            with opened(d / "f") as mine:
                lock(mine, fcntl.F_SETLK, F_WRLCK)
        in_child(other)


@case
def posix_locks_are_not_inherited(d):
    with opened(d / "f") as fd:
        lock(fd, fcntl.F_SETLK, F_WRLCK)

        def other():
            with busy():
                lock(fd, fcntl.F_SETLK, F_WRLCK)
        in_child(other)


@case
def a_process_that_ends_has_no_posix_locks_any_more(d):
    (d / "f").write_bytes(b"")
    held = []

    def take():
        held.append(os.open(d / "f", os.O_RDWR))
        lock(held[0], fcntl.F_SETLK, F_WRLCK)

    child = Child(take, lambda: None)
    child.step()
    with opened(d / "f") as fd:
        with busy():
            lock(fd, fcntl.F_SETLK, F_WRLCK)
        child.step()
        child.end()
        lock(fd, fcntl.F_SETLK, F_WRLCK)


@case
def posix_locks_need_the_right_access(d):
    (d / "f").write_bytes(b"")
    with opened(d / "f", os.O_RDONLY) as fd:
        lock(fd, fcntl.F_SETLK, F_RDLCK)
        with fails_with(errno.EBADF):
            lock(fd, fcntl.F_SETLK, F_WRLCK)
    with opened(d / "f", os.O_WRONLY) as fd:
        lock(fd, fcntl.F_SETLK, F_WRLCK)
        with fails_with(errno.EBADF):
            lock(fd, fcntl.F_SETLK, F_RDLCK)
        with fails_with(errno.EINVAL, errno.EOVERFLOW):
            lock(fd, fcntl.F_SETLK, F_WRLCK, 0, -1)


@case
def a_circle_of_waiting_processes_is_edeadlk(d):
    with opened(d / "f") as fd:
        lock(fd, fcntl.F_SETLK, F_WRLCK, 0, 1)

        def second():
            with opened(d / "f") as mine:
                lock(mine, fcntl.F_SETLK, F_WRLCK, 1, 1)
                os.write(ready[1], b"r")
                lock(mine, fcntl.F_SETLKW, F_WRLCK, 0, 1)

        ready = os.pipe()
        child = Child(second)
        child.begin()
        os.read(ready[0], 1)
        blocked(child.pid, SYS_FCNTL)
        with fails_with(errno.EDEADLK):
            lock(fd, fcntl.F_SETLKW, F_WRLCK, 1, 1)
        lock(fd, fcntl.F_SETLK, F_UNLCK, 0, 1)
        child.finish()
        child.end()


@case
def waiting_for_a_posix_lock_ends_with_the_release_or_a_signal(d):
    (d / "f").write_bytes(b"")
    wait_then_get(d, lambda fd: lock(fd, fcntl.F_SETLKW, F_WRLCK),
                  lambda fd: lock(fd, fcntl.F_SETLK, F_UNLCK), SYS_FCNTL)
    interrupted_while_waiting(d, lambda fd: lock(fd, fcntl.F_SETLKW, F_WRLCK), SYS_FCNTL)


@case
def locks_are_advice(d):
    """Mandatory locks are no more: with sgid and without group execution, too."""
    with opened(d / "f") as fd:
        os.pwrite(fd, b"abc", 0)
        os.fchmod(fd, 0o2644)
        lock(fd, fcntl.F_SETLK, F_WRLCK)
        fcntl.flock(fd, fcntl.LOCK_EX)

        def other():
            with opened(d / "f") as mine:
                expect(os.pread(mine, 3, 0), b"abc")
                os.pwrite(mine, b"xyz", 0)
                os.ftruncate(mine, 2)
        in_child(other)
        expect(os.pread(fd, 3, 0), b"xy")


@case
def the_two_kinds_of_lock_do_not_see_each_other(d):
    with opened(d / "f") as one, opened(d / "f") as two:
        fcntl.flock(one, fcntl.LOCK_EX)

        def other():
            with opened(d / "f") as mine:
                lock(mine, fcntl.F_SETLK, F_WRLCK)
        in_child(other)
        lock(two, fcntl.F_SETLK, F_WRLCK)


@case
def a_lock_holds_on_a_file_without_a_name(d):
    with opened(d / "f") as one, opened(d / "f") as two:
        os.unlink(d / "f")
        fcntl.flock(one, fcntl.LOCK_EX)
        with busy():
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (d / "f").write_bytes(b"")
        with opened(d / "f") as another:
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- open file description locks -----------------------------------------------------------------


@case
def ofd_locks_exclude_other_descriptions_of_one_process_and_are_inherited(d):
    with opened(d / "f") as one, opened(d / "f") as two:
        lock(one, F_OFD_SETLK, F_WRLCK, 0, 10)
        with busy():
            lock(two, F_OFD_SETLK, F_WRLCK, 5, 10)
        lock(two, F_OFD_SETLK, F_WRLCK, 10, 10)
        os.close(os.open(d / "f", os.O_RDONLY))  # releases nothing
        with busy():
            lock(two, F_OFD_SETLK, F_WRLCK, 5, 1)
        got = lock(two, F_OFD_GETLK, F_WRLCK, 0, 5)
        expect((got[0], got[2], got[3], got[4]), (F_WRLCK, 0, 10, -1))

        def other():
            lock(one, F_OFD_SETLK, F_WRLCK, 0, 10)
            with opened(d / "f") as mine, busy():
                lock(mine, F_OFD_SETLK, F_RDLCK, 0, 1)
        in_child(other)


@case
def ofd_and_posix_locks_exclude_each_other(d):
    with opened(d / "f") as fd:
        lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10)

        def other():
            with opened(d / "f") as mine, busy():
                lock(mine, fcntl.F_SETLK, F_WRLCK, 0, 10)
        in_child(other)


@case
def waiting_for_an_ofd_lock_ends_with_the_release_or_a_signal(d):
    (d / "f").write_bytes(b"")
    wait_then_get(d, lambda fd: lock(fd, F_OFD_SETLKW, F_WRLCK),
                  lambda fd: lock(fd, F_OFD_SETLK, F_UNLCK), SYS_FCNTL)
    interrupted_while_waiting(d, lambda fd: lock(fd, F_OFD_SETLKW, F_WRLCK), SYS_FCNTL)


# --- leases --------------------------------------------------------------------------------------


@case
def a_lease_is_broken_by_who_opens_the_file(d):
    (d / "f").write_bytes(b"abc")
    told = []
    signal.signal(signal.SIGIO, lambda *_: told.append(1))
    with opened(d / "f", os.O_RDONLY) as fd:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, F_RDLCK)
        expect(fcntl.fcntl(fd, fcntl.F_GETLEASE), F_RDLCK)
        child = Child(lambda: os.close(os.open(d / "f", os.O_WRONLY)))
        child.begin()
        deadline = time.monotonic() + 20
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
        expect(bool(told), True, "SIGIO")
        expect(child.has_finished(), False, "the opener waits")
        fcntl.fcntl(fd, fcntl.F_SETLEASE, F_UNLCK)
        child.finish()
        child.end()


@case
def a_write_lease_is_for_who_has_the_file_alone(d):
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    with opened(d / "f") as fd:
        with opened(d / "f", os.O_RDONLY), busy():
            fcntl.fcntl(fd, fcntl.F_SETLEASE, F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, F_WRLCK)
        with fails_with(errno.EWOULDBLOCK):
            os.open(d / "f", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, F_UNLCK)


if __name__ == "__main__":
    main()
