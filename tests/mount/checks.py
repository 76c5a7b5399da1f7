# SPDX-License-Identifier: MIT
"""What helpers of mounted tests share that look at a filesystem from outside, as several users.

A helper defines cases (functions marked @case, named as a sentence) and calls main(). It is given a
directory, works below it by relative paths only (the folders above need not be open to others), and
prints an ok / not ok line for each case. Each case has a fresh directory as its working directory."""

import os
import shutil
import sys
import traceback

from cases import CASES, case, expect, fails_with  # handed on

# Users without rights, and groups: numbers that no system gives names.
ALICE, BOB, CAROL = 61001, 61002, 61003
STAFF, GUESTS = 62001, 62002


def as_user(uid, function, *args, gid=None, groups=(), umask=None, **how):
    """Run it as another user in a process of its own; what it raises is raised here."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(list(groups))
            os.setresgid(*[uid if gid is None else gid] * 3)
            os.setresuid(uid, uid, uid)
            if umask is not None:
                os.umask(umask)
            function(*args, **how)
        except OSError as err:
            os.write(write_end, str(err.errno).encode())
        except BaseException:  # pylint: disable=broad-except
            os.write(write_end, traceback.format_exc().encode()[-4000:])
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as told:
        text = told.read().decode()
    os.waitpid(pid, 0)
    if text.isdigit():
        raise OSError(int(text), os.strerror(int(text)))
    if text:
        raise AssertionError(f"as user {uid}:\n{text}")


def make(path, text="", mode=0o644, uid=0, gid=0):
    """A file with that content, owner and mode, whatever the umask says."""
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chown(path, uid, gid)
    os.chmod(path, mode)
    return path


def make_dir(path, mode=0o755, uid=0, gid=0):
    os.mkdir(path)
    os.chown(path, uid, gid)
    os.chmod(path, mode)
    return path


def mode_of(path):
    return os.lstat(path).st_mode & 0o7777


def run_one(function, top):
    name = function.__name__.replace("_", " ")
    os.chdir(top)
    os.mkdir(function.__name__)
    os.chmod(function.__name__, 0o777)
    os.chdir(function.__name__)
    os.umask(0o022)
    try:
        function()
        print(f"ok {name}", flush=True)
        good = True
    except Exception:  # pylint: disable=broad-except
        print(f"not ok {name}", flush=True)
        for line in traceback.format_exc().splitlines()[-12:]:
            print(f"# {line}", flush=True)
        good = False
    os.chdir(top)
    shutil.rmtree(function.__name__, ignore_errors=True)
    return good


def main():
    top = os.path.realpath(sys.argv[1])
    wanted = sys.argv[2:]
    good = [run_one(f, top) for f in CASES if not wanted or any(w in f.__name__ for w in wanted)]
    sys.exit(not all(good))
