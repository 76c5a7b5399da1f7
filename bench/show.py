#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `./dev bench --json FILE` kept, as tables in Markdown (docs/performance.md) and as pictures.
Several files are put together: of a workload that is in more than one, the first counts."""
import argparse
import json

import plot
from report import in_order, number
from workloads import WORKLOADS


def merge(documents):
    """In the order of the workloads; what is no longer among them comes last."""
    order = [w.title for w in WORKLOADS]
    whole = {**documents[0], "rows": [], "growth": []}
    for document in documents:
        have = {r["workload"] for r in whole["rows"]}
        whole["rows"] += [r for r in document["rows"] if r["workload"] not in have]
        have = {(p["series"], p["label"]) for p in whole["growth"]}
        whole["growth"] += [p for p in document["growth"] if (p["series"], p["label"]) not in have]
    whole["rows"].sort(key=lambda r: order.index(r["workload"]) if r["workload"] in order
                       else len(order))
    return whole


def lines_of(head, lines):
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"] + \
        ["| " + " | ".join(line) + " |" for line in lines] + [""]


def judged(v):
    if v is None:
        return "-"
    if v["aim"] is None:
        return f"{v['ratio']:.2f}"
    return f"**{v['ratio']:.2f}**, aim {v['aim']:g}: " + ("met" if v["met"] else "not met")


def throughput(rows):
    names = in_order({n for r in rows for n in r["targets"]})
    arrays = [n for n in names if any(n in r["arrays"] for r in rows)]
    head = ["workload", "unit"] + names
    for key, what in (("btrfs", "times btrfs"), ("limit", "of the limit")):
        if any(a[key] for r in rows for a in r["arrays"].values()):
            head += [f"{what}, {n}" for n in arrays]
    lines = []
    for r in rows:
        line = [r["workload"], r["unit"]]
        line += [number(r["targets"][n]["figure"]) if n in r["targets"] else "-" for n in names]
        for key in ("btrfs", "limit"):
            if any(h.startswith("times btrfs" if key == "btrfs" else "of the limit") for h in head):
                line += [judged(r["arrays"].get(n, {}).get(key)) for n in arrays]
        lines.append(line)
    return lines_of(head, lines)


def latencies(rows):
    names = in_order({n for r in rows for n in r["targets"]})
    lines = []
    for r in rows:
        cells = [r["targets"].get(n, {}).get("latency_us", {}) for n in names]
        if any("p50_us" in c for c in cells):
            lines.append([r["workload"]] + [
                " / ".join(number(c[k]) for k in ("p50_us", "p99_us", "p999_us"))
                if "p50_us" in c else "-" for c in cells])
    return lines_of(["us, p50 / p99 / p99.9"] + names, lines) if lines else []


def processor(rows):
    names = in_order({n for r in rows for n in r["targets"]})
    lines = []
    for r in rows:
        key, per = ("per_gib", "GiB") if r["unit"] == "MiB/s" else ("per_million", "million")
        line = [r["workload"], per]
        for n in names:
            cpu = r["targets"].get(n, {}).get("cpu")
            if not cpu or cpu["rest"][key] is None:
                line.append("-")
                continue
            daemon = cpu["daemon_user"][key] + cpu["daemon_system"][key]
            line.append(f"{number(daemon)} + {number(cpu['rest'][key])} + "
                        f"{number(cpu['asker'][key])}")
        lines.append(line)
    return lines_of(["CPU s: daemon + rest + program", "per"] + names, lines)


def costs(rows):
    lines = []
    for r in rows:
        for name, a in r["arrays"].items():
            if not a["cost"]:
                continue
            got, says = a["cost"]["measured"], a["cost"]["says"]
            cells = [f"{got[k] / s:.2f} / {says[k] / s:.2f}"
                     for k, s in (("reads", 1), ("writes", 1), ("read_bytes", 1024),
                                  ("write_bytes", 1024), ("log_bytes", 1024))]
            plans = ", ".join(f"{p} {n:.2f}" for p, n in got["plans"].items()) or "-"
            lines.append([r["workload"], name] + cells + [f"{got['merged']:.2f}", plans])
    head = ["a request: counted / plan", "", "reads", "writes", "KiB read", "KiB written",
            "KiB of log, marks, tuples", "merged", "plans"]
    return lines_of(head, lines) if lines else []


def growth(points):
    return lines_of(["series", "", "MiB/s", "requests/s", "MiB/s that each member moved",
                     "daemon's peak MiB"],
                    [[p["series"], p["label"], number(p["mib_s"]), number(p["iops"]),
                      number(p["member_mib_s"]), number(p["peak_mib"])] for p in points]) \
        if points else []


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("files", nargs="+", metavar="FILE")
    p.add_argument("--plot", metavar="DIR", help="draw them there, as SVG")
    args = p.parse_args()
    documents = []
    for path in args.files:
        with open(path) as f:
            documents.append(json.load(f))
    whole = merge(documents)
    for part in dict.fromkeys(r["part"] for r in whole["rows"]):
        rows = [r for r in whole["rows"] if r["part"] == part]
        for table in (throughput(rows), latencies(rows), processor(rows), costs(rows)):
            print("\n".join(table))
    print("\n".join(growth(whole["growth"])))
    if args.plot:
        plot.draw_all(whole, args.plot)


if __name__ == "__main__":
    main()
