#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many files: what the namespace costs, beside a file system that only passes requests on.

Targets, all mounted at once, members and images in the same directory:
  single       stablefs on one member, no PI
  raid5        stablefs on four members, PI t10
  passthrough  bench/passthrough.c, one thread, over a directory of the ext4 below
  ext4, btrfs  the kernel's own, on loop devices

Files are worked on in --rounds parts; in each part the targets take turns, operation by operation,
so that whatever disturbs the machine meets all alike. Figures are in files a
second: medians over the parts, and the best part, which is nearest to what a machine does that has
nothing else to do. Nothing is synced inside a measurement, all is between two. With --one-dir all
parts are in the same directory, which grows. Then, on stablefs: how long it takes to unmount with
all those files cached, and to mount with nothing cached; the memory of the daemon after find(1) has
shown each of them, and how long it takes to unmount then.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from common import (Failure, drop_caches, end_process, memory_mib, process_seconds, run, run_main,
                    undisturbed, undoing, unmount)

# What, called what, and in which state of the caches: cold, warm, as they are.
OPERATIONS = [("create", "create", None), ("write", "write 4K, close", None),
              ("stat", "stat, nothing cached", "cold"), ("stat", "stat, cached", "warm"),
              ("walk", "readdir and stat, nothing cached", "cold"),
              ("read", "read 4K, nothing cached", "cold"),
              ("rename", "rename", None), ("unlink", "unlink", None)]
STAY = 6  # so many of them leave the files where they are


def say(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text and 'bench: ' + text}", end="", file=sys.stderr, flush=True)


class Target:
    """A directory to work in; pid of the daemon behind it, if there is one."""

    def __init__(self, name, args):
        self.name, self.args, self.pid = name, args, None
        self.mnt = os.path.join(args.top, name)
        os.mkdir(self.mnt)
        self.dir = self.mnt

    def settle(self):
        run("sync", "-f", self.dir, check=False)


class Kernel(Target):
    def __init__(self, name, args, undo, *mkfs):
        super().__init__(name, args)
        image = os.path.join(args.top, name + ".img")
        run("truncate", "-s", f"{args.size_mib}M", image)
        run(*mkfs, image)
        with undisturbed():
            run("mount", "-o", "loop", image, self.mnt)
            undo.callback(unmount, self.mnt)


