#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Data and names at once, in phases of the one, the other and both, so that who listens for requests
changes all the time.

usage: listeners.py DIR SECONDS [--until-gone]. Every thread checks what it reads against what it
wrote. --until-gone: the mount may end below us; errors that say so are no failure."""

import errno
import mmap
import os
import random
import sys
import threading
import time

PAGE = 4096
PAGES = 64
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV, errno.EIO, errno.EBADF, errno.ENOENT,
        errno.ESHUTDOWN)
failures = []


class Phase:
    """Which kinds of work go on; all agree on it by the clock."""

    KINDS = ("data", "names", "both", "both")

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds
        self.begun = time.monotonic()

    def over(self):
        return time.monotonic() > self.end or failures

    def has(self, kind):
        return self.KINDS[int((time.monotonic() - self.begun) / 0.15) % 4] in (kind, "both")


def page_of(rng):
    return bytes([rng.randrange(256)]) * PAGE


def transfer_directly(phase, top, number):
    """Overwrites and reads, one page each; now and then beyond the end, a truncation, a sync."""
    rng = random.Random(number)
    fd = os.open(f"{top}/direct-{number}", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
    buf, want = mmap.mmap(-1, PAGE), {}
    while not phase.over():
        if not phase.has("data"):
            time.sleep(0.002)
            continue
        at = rng.randrange(PAGES)
        if rng.random() < 0.5:
            buf[:] = want[at] = page_of(rng)
            os.pwrite(fd, buf, at * PAGE)
        elif at in want:
            if os.preadv(fd, [buf], at * PAGE) != PAGE or buf[:] != want[at]:
                failures.append(f"direct-{number}, page {at}: other bytes than written")
        if rng.random() < 0.002:
            os.fsync(fd)
        if rng.random() < 0.002:
            os.ftruncate(fd, 1000)  # the rest of the page is zeroed by whoever grows it
            want = {}
    os.close(fd)


def transfer_cached(phase, top, number):
    rng = random.Random(number)
    path, want = f"{top}/cached-{number}", {}
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    while not phase.over():
        if not phase.has("data"):
            time.sleep(0.002)
            continue
        at = rng.randrange(PAGES)
        want[at] = page_of(rng)
        os.pwrite(fd, want[at], at * PAGE)
        if rng.random() < 0.05:
            os.fdatasync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            at = rng.choice(list(want))
            if os.pread(fd, PAGE, at * PAGE) != want[at]:
                failures.append(f"cached-{number}, page {at}: other bytes than written")
    os.close(fd)


def change_names(phase, top, number):
    rng = random.Random(number)
    here = f"{top}/names-{number}"
    os.makedirs(here, exist_ok=True)
    there = set(os.listdir(here))
    while not phase.over():
        if not phase.has("names"):
            time.sleep(0.002)
            continue
        name = f"n{rng.randrange(40)}"
        path = f"{here}/{name}"
        if name not in there:
            with open(path, "wb") as f:
                f.write(name.encode())
            there.add(name)
        elif rng.random() < 0.3:
            os.unlink(path)
            there.discard(name)
        elif rng.random() < 0.3:
            os.rename(path, path + ".moved")
            os.rename(path + ".moved", path)
        else:
            os.stat(path)
        if rng.random() < 0.02 and set(os.listdir(here)) != there:
            failures.append(f"names-{number}: other names than made")


def guarded(work, phase, top, number, until_gone):
    try:
        work(phase, top, number)
    except OSError as err:
        if not (until_gone and err.errno in GONE):
            failures.append(f"{work.__name__} {number}: {err}")


def main():
    top, seconds, until_gone = sys.argv[1], float(sys.argv[2]), "--until-gone" in sys.argv
    phase = Phase(seconds)
    threads = [threading.Thread(target=guarded, args=(work, phase, top, n, until_gone))
               for work, count in ((transfer_directly, 4), (transfer_cached, 1), (change_names, 3))
               for n in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for text in failures:
        print(text)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
