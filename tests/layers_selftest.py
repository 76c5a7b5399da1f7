#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""layers.py on made-up trees: each rule is broken once, and must be noticed. Prints TAP."""

import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import layers  # noqa: E402

SPDX = "/* SPDX-License-Identifier: MIT */\n"
GOOD = {
    "src/layers.txt": "low: ext:sqlite3\nhigh: low\n",
    "src/low/low.h": SPDX + "#include <stdint.h>\nuint8_t low_get(void);\n",
    "src/low/low.c": SPDX + '#include <sqlite3.h>\n#include "low/low.h"\n',
    "src/high/high.c": SPDX + '#include "low/low.h"\n',
    "include/stablefs/stablefs.h": SPDX + "#include <stdint.h>\n",
    "examples/one.c": SPDX + "#include <stablefs/stablefs.h>\n",
}


def long_function(lines):
    return "static int long_one(int a,\n\tint b)\n{\n" + "\ta++;\n" * (lines - 4) + "}\n"


# (what is noticed, the check, the files that make it so, a text of the message)
CASES = [
    ("a module that includes one above it", "layers",
     {"src/low/low.c": SPDX + '#include "high/high.h"\n'}, "does not allow high"),
    ("the same with blanks and a comment behind", "layers",
     {"src/low/low.c": SPDX + ' #  include "high/high.h" /* why */\n'}, "does not allow high"),
    ("a library that the module does not list", "layers",
     {"src/high/high.c": SPDX + "#include <sqlite3.h>\n"}, "no ext:sqlite3"),
    ("libfuse under its bare name", "layers",
     {"src/high/high.c": SPDX + "#include <fuse_lowlevel.h>\n"}, "no ext:fuse"),
    ("libfuse under its folder", "layers",
     {"src/high/high.c": SPDX + "#include <fuse3/fuse_lowlevel.h>\n"}, "no ext:fuse"),
    ("the public library in a module that does not list it", "layers",
     {"src/high/high.c": SPDX + "#include <stablefs/stablefs.h>\n"}, "no ext:stablefs"),
    ("an include without its module", "layers",
     {"src/low/low.c": SPDX + '#include "low.h"\n'}, "module/file.h"),
    ("a way round by the parent folder", "layers",
     {"src/low/low.c": SPDX + '#include "../high/high.h"\n'}, "no module"),
    ("a folder that is no module", "layers",
     {"src/stray/stray.c": SPDX}, "in no module"),
    ("a source beside the modules", "layers",
     {"src/stray.c": SPDX}, "in no module"),
    ("a cycle in layers.txt", "layers",
     {"src/layers.txt": "low: high ext:sqlite3\nhigh: low\n"}, "cycle"),
    ("a module in layers.txt that lists an unknown one", "layers",
     {"src/layers.txt": "low: ext:sqlite3\nhigh: low lwo\n"}, "lwo"),
    ("an example that looks behind the public library", "public",
     {"examples/one.c": SPDX + '#include "low/low.h"\n'}, "not public"),
    ("a header that needs another one first", "headers",
     {"src/low/low.h": SPDX + "uint8_t low_get(void);\n"}, "uint8_t"),
    ("a source without a licence", "spdx",
     {"src/low/low.c": "/* nothing */\n"}, "no SPDX"),
    ("a script whose second line is no licence", "spdx",
     {"tests/run": "#!/bin/sh\ntrue\n"}, "no SPDX"),
    ("a function of 81 lines", "length",
     {"src/low/low.c": SPDX + long_function(81)}, "long_one: 81 lines"),
    ("an exception without a reason", "length",
     {"src/low/low.c": SPDX + long_function(81), "tests/long.txt": "src/low/low.c:long_one\n"},
     "no reason"),
    ("an exception that is not needed any more", "length",
     {"tests/long.txt": "src/low/low.c:gone a flat switch\n"}, "not long"),
    ("a line of 101 columns, tabs counted as 8", "length",
     {"src/low/low.c": SPDX + "\t/* " + "x" * 87 + " */\n"}, "101 columns"),
    ("a file of 801 lines", "length",
     {"src/low/low.c": SPDX + "\n" * 800}, "801 lines"),
]


def run_check(name, changes):
    with tempfile.TemporaryDirectory(prefix="stablefs-layers.") as folder:
        root = Path(folder)
        for path, text in {**GOOD, **changes}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return layers.CHECKS[name][1](root)[0]


class Tap:
    def __init__(self, planned):
        self.number = self.failed = 0
        print(f"1..{planned}")

    def result(self, good, title, diagnosis):
        self.number += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.number} - {title}")
        if not good:
            print(f"# got: {diagnosis}")


def main():
    tap = Tap(len(layers.CHECKS) + 3 + len(CASES))
    for name in layers.CHECKS:
        problems = run_check(name, {})
        tap.result(not problems, f"nothing is wrong with the good tree: {name}", problems)
    problems = run_check("length", {
        "src/low/low.c": SPDX + long_function(81),
        "tests/long.txt": "src/low/low.c:long_one  a flat switch over all states\n"})
    tap.result(not problems, "a long function with a reason passes", problems)
    problems = run_check("length", {"src/low/low.c": SPDX + long_function(80)})
    tap.result(not problems, "a function of 80 lines passes", problems)
    problems = run_check("layers", {
        "src/layers.txt": "fuse: ext:fuse\nlow: ext:sqlite3\nhigh: low fuse\n",
        "src/high/high.c": SPDX + '#include "fuse/front.h"\n'})
    tap.result(not problems, "a module may bear the name of a library", problems)
    for title, check, changes, text in CASES:
        problems = run_check(check, changes)
        tap.result(any(text in p for p in problems), f"{title} is noticed", problems)
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
