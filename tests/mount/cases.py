# SPDX-License-Identifier: MIT
"""What the helpers of mounted tests share that are written in Python: cases that run in a process
and a directory of their own, with a time limit, and print ok / not ok lines.

A helper takes a directory (and what else it says), and is right on any filesystem."""

import ctypes
import errno
import mmap
import os
import random
import signal
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

PAGE = 4096
LIMIT_S = 60  # of one case; what hangs is a failure of that case alone
LIBC = ctypes.CDLL(None, use_errno=True)
CASES = []


def case(function):
    """A sentence for a name; takes its directory."""
    CASES.append(function)
    return function


def expect(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: {got!r} instead of {want!r}")


def expect_bytes(got, want, what=""):
    """Byte strings, too long to be printed."""
    got, want = bytes(got), bytes(want)
    if got == want:
        return
    if len(got) != len(want):
        raise AssertionError(f"{what}: {len(got)} bytes instead of {len(want)}")
    first = next(i for i in range(len(want)) if got[i] != want[i])
    last = next(i for i in range(len(want) - 1, -1, -1) if got[i] != want[i])
    raise AssertionError(f"{what}: differs from byte {first} to {last}: "
                         f"{got[first:first + 8]!r} instead of {want[first:first + 8]!r}")


@contextmanager
def fails_with(*numbers):
    try:
        yield
    except OSError as err:
        if err.errno in numbers:
            return
        raise AssertionError(f"errno {errno.errorcode[err.errno]} instead of "
                             f"{[errno.errorcode[n] for n in numbers]}") from err
    raise AssertionError(f"worked, without {[errno.errorcode[n] for n in numbers]}")


@contextmanager
def opened(path, flags=os.O_RDWR | os.O_CREAT, mode=0o644):
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def pattern(seed, length):
    return random.Random(seed).randbytes(length)


def aligned(length, data=None):
    """Page-aligned memory, which direct I/O wants."""
    memory = mmap.mmap(-1, max(length, 1))
    if data is not None:
        memory[:len(data)] = data
    return memory


def libc(name, *args, result=ctypes.c_int):
    """A call of the C library; its result, or OSError."""
    ctypes.set_errno(0)
    function = getattr(LIBC, name)
    function.restype = result
    got = function(*args)
    if got == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return got


def in_child(function):
    """Run @function in another process; an exception there is an AssertionError here."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException as err:  # whatever it is, it goes to the parent
            os.write(write_fd, f"{type(err).__name__}: {err}".encode()[:4000])
        os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as pipe:
        message = pipe.read().decode(errors="replace")
    status = os.waitpid(pid, 0)[1]
    if message or status:
        raise AssertionError(message or f"the child ended with {status}")


def in_children(*functions):
    """All of them at once, each in a process of its own; the first that fails is told."""
    started = []
    for function in functions:
        read_fd, write_fd = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read_fd)
            try:
                function()
            except BaseException:
                os.write(write_fd, traceback.format_exc().encode()[-4000:])
            os._exit(0)
        os.close(write_fd)
        started.append((pid, read_fd))
    problems = []
    for pid, read_fd in started:
        with os.fdopen(read_fd, "rb") as pipe:
            message = pipe.read().decode(errors="replace")
        status = os.waitpid(pid, 0)[1]
        if message or status:
            problems.append(message or f"a child ended with {status}")
    if problems:
        raise AssertionError(problems[0])


def killed_by(function):
    """The signal that ends a process which runs @function; 0: none does."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(99)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    expect(os.WEXITSTATUS(status), 0, "the exit status of the child")
    return 0


def run_case(function, directory, out):
    try:
        directory.mkdir()
        function(directory)
        os.write(out, b"ok")
    except BaseException:
        os.write(out, "\n".join(traceback.format_exc().splitlines()[-8:]).encode()[-4000:])


def wait_limited(pid, limit_s):
    """The status, or None: it was still there after the limit."""
    deadline = time.monotonic() + limit_s
    pause = 0.0005
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)
    return None


def end_group(pid):
    """The case and what it started. What cannot be ended (it hangs in the kernel) is left."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_limited(pid, 2)


def try_case(function, directory, limit_s):
    """None, or what went wrong."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_fd)
        os.setpgid(0, 0)
        run_case(function, directory, write_fd)
        os._exit(0)
    os.close(write_fd)
    status = wait_limited(pid, limit_s)
    if status is None:
        end_group(pid)
        os.close(read_fd)
        return f"not over after {limit_s} s"
    os.set_blocking(read_fd, False)
    with os.fdopen(read_fd, "rb") as pipe:
        message = (pipe.read() or b"").decode(errors="replace")
    if message == "ok":
        return None
    return message or f"ended with {os.waitstatus_to_exitcode(status)}"


def main(limit_s=LIMIT_S):
    """Every case in a directory of its own below argv[1]; names with argv[2] in them, if given."""
    top = Path(sys.argv[1]) / Path(sys.argv[0]).stem
    top.mkdir()
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    failed = 0
    for number, function in enumerate(CASES):
        name = function.__name__.replace("_", " ")
        if only not in name:
            continue
        problem = try_case(function, top / f"{number}", limit_s)
        if problem is None:
            print(f"ok {name}")
        else:
            failed += 1
            print(f"not ok {name}")
            for line in problem.splitlines():
                print(f"# {line}")
        sys.stdout.flush()
    sys.exit(1 if failed else 0)
