# SPDX-License-Identifier: MIT
"""The tables as text. Takes what summary.py makes."""

ORDER = ("bare", "btrfs", "btrfs-nocow", "journal", "bitmap", "single", "null-1", "null-2",
         "store-1", "store-2", "ring-1", "ring-2")


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 \
        else f"{value:.2f}"


def in_order(names):
    return sorted(names, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n))


def table(head, lines):
    """Words to the left, figures to the right."""
    rows = [head] + lines
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]

    def cell(i, text):
        return text.rjust(widths[i]) if i and all(looks_like_figure(r[i]) for r in lines) \
            else text.ljust(widths[i])
    return "\n".join("  ".join(cell(i, c) for i, c in enumerate(r)).rstrip() for r in rows) + "\n"


def looks_like_figure(text):
    return text[:1].isdigit() or text in ("", "-")


def judged(v):
    if v is None:
        return "-"
    text = f"{v.ratio:.2f} ({v.low:.2f} to {v.high:.2f})"
    if v.aim is not None:
        text += f" >= {v.aim:g}: " + ("met" if v.met else "NOT met")
    return text


def figures_table(rows):
    """One line for each workload and target."""
    out = []
    for part in dict.fromkeys(r["part"] for r in rows):
        chosen = [r for r in rows if r["part"] == part]
        names = in_order({n for r in chosen for n in r["targets"]})
        lines = [[r["workload"], r["unit"]] +
                 [number(r["targets"][n]["figure"]) if n in r["targets"] else "-" for n in names]
                 for r in chosen]
        out.append(table(["workload", "unit"] + names, lines))
    return "\n".join(out)


def verdicts_table(rows):
    lines = []
    for r in rows:
        for name, a in r["arrays"].items():
            if a["btrfs"] or a["limit"]:
                lines.append([r["workload"], name, judged(a["btrfs"]), judged(a["limit"]),
                              r["limit"] or ""])
    return table(["workload", "array", "times btrfs", "of the limit", "which is"], lines) \
        if lines else ""


def latency_table(rows):
    lines = []
    for r in rows:
        for name in in_order(r["targets"]):
            lat = r["targets"][name]["latency_us"]
            if "p50_us" in lat:
                lines.append([r["workload"], name] + [number(lat[k])
                                                      for k in ("p50_us", "p99_us", "p999_us")])
    return table(["latency, microseconds", "", "p50", "p99", "p99.9"], lines) if lines else ""


def cpu_table(rows):
    lines = []
    for r in rows:
        for name in in_order(r["targets"]):
            t = r["targets"][name]
            cpu = t["cpu"]
            key = "per_million" if r["unit"] in ("IOPS", "1/s", "s") else "per_gib"
            if cpu["rest"][key] is None:
                continue
            daemon = [number(cpu[p][key]) if "peak_mib" in t else "-"
                      for p in ("daemon_user", "daemon_system")]
            lines.append([r["workload"], name, "million" if key == "per_million" else "GiB"] +
                         daemon + [number(cpu["rest"][key]), number(cpu["asker"][key]),
                                   number(t.get("peak_mib"))])
    return table(["CPU seconds", "", "per", "daemon, user", "daemon, system", "rest of the machine",
                  "who asked", "daemon's peak MiB"], lines) if lines else ""


def cost_table(rows):
    """I/Os and KiB of the members for each request: counted / as the plan says."""
    lines = []
    for r in rows:
        for name, a in r["arrays"].items():
            c = a["cost"]
            if not c:
                continue
            got, says = c["measured"], c["says"]

            def pair(key, scale=1.0):
                return f"{got[key] / scale:.2f} / {says[key] / scale:.2f}"
            plans = ", ".join(f"{p} {n:.2f}" for p, n in got["plans"].items()) or "-"
            lines.append([r["workload"], name, pair("reads"), pair("writes"),
                          pair("read_bytes", 1024), pair("write_bytes", 1024),
                          pair("log_bytes", 1024), f"{got['merged']:.2f}", plans])
    return table(["members, a request: counted / plan", "", "reads", "writes", "KiB read",
                  "KiB written", "KiB of log and tuples", "merged", "plans a request"],
                 lines) if lines else ""


def moved_table(rows):
    """For direct reads of btrfs: whether they were direct is seen here."""
    lines = [[r["workload"], n] + [f"{r['targets'][n]['moved'][k]:.2f}" for k in ("read", "write")]
             for r in rows for n in in_order(r["targets"])
             if r["part"] == "disk" and "moved" in r["targets"][n]]
    return table(["bytes below for each byte asked", "", "read", "written"], lines) if lines else ""


def builds_table(rows, old):
    lines = [[r["workload"], r["array"], r["unit"], number(r["old"]), number(r["new"]),
              f"{r['ratio'][0]:.2f} ({r['ratio'][1]:.2f} to {r['ratio'][2]:.2f})"] for r in rows]
    return table(["workload", "array", "unit", old, "this build", "times better (spread)"],
                 lines) if lines else ""


def growth_table(points):
    lines = [[p["series"], p["label"], number(p["mib_s"]), number(p["iops"]),
              number(p["mib_s"] / p["members"]), number(p["member_mib_s"]), number(p["p99_us"]),
             number(p["peak_mib"])] for p in points]
    return table(["growth", "", "MiB/s", "requests/s", "a member", "moved by each",
                  "p99 us", "daemon's peak MiB"], lines) if lines else ""


def spread_note(rows):
    worst = max(((t["high"] / t["low"], r["workload"], n) for r in rows
                 for n, t in r["targets"].items() if t["low"]), default=None)
    return (f"Widest spread of a figure over the rounds: {worst[0]:.2f} times ({worst[1]}, "
            f"{worst[2]}).") if worst else ""
