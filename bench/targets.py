# SPDX-License-Identifier: MIT
"""What is measured: set up on member files of the same size in the same directory, each of them
written through once, so that nobody pays for the first allocation of a block of the disk.

Each target has a file for direct I/O, a directory for buffered work, and, where a process of ours
is behind it, that process's pid."""
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time

import fio
from common import (Failure, drop_caches, end_process, run, say, undisturbed, undoing, unmount,
                    wait_for_member)

MEMBERS = 4


def add_options(parser):
    """What the targets are made of, and where."""
    parser.add_argument("--stablefs", required=True, help="the program to measure")
    parser.add_argument("--nullfuse", required=True, help="the server with an empty back end")
    parser.add_argument("--dir", default=os.environ.get("TMPDIR", "/var/tmp"),
                        help="where members go")
    parser.add_argument("--memory", default="/dev/shm", help="where members in memory go")


class Place:
    """A scratch directory. Everything that is set up is pushed on `undo`, and undone whatever
    happens."""

    def __init__(self, parent, undo):
        self.undo = undo
        with undisturbed():
            self.dir = tempfile.mkdtemp(prefix="stablefs-bench-", dir=parent)
            undo.callback(shutil.rmtree, self.dir, ignore_errors=True)
        os.chmod(self.dir, 0o755)  # a database server is another user

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def mkdir(self, *parts):
        os.makedirs(self.path(*parts), exist_ok=True)
        return self.path(*parts)

    def disks(self, name, count, size_mib, written=True):
        """@count member files, written through, or sparse."""
        self.mkdir(name)
        paths = [self.path(name, f"member-{i}") for i in range(count)]
        for path in paths:
            if written:
                fio.fill(path, size_mib)
            else:
                with open(path, "wb") as f:
                    f.truncate(size_mib * 2**20)
        return paths


class Target:
    """@file: for direct I/O; @dir: for buffered work; @pid: of the daemon, or None."""

    def __init__(self, name, file, directory, pid=None, said=""):
        self.name, self.file, self.dir, self.pid, self.said = name, file, directory, pid, said

    def counters(self):
        """Of the array, as far as the target has any."""
        return None

    def settle(self):
        run("sync", "-f", self.dir, check=False)


class Stablefs(Target):
    def counters(self):
        """@below: what the daemon moved, the log, marks and tuples included."""
        with open(os.path.join(self.dir, ".stablefs/stats.json")) as f:
            stats = json.load(f)
        with open(f"/proc/{self.pid}/io") as f:
            moved = dict(line.strip().split(": ") for line in f)
        return {"array": stats["array"], "members": stats["members"],
                "below": {k: int(moved[k]) for k in ("read_bytes", "write_bytes")}}


class Btrfs(Target):
    devices = ()

    def counters(self):
        """What the loop devices moved (Documentation/block/stat.rst: sectors of 512 bytes)."""
        read = written = 0
        for device in self.devices:
            with open(f"/sys/block/{os.path.basename(device)}/stat") as f:
                fields = f.read().split()
            read, written = read + int(fields[2]) * 512, written + int(fields[6]) * 512
        return {"below": {"read_bytes": read, "write_bytes": written}}


def bare(place, size_mib):
    """One member file, and the directory it is in."""
    disk = place.disks("bare", 1, size_mib)[0]
    return Target("bare", disk, place.mkdir("bare", "dir"), said="one member file, no array")


def stablefs(place, name, binary, disks, create, options=("dio=bounce",)):
    volume, mnt = place.path(name), place.mkdir("mnt-" + name)
    where = disks if disks else [volume]
    argv = [binary, "create", "--force", *create, *where]
    run(*argv)
    first = disks[0] if disks else os.path.join(volume, "member-0")
    with undisturbed():
        run(binary, "mount", "-o", ",".join(options), *where, mnt)
        place.undo.callback(wait_for_member, first)
        place.undo.callback(unmount, mnt)
    with open(os.path.join(mnt, ".stablefs/status.json")) as f:
        pid = json.load(f)["daemon_pid"]
    return Stablefs(name, os.path.join(mnt, "file"), mnt, pid,
                    " ".join(["stablefs"] + argv[1:-len(where)]) + ", -o " + ",".join(options))


