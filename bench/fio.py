# SPDX-License-Identifier: MIT
"""One run of fio, and what of its report is kept."""
import json

from common import run

SIZES = {"k": 2**10, "m": 2**20, "g": 2**30}


def size_bytes(text):
    """4k, 1m: bytes."""
    return int(text[:-1]) * SIZES[text[-1]] if text[-1] in SIZES else int(text)


def argv(path, rw, bs, depth, seconds, size_mib, seed, engine="libaio", direct=True, jobs=1,
         extra=()):
    """Random offsets by @seed, time-based where @seconds is given; else the file once."""
    words = ["fio", "--name=bench", f"--filename={path}", f"--rw={rw}", f"--bs={bs}",
             f"--iodepth={depth}", f"--ioengine={engine}", f"--direct={int(direct)}",
             f"--size={size_mib}M", f"--randseed={seed}", "--refill_buffers=0", "--thread",
             "--lat_percentiles=1", "--clat_percentiles=0", "--group_reporting",
             "--output-format=json"]
    if seconds:
        words += ["--time_based", f"--runtime={round(seconds * 1000)}ms"]
    if jobs > 1:
        words.append(f"--numjobs={jobs}")
    return words + list(extra)


def parse(text, rw):
    """Of fio's report: rates, counts and latencies; cpu_s: its own processor time while it ran,
    without its start. What fio prints before it is no JSON."""
    job = json.loads(text[text.index("{"):])["jobs"][0]
    side = job["read" if "read" in rw else "write"]
    percentile = side["lat_ns"].get("percentile", {})
    return {"iops": side["iops"], "mib_s": side["bw_bytes"] / 2**20, "ios": side["total_ios"],
            "bytes": side["io_bytes"], "seconds": side["runtime"] / 1000,
            "cpu_s": (job.get("usr_cpu", 0) + job.get("sys_cpu", 0)) / 100 * side["runtime"] / 1000,
            "p50_us": percentile.get("50.000000", 0) / 1000,
            "p99_us": percentile.get("99.000000", 0) / 1000,
            "p999_us": percentile.get("99.900000", 0) / 1000}


def fill(path, size_mib):
    """Write the file once from its beginning, durably."""
    run("fio", "--name=fill", f"--filename={path}", "--rw=write", "--bs=1m", "--direct=1",
        "--iodepth=4", "--ioengine=libaio", f"--size={size_mib}M", "--end_fsync=1", "--thread",
        "--output-format=json")
