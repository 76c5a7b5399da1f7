#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draw the figures of the documents. Standard library only.

usage: draw.py                all figures, next to this script
       draw.py table          the demo's results as a table in Markdown, on stdout
       draw.py table STUDY    the same of STUDY.json: cures, reads, truth or neighbours

  layers.svg    from src/layers.txt
  compare.svg   from demo.json (stablefs demo --json) and the measurements in ground-truth.md
  pipeline.svg, live.svg, row.svg   drawn here
ruined-stripe.svg is made by `stablefs demo --svg`, in the same run as demo.json; cures.svg by
`stablefs demo --json --svg docs/img/cures.svg cures`, in the same run as cures.json.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "../../tools"))
from svg import BAD, GOOD, INK, LINE, LIVE, PALE, PARITY, SOFT, Svg  # noqa: E402


# ---- layers ----

PURPOSE = {
    "base": "errors, lists, events", "io": "io_uring or simulated", "pi": "tuples and guards",
    "raid": "geometry, parity", "inflight": "sources, live memory", "member": "one PI disk",
    "intent": "write-intent log", "stripe": "plan, write, read, repair",
    "volume": "assemble, scrub", "fs": "files, in SQLite", "report": "JSON, tables",
    "fuse": "the mount", "cli": "one verb a file",
}


def read_layers():
    modules = {}
    for line in (HERE / "../../src/layers.txt").read_text(encoding="utf-8").splitlines():
        name, colon, rest = line.split("#")[0].partition(":")
        if colon:
            modules[name.strip()] = {w for w in rest.split() if not w.startswith("ext:")}
    return modules


def reachable(modules, name):
    found = set()
    for other in modules[name]:
        found |= {other} | reachable(modules, other)
    return found


def draw_layers():
    modules = read_layers()
    rank = {}
    while len(rank) < len(modules):
        for name, below in modules.items():
            if name not in rank and below <= rank.keys():
                rank[name] = max((rank[b] + 1 for b in below), default=0)
    rows = [[n for n in modules if rank[n] == r] for r in range(max(rank.values()) + 1)]
    width, step, box_w, box_h = 940, 78, 146, 46
    svg = Svg(width, 40 + step * len(rows))
    place = {}
    for r, row in enumerate(rows):
        y = 16 + step * (len(rows) - 1 - r)
        for i, name in enumerate(row):
            place[name] = (width * (i + 1) / (len(row) + 1), y)
    for name, below in modules.items():
        # Only the arrows that do not follow from others.
        implied = set().union(*(reachable(modules, b) for b in below)) if below else set()
        for other in sorted(below - implied):
            (x1, y1), (x2, y2) = place[name], place[other]
            if rank[name] - rank[other] > 1 and x1 < x2:
                svg.line(round(x1 + box_w / 2), y1 + box_h / 2, round(x2), y2 - 2, arrow=True)
            else:
                svg.line(round(x1), y1 + box_h, round(x2), y2 - 2, arrow=True)
    for name, (x, y) in place.items():
        svg.rect(round(x - box_w / 2), y, box_w, box_h)
        svg.text(round(x), y + 19, name, 16, anchor="middle", bold=True)
        svg.text(round(x), y + 37, PURPOSE.get(name, ""), 12, SOFT, "middle")
    svg.text(16, svg.height - 12, "An arrow: may include. Arrows that follow from others are left "
             "out.", 13, SOFT)
    svg.write(HERE / "layers.svg")


# ---- the pipeline ----

