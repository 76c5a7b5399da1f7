# SPDX-License-Identifier: MIT
"""The workloads, and what the project aims at in each. Values only.

A limit is what could be had at best: a share of what a target does in the same round, or of another
workload of our own."""
import fnmatch
import re
from collections import namedtuple

# @unit: "IOPS", "MiB/s", "1/s" or "s"; in "s" less is better.
# @btrfs: times btrfs that is aimed at, or None. @limit: a Limit, or None.
Workload = namedtuple("Workload", "title part unit rw bs depth btrfs limit")
# @aim: of @share of @target's figure; @target is "own" for another workload of the same array,
# called @workload. @modes: of those arrays it is an aim; of the others it is a figure.
Limit = namedtuple("Limit", "aim share target says modes workload")

ARRAYS = ("journal", "bitmap")


def limit(aim, share, target, says, modes=ARRAYS, workload=None):
    return Limit(aim, share, target, says, modes, workload)


def disk(title, rw, bs, depth, btrfs, lim=None):
    unit = "MiB/s" if bs == "1m" else "IOPS"
    return Workload(title, "disk", unit, rw, bs, depth, btrfs, lim)


def memory(title, rw, bs, depth):
    unit = "MiB/s" if bs == "1m" else "IOPS"
    return Workload("single, in memory: " + title, "memory", unit, rw, bs, depth, None,
                    limit(0.9, 1.0, "null", "null FUSE server", ("single",)))


def buffered(title, unit, what):
    return Workload(title, "buffered", unit, what, "", 0, 0.8, None)


WORKLOADS = [
    disk("4K random write, depth 1", "randwrite", "4k", 1, 5.0),
    disk("4K random write, depth 16", "randwrite", "4k", 16, 6.0,
         limit(0.6, 0.25, "bare", "bare / 4 I/Os", ("bitmap",))),
    disk("64K random write, depth 8", "randwrite", "64k", 8, 4.0,
         limit(0.6, 0.25, "bare", "bare / 4 I/Os")),
    disk("1M sequential write, depth 1", "write", "1m", 1, 2.0),
    disk("1M sequential write, depth 4", "write", "1m", 4, 2.0,
         limit(0.8, 0.75, "bare", "3/4 of bare")),
    disk("4K sequential write, depth 16", "write", "4k", 16, 5.0,
         limit(3.0, 1.0, "own", "own random 4K", workload="4K random write, depth 16")),
    disk("4K random read, depth 1", "randread", "4k", 1, 1.0, limit(0.85, 1.0, "bare", "bare")),
    disk("4K random read, depth 16", "randread", "4k", 16, 1.0, limit(0.85, 1.0, "bare", "bare")),
    disk("1M sequential read, depth 4", "read", "1m", 4, 1.0, limit(0.85, 1.0, "bare", "bare")),
    buffered("untar a source tree, sync", "s", "untar"),
    buffered("buffered sequential write, fsync", "MiB/s", "write"),
    buffered("buffered sequential read", "MiB/s", "read"),
    buffered("SQLite, write-ahead log, commits", "1/s", "sqlite"),
    buffered("PostgreSQL, pgbench, 4 clients", "1/s", "pgbench"),
    memory("4K random write, depth 1", "randwrite", "4k", 1),
    memory("4K random write, depth 16", "randwrite", "4k", 16),
    memory("4K random read, depth 1", "randread", "4k", 1),
    memory("4K random read, depth 16", "randread", "4k", 16),
    memory("1M sequential write, depth 4", "write", "1m", 4),
    memory("1M sequential read, depth 4", "read", "1m", 4),
]


def choose(patterns):
    """Those whose title or part matches one of the patterns (fnmatch, or words of the title), with
    the workloads that their limits are made of; all where there is no pattern."""
    def wanted(w):
        return any(fnmatch.fnmatch(w.title.lower(), p.lower()) or p == w.part or
                   re.search(r"\b" + re.escape(p), w.title, re.IGNORECASE) for p in patterns)
    chosen = [w for w in WORKLOADS if not patterns or wanted(w)]
    needed = {w.limit.workload for w in chosen if w.limit}
    return [w for w in WORKLOADS if w in chosen or w.title in needed]