def array(place, name, binary, hole, size_mib):
    """raid5 of four with t10, as the tables have it."""
    create = ["--level", "raid5", "--members", str(MEMBERS), "--pi", "t10"]
    if hole in run(binary, "create", "--help").stdout:
        create += ["--write-hole", hole]
    elif hole != "journal":
        raise Failure(f"{binary} knows no --write-hole {hole}")
    return stablefs(place, name, binary, place.disks(name, MEMBERS, size_mib), create)


def single(place, name, binary, size_mib):
    """One member without protection: what stablefs adds to the transport."""
    return stablefs(place, name, binary, place.disks(name, 1, size_mib),
                    ["--level", "single", "--members", "1", "--pi", "none"])


def have_btrfs():
    if "btrfs" not in open("/proc/filesystems").read():
        run("modprobe", "btrfs", check=False) if shutil.which("modprobe") else None
    return "btrfs" in open("/proc/filesystems").read() and shutil.which("mkfs.btrfs")


def btrfs(place, size_mib, name="btrfs", checksums=True):
    devices = []
    for member in place.disks(name, MEMBERS, size_mib):
        with undisturbed():
            device = run("losetup", "--find", "--show", "--direct-io=on", member).stdout.strip()
            place.undo.callback(run, "losetup", "-d", device, check=False)
        devices.append(device)
    run("mkfs.btrfs", "-q", "-f", "-m", "raid1", "-d", "raid5", *devices)
    run("btrfs", "device", "scan", *devices)
    mnt = place.mkdir("mnt-" + name)
    with undisturbed():
        run("mount", "-t", "btrfs", devices[0], mnt)
        place.undo.callback(unmount, mnt)
    file = os.path.join(mnt, "file")
    if not checksums:
        open(file, "w").close()
        run("chattr", "+C", file)
    made = Btrfs(name, file, mnt, said="mkfs.btrfs -m raid1 -d raid5, loop devices with direct I/O"
                 + ("" if checksums else ", file with chattr +C: no checksums, in place"))
    made.devices = devices
    return made


def null(place, name, binary, options):
    mnt = place.mkdir("mnt-" + name)
    with undisturbed():
        server = subprocess.Popen([binary, "-f", *options, mnt], stdin=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        place.undo.callback(end_process, server, 5)
        place.undo.callback(unmount, mnt)
    deadline = time.time() + 5
    while not os.path.ismount(mnt):
        if time.time() > deadline or server.poll() is not None:
            raise Failure(f"{os.path.basename(binary)} does not mount")
        time.sleep(0.02)
    return Target(name, os.path.join(mnt, "file"), mnt, server.pid,
                  " ".join([os.path.basename(binary), "-f", *options]))


# Which of its own threads suits the transport best depends on depth and size: both are measured.
NULLS = {"null-1": ["-s"], "null-2": ["-o", "max_threads=2"]}


RING = {"ring-1": ["-s"], "ring-2": []}
RING_OFFERED = "/sys/module/fuse/parameters/enable_uring"


def write_word(path, word):
    with open(path, "w") as f:
        f.write(word)


def rings(place, nullfuse):
    """Empty servers over io_uring, one thread and one on each processor. The kernel offers it to
    whoever mounts as long as they are there. [] where it cannot. They lie beside @nullfuse."""
    binary = os.path.join(os.path.dirname(nullfuse), "nullring")
    if not os.path.exists(RING_OFFERED):
        return []
    with undisturbed():
        with open(RING_OFFERED) as f:
            place.undo.callback(write_word, RING_OFFERED, f.read().strip())
        write_word(RING_OFFERED, "Y")
    return [null(place, name, binary, options) for name, options in RING.items()]


def stores(place, binary):
    """The same, with a file in memory behind them: no limit, but what storing costs at least."""
    return [null(place, name.replace("null", "store"), binary,
                 [*options, "-o", "store=" + place.path(name + "-stored")])
            for name, options in NULLS.items()]


def prefill(targets, size_mib):
    for t in targets:
        say(f"bench: filling {t.name}")
        fio.fill(t.file, size_mib)
    drop_caches()


@contextlib.contextmanager
def place_in(parent):
    with undoing() as undo:
        yield Place(parent, undo)