def draw_pipeline():
    svg = Svg(940, 372)
    steps = [("take stripe", None), ("read, check", None), ("guards", "GUARD"),
             ("parity", "PARITY"), ("mark intent", None), ("hold", None), ("members", "DATA"),
             ("answer", None)]
    x0, w = 118, 92
    svg.text(16, 30, "One write, one pipeline, three sampling points", 19, bold=True)
    for i, (name, sample) in enumerate(steps):
        x = x0 + i * (w + 9)
        svg.rect(x, 48, w, 44, LIVE if sample else PALE)
        svg.text(x + w / 2, 75, name, 13, anchor="middle", bold=bool(sample))
        if i:
            svg.line(x - 8, 70, x - 1, 70, INK)
        if sample:
            svg.text(x + w / 2, 112, f"sample({sample})", 11, SOFT, "middle", mono=True)
    points = [x0 + i * (w + 9) + w / 2 for i, (_, s) in enumerate(steps) if s]
    for x in points:
        svg.line(x, 118, x, 318, LINE, 1, dash=True)
    svg.text(16, 152, "writer's", 14)
    svg.text(16, 170, "memory", 14)
    spans = [(x0, points[0] + 40, "A"), (points[0] + 40, points[1] + 60, "B"),
             (points[1] + 60, 924, "C")]
    for (start, end, name), fill in zip(spans, ("#cfe3f5", "#f7dfa6", "#f3b7b0")):
        svg.rect(start, 138, end - start, 40, fill)
        svg.text((start + end) / 2 + (60 if name == "C" else 0), 164, f"bytes {name}", 14,
                 anchor="middle")
    for label, y, values, color in (("bounce", 222, "AAA", GOOD), ("live", 282, "ABC", BAD)):
        svg.text(16, y + 5, label, 15, bold=True)
        for x, value in zip(points, values):
            svg.add(f'<circle cx="{x}" cy="{y}" r="16" fill="white" stroke="{color}" '
                    'stroke-width="2.5"/>')
            svg.text(x, y + 6, value, 16, color, "middle", True)
    svg.text(points[2] + 30, 218, "one copy at", 12, GOOD)
    svg.text(points[2] + 30, 234, "submission", 12, GOOD)
    svg.text(points[2] + 30, 278, "guard and parity", 12, BAD)
    svg.text(points[2] + 30, 294, "belong to no data", 12, BAD)
    svg.text(16, 350, "Another thread stores into the buffer while the write is under way: "
             "A becomes B, then C.", 14, SOFT)
    svg.write(HERE / "pipeline.svg")


# ---- where live bytes come from ----

def draw_live():
    svg = Svg(940, 330)
    svg.text(16, 30, "Where the bytes of a direct write are, while its writer waits", 19, bold=True)
    for x, w, title in ((16, 250, "the writing program"), (330, 190, "the kernel"),
                        (584, 340, "the stablefs daemon")):
        svg.rect(x, 48, w, 222, "white")
        svg.text(x + 12, 70, title, 14, SOFT)
    svg.rect(32, 92, 218, 54, LIVE)
    svg.text(141, 114, "its buffer: live", 15, anchor="middle", bold=True)
    svg.text(141, 134, "other threads may store here", 12, anchor="middle")
    svg.rect(32, 196, 218, 54)
    svg.text(141, 218, "thread in pwrite()", 15, anchor="middle")
    svg.text(141, 238, "waits for the answer", 12, SOFT, "middle")
    svg.rect(346, 92, 158, 54)
    svg.text(425, 114, "FUSE request", 15, anchor="middle")
    svg.text(425, 134, "copies the pages once", 12, SOFT, "middle")
    svg.rect(346, 196, 158, 54)
    svg.text(425, 218, "/proc/TID/syscall", 14, anchor="middle", mono=True)
    svg.text(425, 238, "which buffer?", 12, SOFT, "middle")
    svg.rect(604, 92, 300, 54, "#cfe8dc")
    svg.text(754, 114, "receive buffer = bounce copy", 15, anchor="middle", bold=True)
    svg.text(754, 134, "page-aligned; members write from here", 12, SOFT, "middle")
    svg.rect(604, 196, 300, 54, "#fbe6bd")
    svg.text(754, 218, "live source", 15, anchor="middle", bold=True)
    svg.text(754, 238, "process_vm_readv() at each sample", 12, SOFT, "middle", mono=True)
    svg.line(250, 119, 344, 119, INK, arrow=True)
    svg.line(504, 119, 602, 119, INK, arrow=True)
    svg.line(250, 223, 344, 223, INK, arrow=True)
    svg.line(504, 223, 602, 223, INK, arrow=True)
    svg.add(f'<path d="M141 148 L141 178 L754 178 L754 194" fill="none" stroke="{BAD}" '
            f'stroke-width="2.5" marker-end="url(#{svg.marker(BAD)})"/>')
    svg.text(545, 172, "read again and again", 13, BAD, "end")
    svg.text(16, 300, "dio=bounce uses the upper way only. dio=zerocopy samples by the lower way, "
             "and falls back", 14, SOFT)
    svg.text(16, 320, "to the copy where the buffer cannot be found: such a write is counted as "
             "unobserved.", 14, SOFT)
    svg.write(HERE / "live.svg")


# ---- one row of RAID5 ----

