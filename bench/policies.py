#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What each direct I/O policy costs a program whose buffers keep still.

One volume (raid5 of four, PI t10), one mount, one file; the policy is switched through the control
file between short slices of fio, in turn, so that whatever disturbs the machine meets all policies
alike. Figures are medians over the rounds, beside bounce in the same round: the mean latency of a
write and the throughput. Members lie in the directory that is given: in memory (/dev/shm) the
disk is taken out of the figures, and what a policy adds shows largest.
"""
import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile

from common import run, run_main, undisturbed, undoing, unmount, wait_for_member

CASES = [(bs, depth) for bs in ("4k", "64k") for depth in (1, 16)]
POLICIES = ["bounce", "detect", "zerocopy", "verify", "adaptive", "buffered"]
MEMBERS = 4


def set_up(args, undo):
    with undisturbed():
        top = tempfile.mkdtemp(prefix="stablefs-bench-", dir=args.dir)
        undo.callback(shutil.rmtree, top, ignore_errors=True)
    volume, mnt = os.path.join(top, "volume"), os.path.join(top, "mnt")
    os.mkdir(mnt)
    run(args.stablefs, "create", "--level", "raid5", "--members", str(MEMBERS), "--size",
        f"{args.file_mib * 2}M", "--pi", "t10", volume)
    with undisturbed():
        run(args.stablefs, "mount", "-o", "dio=bounce", volume, mnt)
        undo.callback(wait_for_member, os.path.join(volume, "member-0"))
        undo.callback(unmount, mnt)
    return mnt


def fio(args, path, bs, depth, seed):
    """Depth is that many threads with one write each: what synchronous programs do."""
    argv = ["fio", "--name=bench", f"--filename={path}", "--rw=randwrite", f"--bs={bs}",
            "--ioengine=psync", f"--numjobs={depth}", "--direct=1", f"--size={args.file_mib}M",
            "--time_based", f"--runtime={args.slice_ms}ms", f"--randseed={seed}",
            "--refill_buffers=0", "--thread", "--group_reporting", "--output-format=json"]
    side = json.loads(run(*argv).stdout)["jobs"][0]["write"]
    return {"us": side["clat_ns"]["mean"] / 1000, "iops": side["iops"]}


def set_policy(mnt, policy):
    with open(os.path.join(mnt, ".stablefs/policy"), "w") as f:
        f.write(policy)


def direct_writes(mnt):
    with open(os.path.join(mnt, ".stablefs/stats.json")) as f:
        return json.load(f)["direct_writes"]


def measure(args, mnt):
    path = os.path.join(mnt, "file")
    run("fio", "--name=fill", f"--filename={path}", "--rw=write", "--bs=1m", "--direct=1",
        f"--size={args.file_mib}M", "--end_fsync=1", "--thread")
    rows, steps = [], len(CASES) * args.rounds * len(args.policies)
    done = 0
    for bs, depth in CASES:
        rounds = {p: [] for p in args.policies}
        before = direct_writes(mnt)
        for r in range(args.rounds):
            for policy in args.policies:
                set_policy(mnt, policy)
                rounds[policy].append(fio(args, path, bs, depth, args.seed + r))
                done += 1
                show_progress(f"[{done}/{steps}] {bs}, {depth} deep: {policy}")
        after = direct_writes(mnt)
        rows.append(summary(bs, depth, rounds, {k: after[k] - before[k] for k in
                                                ("observed", "unobserved", "mutated")}))
    show_progress("")
    return rows


def show_progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text and 'bench: ' + text}", end="", file=sys.stderr, flush=True)


def summary(bs, depth, rounds, seen):
    base = rounds["bounce"]
    row = {"bs": bs, "depth": depth, "seen": seen, "policies": {}}
    for policy, slices in rounds.items():
        row["policies"][policy] = {
            "us": statistics.median(s["us"] for s in slices),
            "iops": statistics.median(s["iops"] for s in slices),
            "added_us": statistics.median(s["us"] - b["us"] for s, b in zip(slices, base)),
            "throughput": statistics.median(s["iops"] / b["iops"] for s, b in zip(slices, base))}
    return row


def print_table(rows, policies):
    print(f"{'random writes':<18}{'policy':<10}{'us a write':>12}{'added us':>10}{'IOPS':>10}"
          f"{'of bounce':>11}")
    for row in rows:
        title = f"{row['bs'].upper()}, {row['depth']} thread{'s' if row['depth'] > 1 else ''}"
        for policy in policies:
            p = row["policies"][policy]
            print(f"{title:<18}{policy:<10}{p['us']:>12.1f}{p['added_us']:>+10.1f}"
                  f"{p['iops']:>10,.0f}{p['throughput']:>10.0%}")
            title = ""
        seen = row["seen"]
        print(f"{'':<18}observed {seen['observed']:,}, unobserved {seen['unobserved']:,}, "
              f"reported as changed {seen['mutated']:,} (buffers kept still: 0 is right)\n")


def parse_args():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--stablefs", required=True, help="the program to measure")
    p.add_argument("--dir", default="/dev/shm", help="where members go")
    p.add_argument("--file-mib", type=int, default=128, help="size of the file that is written")
    p.add_argument("--slice-ms", type=int, default=400, help="length of one measurement")
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--seed", type=int, default=20261)
    p.add_argument("--policies", type=lambda s: s.split(","), default=POLICIES,
                   help="bounce first; default: " + ",".join(POLICIES))
    p.add_argument("--json", metavar="FILE", help="write the results there too")
    args = p.parse_args()
    if args.policies[0] != "bounce":
        p.error("--policies begins with bounce: what the others are compared with")
    return args


def main():
    args = parse_args()
    with undoing() as undo:
        rows = measure(args, set_up(args, undo))
    print(f"members in {args.dir}; {args.rounds} rounds of {args.slice_ms} ms for each policy in "
          f"turn; seed {args.seed}; hold=0\n")
    print_table(rows, args.policies)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"args": vars(args), "rows": rows}, f, indent=2)
    return 0


if __name__ == "__main__":
    run_main(main)
