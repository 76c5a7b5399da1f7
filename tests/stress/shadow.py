#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Do random things to files, in all the ways there are, beside an array of bytes that says what must
come out.

  shadow.py run DIRECTORY [--seed N] [--files N] [--seconds S | --ops N] [--size BYTES]
            [--manifest FILE]
      Each file has a process of its own, which writes (buffered, direct, mapped, appending, vectored,
      from a mapping of the same file), reads, truncates, allocates, punches, zeroes, copies ranges,
      seeks for holes, syncs, drops pages, opens anew; every reading is compared. The manifest says
      what the files hold in the end.
  shadow.py verify DIRECTORY --manifest FILE
      They hold it still.

Right on any filesystem that supports fallocate(2) like ext4. Prints ok / not ok lines; a failure
prints the last operations and the seed.
"""
import argparse
import ctypes
import errno
import hashlib
import json
import mmap
import multiprocessing
import os
import queue
import random
import sys
import time
import traceback

PAGE, SECTOR = 4096, 512
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
RWF_DSYNC = 2
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, offset, length):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "fallocate")


class Differs(Exception):
    pass


class Shadowed:
    """One file, the bytes that it must hold, and what was done to it."""

    def __init__(self, path, seed, limit):
        self.path, self.limit = path, limit
        self.rng = random.Random(seed)
        self.bytes = bytearray()
        self.log = []
        self.ops = 0
        self.aligned = mmap.mmap(-1, limit + PAGE)  # for direct I/O
        self.fds = {}
        self.open_all(os.O_CREAT | os.O_TRUNC)

    def open_all(self, more=0):
        self.fds["buffered"] = os.open(self.path, os.O_RDWR | more, 0o644)
        self.fds["direct"] = os.open(self.path, os.O_RDWR | os.O_DIRECT)
        self.fds["append"] = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        self.fds["dsync"] = os.open(self.path, os.O_RDWR | os.O_DSYNC)

    def close_all(self):
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()

    # --- what the shadow does ---

    def put(self, offset, data):
        if offset > len(self.bytes):
            self.bytes.extend(bytes(offset - len(self.bytes)))
        self.bytes[offset:offset + len(data)] = data

    def resize(self, size):
        if size < len(self.bytes):
            del self.bytes[size:]
        else:
            self.bytes.extend(bytes(size - len(self.bytes)))

    def range(self, unit=1, inside=False):
        """A random range: small ones are likelier, and those that end at an edge of something."""
        top = len(self.bytes) if inside else self.limit
        if top < unit:
            return 0, 0
        length = min(top, self.rng.choice((1, 7, 511, 512, 4095, 4096, 4097, 65536, 131072, 300000,
                                           1048576, self.rng.randint(1, 20000))))
        offset = self.rng.randint(0, top - length)
        if self.rng.random() < 0.3:
            offset -= offset % PAGE
        length = max(unit, length - length % unit)
        offset -= offset % unit
        return offset, min(length, (top - offset) // unit * unit)

    def fresh(self, length):
        return self.rng.randbytes(length)

    def say(self, text, *args):
        self.log.append((self.ops, text % args))
        del self.log[:-60]

    def same(self, what, offset, got, wanted):
        if got == wanted:
            return
        if len(got) != len(wanted):
            raise Differs(f"{what} at {offset}: {len(got)} bytes, not {len(wanted)}")
        at = next(i for i in range(len(got)) if got[i] != wanted[i])
        bad = sum(a != b for a, b in zip(got, wanted))
        raise Differs(f"{what} at {offset}: byte {offset + at} (page {(offset + at) // PAGE}) is "
                      f"{got[at]}, not {wanted[at]}; {bad} of {len(got)} differ; the size is "
                      f"{len(self.bytes)}")

    def wrote(self, what, offset, data, count):
        if count != len(data):
            raise Differs(f"{what} at {offset}: {count} of {len(data)} bytes written")
        self.put(offset, data)

    # --- operations: each says what it does, does it, and does the same to the shadow ---

    def op_write(self):
        offset, length = self.range()
        self.say("write %d +%d", offset, length)
        data = self.fresh(length)
        self.wrote("write", offset, data, os.pwrite(self.fds["buffered"], data, offset))

    def op_write_direct(self):
        offset, length = self.range(SECTOR)
        self.say("write direct %d +%d", offset, length)
        data = self.fresh(length)
        self.aligned[:length] = data
        view = memoryview(self.aligned)[:length]
        self.wrote("direct write", offset, data, os.pwrite(self.fds["direct"], view, offset))

    def op_write_dsync(self):
        offset, length = self.range()
        self.say("write O_DSYNC %d +%d", offset, length)
        data = self.fresh(length)
        self.wrote("O_DSYNC write", offset, data, os.pwrite(self.fds["dsync"], data, offset))

    def op_write_vectors(self):
        offset, length = self.range()
        data = self.fresh(length)
        cuts = sorted(self.rng.randint(0, length) for _ in range(self.rng.randint(1, 6)))
        parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, length])]
        flags = RWF_DSYNC if self.rng.random() < 0.3 else 0
        self.say("pwritev2 %d +%d in %d parts, flags %d", offset, length, len(parts), flags)
        self.wrote("pwritev2", offset, data, os.pwritev(self.fds["buffered"], parts, offset, flags))

    def op_write_vectors_direct(self):
        offset, length = self.range(SECTOR)
        data = self.fresh(length)
        self.aligned[:length] = data
        view = memoryview(self.aligned)
        cuts = sorted(self.rng.randint(0, length // SECTOR) * SECTOR for _ in range(3))
        parts = [view[a:b] for a, b in zip([0, *cuts], [*cuts, length]) if b > a]
        self.say("pwritev direct %d +%d in %d parts", offset, length, len(parts))
        self.wrote("direct pwritev", offset, data, os.pwritev(self.fds["direct"], parts, offset))

    def op_append(self):
        length = min(self.range()[1], self.limit - len(self.bytes))
        if length <= 0:
            return
        self.say("append +%d at %d", length, len(self.bytes))
        data = self.fresh(length)
        self.wrote("append", len(self.bytes), data, os.write(self.fds["append"], data))

    def mapping(self, offset, length):
        """Of whole pages around a range inside the file, and where the range begins in it."""
        start = offset - offset % PAGE
        return mmap.mmap(self.fds["buffered"], offset + length - start, offset=start), offset - start

    def op_write_mapped(self):
        offset, length = self.range(inside=True)
        if not length:
            return
        self.say("store %d +%d", offset, length)
        data = self.fresh(length)
        m, at = self.mapping(offset, length)
        with m:
            m[at:at + length] = data
            if self.rng.random() < 0.3:
                m.flush()
        self.put(offset, data)

    def op_write_from_mapping(self):
        source, length = self.range(inside=True)
        if not length:
            return
        target = self.rng.randint(0, self.limit - length)
        self.say("write %d +%d from a mapping of %d", target, length, source)
        data = bytes(self.bytes[source:source + length])
        if source < target + length and target < source + length:
            return  # overlapping: what comes out is nobody's promise
        m, at = self.mapping(source, length)
        with m:
            view = memoryview(m)[at:at + length]
            count = os.pwrite(self.fds["buffered"], view, target)
            view.release()
        self.wrote("write from a mapping", target, data, count)

    def op_read(self):
        offset, length = self.range()
        self.say("read %d +%d", offset, length)
        self.same("read", offset, os.pread(self.fds["buffered"], length, offset),
                  bytes(self.bytes[offset:offset + length]))

    def op_read_direct(self):
        offset, length = self.range(SECTOR)
        self.say("read direct %d +%d", offset, length)
        wanted = bytes(self.bytes[offset:offset + length])
        view = memoryview(self.aligned)[:length]
        count = os.preadv(self.fds["direct"], [view], offset) if length else 0
        self.same("direct read", offset, bytes(view[:count]), wanted)

    def op_read_mapped(self):
        offset, length = self.range(inside=True)
        if not length:
            return
        self.say("load %d +%d", offset, length)
        m, at = self.mapping(offset, length)
        with m:
            self.same("load", offset, m[at:at + length], bytes(self.bytes[offset:offset + length]))

    def op_read_after_drop(self):
        self.say("drop pages")
        os.fdatasync(self.fds["buffered"])
        os.posix_fadvise(self.fds["buffered"], 0, 0, os.POSIX_FADV_DONTNEED)
        self.op_read()

    def op_truncate(self):
        size = self.rng.choice((0, self.rng.randint(0, self.limit), self.rng.randint(0, self.limit),
                                max(0, len(self.bytes) - self.rng.randint(0, 5000)),
                                len(self.bytes) // PAGE * PAGE))
        self.say("truncate from %d to %d", len(self.bytes), size)
        if self.rng.random() < 0.5:
            os.ftruncate(self.fds["buffered"], size)
        else:
            os.truncate(self.path, size)
        self.resize(size)

    def op_open_truncated(self):
        if self.rng.random() > 0.2:
            return
        self.say("open with O_TRUNC")
        os.close(os.open(self.path, os.O_WRONLY | os.O_TRUNC))
        self.resize(0)

    def op_fallocate(self):
        offset, length = self.range()
        mode = self.rng.choice((0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE,
                                ZERO_RANGE, ZERO_RANGE | KEEP_SIZE))
        self.say("fallocate mode %d, %d +%d", mode, offset, length)
        fallocate(self.fds[self.rng.choice(("buffered", "direct"))], mode, offset, length)
        if not mode & KEEP_SIZE:
            self.resize(max(len(self.bytes), offset + length))
        if mode & (PUNCH_HOLE | ZERO_RANGE):
            end = min(offset + length, len(self.bytes))
            if end > offset:
                self.bytes[offset:end] = bytes(end - offset)

    def op_copy_range(self):
        source, length = self.range(inside=True)
        if not length:
            return
        target = self.rng.randint(0, self.limit - length)
        if source < target + length and target < source + length:
            return  # EINVAL
        self.say("copy_file_range %d +%d to %d", source, length, target)
        data, done = bytes(self.bytes[source:source + length]), 0
        fd = self.fds["buffered"]
        while done < length:
            count = os.copy_file_range(fd, fd, length - done, source + done, target + done)
            if count == 0:
                raise Differs(f"copy_file_range ended after {done} of {length}")
            done += count
        self.put(target, data)

    def op_sendfile(self):
        offset, length = self.range(inside=True)
        length = min(length, 60000)
        if not length:
            return
        self.say("sendfile %d +%d", offset, length)
        r, w = os.pipe()
        try:
            count = os.sendfile(w, self.fds["buffered"], offset, length)
            self.same("sendfile", offset, os.read(r, count), bytes(self.bytes[offset:offset + count]))
            if count == 0:
                raise Differs(f"sendfile at {offset}: nothing")
        finally:
            os.close(r)
            os.close(w)

    def op_seek(self):
        """A hole reads as zeros; what SEEK_DATA skips, too."""
        if not self.bytes:
            return
        start = self.rng.randrange(len(self.bytes))
        self.say("seek from %d", start)
        fd = self.fds["buffered"]
        try:
            data = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = len(self.bytes)
        self.same("SEEK_DATA", start, bytes(data - start), bytes(self.bytes[start:data]))
        hole = os.lseek(fd, start, os.SEEK_HOLE)
        if not start <= hole <= len(self.bytes):
            raise Differs(f"SEEK_HOLE from {start} is {hole}, the size {len(self.bytes)}")
        if hole < len(self.bytes):
            end = min(hole + PAGE - hole % PAGE, len(self.bytes))
            self.same("SEEK_HOLE", hole, bytes(end - hole), bytes(self.bytes[hole:end]))

    def op_sync(self):
        way = self.rng.choice(("fsync", "fdatasync", "sync_file_range", "syncfs"))
        self.say("%s", way)
        fd = self.fds[self.rng.choice(("buffered", "direct"))]
        if way == "sync_file_range":
            libc.sync_file_range(self.fds["buffered"], 0, 0, 7)
        elif way == "syncfs":
            if self.rng.random() < 0.2:
                libc.syncfs(fd)
        else:
            getattr(os, way)(fd)

    def op_size(self):
        self.say("size")
        for size in (os.stat(self.path).st_size, os.fstat(self.fds["direct"]).st_size,
                     os.lseek(self.fds["buffered"], 0, os.SEEK_END)):
            if size != len(self.bytes):
                raise Differs(f"the size is {size}, not {len(self.bytes)}")

    def op_reopen(self):
        self.say("close and open")
        self.close_all()
        self.open_all()

    def op_all(self):
        """The whole file, by each way."""
        if self.rng.random() > 0.3:
            return
        self.say("all of it")
        size, wanted = len(self.bytes), bytes(self.bytes)
        self.same("all, buffered", 0, os.pread(self.fds["buffered"], size + 1, 0), wanted)
        view = memoryview(self.aligned)[:(size + PAGE) // PAGE * PAGE]
        count = os.preadv(self.fds["direct"], [view], 0)
        self.same("all, direct", 0, bytes(view[:count]), wanted)

    OPS = {"op_write": 8, "op_write_direct": 8, "op_write_dsync": 1, "op_write_vectors": 3,
           "op_write_vectors_direct": 3, "op_append": 2, "op_write_mapped": 8,
           "op_write_from_mapping": 2, "op_read": 8, "op_read_direct": 8, "op_read_mapped": 6,
           "op_read_after_drop": 3, "op_truncate": 4, "op_open_truncated": 1, "op_fallocate": 6,
           "op_copy_range": 3, "op_sendfile": 2, "op_seek": 3, "op_sync": 2, "op_size": 3,
           "op_reopen": 1, "op_all": 2}

    def step(self):
        self.ops += 1
        name = self.rng.choices(list(self.OPS), weights=self.OPS.values())[0]
        getattr(self, name)()

    def finish(self):
        self.op_size()
        self.close_all()
        return {"size": len(self.bytes), "sha256": hashlib.sha256(self.bytes).hexdigest()}


def work(args, index, seed, until, results):
    path = os.path.join(args.directory, f"shadow-{index}")
    shadow = None
    try:
        shadow = Shadowed(path, seed, args.size)
        while time.time() < until and shadow.ops != args.ops:
            shadow.step()
        results.put((index, shadow.ops, shadow.finish(), None))
    except Exception as error:  # whatever it is, it is a finding
        text = str(error) if isinstance(error, Differs) else traceback.format_exc(limit=3)
        history = [f"op {n}: {what}" for n, what in shadow.log] if shadow else []
        results.put((index, shadow.ops if shadow else 0, None, [text, *history[-25:]]))


def outcomes(workers, results):
    """One for each; one that died (a mapping of a dead mount: SIGBUS) says nothing itself."""
    heard = set()
    while len(heard) < len(workers):
        dead = [i for i, w in enumerate(workers) if not w.is_alive()]
        try:
            outcome = results.get(timeout=1)
            heard.add(outcome[0])
            yield outcome
        except queue.Empty:
            for i in dead:
                if i not in heard:
                    heard.add(i)
                    yield i, 0, None, [f"its process ended with status {workers[i].exitcode}"]


def run(args):
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(4), "little")
    print(f"# shadow.py run --seed {seed} --files {args.files} --size {args.size}", flush=True)
    results, until = multiprocessing.Queue(), time.time() + args.seconds
    workers = [multiprocessing.Process(target=work, args=(args, i, seed * 1000 + i, until, results))
               for i in range(args.files)]
    for w in workers:
        w.start()
    manifest, failed = {}, 0
    for index, ops, end, trouble in outcomes(workers, results):
        name = f"file {index}: what is read is what was written, {ops} operations" if args.count else \
            f"file {index}: what is read is what was written, whichever way"
        print(f"{'not ok' if trouble else 'ok'} {name}", flush=True)
        for line in trouble or ():
            print("# " + line.replace("\n", "\n# "))
        failed += bool(trouble)
        if end:
            manifest[f"shadow-{index}"] = end
    for w in workers:
        w.join()
    if args.manifest:
        with open(args.manifest, "w") as f:
            json.dump(manifest, f)
    return 1 if failed else 0


def verify(args):
    failed = 0
    with open(args.manifest) as f:
        manifest = json.load(f)
    for name, wanted in sorted(manifest.items()):
        with open(os.path.join(args.directory, name), "rb") as f:
            got = f.read()
        same = len(got) == wanted["size"] and hashlib.sha256(got).hexdigest() == wanted["sha256"]
        failed += not same
        print(f"{'ok' if same else 'not ok'} {name} still holds what was written")
    return 1 if failed or not manifest else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("verb", choices=("run", "verify"))
    p.add_argument("directory")
    p.add_argument("--seed", type=int)
    p.add_argument("--files", type=int, default=4)
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--ops", type=int, default=-1, help="end after so many for each file")
    p.add_argument("--size", type=int, default=3000000, help="of a file, at most")
    p.add_argument("--count", action="store_true", help="say how many operations there were")
    p.add_argument("--manifest")
    args = p.parse_args()
    return {"run": run, "verify": verify}[args.verb](args)


if __name__ == "__main__":
    sys.exit(main())
