#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One file, used directly, through the page cache and by mapping: does each reader see every
completed write of each writer? Prints ok / not ok lines.

usage: coherence.py DIR [SEED [SECONDS]]   SECONDS: of each pairing at full speed

Right on any filesystem that keeps them coherent: run it on XFS or ext4 when in doubt."""

import errno
import mmap
import os
import random
import struct
import sys
import time
import traceback

from cases import in_child

PAGE = 4096
FILE_BYTES = 256 * PAGE
ROUNDS = 40


class Buffered:
    """pread and pwrite through the page cache."""

    flags = os.O_RDWR

    def __init__(self, path):
        self.fd = os.open(path, self.flags)

    def write(self, offset, data):
        if os.pwrite(self.fd, data, offset) != len(data):
            raise OSError(errno.EIO, "short write")

    def read(self, offset, length):
        return os.pread(self.fd, length, offset)

    def size(self):
        return os.fstat(self.fd).st_size

    def close(self):
        os.close(self.fd)


class Direct(Buffered):
    """O_DIRECT from and into page-aligned memory."""

    flags = os.O_RDWR | os.O_DIRECT

    def __init__(self, path):
        super().__init__(path)
        self.buffer = mmap.mmap(-1, FILE_BYTES)

    def write(self, offset, data):
        self.buffer[:len(data)] = data
        with memoryview(self.buffer) as whole, whole[:len(data)] as part:
            if os.pwrite(self.fd, part, offset) != len(data):
                raise OSError(errno.EIO, "short write")

    def read(self, offset, length):
        with memoryview(self.buffer) as whole, whole[:length] as part:
            got = os.preadv(self.fd, [part], offset)
        return self.buffer[:got]

    def close(self):
        super().close()
        self.buffer.close()


class Mapped(Buffered):
    """Loads from and stores into a shared mapping; a store is complete when it is done."""

    def __init__(self, path):
        super().__init__(path)
        self.view = mmap.mmap(self.fd, FILE_BYTES)

    def write(self, offset, data):
        self.view[offset:offset + len(data)] = data

    def read(self, offset, length):
        return self.view[offset:offset + length]

    def close(self):
        self.view.close()
        super().close()


KINDS = {"direct": Direct, "buffered": Buffered, "mapped": Mapped}


def differing(got, want):
    """Where two byte strings first differ, for people."""
    if len(got) != len(want):
        return f"{len(got)} bytes instead of {len(want)}"
    first = next(i for i in range(len(want)) if got[i] != want[i])
    count = sum(got[i:i + PAGE] != want[i:i + PAGE] for i in range(0, len(want), PAGE))
    return f"{count} pages differ, first at byte {first}"


def random_range(rng):
    pages = rng.choice([1, 1, 2, 8, 32])
    return rng.randrange(0, FILE_BYTES // PAGE - pages + 1) * PAGE, pages * PAGE


def each_write_is_seen(path, writer_kind, reader_kind, rng, other_process):
    """Descriptors stay open; the reader has read the place before it is written."""
    model = bytearray(rng.randbytes(FILE_BYTES))
    with open(path, "wb") as file:
        file.write(model)
    writer = KINDS[writer_kind](path)
    try:
        if other_process:
            in_child(lambda: rounds(path, writer, reader_kind, model, rng, in_child))
        else:
            rounds(path, writer, reader_kind, model, rng, lambda function: function())
    finally:
        writer.close()


def rounds(path, writer, reader_kind, model, rng, call_writer):
    reader = KINDS[reader_kind](path)
    try:
        for number in range(ROUNDS):
            offset, length = random_range(rng)
            got = reader.read(offset, length)
            if got != model[offset:offset + length]:
                raise AssertionError(f"round {number}, before: "
                                     + differing(got, model[offset:offset + length]))
            data = rng.randbytes(length)
            call_writer(lambda: writer.write(offset, data))
            model[offset:offset + length] = data
            got = reader.read(offset, length)
            if got != data:
                raise AssertionError(f"round {number}, {length} bytes at {offset}: "
                                     + differing(got, data))
        got = reader.read(0, FILE_BYTES)
        if got != bytes(model):
            raise AssertionError("the whole file: " + differing(got, model))
    finally:
        reader.close()


def fresh_opens_see_it(path, writer_kind, reader_kind, rng):
    """Each side opens the file for one call; an old descriptor of a third kind stays open."""
    model = bytearray(rng.randbytes(FILE_BYTES))
    with open(path, "wb") as file:
        file.write(model)
    bystander = Mapped(path)
    bystander.read(0, FILE_BYTES)
    try:
        for number in range(ROUNDS // 2):
            offset, length = random_range(rng)
            data = rng.randbytes(length)
            writer = KINDS[writer_kind](path)
            writer.write(offset, data)
            writer.close()
            reader = KINDS[reader_kind](path)
            got = reader.read(offset, length)
            reader.close()
            if got != data:
                raise AssertionError(f"round {number}: " + differing(got, data))
            if bystander.read(offset, length) != data:
                raise AssertionError(f"round {number}: the bystander's mapping is stale")
    finally:
        bystander.close()


def growth_is_seen(path, writer_kind, reader_kind, rng):
    """The file grows by writes behind its end."""
    os.close(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY))
    writer, reader = KINDS[writer_kind](path), KINDS[reader_kind](path)
    try:
        for number in range(16):
            data = rng.randbytes(PAGE * 3)
            writer.write(number * len(data), data)
            if reader.size() != (number + 1) * len(data):
                raise AssertionError(f"the size is {reader.size()} after write {number}")
            if reader.read(number * len(data), len(data)) != data:
                raise AssertionError(f"the content of write {number} is not there")
    finally:
        writer.close()
        reader.close()


def write_versions(path, kind, published, pages, seconds):
    """Version after version into each page in turn; each is published once it is complete."""
    writer = KINDS[kind](path)
    deadline = time.monotonic() + seconds
    version = 0
    while time.monotonic() < deadline:
        version += 1
        for page in range(pages):
            writer.write(page * PAGE, struct.pack("<Q", version) * (PAGE // 8))
            struct.pack_into("<Q", published, page * 8, version)
    struct.pack_into("<Q", published, pages * 8, 1)
    writer.close()


def at_full_speed(path, writer_kind, reader_kind, rng, seconds):
    """What a reader gets is never older than what was complete before it asked."""
    pages = 4
    with open(path, "wb") as file:
        file.write(bytes(FILE_BYTES))
    published = mmap.mmap(-1, PAGE)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            write_versions(path, writer_kind, published, pages, seconds)
            status = 0
        finally:
            os._exit(status)
    reader = KINDS[reader_kind](path)
    reads, problem = 0, None
    deadline = time.monotonic() + seconds + 60
    while not struct.unpack_from("<Q", published, pages * 8)[0] and time.monotonic() < deadline:
        page = rng.randrange(pages)
        complete = struct.unpack_from("<Q", published, page * 8)[0]
        got = struct.unpack_from("<Q", reader.read(page * PAGE, PAGE))[0]
        reads += 1
        if got < complete and not problem:
            problem = f"read {reads}: version {got} although {complete} was complete"
    reader.close()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if problem:
        raise AssertionError(problem)
    if status or reads < 10:
        raise AssertionError(f"the writer ended with {status}, {reads} reads")


def main():
    top = sys.argv[1]
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.5
    print(f"# seed {seed}")
    cases = []
    for w in KINDS:
        for r in KINDS:
            cases += [
                (f"a {r} reader sees each {w} write",
                 lambda p, g, w=w, r=r: each_write_is_seen(p, w, r, g, False)),
                (f"a {r} reader sees each {w} write of another process",
                 lambda p, g, w=w, r=r: each_write_is_seen(p, w, r, g, True)),
                (f"a {r} reader that opens afresh sees each {w} write",
                 lambda p, g, w=w, r=r: fresh_opens_see_it(p, w, r, g)),
                (f"a {r} reader is never behind a {w} writer at full speed",
                 lambda p, g, w=w, r=r: at_full_speed(p, w, r, g, seconds))]
            if "mapped" not in (w, r):
                cases.append((f"a {r} reader sees the file grow by {w} writes",
                              lambda p, g, w=w, r=r: growth_is_seen(p, w, r, g)))
    failed = 0
    for number, (name, run) in enumerate(cases):
        try:
            run(os.path.join(top, f"coherence-{number}"), random.Random(seed * 1000 + number))
            print(f"ok {name}", flush=True)
        except (AssertionError, OSError):
            failed += 1
            print(f"not ok {name}")
            for line in traceback.format_exc().splitlines()[-3:]:
                print(f"# {line}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