class Passthrough(Target):
    def __init__(self, args, undo, below):
        super().__init__("passthrough", args)
        source = os.path.join(below.mnt, "passed")
        os.mkdir(source)
        with undisturbed():
            daemon = subprocess.Popen([args.passthrough, source, self.mnt], text=True,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            undo.callback(end_process, daemon)
            undo.callback(unmount, self.mnt)
        if daemon.stdout.readline() != "mounted\n":
            raise Failure("the passthrough could not be mounted")
        self.pid, self.below = daemon.pid, below

    def settle(self):
        self.below.settle()


class Stablefs(Target):
    def __init__(self, name, args, undo, *create):
        super().__init__(name, args)
        self.daemon = None
        self.volume = os.path.join(args.top, name + ".volume")
        self.create = ["create", "--size", f"{args.size_mib}M", *create, self.volume]
        run(args.stablefs, *self.create)
        undo.callback(self.unmount)
        self.mount()

    def mount(self):
        """How many seconds it took. In the foreground: a session of its own, which a daemon has, is
        scheduled by itself on a busy machine, and the passthrough has none."""
        start = time.monotonic()
        with undisturbed():
            self.daemon = subprocess.Popen(
                [self.args.stablefs, "mount", "-f", self.volume, self.mnt], text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            said = self.daemon.stderr.readline()
        seconds = time.monotonic() - start
        if "mounted at" not in said:
            raise Failure(said.strip() or "stablefs could not be mounted")
        self.pid = self.daemon.pid
        return seconds

    def unmount(self):
        unmount(self.mnt)
        if self.daemon:
            end_process(self.daemon)
            self.daemon.stderr.close()


def set_up(args, undo):
    per_inode = str(max(4096, args.size_mib * 2**20 // (2 * args.files + 20000)))
    ext4 = Kernel("ext4", args, undo, "mkfs.ext4", "-q", "-i", per_inode)
    make = {
        "single": lambda: Stablefs("single", args, undo, "--level", "single", "--members", "1",
                                   "--pi", "none"),
        "raid5": lambda: Stablefs("raid5", args, undo, "--level", "raid5", "--members", "4",
                                  "--pi", "t10"),
        "passthrough": lambda: Passthrough(args, undo, ext4),
        "ext4": lambda: ext4,
        "btrfs": lambda: Kernel("btrfs", args, undo, "mkfs.btrfs", "-q"),
    }
    wanted = args.targets or list(make)
    if "btrfs" in wanted and not shutil.which("mkfs.btrfs"):
        wanted.remove("btrfs")
    return [make[name]() for name in wanted]


# ---- measuring ----

def operate(target, operation, part):
    """Files a second, and the microseconds of its daemon's CPU time for each."""
    args, each = target.args, target.args.files // target.args.rounds
    words = [str(each), str(max(1, args.dirs // args.rounds))]
    top = os.path.join(target.dir, f"part-{part}")
    if args.one_dir:
        top = os.path.join(target.dir, "all")
        words = [str(each * args.rounds if operation == "walk" else each), "1", str(part * each)]
    os.makedirs(top, exist_ok=True)
    before = sum(process_seconds(target.pid)) if target.pid else 0
    out = run(args.fileops, operation, top, *words).stdout.split()
    cpu = sum(process_seconds(target.pid)) - before if target.pid else 0
    target.settle()
    return int(out[1]) / float(out[0]), cpu * 1e6 / int(out[1])


def measure_operation(args, targets, operation, title, caches):
    got = {t.name: [] for t in targets}
    for part in range(args.rounds):
        # Each target comes first in some part.
        for t in targets[part % len(targets):] + targets[:part % len(targets)]:
            say(f"{title}: part {part + 1} of {args.rounds}: {t.name}")
            if caches == "cold":
                drop_caches()
            elif caches == "warm":
                operate(t, operation, part)
            got[t.name].append(operate(t, operation, part))
    row = {"what": title, "rate": {}, "best": {}, "daemon_us": {}, "ratio": {}, "best_ratio": {}}
    for name, values in got.items():
        row["rate"][name] = statistics.median(v[0] for v in values)
        row["best"][name] = max(v[0] for v in values)
        row["daemon_us"][name] = statistics.median(v[1] for v in values)
        if "passthrough" in got:
            ratios = [v[0] / p[0] for v, p in zip(values, got["passthrough"])]
            row["ratio"][name] = [statistics.median(ratios), min(ratios), max(ratios)]
            row["best_ratio"][name] = row["best"][name] / max(p[0] for p in got["passthrough"])
    return row


def unmount_seconds(target):
    start = time.monotonic()
    target.unmount()
    return time.monotonic() - start


def measure_mount(target):
    unmount_s = unmount_seconds(target)
    drop_caches()
    mount_s = target.mount()
    idle = memory_mib(target.pid, "VmRSS")
    start = time.monotonic()
    seen = run("find", target.mnt, "-type", "f", "-printf", "%s\n").stdout.count("\n")
    got = {"name": target.name, "files": seen, "unmount_s": unmount_s, "mount_s": mount_s,
           "find_s": time.monotonic() - start, "idle_mib": idle,
           "walked_mib": memory_mib(target.pid, "VmRSS"),
           "walked_unmount_s": unmount_seconds(target)}
    target.mount()
    return got


def measure_all(args, targets):
    rows, mounts = [], []
    for i, (operation, title, caches) in enumerate(OPERATIONS):
        if i == STAY:
            for t in targets:
                if isinstance(t, Stablefs):
                    say(f"mount: {t.name}")
                    mounts.append(measure_mount(t))
        if operation not in args.skip:
            rows.append(measure_operation(args, targets, operation, title, caches))
    say("")
    return rows, mounts


# ---- showing ----

def print_rows(rows, targets, key, title, form):
    print(f"{title:<34}" + "".join(f"{t.name:>13}" for t in targets))
    for r in rows:
        print(f"{r['what']:<34}" +
              "".join(f"{form(r[key][t.name]):>13}" if t.name in r[key] else f"{'-':>13}"
                      for t in targets))
    print()


def print_all(args, targets, rows, mounts):
    print_rows(rows, targets, "rate", "files a second, median part", lambda v: f"{v:,.0f}")
    print_rows(rows, targets, "best", "files a second, best part", lambda v: f"{v:,.0f}")
    if any(t.name == "passthrough" for t in targets):
        print_rows(rows, targets, "ratio", "times passthrough, median", lambda v: f"{v[0]:.2f}")
        print_rows(rows, targets, "best_ratio", "times passthrough, best part",
                   lambda v: f"{v:.2f}")
        print_rows(rows, targets, "ratio", "  least and most of the parts",
                   lambda v: f"{v[1]:.2f}-{v[2]:.2f}")
    daemons = [t for t in targets if t.pid]
    print_rows(rows, daemons, "daemon_us", "CPU us of the daemon a file", lambda v: f"{v:,.1f}")
    for m in mounts:
        print(f"{m['name']}: {m['files']:,} files: unmount {m['unmount_s']:.2f} s; mount "
              f"{m['mount_s']:.2f} s; daemon {m['idle_mib']:.0f} MiB after it, "
              f"{m['walked_mib']:.0f} MiB after find, which took {m['find_s']:.1f} s; "
              f"unmount {m['walked_unmount_s']:.2f} s")


def print_head(args, targets):
    version = run(args.stablefs, "--version").stdout.strip()
    print(f"{version}; Linux {platform.release()}, {os.cpu_count()} CPUs; in {args.dir}: "
          f"{args.files} files in {args.dirs} directories, {args.rounds} parts")
    for t in targets:
        if isinstance(t, Stablefs):
            print(f"  {t.name}: stablefs {' '.join(t.create[:-1])}")
    print()


def parse_args():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--stablefs", required=True, help="the program to measure")
    p.add_argument("--passthrough", required=True, help="bench/passthrough")
    p.add_argument("--fileops", required=True, help="bench/fileops")
    p.add_argument("--dir", default=os.environ.get("TMPDIR", "/var/tmp"), help="where members go")
    p.add_argument("--files", type=int, default=10000)
    p.add_argument("--dirs", type=int, help="directories they are in (default: 1000 files each)")
    p.add_argument("--rounds", type=int, default=5, help="parts that the files are divided into")
    p.add_argument("--one-dir", action="store_true", help="all of them in one directory")
    p.add_argument("--size-mib", type=int, default=20480, help="of each target (sparse)")
    p.add_argument("--targets", nargs="+", metavar="NAME",
                   choices=["single", "raid5", "passthrough", "ext4", "btrfs"])
    p.add_argument("--skip", nargs="+", default=[], metavar="OPERATION",
                   choices=["write", "stat", "walk", "read", "rename"])
    p.add_argument("--json", metavar="FILE", help="write the results there too")
    args = p.parse_args()
    args.dirs = 1 if args.one_dir else args.dirs or max(args.rounds, args.files // 1000)
    if "write" in args.skip:
        args.skip.append("read")
    if "rename" in args.skip:
        args.skip.append("unlink")
    return args


def main():
    args = parse_args()
    with undoing() as undo:
        with undisturbed():
            args.top = tempfile.mkdtemp(prefix="stablefs-bench-", dir=args.dir)
            undo.callback(shutil.rmtree, args.top, ignore_errors=True)
        targets = set_up(args, undo)
        print_head(args, targets)
        rows, mounts = measure_all(args, targets)
    print_all(args, targets, rows, mounts)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"args": {k: v for k, v in vars(args).items() if k != "top"},
                       "operations": rows, "mounts": mounts}, f, indent=2)
    return 0


if __name__ == "__main__":
    run_main(main)
