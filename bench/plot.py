# SPDX-License-Identifier: MIT
"""Pictures of a run, from the document that bench.py --json writes. Pure but for the files that
draw_all() writes."""
import math
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from svg import BAD, GOOD, INK, LINE, LIVE, PALE, PARITY, SOFT, Svg  # noqa: E402

COLORS = {"bare": LINE, "btrfs": SOFT, "btrfs-nocow": BAD, "journal": GOOD, "bitmap": LIVE,
          "single": GOOD, "null-1": LINE, "null-2": SOFT}
WIDTH, LEFT, RIGHT = 940, 300, 150
TARGETS = ("bare", "btrfs", "btrfs-nocow", "journal", "bitmap", "single", "null-1", "null-2")


def log_scale(low, high, start, end):
    """A function from values to places between @start and @end; values outside stop at the ends."""
    span = math.log(high / low)

    def place(value):
        value = min(max(value, low), high)
        return round(start + (end - start) * math.log(value / low) / span, 1)
    return place


def powers(low, high, base=2):
    """Powers of @base from the last one not above @low to the first not below @high."""
    first, last = math.floor(math.log(low, base) + 1e-9), math.ceil(math.log(high, base) - 1e-9)
    return [base ** n for n in range(first, max(last, first + 1) + 1)]


def short(value):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= 10 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def legend(svg, y, names, colors):
    x = LEFT
    for name in names:
        svg.rect(x, y - 10, 14, 12, colors[name], colors[name], 2)
        svg.text(x + 20, y, name, 13, SOFT)
        x += 44 + round(7.4 * len(name))


def heading(svg, title, below):
    svg.text(16, 30, title, 19, bold=True)
    svg.text(16, 52, below, 13, SOFT)


def grid(svg, place, ticks, top, bottom, label):
    for tick in ticks:
        x = place(tick)
        svg.line(x, top, x, bottom, INK if tick == 1 else "#dde3e8", 1.5 if tick == 1 else 1)
        svg.text(x, bottom + 16, label(tick), 12, SOFT, "middle")


# ---- how many times ----

def ratio_rows(document, key):
    return [(r, {n: a[key] for n, a in r["arrays"].items() if a[key]})
            for r in document["rows"] if any(a[key] for a in r["arrays"].values())]


def title_of(row):
    """As it fits to the left."""
    return row["workload"].replace("single, in memory: ", "in memory: ")


def draw_ratios(document, key, title, below, axis):
    """Points on a logarithmic axis, with bars from 1 to them; a thin line is the spread, a mark
    the aim."""
    rows = ratio_rows(document, key)
    if not rows:
        return None
    values = [x for _, vs in rows for v in vs.values() for x in (v["ratio"], v["aim"] or 1)]
    ticks = powers(min(min(values), 0.5), max(max(values), 2))
    height = 110 + sum(22 * len(vs) + 14 for _, vs in rows) + 34
    svg = Svg(WIDTH, height)
    heading(svg, title, below)
    place = log_scale(ticks[0], ticks[-1], LEFT, WIDTH - RIGHT)
    legend(svg, 76, [n for n in TARGETS if any(n in vs for _, vs in rows)], COLORS)
    grid(svg, place, ticks, 88, height - 44, axis)
    y = 94
    for row, verdicts in rows:
        svg.text(LEFT - 12, y + 11 * len(verdicts) + 3, title_of(row), 13, anchor="end")
        for name, v in verdicts.items():
            draw_ratio(svg, place, y, COLORS[name], v)
            y += 22
        y += 14
    return svg


def draw_ratio(svg, place, y, color, v):
    base, end = place(1), place(v["ratio"])
    svg.rect(min(base, end), y + 5, max(abs(end - base), 1.5), 10, color, color, 2)
    svg.line(place(v["low"]), y + 10, place(v["high"]), y + 10, INK, 1.2)
    svg.add(f'<circle cx="{end}" cy="{y + 10}" r="6" fill="{color}" stroke="white"/>')
    text, ink = f"{v['ratio']:.2f}", INK
    if v["aim"] is not None:
        x = place(v["aim"])
        svg.line(x, y - 1, x, y + 21, BAD if not v["met"] else INK, 3)
        text += f" of {v['aim']:g}: " + ("met" if v["met"] else "not met")
        ink = GOOD if v["met"] else BAD
    furthest = max(v["ratio"], v["high"], v["aim"] or 0, 1)
    svg.text(place(furthest) + 10, y + 15, text, 12, ink)


