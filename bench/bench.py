#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare stablefs with what users would pick instead, and with what could be had at best.

Parts, each with its targets side by side in each round, on member files in the same directory:
  disk      direct I/O: one bare member file; btrfs -m raid1 -d raid5 on four loop devices with
            direct I/O; stablefs raid5 of four with t10, dio=bounce, with the partial-write log
            (journal, the default) and with marks alone (bitmap)
  buffered  untar, sequential, SQLite, PostgreSQL on the same, and on a plain directory
  memory    one member without PI in memory, beside an empty FUSE server (bench/nullfuse.c)
  growth    members, writers, sizes of writes and of the volume; one round

Only ratios within a run mean something: machines are shared and noisy. Each figure is the median of
the rounds, each ratio the median of the ratios within a round; the spread is printed beside it.
Needs root, for loop devices and mounts; at most --minutes. Everything that was set up is
undone, also when it is interrupted.
"""
import argparse
import contextlib
import json
import os
import struct
import sys
import time

import against
import fio
import growth
import plot
import report
import summary
import targets
from buffered import Buffered
from common import Failure, Progress, as_clock, drop_caches, machine, run, run_main, say
from meter import metered
from workloads import choose

OLD = "@old"
PARTS = ("disk", "buffered", "memory", "growth")
WARM_UP_S = 0.5
OVERHEAD_S = 0.6  # of a run: starting fio, dropping caches


class Bench:
    def __init__(self, args, place, memory, progress):
        self.args, self.place, self.memory, self.progress = args, place, memory, progress
        self.results, self.commands, self.notes = {}, [], []
        self.said, self.deadline = [], time.monotonic() + args.minutes * 60
        self.warm, self.failed, self.ended = set(), set(), 0

    # ---- targets ----

    def builds(self):
        """(suffix of the names, program)."""
        yield "", self.args.stablefs
        if self.args.other:
            yield OLD, self.args.other

    def disk_targets(self, size_mib):
        """@size_mib: of each member."""
        args, made = self.args, []
        if not args.other:
            say("bench: setting up bare")
            made.append(targets.bare(self.place, args.file_mib))
            if args.btrfs:
                say("bench: setting up btrfs")
                made.append(targets.btrfs(self.place, size_mib))
            if args.btrfs and args.nocow:
                say("bench: setting up btrfs without checksums")
                made.append(targets.btrfs(self.place, size_mib, "btrfs-nocow", checksums=False))
        for hole in args.arrays:
            for suffix, binary in self.builds():
                say(f"bench: setting up {hole}{suffix}")
                made.append(targets.array(self.place, hole + suffix, binary, hole, size_mib))
        return made

    def memory_targets(self):
        args, made = self.args, []
        for suffix, binary in self.builds():
            made.append(targets.single(self.memory, "single" + suffix, binary,
                                       args.memory_mib * 5 // 4))
        if not args.other:
            made += [targets.null(self.memory, name, args.nullfuse, options)
                     for name, options in targets.NULLS.items()]
        if args.stores and not args.other:
            made += targets.stores(self.memory, args.nullfuse)
        if args.ring and not args.other:
            made += targets.rings(self.memory, args.nullfuse) or self.no_ring()
        return made

    def no_ring(self):
        self.notes.append("no FUSE over io_uring in this kernel: these columns are left out")
        return []

    # ---- measuring ----

    def note(self, argv, path, seed):
        line = " ".join(argv).replace(path, "FILE").replace(f"randseed={seed}", "randseed=SEED")
        if line not in self.commands:
            self.commands.append(line)

    def direct(self, workload, target, seed, size_mib):
        """One figure of direct I/O."""
        def argv(seconds):
            return fio.argv(target.file, workload.rw, workload.bs, workload.depth, seconds,
                            size_mib, seed, self.args.engine)
        if "read" in workload.rw and workload.part == "disk":
            drop_caches()
        elif (workload.title, target.name) not in self.warm:
            run(*argv(WARM_UP_S))
            self.warm.add((workload.title, target.name))
        words = argv(self.args.seconds)
        self.note(words, target.file, seed)
        return metered(target, lambda: fio.parse(run(*words).stdout, workload.rw))

    def rounds(self, workloads, chosen, seconds, share, measure):
        """All targets in turn, in turn for all workloads, for each round; fewer rounds where the
        time is up. @share: of what is left of the time."""
        start = time.monotonic()
        budget = max(self.deadline - start, 0) * share
        for w in workloads:
            self.results[w.title] = {t.name: [] for t in chosen}
        for r in range(self.args.rounds):
            spent = time.monotonic() - start
            if r and spent * (r + 1) / r > budget:
                self.notes.append(f"{workloads[0].part}: {r} of {self.args.rounds} rounds, since "
                                  f"the time was up (--minutes {self.args.minutes:g})")
                break
            for w in workloads:
                # Each target comes first in some round.
                for t in chosen[r % len(chosen):] + chosen[:r % len(chosen)]:
                    self.progress.step(seconds, f"round {r + 1}: {w.title}: {t.name}")
                    self.try_one(w, t, lambda: measure(w, t, self.args.seed + r))

    def try_one(self, workload, target, measure):
        """What fails once is left out for good, and the rest goes on."""
        if (workload.title, target.name) in self.failed:
            return
        try:
            self.results[workload.title][target.name].append(measure())
        except Failure as failure:
            self.failed.add((workload.title, target.name))
            self.results[workload.title][target.name].clear()
            self.notes.append(f"{workload.title}: {target.name}: left out: {failure}")
            say(f"bench: {failure}")

    def measure_disk(self, workloads, chosen, share):
        targets.prefill(chosen, self.args.file_mib)
        self.rounds(workloads, chosen, self.args.seconds + OVERHEAD_S, share,
                    lambda w, t, seed: self.direct(w, t, seed, self.args.file_mib))

    def measure_memory(self, workloads, share):
        chosen = self.memory_targets()
        self.said += [(t.name, t.said) for t in chosen]
        targets.prefill([t for t in chosen if t.name.startswith(("single", "store"))],
                        self.args.memory_mib)
        self.rounds(workloads, chosen, self.args.seconds + OVERHEAD_S, share,
                    lambda w, t, seed: self.direct(w, t, seed, self.args.memory_mib))

    def measure_buffered(self, workloads, chosen, share):
        work = Buffered(self.memory, self.args.seconds, self.args.file_mib // 2, self.args.seed,
                        {w.rw for w in workloads})
        for w in [w for w in workloads if work.lacks(w.rw)]:
            self.notes.append(f"{w.title}: left out: {work.lacks(w.rw)}")
            workloads.remove(w)
        if not workloads:
            return
        self.rounds(workloads, chosen, self.args.seconds + 2, share,
                    lambda w, t, seed: work.measure(w.rw, t, seed, metered))
        self.commands += list(work.commands.values())

    def measure(self, workloads):
        parts = {p: [w for w in workloads if w.part == p] for p in PARTS}
        if parts["disk"] or parts["buffered"]:
            # A third of the file, and room for what is unpacked, and for btrfs to write anew.
            chosen = self.disk_targets(self.args.file_mib * (5 if parts["buffered"] else 3) // 4)
            self.said += [(t.name, t.said) for t in chosen]
            if parts["disk"]:
                self.measure_disk(parts["disk"], chosen, 0.62 if parts["buffered"] else 0.9)
            if parts["buffered"]:
                self.measure_buffered(parts["buffered"], chosen, 0.55 if parts["memory"] else 0.9)
        if parts["memory"]:
            self.measure_memory(parts["memory"], 0.6)

    def measure_or_end(self, workloads):
        """The workloads of which there is something to show: all, unless a signal ended it."""
        try:
            self.measure(workloads)
        except SystemExit as end:
            self.ended = end.code
            self.notes.append("interrupted: what was measured until then")
        return [w for w in workloads if any(self.results.get(w.title, {}).values())]


# ---- what is planned ----

def planned_seconds(args, workloads):
    """Weights for the progress."""
    wide = 1 + args.btrfs * (1 + args.nocow) + len(args.arrays)
    servers = len(targets.NULLS) * (1 + args.stores + args.ring)
    columns = {"disk": wide, "buffered": wide, "memory": 1 + servers}
    if args.against:
        columns = {"disk": 2 * len(args.arrays), "buffered": 2 * len(args.arrays), "memory": 2}
    extra = {"disk": OVERHEAD_S, "buffered": 2, "memory": OVERHEAD_S}
    total = sum(columns[w.part] * args.rounds * (args.seconds + extra[w.part]) for w in workloads)
    if "growth" in args.parts:
        total += growth.measurements() * (args.growth_seconds + 1)
    return total


def look_for_btrfs(args, notes):
    args.btrfs = bool(targets.have_btrfs()) and not args.no_btrfs
    if not args.btrfs and not args.against:
        notes.append("no btrfs here (kernel or btrfs-progs): that column is left out")


def keep_awake():
    """Idle processors look for work instead of halting, as long as the file is open."""
    latency = open("/dev/cpu_dma_latency", "wb", buffering=0)
    latency.write(struct.pack("i", 0))  # microseconds that one may take to rise
    return latency


def versions(args):
    found = {"fio": run("fio", "--version").stdout.strip(),
             "stablefs": run(args.stablefs, "--version").stdout.strip()}
    if args.btrfs:
        found["btrfs-progs"] = run("mkfs.btrfs", "--version").stdout.strip()
    return found


def print_head(args, about, old):
    print(f"stablefs bench: {about['cpu']}, {about['cpus']} CPUs, {about['memory_gib']} GiB, "
          f"Linux {about['kernel']}; " + ", ".join(about["versions"].values()))
    if args.awake:
        print("idle processors are kept from halting (--awake), for all targets alike")
    print(f"members on {args.dir}; file of {args.file_mib} MiB; {args.rounds} rounds of "
          f"{args.seconds:g} s; seed {args.seed} + round; {args.engine}, O_DIRECT")
    print("command: " + " ".join(["bench.py"] + sys.argv[1:]))
    if old:
        print(f"compared with: {old}")
    print(flush=True)


def print_tail(bench, points, args):
    print("\nTargets:")
    for name, said in bench.said:
        print(f"  {name}: {said}")
    print(f"\nCommand lines (FILE: of each target in turn; SEED: {args.seed} + round):")
    for line in bench.commands + growth.commands(points):
        print("  " + line)
    for note in bench.notes:
        print("note: " + note)


def print_rows(rows):
    for text in (report.figures_table(rows), report.verdicts_table(rows),
                 report.latency_table(rows), report.cpu_table(rows), report.cost_table(rows),
                 report.moved_table(rows), report.spread_note(rows)):
        if text:
            print(text)


def parse_args():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    targets.add_options(p)
    p.add_argument("--file-mib", type=int, default=512, help="size of the file that fio works on")
    p.add_argument("--memory-mib", type=int, default=256, help="of the one in memory")
    p.add_argument("--seconds", type=float, help="of each measurement (default 3; quick: 1)")
    p.add_argument("--rounds", type=int, help="(default 3; quick: 2)")
    p.add_argument("--minutes", type=float, default=15, help="rounds are left out beyond that")
    p.add_argument("--quick", action="store_true", help="a few minutes")
    p.add_argument("--seed", type=int, default=20261)
    p.add_argument("--engine", default="libaio", choices=("libaio", "io_uring"))
    p.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART",
                   help=", ".join(PARTS))
    p.add_argument("--only", nargs="+", default=[], metavar="WORKLOAD",
                   help="patterns of workloads, or parts of their names")
    p.add_argument("--arrays", nargs="+", choices=("journal", "bitmap"),
                   default=["journal", "bitmap"], metavar="MODE", help="journal, bitmap")
    p.add_argument("--no-btrfs", action="store_true", help="leave that column out")
    p.add_argument("--nocow", action="store_true", help="another column: btrfs with chattr +C on "
                   "the file of direct I/O, without checksums, written in place")
    p.add_argument("--stores", action="store_true", help="two more columns in memory: the empty "
                   "servers with a file in memory behind them")
    p.add_argument("--ring", action="store_true", help="two more columns in memory: empty servers "
                   "over io_uring; the kernel's enable_uring is set for that time")
    p.add_argument("--awake", action="store_true", help="keep idle processors from halting for "
                   "the whole run, whatever is measured: what is left without the price of waking")
    p.add_argument("--against", metavar="REV", help="beside the build of another revision, or "
                   "another program, in the same rounds; without the other targets")
    p.add_argument("--json", metavar="FILE", help="write the results there too")
    p.add_argument("--plot", metavar="DIR", help="draw them there, as SVG")
    args = p.parse_args()
    args.seconds = args.seconds or (1 if args.quick else 3)
    args.rounds = args.rounds or (2 if args.quick else 3)
    args.growth_seconds = min(args.seconds, 1.0)
    args.other = None
    if args.only or args.against:
        args.parts = [part for part in args.parts if part != "growth"] or args.parts
    return args


def measure_all(args, workloads, notes):
    """The rows, the points of growth, the rows of --against, and what was done."""
    progress = Progress(planned_seconds(args, workloads))
    with targets.place_in(args.dir) as place, targets.place_in(args.memory) as memory:
        old = None
        if args.against:
            args.other, old = against.other_build(args.against, place)
        about = {**machine(), "versions": versions(args)}
        print_head(args, about, old)
        bench = Bench(args, place, memory, progress)
        bench.notes += notes
        done = bench.measure_or_end(workloads)
    points = []
    if "growth" in args.parts and not bench.ended:
        points = growth.measure(args.dir, args.stablefs, args.growth_seconds, args.seed, progress)
    return about, bench, done, points, old


def main():
    args = parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for loop devices and mounts")
    notes, start = [], time.monotonic()
    look_for_btrfs(args, notes)
    workloads = [w for w in choose(args.only) if w.part in args.parts]
    if not workloads and "growth" not in args.parts:
        sys.exit("bench: no workload matches")
    with keep_awake() if args.awake else contextlib.nullcontext():
        about, bench, done, points, old = measure_all(args, workloads, notes)
    rows, builds = [], []
    if old:
        builds = summary.compare_builds(done, bench.results, OLD)
        print(report.builds_table(builds, old))
    else:
        rows = summary.summarize(done, bench.results)
        print_rows(rows)
    print(report.growth_table(points))
    print_tail(bench, points, args)
    print(f"took {as_clock(time.monotonic() - start)}")
    document = {"machine": about, "args": vars(args), "rows": summary.plain(rows),
                "builds": builds, "growth": points, "commands": bench.commands,
                "targets": dict(bench.said), "notes": bench.notes}
    if args.json:
        with open(args.json, "w") as f:
            json.dump(document, f, indent=2)
    if args.plot:
        plot.draw_all(document, args.plot)
    return bench.ended


if __name__ == "__main__":
    run_main(main)
