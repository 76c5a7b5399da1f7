# SPDX-License-Identifier: MIT
"""From the rounds of each workload to the rows of the tables. Pure: dictionaries in and out."""
import statistics
from collections import namedtuple

import cost
import fio
from workloads import ARRAYS

Verdict = namedtuple("Verdict", "ratio low high aim met")


def figure(result, unit):
    return result["value"] if "value" in result else result["iops" if unit == "IOPS" else "mib_s"]


def null_rounds(rounds):
    """The better one of the null servers, by their medians."""
    names = [n for n in rounds if n.startswith("null")]
    if not names:
        return None
    return rounds[max(names, key=lambda n: statistics.median(rounds[n]))]


def ratio(ours, theirs, factor=1.0, less_is_better=False):
    """Median, least and most of the ratios within each round, as how many times better. None where
    nothing was measured on one side."""
    pairs = [(t / o if less_is_better else o / t) / factor for o, t in zip(ours, theirs)
             if o and t]
    return (statistics.median(pairs), min(pairs), max(pairs)) if pairs else None


def verdict(found, aim):
    return None if found is None else Verdict(*found, aim, None if aim is None
                                              else found[0] >= aim)


def limit_verdict(workload, name, values):
    """@values: figures by workload, by target, by round."""
    lim = workload.limit
    if not lim or name not in lim.modes + ARRAYS:
        return None
    rounds = values[workload.title]
    theirs = rounds.get(lim.target)
    if lim.target == "null":
        theirs = null_rounds(rounds)
    elif lim.target == "own":
        theirs = values.get(lim.workload, {}).get(name)
    if not theirs:
        return None
    return verdict(ratio(rounds[name], theirs, lim.share), lim.aim if name in lim.modes else None)


def medians(results, keys):
    return {k: statistics.median(r[k] for r in results) for k in keys
            if all(k in r for r in results)}


def cpu_cost(results):
    """CPU seconds per GiB and per million requests, medians of the rounds."""
    def per(part, unit, scale):
        costs = [part(r["cpu"]) / r[unit] * scale for r in results if r.get(unit)]
        return statistics.median(costs) if costs else None
    parts = {"asker": lambda c: c["asker"], "daemon_user": lambda c: c["daemon_user"],
             "daemon_system": lambda c: c["daemon_system"], "rest": lambda c: c["rest"]}
    return {name: {"per_gib": per(part, "bytes", 2**30), "per_million": per(part, "ios", 1e6)}
            for name, part in parts.items()}


def moved(results):
    """Bytes that went to and from what is below, for each byte that was asked for."""
    asked = sum(r["bytes"] for r in results)
    return {what: sum(r["counters"]["below"][what + "_bytes"] for r in results) / asked
            for what in ("read", "write")}


def target_row(workload, results):
    values = [figure(r, workload.unit) for r in results]
    row = {"figure": statistics.median(values), "low": min(values), "high": max(values),
           "latency_us": medians(results, ("p50_us", "p99_us", "p999_us", "mean_us")),
           "cpu": cpu_cost(results)}
    if all("counters" in r and r.get("bytes") for r in results):
        row["moved"] = moved(results)
    if all("peak_mib" in r for r in results):
        row["peak_mib"] = max(r["peak_mib"] for r in results)
    return row


def cost_row(workload, name, results):
    """Beside one another: what the plan says, what was counted (all rounds together)."""
    counted = [r for r in results if "array" in r.get("counters", {})]
    if not counted or workload.part != "disk":
        return None
    total = counted[0]["counters"]
    for r in counted[1:]:
        total = add(total, r["counters"])
    return {"says": cost.model(workload.rw, fio.size_bytes(workload.bs), name),
            "measured": cost.measured(total, sum(r["ios"] for r in counted))}


def add(a, b):
    if isinstance(a, dict):
        return {k: add(v, b[k]) for k, v in a.items()}
    if isinstance(a, list):
        return [add(x, y) for x, y in zip(a, b)]
    return a + b


def summarize(workloads, results):
    """@results: by title, by target, a list of rounds."""
    values = {w.title: {n: [figure(r, w.unit) for r in rounds]
                        for n, rounds in results[w.title].items()} for w in workloads}
    rows = []
    for w in workloads:
        by_target = {n: r for n, r in results[w.title].items() if r}
        row = {"workload": w.title, "part": w.part, "unit": w.unit, "rw": w.rw, "bs": w.bs,
               "depth": w.depth, "targets": {n: target_row(w, r) for n, r in by_target.items()},
               "limit": w.limit.says if w.limit else None, "arrays": {}}
        for name in (n for n in by_target if n in ARRAYS + ("single",)):
            against = values[w.title].get("btrfs")
            row["arrays"][name] = {
                "btrfs": verdict(against and ratio(values[w.title][name], against,
                                                   less_is_better=w.unit == "s"), w.btrfs),
                "limit": limit_verdict(w, name, values),
                "cost": cost_row(w, name, by_target[name])}
        rows.append(row)
    return rows


def compare_builds(workloads, results, suffix):
    """New over old, for each array of both builds: how many times better, with the spread."""
    rows = []
    for w in workloads:
        rounds = {n: [figure(r, w.unit) for r in rs] for n, rs in results[w.title].items()}
        for name in (n for n in rounds if n + suffix in rounds):
            found = ratio(rounds[name], rounds[name + suffix], less_is_better=w.unit == "s")
            if found:
                rows.append({"workload": w.title, "array": name, "unit": w.unit,
                             "new": statistics.median(rounds[name]),
                             "old": statistics.median(rounds[name + suffix]), "ratio": found})
    return rows


def plain(value):
    """For JSON: verdicts as dictionaries."""
    if isinstance(value, Verdict):
        return value._asdict()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value