# ---- latency ----

def draw_latency(document):
    """From the median to 99.9 %, with a mark at 99 %, for each target."""
    rows = [r for r in document["rows"] if r["part"] == "disk"]
    lines = [(r, [n for n in TARGETS if "p50_us" in r["targets"].get(n, {}).get("latency_us", {})])
             for r in rows]
    lines = [(r, names) for r, names in lines if names]
    if not lines:
        return None
    all_of = [r["targets"][n]["latency_us"] for r, names in lines for n in names]
    ticks = powers(min(v["p50_us"] for v in all_of), max(v["p999_us"] for v in all_of), 10)
    height = 110 + sum(16 * len(names) + 12 for _, names in lines) + 34
    svg = Svg(WIDTH, height)
    heading(svg, "Latency of a request: median, 99 %, 99.9 %",
            "bar: median to 99 %; line: to 99.9 %; logarithmic")
    place = log_scale(ticks[0], ticks[-1], LEFT, WIDTH - 60)
    legend(svg, 76, [n for n in TARGETS if any(n in names for _, names in lines)], COLORS)
    grid(svg, place, ticks, 88, height - 44,
         lambda t: f"{t / 1000:g} ms" if t >= 1000 else f"{t:g} us")
    y = 94
    for row, names in lines:
        svg.text(LEFT - 12, y + 8 * len(names) + 4, row["workload"], 13, anchor="end")
        for name in names:
            lat = row["targets"][name]["latency_us"]
            x1, x2, x3 = (place(max(lat[k], ticks[0])) for k in ("p50_us", "p99_us", "p999_us"))
            svg.rect(x1, y + 2, max(x2 - x1, 2), 11, COLORS[name], COLORS[name], 2)
            svg.line(x2, y + 7.5, x3, y + 7.5, COLORS[name], 2)
            y += 16
        y += 12
    return svg


# ---- processor time ----

CPU = (("daemon_user", "daemon, user", GOOD), ("daemon_system", "daemon, kernel", LIVE),
       ("rest", "kernel threads, interrupts", PARITY), ("asker", "the program", LINE))


def draw_cpu(document):
    """Microseconds of processor time for each request, by who spent it."""
    rows = [r for r in document["rows"] if r["part"] == "disk"]
    bars = [(r, n, r["targets"][n]["cpu"]) for r in rows for n in TARGETS if n in r["targets"]]
    bars = [(r, n, c) for r, n, c in bars if c["rest"]["per_million"] is not None]
    if not bars:
        return None
    height = 110 + 20 * len(bars) + 10 * len({r["workload"] for r, _, _ in bars}) + 20
    svg = Svg(WIDTH, height)
    heading(svg, "Processor time of a request", "microseconds of CPU for each; each workload to "
            "its own scale, the longest bar is its dearest target")
    colors = {label: color for _, label, color in CPU}
    legend(svg, 76, list(colors), colors)
    y, room, before = 94, WIDTH - LEFT - 80 - 90, None
    for row, name, cpu in bars:
        if row["workload"] != before:
            y += 10 if before else 0
            svg.text(16, y + 14, row["workload"], 13)
            before = row["workload"]
            dearest = max(sum(c[k]["per_million"] for k, _, _ in CPU)
                          for r, _, c in bars if r["workload"] == before)
        svg.text(LEFT - 12, y + 14, name, 13, SOFT, "end")
        x = LEFT
        for key, _, color in CPU:
            w = cpu[key]["per_million"] / max(dearest, 1e-9) * room
            svg.rect(round(x, 1), y + 2, round(w, 1), 15, color, color, 0)
            x += w
        svg.text(round(x) + 8, y + 14, short(sum(cpu[k]["per_million"] for k, _, _ in CPU)), 12)
        y += 20
    return svg


# ---- cores ----

CORES = (("engine", "engine's thread", GOOD), ("others", "the daemon's others", LIVE),
         ("program", "the program", LINE), ("rest", "the rest", PARITY))