def draw_row():
    svg = Svg(940, 302)
    svg.text(16, 30, "How a stranger loses data: one parity row", 19, bold=True)
    heads = ("member 0", "member 1", "member 2", "member 3")
    rows = (("before", ("mine: A", "theirs: X", "theirs: Y", "P = A ^ X ^ Y"), (None,) * 4),
            ("written", ("mine: C", "theirs: X", "theirs: Y", "P = B ^ X ^ Y"),
             (LIVE, None, None, PARITY)),
            ("rebuilt", ("mine: C", "C ^ Y ^ P", "theirs: Y", "P = B ^ X ^ Y"),
             (LIVE, BAD, None, PARITY)))
    for i, head in enumerate(heads):
        svg.text(130 + i * 202 + 92, 60, head, 14, SOFT, "middle")
    for r, (label, cells, colors) in enumerate(rows):
        y = 72 + r * 62
        svg.text(16, y + 30, label, 15, bold=True)
        for i, (cell, color) in enumerate(zip(cells, colors)):
            svg.rect(130 + i * 202, y, 184, 48, color or PALE)
            ink = "white" if color in (BAD, PARITY) else INK
            svg.text(130 + i * 202 + 92, y + 30, cell, 15, ink, "middle")
    svg.text(16, 278, "Parity was made from B, the member got C. Rebuilding X gives X ^ B ^ C: "
             "wrong by exactly what changed in flight.", 14, SOFT)
    svg.write(HERE / "row.svg")


# ---- the comparison ----

# Per cent on the real kernel, lowest and highest of the runs in ground-truth.md.
REALITY = {"parity": (100, 100, "md RAID5, skip_copy=1"), "victims": (99, 99, "the same, degraded"),
           "mirror": (93, 99, "md RAID1"), "metadata": (100, 100, "btrfs RAID1, Linux 6.1"),
           "disk": (99, 100, "scsi_debug, dif=1 dix=1")}
LABEL = {"parity": "parity rows wrong", "victims": "idle blocks ruined",
         "mirror": "mirrored blocks differ", "metadata": "writes unreadable",
         "disk": "writes refused"}


def load_demo():
    return json.loads((HERE / "demo.json").read_text(encoding="utf-8"))["experiments"]


def percent(cell):
    return 100 * cell["wrong"] / cell["of"] if cell["of"] else 0


def draw_compare():
    demo = load_demo()
    svg = Svg(940, 96 + 84 * len(demo))
    svg.text(16, 30, "The same kinds of damage, and none with the cure", 19, bold=True)
    svg.text(16, 54, "64K direct writes, a second thread stores into the buffer without pause; "
             "per cent of what could go wrong", 13, SOFT)
    x0, full = 250, 440
    for i, e in enumerate(demo):
        y = 72 + i * 84
        low, high, where = REALITY[e["name"]]
        svg.text(16, y + 16, LABEL[e["name"]], 15, bold=True)
        bars = ((f"a real kernel: {low} %" if low == high else f"a real kernel: {low} to {high} %",
                 (low + high) / 2, SOFT, where),
                (f"stablefs, zerocopy: {percent(e['zerocopy_mutator']):.0f} %",
                 percent(e["zerocopy_mutator"]), LIVE, ""),
                (f"stablefs, bounce: {percent(e['bounce_mutator']):.0f} %",
                 percent(e["bounce_mutator"]), GOOD, ""))
        svg.text(16, y + 36, where, 12, SOFT)
        for b, (label, value, color, _) in enumerate(bars):
            width = max(full * value / 100, 2)
            svg.rect(x0, y + 2 + b * 22, round(width), 18, color, color, 2)
            svg.text(x0 + round(width) + 8, y + 16 + b * 22, label, 13)
    svg.write(HERE / "compare.svg")


def print_table():
    print("| experiment | counted | zero-copy, mutator | bounce, mutator | zero-copy, still buffer "
          "| a real kernel |\n|---|---|---|---|---|---|")
    for e in load_demo():
        cells = [f"{c['wrong']:,} of {c['of']:,}" for c in
                 (e["zerocopy_mutator"], e["bounce_mutator"], e["zerocopy_still"])]
        print(f"| {e['title']} | {e['unit']} | {' | '.join(cells)} | {e['reality']} |")


def cell_text(cell):
    if isinstance(cell, dict):
        return f"{cell['wrong']:,} of {cell['of']:,}"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if cell >= 20 else f"{cell:.2f}"
    return "–" if cell is None else f"{cell:,}" if isinstance(cell, int) else cell


def print_study(name):
    for sheet in json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))["sheets"]:
        keys = [k for k in sheet["rows"][0] if k != "name"]
        print(f"{sheet['title']}:\n\n| {' | '.join(k.replace('_', ' ') for k in keys)} |")
        print("|---" * len(keys) + "|")
        for row in sheet["rows"]:
            print(f"| {' | '.join(cell_text(row[k]) for k in keys)} |")
        print()


def main():
    if sys.argv[1:] == ["table"]:
        print_table()
    elif sys.argv[1:2] == ["table"] and len(sys.argv) == 3:
        print_study(sys.argv[2])
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        for draw in (draw_layers, draw_pipeline, draw_live, draw_row, draw_compare):
            draw()


if __name__ == "__main__":
    main()
