#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the array's care costs: the partial-write log, scrub, rebuild, and work beside others.

Everything is a ratio within one run, medians over rounds taken in turn:
  log         random writes of a part of a stripe, and of full stripes, on a volume with
              --write-hole journal beside one with --write-hole bitmap
  scrub       MiB/s that a scrub reads from all members, beside fio reading the same member files
  rebuild     the same for the rebuild of a replaced member
  foreground  4K random reads and writes while a scrub runs at its default rate, beside without
"""
import argparse
import json
import os
import shutil
import statistics
import tempfile
import time

from common import (children_seconds, process_seconds, run, run_main, say, undisturbed, undoing,
                    unmount, wait_for_member)

MEMBERS = 4
LOG_CASES = [("4K random write, depth 1", "randwrite", "4k", 1),
             ("4K random write, depth 16", "randwrite", "4k", 16),
             ("64K random write, depth 1", "randwrite", "64k", 1),
             ("64K random write, depth 8", "randwrite", "64k", 8),
             ("192K random write (full stripes), depth 4", "randwrite", "192k", 4)]
FOREGROUND = [("4K random read, depth 4", "randread", "4k", 4),
              ("4K random write, depth 4", "randwrite", "4k", 4)]


class Volume:
    """One mounted volume with a file that fills most of it."""

    def __init__(self, args, undo, name, *create):
        self.args = args
        self.dir = os.path.join(args.top, name)
        self.mnt = os.path.join(args.top, "mnt-" + name)
        os.mkdir(self.mnt)
        run(args.stablefs, "create", "--level", "raid5", "--members", str(MEMBERS), "--size",
            f"{args.file_mib * 5 // 4}M", "--pi", "t10", *create, self.dir)
        with undisturbed():
            self.mount()
            undo.callback(self.unmount)
        run("fio", "--name=fill", f"--filename={self.file}", "--rw=write", "--bs=1m", "--direct=1",
            f"--size={args.file_mib}M", "--end_fsync=1", "--thread")

    @property
    def file(self):
        return os.path.join(self.mnt, "file")

    def mount(self, *options):
        with undisturbed():
            run(self.args.stablefs, "mount", *options, self.dir, self.mnt)

    def unmount(self):
        unmount(self.mnt)
        wait_for_member(os.path.join(self.dir, "member-0"))

    def status(self):
        with open(os.path.join(self.mnt, ".stablefs/status.json")) as f:
            return json.load(f)

    def data_area(self):
        doc = json.loads(run(self.args.stablefs, "inspect", "--json", "super", self.mnt).stdout)
        first = doc["superblocks"][0]
        # The file fills that share of the data area from its beginning; the rest is holes.
        used = self.args.file_mib * 2**20 // (MEMBERS - 1)
        return first["data"]["offset"], used - used % 2**20

    def members(self):
        return [os.path.join(self.dir, f"member-{i}") for i in range(MEMBERS)]


def fio(path, rw, bs, depth, seconds, size, seed):
    argv = ["fio", "--name=bench", f"--filename={path}", f"--rw={rw}", f"--bs={bs}",
            f"--iodepth={depth}", "--ioengine=libaio", "--direct=1", f"--size={size}M",
            "--time_based", f"--runtime={seconds}", f"--randseed={seed}", "--thread",
            "--output-format=json"]
    job = json.loads(run(*argv).stdout)["jobs"][0]
    return job["read" if "read" in rw else "write"]["iops"]


def bare_read(volume):
    """All members at once, as a scrub reads them."""
    offset, length = volume.data_area()
    argv = ["fio", "--rw=read", "--bs=1m", "--direct=1", "--ioengine=io_uring", "--iodepth=4",
            f"--offset={offset}", f"--size={length}", "--thread", "--group_reporting",
            "--output-format=json"]
    for i, member in enumerate(volume.members()):
        argv += [f"--name=m{i}", f"--filename={member}"]
    job = json.loads(run(*argv).stdout)["jobs"][0]["read"]
    return job["bw_bytes"] / 2**20


# ---- the parts ----

def measure_log(args, undo):
    volumes = {"journal": Volume(args, undo, "journal", "--write-hole", "journal"),
               "bitmap": Volume(args, undo, "bitmap", "--write-hole", "bitmap")}
    rows = []
    for title, rw, bs, depth in LOG_CASES:
        got = {name: [] for name in volumes}
        for r in range(args.rounds):
            for name, v in volumes.items():
                say(f"bench: log: round {r + 1}: {title}: {name}")
                got[name].append(fio(v.file, rw, bs, depth, args.seconds, args.file_mib - 2,
                                     args.seed + r))
        ratios = [j / b for j, b in zip(got["journal"], got["bitmap"])]
        rows.append({"what": title, "journal": statistics.median(got["journal"]),
                     "bitmap": statistics.median(got["bitmap"]),
                     "ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)]})
    for v in volumes.values():
        v.unmount()
    return rows


def scrub_once(volume):
    """Of the volume unmounted: MiB/s of all members, and the share of one CPU."""
    _, length = volume.data_area()
    volume.unmount()
    before, start = sum(children_seconds()), time.monotonic()
    run(volume.args.stablefs, "scrub", volume.dir)
    seconds, cpu = time.monotonic() - start, sum(children_seconds()) - before
    volume.mount()
    return MEMBERS * length / 2**20 / seconds, cpu / seconds


def rebuild_once(volume):
    _, length = volume.data_area()
    pid = volume.status()["daemon_pid"]
    run(volume.args.stablefs, "fail", volume.mnt, "1")
    before, start = sum(process_seconds(pid)), time.monotonic()
    run(volume.args.stablefs, "replace", "--force", "--wait", volume.mnt, "1", volume.members()[1])
    seconds, cpu = time.monotonic() - start, sum(process_seconds(pid)) - before
    return MEMBERS * length / 2**20 / seconds, cpu / seconds


def measure_background(args, volume, name, once):
    bare, ours, cpu = [], [], []
    for r in range(args.rounds):
        say(f"bench: {name}: round {r + 1}")
        bare.append(bare_read(volume))
        speed, share = once(volume)
        ours.append(speed)
        cpu.append(share)
    ratios = [o / b for o, b in zip(ours, bare)]
    return {"what": name, "mib_s": statistics.median(ours), "bare_mib_s": statistics.median(bare),
            "ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)],
            "cpus": statistics.median(cpu)}


def measure_foreground(args, volume):
    rows = []
    for title, rw, bs, depth in FOREGROUND:
        alone, beside = [], []
        for r in range(args.rounds):
            say(f"bench: foreground: round {r + 1}: {title}")
            alone.append(fio(volume.file, rw, bs, depth, args.seconds, args.file_mib - 2,
                             args.seed + r))
            run(args.stablefs, "scrub", "--every", "1ms", volume.mnt)
            beside.append(fio(volume.file, rw, bs, depth, args.seconds, args.file_mib - 2,
                              args.seed + r))
            run(args.stablefs, "scrub", "--stop", volume.mnt)
        ratios = [b / a for a, b in zip(alone, beside)]
        rows.append({"what": title, "alone": statistics.median(alone),
                     "beside": statistics.median(beside), "ratio": statistics.median(ratios),
                     "spread": [min(ratios), max(ratios)]})
    return rows


def measure_all(args, undo):
    def wanted(part):
        return args.only in (None, part)

    result = {"log": measure_log(args, undo) if wanted("log") else [],
              "background": [], "foreground": []}
    if args.only == "log":
        return result
    volume = Volume(args, undo, "care")
    if wanted("scrub"):
        result["background"].append(measure_background(args, volume, "scrub", scrub_once))
    if wanted("rebuild"):
        result["background"].append(measure_background(
            args, volume, "rebuild (reads three, writes one)", rebuild_once))
    if wanted("foreground"):
        result["foreground"] = measure_foreground(args, volume)
    return result


# ---- showing ----

def print_all(result):
    print(f"{'partial-write log':<44}{'journal':>10}{'bitmap':>10}{'ratio':>8}   spread")
    for r in result["log"]:
        print(f"{r['what']:<44}{r['journal']:>10,.0f}{r['bitmap']:>10,.0f}{r['ratio']:>8.2f}   "
              f"{r['spread'][0]:.2f} to {r['spread'][1]:.2f}")
    print(f"\n{'all members, MiB/s':<44}{'ours':>10}{'fio':>10}{'ratio':>8}   spread, CPUs")
    for r in result["background"]:
        print(f"{r['what']:<44}{r['mib_s']:>10,.0f}{r['bare_mib_s']:>10,.0f}{r['ratio']:>8.2f}   "
              f"{r['spread'][0]:.2f} to {r['spread'][1]:.2f}, {r['cpus']:.2f}")
    print(f"\n{'foreground IOPS':<44}{'scrub':>10}{'alone':>10}{'ratio':>8}   spread")
    for r in result["foreground"]:
        print(f"{r['what']:<44}{r['beside']:>10,.0f}{r['alone']:>10,.0f}{r['ratio']:>8.2f}   "
              f"{r['spread'][0]:.2f} to {r['spread'][1]:.2f}")


def parse_args():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--stablefs", required=True, help="the program to measure")
    p.add_argument("--dir", default=os.environ.get("TMPDIR", "/var/tmp"), help="where members go")
    p.add_argument("--file-mib", type=int, default=768, help="size of the file that is worked on")
    p.add_argument("--seconds", type=int, default=3, help="of each measurement")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seed", type=int, default=20261)
    p.add_argument("--only", choices=["log", "scrub", "rebuild", "foreground"], metavar="PART",
                   help="log, scrub, rebuild or foreground")
    p.add_argument("--json", metavar="FILE", help="write the results there too")
    return p.parse_args()


def main():
    args = parse_args()
    with undoing() as undo:
        with undisturbed():
            args.top = tempfile.mkdtemp(prefix="stablefs-bench-", dir=args.dir)
            undo.callback(shutil.rmtree, args.top, ignore_errors=True)
        result = measure_all(args, undo)
    print(f"members on {args.dir}; file of {args.file_mib} MiB on raid5 of {MEMBERS}, t10; "
          f"{args.rounds} rounds, {args.seconds} s each; seed {args.seed}\n")
    print_all(result)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"args": {k: v for k, v in vars(args).items() if k != "top"}, **result}, f,
                      indent=2)
    return 0


if __name__ == "__main__":
    run_main(main)