def draw_cores(rows):
    """For each kind of request (cores.py): the cores that are busy while the engine's thread is
    never idle."""
    if not rows:
        return None
    widest = math.ceil(max(r["cores_when_full"] for r in rows))
    height = 110 + 22 * len(rows) + 40
    svg = Svg(WIDTH, height)
    heading(svg, "Cores that are busy when one engine thread is full",
            "to the right of the bar a second engine thread would find room; the figure: requests "
            "a second at that point")
    colors = {label: color for _, label, color in CORES}
    legend(svg, 76, list(colors), colors)
    room = WIDTH - LEFT - 110

    def place(cores):
        return round(LEFT + room * cores / widest, 1)
    grid(svg, place, range(widest + 1), 88, height - 44, str)
    y = 94
    for row in rows:
        svg.text(LEFT - 12, y + 14, f"{row['kind']}, {row['place']}", 13, anchor="end")
        so_far = 0.0
        for key, _, color in CORES:
            share = row["cost"][key] / row["cost"]["engine"]
            svg.rect(place(so_far), y + 2, round(place(so_far + share) - place(so_far), 1), 15,
                     color, color, 0)
            so_far += share
        svg.text(place(so_far) + 8, y + 14, short(row["full"]), 12)
        y += 22
    return svg


# ---- growth ----

def draw_growth(document):
    """A panel for each series: user's MiB/s, and what each member moved."""
    series = list(dict.fromkeys(p["series"] for p in document["growth"]))
    if not series:
        return None
    columns, w, h = 2, 440, 216
    svg = Svg(WIDTH, 84 + (len(series) + 1) // columns * h)
    heading(svg, "What grows with what", "MiB/s; logarithmic; the axis below is not to scale")
    colors = {"the user's": GOOD, "what each member moved": PARITY}
    legend(svg, 74, list(colors), colors)
    for i, name in enumerate(series):
        points = [p for p in document["growth"] if p["series"] == name]
        panel(svg, 16 + i % columns * (w + 24), 92 + i // columns * h, w, h - 16, name, points)
    return svg


def panel(svg, x, y, w, h, name, points):
    values = [v for p in points for v in (p["mib_s"], p["member_mib_s"]) if v > 0]
    ticks = powers(min(values), max(values), 4)
    place = log_scale(ticks[0], ticks[-1], y + h - 30, y + 34)
    svg.rect(x, y, w, h, "white")
    svg.text(x + 10, y + 16, name, 13, bold=True)
    for tick in ticks:
        svg.line(x + 52, place(tick), x + w - 8, place(tick), PALE, 1)
        svg.text(x + 46, place(tick) + 4, short(tick), 11, SOFT, "end")
    step = (w - 120) / max(len(points) - 1, 1)
    at = [round(x + 70 + step * i, 1) for i in range(len(points))]
    # The wide one first: where both are the same, both are seen.
    for key, color, wide in (("member_mib_s", PARITY, 6), ("mib_s", GOOD, 2)):
        for i, p in enumerate(points):
            here = place(max(p[key], ticks[0]))
            if i:
                svg.line(at[i - 1], place(max(points[i - 1][key], ticks[0])), at[i], here, color,
                         wide)
            svg.add(f'<circle cx="{at[i]}" cy="{here}" r="{2 + wide / 2}" fill="{color}"/>')
    for i, p in enumerate(points):
        svg.text(at[i], y + h - 8, p["label"], 11, SOFT, "middle")


def draw_all(document, folder):
    """Names of the files that were written."""
    os.makedirs(folder, exist_ok=True)
    signs = "point: median of the rounds, line: spread, mark: what is aimed at"
    pictures = {
        "speed.svg": draw_ratios(document, "btrfs", "How many times as fast as btrfs RAID5",
                                 "stablefs, raid5 of four, t10; " + signs, lambda t: f"{t:g} x"),
        "limits.svg": draw_ratios(document, "limit", "How much of what could be had at best",
                                  "of the limit that each workload has; " + signs,
                                  lambda t: f"{t * 100:g} %"),
        "latency.svg": draw_latency(document), "cpu.svg": draw_cpu(document),
        "growth.svg": draw_growth(document)}
    written = []
    for name, svg in pictures.items():
        if svg:
            svg.write(os.path.join(folder, name))
            written.append(os.path.join(folder, name))
    return written
