#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What one engine thread can do, and from where on a second one would pay.

stablefs has one engine thread. For each kind of request, on raid5 of four with t10, this measures
the processor time that a request takes of that thread, of the daemon's other threads, of the
program that asks (fio) and of the rest of the machine, with members on the disk and in memory.
From these alone, the model says:
  - at which rate the engine's thread is full: one request for each time that it takes;
  - how many cores are busy then: a second thread cannot help where there are fewer;
  - what 2, 4 and 8 engine threads that share nothing would do, and with how many cores, up to what
    one connection of FUSE carries: the better of two empty servers (bench/nullfuse.c).
It is held against runs that it did not see, with members in memory:
  apart     the daemon on one CPU, the program on another
  together  both on one CPU
  two       two volumes, each with its own daemon and half of the requests: two engine threads that
            share nothing but the kernel
Needs root, for mounts, and two CPUs for the runs that are pinned; those are left out else.
"""
import argparse
import contextlib
import json
import os
import statistics
import sys
from collections import namedtuple

import fio
import plot
import targets
from common import (Progress, busy_seconds, children_seconds, drop_caches, machine, run,
                    run_main, say)
from meter import difference
from report import number, table

Kind = namedtuple("Kind", "title rw bs depth")
KINDS = [Kind("4K random write, depth 16", "randwrite", "4k", 16),
         Kind("4K random read, depth 16", "randread", "4k", 16),
         Kind("64K random write, depth 8", "randwrite", "64k", 8),
         Kind("1M sequential write, depth 4", "write", "1m", 4),
         Kind("1M sequential read, depth 4", "read", "1m", 4)]
PLACES = ("disk", "memory")
CHECKS = ("apart", "together", "two")
ENGINES = (2, 4, 8)
ENGINE_THREAD = "stablefs-engine"
WARM_UP_S = 0.3
OVERHEAD_S = 0.5


# ---- the model. Pure. Costs: seconds of a request, "engine", "others", "program", "rest". ----

def all_cores(cost):
    """Seconds of all processors together."""
    return sum(cost[k] for k in ("engine", "others", "program", "rest"))


def full_rate(cost):
    """Requests a second at which the engine's thread is never idle."""
    return 1 / cost["engine"]


def cores_when_full(cost):
    """How many are busy then: a second engine thread needs more than these."""
    return all_cores(cost) / cost["engine"]


def rate(cost, engines, cores, connection=None):
    """What @engines threads that share nothing do on @cores, up to what a connection carries."""
    most = min(engines / cost["engine"], cores / all_cores(cost))
    return min(most, connection) if connection else most


def cores_for(cost, engines, connection=None):
    """Those that are busy at the most that @engines do, however many there are."""
    return rate(cost, engines, float("inf"), connection) * all_cores(cost)


def foretold(cost, check, cores):
    """Requests a second of a run in which processors alone are the limit. What is no thread's
    goes wherever there is room."""
    daemon = cost["engine"] + cost["others"]
    if check == "apart":
        return min(full_rate(cost), 1 / daemon, 1 / cost["program"])
    if check == "together":
        return 1 / (daemon + cost["program"])
    return rate(cost, 2, cores)


# ---- meters ----

def thread_seconds(pid, name):
    """Processor time of the threads of that name, to the nanosecond where the kernel counts so."""
    total = 0.0
    for tid in os.listdir(f"/proc/{pid}/task"):
        place = f"/proc/{pid}/task/{tid}/"
        with contextlib.suppress(OSError):  # it has ended meanwhile
            with open(place + "comm") as f:
                if f.read().strip() != name:
                    continue
            with open(place + "schedstat") as f:
                total += int(f.read().split()[0]) / 1e9
    return total


def daemon_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def snapshot(target):
    return {"engine": thread_seconds(target.pid, ENGINE_THREAD),
            "daemon": daemon_seconds(target.pid), "program": sum(children_seconds()),
            "busy": busy_seconds(), "counters": target.counters()}


def costs_of(spent, program_s, requests):
    """@spent: the difference of two snapshots, in which "program" has the program's start too.
    Seconds of a request."""
    others = max(spent["daemon"] - spent["engine"], 0.0)
    rest = max(spent["busy"] - spent["daemon"] - spent["program"], 0.0)
    return {"engine": spent["engine"] / requests, "others": others / requests,
            "program": program_s / requests, "rest": rest / requests}


def transfers_of(spent, requests):
    """Of all members together, a request: how many, and bytes."""
    members = spent["counters"]["members"]
    return {"transfers": sum(m["reads"] + m["writes"] for m in members) / requests,
            "moved_bytes": sum(m["read_bytes"] + m["write_bytes"] for m in members) / requests}


def bind(pid, cpus):
    """All threads of a process; those that it makes later follow the one that made them."""
    for tid in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(tid), cpus)


# ---- measuring ----

