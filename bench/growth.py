# SPDX-License-Identifier: MIT
"""How throughput grows, or does not: members, writers at once, bytes of a write, size of the
volume. One thing changes in each series; the rest is raid5 of four with t10 on sparse member
files."""

import fio
from common import drop_caches, run
from meter import metered
from targets import place_in, stablefs

FILE_MIB = 256
VOLUME = "2G"
MEMBERS = (1, 2, 4, 8, 16)
WRITERS = (1, 4, 16, 64)
SIZES = ("4k", "16k", "64k", "256k", "1m", "4m", "16m")
VOLUMES = ("1G", "32G", "1T")
LEVEL = {1: "single", 2: "raid1"}  # more: raid5

# What is done where the series is not about it.
RANDOM = {"rw": "randwrite", "bs": "4k", "depth": 16}
STREAM = {"rw": "write", "bs": "1m", "depth": 4}


def plan():
    """Volumes in turn, and what is measured on each: (members, size, [(series, label, job)])."""
    def on_members(n):
        kind = f"{n} ({LEVEL.get(n, 'raid5')})"
        return [("members, 4K random write, depth 16", kind, RANDOM),
                ("members, 1M sequential write, depth 4", kind, STREAM)]
    volumes = [(n, VOLUME, on_members(n)) for n in MEMBERS]
    at_four = next(v for v in volumes if v[0] == 4)
    at_four[2].extend(("writers, 4K random", str(n), {"rw": "randwrite", "bs": "4k", "jobs": n})
                      for n in WRITERS)
    at_four[2].extend(("bytes of a random write, depth 4", bs.upper(),
                       {"rw": "randwrite", "bs": bs, "depth": 4}) for bs in SIZES)
    volumes += [(4, size, [("volume, 4K random write, depth 16", size, RANDOM)])
                for size in VOLUMES]
    return volumes


def measurements():
    return sum(len(jobs) for _, _, jobs in plan())


def one(target, members, job, seconds, seed):
    job = dict(job)
    if "jobs" in job:
        job.update(engine="psync", depth=1)
    argv = fio.argv(target.file, seconds=seconds, size_mib=FILE_MIB, seed=seed, **job)
    result = metered(target, lambda: fio.parse(run(*argv).stdout, job["rw"]))
    moved = sum(m["read_bytes"] + m["write_bytes"] for m in result["counters"]["members"])
    return {"members": members, "iops": result["iops"], "mib_s": result["mib_s"],
            "member_mib_s": moved / 2**20 / result["seconds"] / members,
            "p50_us": result["p50_us"], "p99_us": result["p99_us"],
            "peak_mib": result["peak_mib"], "command": " ".join(argv).replace(target.file, "FILE")}


def commands(points):
    return list(dict.fromkeys(f"{p['series']}: {p['command']}" for p in points))


def measure(parent, binary, seconds, seed, progress):
    points = []
    for members, size, jobs in plan():
        with place_in(parent) as place:
            level = LEVEL.get(members, "raid5")
            target = stablefs(place, "volume", binary, None, ["--level", level, "--members",
                              str(members), "--size", size, "--pi", "t10"])
            fio.fill(target.file, FILE_MIB)
            drop_caches()
            for series, label, job in jobs:
                progress.step(seconds + 1, f"growth: {series}: {label}")
                points.append({"series": series, "label": label,
                               **one(target, members, job, seconds, seed)})
    series = list(dict.fromkeys(p["series"] for p in points))
    return sorted(points, key=lambda p: series.index(p["series"]))
