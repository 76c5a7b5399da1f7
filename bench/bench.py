#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare stablefs with what users would pick instead, on the same kind of member files, in one run.

Targets, side by side in each round:
  bare      one member file, O_DIRECT, no file system of ours: what the disk can do
  btrfs     the kernel's checksummed RAID5: -m raid1 -d raid5 on four loop devices with direct I/O
  stablefs  raid5 of four members, PI t10, dio=bounce
  nullfuse  the same libfuse, an empty back end: what the transport alone costs

Only ratios within a run mean something: machines are shared and noisy. Each figure is the median of
the rounds; the spread is printed beside it. Needs root, for loop devices and mounts.
"""
import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from common import Failure, run, run_main

WORKLOADS = [
    # name, fio rw, block size, depth
    ("4K random write, depth 1", "randwrite", "4k", 1),
    ("4K random write, depth 16", "randwrite", "4k", 16),
    ("1M sequential write, depth 4", "write", "1m", 4),
    ("1M sequential read, depth 4", "read", "1m", 4),
    ("4K random read, depth 1", "randread", "4k", 1),
    ("4K random read, depth 16", "randread", "4k", 16),
]
# Ratios to btrfs that the project promises (docs/performance.md).
PROMISED = {"4K random write, depth 1": 3.0, "4K random write, depth 16": 3.0,
            "1M sequential write, depth 4": 1.5}
MEMBERS = 4


def say(text):
    print(text, file=sys.stderr, flush=True)


class Bench:
    """Everything that is set up is pushed on `undo`, and undone whatever happens."""

    def __init__(self, args, undo):
        self.args, self.undo = args, undo
        self.dir = tempfile.mkdtemp(prefix="stablefs-bench-", dir=args.dir)
        undo.callback(shutil.rmtree, self.dir, ignore_errors=True)
        self.commands = []

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def mkdir(self, name):
        os.makedirs(self.path(name), exist_ok=True)
        return self.path(name)

    # ---- targets: each returns the path of the file that fio works on ----

    def bare(self):
        self.mkdir("bare")
        return self.path("bare", "member-0")

    def stablefs(self):
        volume, mnt = self.path("volume"), self.mkdir("mnt-stablefs")
        binary = self.args.stablefs
        size = f"{self.args.file_mib * 2}M"
        run(binary, "create", "--level", "raid5", "--members", str(MEMBERS), "--size", size,
            "--pi", "t10", volume)
        run(binary, "mount", "-o", "dio=bounce", volume, mnt)
        self.undo.callback(self.unmount_and_wait, mnt, os.path.join(volume, "member-0"))
        return os.path.join(mnt, "file")

    def unmount_and_wait(self, mnt, member):
        run("umount", mnt, check=False)
        run("flock", "-w", "30", member, "true", check=False)

    def btrfs(self):
        self.mkdir("btrfs")
        devices = []
        for i in range(MEMBERS):
            member = self.path("btrfs", f"disk-{i}")
            with open(member, "wb") as f:
                f.truncate(max(self.args.file_mib, 256) * 1024 * 1024)
            device = run("losetup", "--find", "--show", "--direct-io=on", member).stdout.strip()
            self.undo.callback(run, "losetup", "-d", device, check=False)
            devices.append(device)
        run("mkfs.btrfs", "-q", "-f", "-m", "raid1", "-d", "raid5", *devices)
        run("btrfs", "device", "scan", *devices)
        mnt = self.mkdir("mnt-btrfs")
        run("mount", "-t", "btrfs", devices[0], mnt)
        self.undo.callback(run, "umount", mnt, check=False)
        return os.path.join(mnt, "file")

    def nullfuse(self):
        mnt = self.mkdir("mnt-null")
        server = subprocess.Popen([self.args.nullfuse, "-f", "-o", "allow_other", mnt],
                                  stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.undo.callback(self.end_server, server, mnt)
        deadline = time.time() + 5
        while not os.path.ismount(mnt):
            if time.time() > deadline or server.poll() is not None:
                raise Failure("nullfuse does not mount")
            time.sleep(0.02)
        return os.path.join(mnt, "file")

    @staticmethod
    def end_server(server, mnt):
        run("umount", mnt, check=False)
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    # ---- fio ----

    def fio(self, path, rw, bs, depth, seconds, seed):
        argv = ["fio", "--name=bench", f"--filename={path}", f"--rw={rw}", f"--bs={bs}",
                f"--iodepth={depth}", f"--ioengine={self.args.engine}", "--direct=1",
                f"--size={self.args.file_mib}M", "--time_based", f"--runtime={seconds}",
                f"--randseed={seed}", "--randrepeat=1", "--refill_buffers=0", "--thread",
                "--group_reporting", "--output-format=json"]
        self.note(argv, path, seed)
        job = json.loads(run(*argv).stdout)["jobs"][0]
        side = job["read" if "read" in rw else "write"]
        clat = side["clat_ns"].get("percentile", {})
        return {"iops": side["iops"], "mib_s": side["bw_bytes"] / 2**20,
                "p50_us": clat.get("50.000000", 0) / 1000, "p99_us": clat.get("99.000000", 0) / 1000,
                "p999_us": clat.get("99.900000", 0) / 1000}

    def note(self, argv, path, seed):
        line = " ".join(argv).replace(path, "FILE").replace(f"randseed={seed}", "randseed=SEED")
        if line not in self.commands:
            self.commands.append(line)

    def prefill(self, path):
        run("fio", "--name=fill", f"--filename={path}", "--rw=write", "--bs=1m", "--direct=1",
            "--iodepth=4", f"--ioengine={self.args.engine}", f"--size={self.args.file_mib}M",
            "--end_fsync=1", "--thread", "--output-format=json")

    @staticmethod
    def drop_caches():
        os.sync()
        with contextlib.suppress(OSError), open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3\n")


def set_up(bench, names):
    files = {}
    for name in names:
        say(f"bench: setting up {name}")
        files[name] = getattr(bench, name)()
        bench.prefill(files[name])
    return files


def measure(bench, files, args):
    results = {w[0]: {name: [] for name in files} for w in WORKLOADS}
    total, done = len(WORKLOADS) * len(files) * args.rounds, 0
    for r in range(args.rounds):
        for title, rw, bs, depth in WORKLOADS:
            for name, path in files.items():
                done += 1
                say(f"bench: [{done}/{total}] round {r + 1}: {title}: {name}")
                if "read" in rw:
                    bench.drop_caches()
                results[title][name].append(
                    bench.fio(path, rw, bs, depth, args.seconds, args.seed + r))
    return results


def median(rounds, key):
    return statistics.median(x[key] for x in rounds)


def summary(results):
    rows = []
    for title, by_target in results.items():
        key = "mib_s" if title.startswith("1M") else "iops"
        figures = {n: median(r, key) for n, r in by_target.items()}
        ours = figures["stablefs"]
        spread = [x[key] for x in by_target["stablefs"]]
        rows.append({"workload": title, "unit": "MiB/s" if key == "mib_s" else "IOPS",
                     "figures": figures, "spread": [min(spread), max(spread)],
                     "vs": {n: ours / f for n, f in figures.items() if n != "stablefs" and f},
                     "latency_us": {n: {p: median(r, p) for p in ("p50_us", "p99_us", "p999_us")}
                                    for n, r in by_target.items()},
                     "promised_vs_btrfs": PROMISED.get(title)})
    return rows


def print_table(rows, names):
    head = ["workload", "unit"] + names + [f"vs {n}" for n in names if n != "stablefs"] + ["promised"]
    table = [head]
    for row in rows:
        line = [row["workload"], row["unit"]]
        line += [f"{row['figures'][n]:,.0f}" for n in names]
        line += [f"{row['vs'][n]:.2f} x" if n in row["vs"] else "-" for n in names if n != "stablefs"]
        want = row["promised_vs_btrfs"]
        line.append("-" if not want or "btrfs" not in row["vs"] else
                    f">= {want:g} x btrfs: " + ("met" if row["vs"]["btrfs"] >= want else "NOT met"))
        table.append(line)
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    for line in table:
        print("  ".join(c.ljust(w) if i < 2 else c.rjust(w)
                        for i, (c, w) in enumerate(zip(line, widths))).rstrip())
    print("\nLatency, microseconds (p50 / p99 / p99.9):")
    for row in rows:
        cells = [f"{n} {v['p50_us']:.0f} / {v['p99_us']:.0f} / {v['p999_us']:.0f}"
                 for n, v in row["latency_us"].items()]
        print(f"  {row['workload']:<30} " + "   ".join(cells))


def machine(args):
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo")
                if line.startswith("model name")), "unknown")
    versions = {"fio": run("fio", "--version").stdout.strip(),
                "stablefs": run(args.stablefs, "--version").stdout.strip()}
    if shutil.which("mkfs.btrfs"):
        versions["btrfs-progs"] = run("mkfs.btrfs", "--version").stdout.strip()
    return {"kernel": platform.release(), "cpu": cpu, "cpus": os.cpu_count(), "versions": versions,
            "directory": args.dir, "seed": args.seed, "file_mib": args.file_mib,
            "seconds": args.seconds, "rounds": args.rounds, "engine": args.engine}


def choose_targets(args):
    names = ["bare", "btrfs", "stablefs", "nullfuse"]
    if "btrfs" not in open("/proc/filesystems").read():
        subprocess.run(["modprobe", "btrfs"], stderr=subprocess.DEVNULL, check=False)
    if "btrfs" not in open("/proc/filesystems").read() or not shutil.which("mkfs.btrfs"):
        say("bench: no btrfs here (kernel or btrfs-progs): that column is left out")
        names.remove("btrfs")
    return names


def parse_args():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--stablefs", required=True, help="the program to measure")
    p.add_argument("--nullfuse", required=True, help="the server with an empty back end")
    p.add_argument("--dir", default=os.environ.get("TMPDIR", "/var/tmp"), help="where members go")
    p.add_argument("--file-mib", type=int, default=512, help="size of the file that fio works on")
    p.add_argument("--seconds", type=int, default=4, help="of each measurement")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seed", type=int, default=20261)
    p.add_argument("--engine", default="libaio", choices=("libaio", "io_uring"))
    p.add_argument("--json", metavar="FILE", help="write the results there too")
    return p.parse_args()


def main():
    args = parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for loop devices and mounts")
    names = choose_targets(args)
    about = machine(args)
    print(f"stablefs bench: {about['cpu']}, {about['cpus']} CPUs, Linux {about['kernel']}; "
          + ", ".join(about["versions"].values()))
    print(f"members on {args.dir}; file of {args.file_mib} MiB; {args.rounds} rounds of "
          f"{args.seconds} s; seed {args.seed}; {args.engine}, O_DIRECT\n")
    with contextlib.ExitStack() as undo:
        bench = Bench(args, undo)
        rows = summary(measure(bench, set_up(bench, names), args))
        commands = bench.commands
    print_table(rows, names)
    print(f"\nCommand lines (FILE: of each target in turn; SEED: {args.seed} + round):")
    for line in commands:
        print("  " + line)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"machine": about, "rows": rows, "commands": commands}, f, indent=2)
    return 0


if __name__ == "__main__":
    run_main(main)