class Measure:
    def __init__(self, args, progress):
        self.args, self.progress = args, progress
        self.commands = []
        self.cpus = sorted(os.sched_getaffinity(0))

    def words(self, kind, target, seed, seconds=None, depth=None, cpus=None):
        argv = fio.argv(target.file, kind.rw, kind.bs, depth or kind.depth,
                        seconds or self.args.seconds, self.args.file_mib, seed)
        line = " ".join(argv).replace(target.file, "FILE").replace(f"randseed={seed}",
                                                                   "randseed=SEED")
        if line not in self.commands and not seconds:
            self.commands.append(line)
        return (["taskset", "-c", ",".join(map(str, cpus))] if cpus else []) + argv

    def requests_a_second(self, kind, target, seed, cpus=None):
        return fio.parse(run(*self.words(kind, target, seed, cpus=cpus)).stdout, kind.rw)["iops"]

    def free(self, kind, target, seed):
        """As the scheduler has it: what a request costs."""
        before = snapshot(target)
        got = fio.parse(run(*self.words(kind, target, seed)).stdout, kind.rw)
        spent = difference(before, snapshot(target))
        return {"rate": got["iops"], **costs_of(spent, got["cpu_s"], got["ios"]),
                **transfers_of(spent, got["ios"])}

    def pinned(self, kind, target, seed, daemon, program):
        bind(target.pid, daemon)
        try:
            return self.requests_a_second(kind, target, seed, program)
        finally:
            bind(target.pid, self.cpus)

    def two(self, kind, pair, seed):
        """Both at once, each with half of the requests: jobs of one fio, which start together."""
        words = self.words(kind, pair[0], seed, depth=max(kind.depth // 2, 1))
        common = [w for w in words if not w.startswith(("--name=", "--filename="))]
        jobs = [w for t in pair for w in (f"--name={t.name}", f"--filename={t.file}")]
        return fio.parse(run(*common, *jobs).stdout, kind.rw)["iops"]

    def check(self, kind, check, pair, seed):
        first, second = {self.cpus[0]}, {self.cpus[-1]}
        if check == "two":
            return self.two(kind, pair, seed)
        return self.pinned(kind, pair[0], seed, first, second if check == "apart" else first)

    def step(self, text):
        self.progress.step(self.args.seconds + OVERHEAD_S, text)

    def rounds(self, what, kinds, place, measure):
        """{title: [one of each round]}."""
        got = {k.title: [] for k in kinds}
        for r in range(self.args.rounds):
            for kind in kinds:
                self.step(f"{place}: round {r + 1}: {what}: {kind.title}")
                if place == "disk" and "read" in kind.rw:
                    drop_caches()
                got[kind.title].append(measure(kind, self.args.seed + r))
        return got

    def warm_up(self, kinds, chosen):
        for t in chosen:
            for kind in kinds:
                run(*self.words(kind, t, self.args.seed, WARM_UP_S))


def volume(args, place, name):
    """raid5 of four with t10 and the partial-write log, as most have it."""
    target = targets.array(place, name, args.stablefs, "journal", args.file_mib)
    targets.prefill([target], args.file_mib)
    return target


def measure_place(args, measure, kinds, name, parent, found):
    with targets.place_in(parent) as place:
        say(f"bench: setting up {name}")
        pair = [volume(args, place, name)]
        measure.warm_up(kinds, pair)
        found[name] = {"free": measure.rounds("free", kinds, name,
                                              lambda k, s: measure.free(k, pair[0], s))}
        if name != "memory" or len(measure.cpus) < 2:
            return
        pair.append(volume(args, place, name + "-2"))
        measure.warm_up(kinds, pair[1:])
        for check in CHECKS:
            found[name][check] = measure.rounds(
                check, kinds, name, lambda k, s, c=check: measure.check(k, c, pair, s))


def measure_connection(args, measure, kinds, found):
    """The better of two empty servers, by their medians."""
    with targets.place_in(args.memory) as place:
        servers = [targets.null(place, name, args.nullfuse, options)
                   for name, options in targets.NULLS.items()]
        found["null"] = {t.name: measure.rounds(
            t.name, kinds, "null",
            lambda k, s, t=t: measure.requests_a_second(k, t, s)) for t in servers}


def measure_all(args, kinds):
    on = {"disk": args.dir, "memory": args.memory}
    turns = len(args.places) + len(targets.NULLS) + len(CHECKS) * ("memory" in args.places)
    progress = Progress(turns * len(kinds) * args.rounds * (args.seconds + OVERHEAD_S))
    measure, found = Measure(args, progress), {}
    for name in args.places:
        measure_place(args, measure, kinds, name, on[name], found)
    measure_connection(args, measure, kinds, found)
    return found, measure


# ---- from the rounds to the tables. Pure. ----

def median_of(rounds):
    return {k: statistics.median(r[k] for r in rounds) for k in rounds[0]}


def connection_of(found, title):
    return max(statistics.median(rounds[title]) for rounds in found["null"].values())


def modelled(kind, place, cost, connection, members):
    block = fio.size_bytes(kind.bs)
    full = full_rate(cost)
    return {"kind": kind.title, "place": place, "cost": cost, "rate": cost["rate"],
            "engine_share": cost["rate"] * cost["engine"], "connection": connection,
            "full": full, "full_mib_s": full * block / 2**20,
            "member_transfers": full * cost["transfers"] / members,
            "member_mib_s": full * cost["moved_bytes"] / 2**20 / members,
            "cores_when_full": cores_when_full(cost),
            "engines": [{"engines": n, "rate": rate(cost, n, float("inf"), connection),
                         "cores": cores_for(cost, n, connection)} for n in ENGINES]}


def summarize(kinds, found, cpus, members=targets.MEMBERS):
    """Rows of the model; rows of the runs that it is held against."""
    rows, checks = [], []
    for place in (p for p in PLACES if p in found):
        for kind in kinds:
            cost = median_of(found[place]["free"][kind.title])
            rows.append(modelled(kind, place, cost, connection_of(found, kind.title), members))
            for check in (c for c in CHECKS if c in found[place]):
                got, says = found[place][check][kind.title], foretold(cost, check, cpus)
                checks.append({"kind": kind.title, "check": check, "foretold": says,
                               "measured": statistics.median(got), "free": cost["rate"],
                               "ratio": statistics.median(got) / says,
                               "spread": [min(got) / says, max(got) / says]})
    return rows, checks


def cost_lines(rows):
    head = ["CPU us of a request", "members", "requests/s", "engine", "other threads", "program",
            "rest", "engine's thread busy"]
    return head, [[r["kind"], r["place"], number(r["rate"])] +
                  [number(r["cost"][k] * 1e6) for k in ("engine", "others", "program", "rest")] +
                  [f"{r['engine_share']:.0%}"] for r in rows]


def model_lines(rows):
    head = ["one engine thread is full at", "members", "requests/s", "MiB/s",
            "transfers/s of each member", "MiB/s of each member", "cores busy then"] + \
        [f"{n} threads" for n in ENGINES] + ["a connection carries"]
    return head, [[r["kind"], r["place"], number(r["full"]), number(r["full_mib_s"]),
                   number(r["member_transfers"]), number(r["member_mib_s"]),
                   f"{r['cores_when_full']:.2f}"] +
                  [f"{number(e['rate'])} ({e['cores']:.1f} cores)" for e in r["engines"]] +
                  [number(r["connection"])] for r in rows]


def check_lines(checks):
    head = ["run that the model did not see", "", "foretold", "measured", "measured / foretold",
            "spread", "not pinned"]
    return head, [[c["kind"], c["check"], number(c["foretold"]), number(c["measured"]),
                   f"{c['ratio']:.2f}", f"{c['spread'][0]:.2f} to {c['spread'][1]:.2f}",
                   number(c["free"])] for c in checks]


def texts(rows, checks):
    return [table(*cost_lines(rows)), table(*model_lines(rows))] + \
        ([table(*check_lines(checks))] if checks else [])


# ---- main ----

def parse_args():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    targets.add_options(p)
    p.add_argument("--places", nargs="+", choices=PLACES, default=list(PLACES), metavar="PLACE",
                   help="disk, memory")
    p.add_argument("--only", nargs="+", default=[], metavar="KIND",
                   help="kinds of requests that begin so, or are so: 4K, '4K random read'")
    p.add_argument("--file-mib", type=int, default=256, help="size of the file that fio works on")
    p.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--quick", action="store_true", help="one round of 0.5 s")
    p.add_argument("--seed", type=int, default=20261)
    p.add_argument("--json", metavar="FILE", help="write the results there too")
    p.add_argument("--plot", metavar="DIR", help="draw them there, as SVG")
    args = p.parse_args()
    if args.quick:
        args.seconds, args.rounds = 0.5, 1
    return args


def chosen(patterns):
    return [k for k in KINDS if not patterns or
            any(k.title.lower().startswith(p.lower()) for p in patterns)]


def main():
    args = parse_args()
    kinds = chosen(args.only)
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for mounts")
    if not kinds:
        sys.exit("bench: no kind of request matches")
    about = machine()
    found, measure = measure_all(args, kinds)
    cpus = len(measure.cpus)
    rows, checks = summarize(kinds, found, cpus)
    print(f"stablefs bench cores: {about['cpu']}, {about['cpus']} CPUs ({cpus} to be used), Linux "
          f"{about['kernel']}; members on {args.dir} and {args.memory}; file of {args.file_mib} "
          f"MiB; {args.rounds} rounds of {args.seconds:g} s; seed {args.seed} + round\n")
    print("\n".join(texts(rows, checks)))
    print("Command lines:")
    for line in measure.commands:
        print("  " + line)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"machine": about, "args": vars(args), "rows": rows, "checks": checks,
                       "commands": measure.commands}, f, indent=2)
    picture = plot.draw_cores(rows) if args.plot else None
    if picture:
        os.makedirs(args.plot, exist_ok=True)
        picture.write(os.path.join(args.plot, "cores.svg"))
    return 0


if __name__ == "__main__":
    run_main(main)
