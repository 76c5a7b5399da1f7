#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Hold the tree against its rules; prints TAP. Standard library only.

  layers    every #include "module/..." in src/ is allowed by src/layers.txt, which is acyclic;
            a library behind "ext:" is included only by the modules that list it
  public    include/ and examples/ know the public library alone
  headers   every header compiles alone
  spdx      every source names its licence in its first line (the second one after #!)
  length    lines within 100 columns, functions and files within STYLE's sizes, save the ones that
            tests/long.txt lists with a reason

usage: layers.py [--root DIR] [--cc COMPILER] [CHECK...]
"""

import argparse
import re
import shlex
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What a library's headers look like in an #include, and its name in pkg-config.
Library = namedtuple("Library", "pattern pkgconfig")
LIBRARIES = {
    "isa-l": Library(re.compile(r"isa-l(/|\.h$)"), "libisal"),
    "liburing": Library(re.compile(r"liburing(\.h$|/)"), "liburing"),
    "blkid": Library(re.compile(r"blkid/"), "blkid"),
    "sqlite3": Library(re.compile(r"sqlite3(ext)?\.h$"), "sqlite3"),
    "fuse": Library(re.compile(r"(fuse3?/)?(fuse|fuse_\w+|cuse_\w+)\.h$|fuse3?/"), "fuse3"),
    # Our own public library: a module that implements a part of it lists ext:stablefs.
    "stablefs": Library(re.compile(r"stablefs/"), None),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)
SPDX = re.compile(r"^(/\*|//|#|\.\\\") SPDX-License-Identifier: \S+")

MAX_COLUMNS, TAB_COLUMNS = 100, 8
MAX_FUNCTION_LINES, MAX_FILE_LINES = 80, 800
AIM_MEDIAN, AIM_P90 = 15, 45

Function = namedtuple("Function", "file name line lines")


class Layers:
    """src/layers.txt: for each module the modules and the libraries that it may include."""

    def __init__(self, text):
        self.modules, self.libraries, self.problems = {}, {}, []
        for number, line in enumerate(text.splitlines(), 1):
            line = line.split("#")[0].strip()
            if not line:
                continue
            name, colon, rest = line.partition(":")
            if not colon or name in self.modules:
                self.problems.append(f"layers.txt:{number}: not one new 'module: list': {line}")
                continue
            words = rest.split()
            self.modules[name] = {w for w in words if not w.startswith("ext:")}
            self.libraries[name] = {w[4:] for w in words if w.startswith("ext:")}
        self._check_names()
        self._check_cycles()

    def _check_names(self):
        for name, allowed in self.modules.items():
            for other in allowed - self.modules.keys():
                self.problems.append(f"layers.txt: {name} lists {other}, which is no module")
            for library in self.libraries[name] - LIBRARIES.keys():
                self.problems.append(f"layers.txt: {name} lists ext:{library}, which is unknown")

    def _check_cycles(self):
        left = {name: set(allowed) for name, allowed in self.modules.items()}
        while left:
            leaves = [name for name, allowed in left.items() if not allowed & left.keys()]
            if not leaves:
                self.problems.append("layers.txt: a cycle through " + ", ".join(sorted(left)))
                return
            for name in leaves:
                del left[name]


def c_files(root, *folders):
    return sorted(f for folder in folders for f in (root / folder).rglob("*.[ch]"))


def includes(path):
    """Yields (line, system?, name) of each #include of @path."""
    text = path.read_text(encoding="utf-8", errors="replace")
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        yield line, match[1] == "<", match[2]


def library_of(name):
    return next((key for key, lib in LIBRARIES.items() if lib.pattern.match(name)), None)


def include_problem(layers, module, system, name):
    """What is wrong with @module including @name, or None."""
    target, slash, _ = name.partition("/")
    library = None if not system and target in layers.modules else library_of(name)
    if library:
        if library in layers.libraries[module]:
            return None
        return f"{module} may not include {name}: its line has no ext:{library}"
    if system:
        return None
    if not slash:
        return f'"{name}" is not of the form "module/file.h"'
    if target == module or target in layers.modules[module]:
        return None
    if target not in layers.modules:
        return f'"{name}": {target} is no module of layers.txt'
    return f"{module} may not include {name}: layers.txt does not allow {target}"


def check_layers(root):
    layers = Layers((root / "src/layers.txt").read_text(encoding="utf-8"))
    problems = list(layers.problems)
    for path in c_files(root, "src"):
        where = path.relative_to(root)
        module = where.parts[1]
        if len(where.parts) < 3 or module not in layers.modules:
            problems.append(f"{where}: in no module of layers.txt")
            continue
        for line, system, name in includes(path):
            problem = include_problem(layers, module, system, name)
            if problem:
                problems.append(f"{where}:{line}: {problem}")
    return problems, []


def check_public(root):
    problems = []
    for path in c_files(root, "include", "examples"):
        for line, system, name in includes(path):
            beside = "/" not in name and (path.parent / name).is_file()
            if not system and not name.startswith("stablefs/") and not beside:
                problems.append(f"{path.relative_to(root)}:{line}: {name} is not public")
    return problems, []


def compiler_flags():
    flags = ["-std=gnu17", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-Wall", "-Wextra",
             "-Wno-unused-parameter", "-Wstrict-prototypes", "-Werror"]
    for library in LIBRARIES.values():
        if library.pkgconfig:
            got = subprocess.run(["pkg-config", "--cflags", library.pkgconfig], text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
            flags += shlex.split(got.stdout)
    return flags


def check_headers(root, cc="gcc"):
    headers = [h for h in c_files(root, "src", "include") if h.suffix == ".h"]
    flags = compiler_flags()

    def compile_alone(header):
        argv = [cc, "-fsyntax-only", *flags, "-Isrc", "-Iinclude",
                "-include", str(header.relative_to(root)), "-x", "c", "/dev/null"]
        got = subprocess.run(argv, cwd=root, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, check=False)
        first = next((l for l in got.stdout.splitlines() if "error" in l), got.stdout.strip())
        return f"{header.relative_to(root)}: {first}" if got.returncode else None

    with ThreadPoolExecutor(max_workers=2) as pool:
        problems = [p for p in pool.map(compile_alone, headers) if p]
    return problems, [f"{len(headers)} headers"]


def spdx_files(root):
    folders = ("src", "include", "tests", "examples", "bench", "tools", "docs")
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            named = path.suffix in (".c", ".h", ".py", ".sh", ".sql", ".1", ".5", ".7", ".8")
            if path.is_file() and "__pycache__" not in path.parts and (
                    named or path.name == "meson.build" or is_script(path)):
                yield path
    yield from (p for p in (root / "dev", root / "meson.build", root / ".ci/run") if p.exists())


def is_script(path):
    if path.suffix:
        return False
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def check_spdx(root):
    problems = []
    for path in spdx_files(root):
        with path.open(encoding="utf-8", errors="replace") as file:
            first, second = file.readline(), file.readline()
        line = second if first.startswith("#!") else first
        if not SPDX.match(line):
            problems.append(f"{path.relative_to(root)}: no SPDX identifier where it belongs")
    return problems, []


def functions(path, text):
    """Functions of a source in the house style: the body opens and closes in column 0."""
    start = body = None
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            body = start
        elif line.startswith("}"):
            if body:
                yield Function(path, body[1], body[0], number - body[0] + 1)
            start = body = None
        elif not body and re.match(r"[A-Za-z_]", line):
            # A parameter list may go on below: the name is in the first line that has a bracket.
            name = re.search(r"(\w+)\((?!\()", re.sub(r"__attribute__\s*\(\(.*?\)\)", "", line))
            if start is None or name:
                start = (number, name[1] if name else "?")
        elif not body and (line.startswith("#") or not line.strip()):
            start = None


def long_allowed(root):
    """tests/long.txt: "path[:function]  reason"; returns ({name}, problems)."""
    path, allowed, problems = root / "tests/long.txt", set(), []
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        name, _, reason = line.partition(" ")
        if line.startswith("#") or not line.strip():
            continue
        allowed.add(name)
        if not reason.strip():
            problems.append(f"tests/long.txt: {name} has no reason")
    return allowed, problems


def width(line):
    return len(line.expandtabs(TAB_COLUMNS))


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def check_length(root):
    allowed, problems = long_allowed(root)
    seen, used = [], set()

    def too_long(name, what):
        used.add(name)
        if name not in allowed:
            problems.append(f"{name}: {what}")

    for path in c_files(root, "src", "include", "tests", "examples", "bench"):
        where = path.relative_to(root)
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if width(line) > MAX_COLUMNS:
                problems.append(f"{where}:{number}: {width(line)} columns")
        if where.parts[0] != "src":
            continue
        if text.count("\n") > MAX_FILE_LINES:
            too_long(str(where), f"{text.count(chr(10))} lines")
        for function in functions(where, text):
            seen.append(function)
            if function.lines > MAX_FUNCTION_LINES:
                too_long(f"{where}:{function.name}", f"{function.lines} lines")
    problems += [f"tests/long.txt: {name} is not long (any more)" for name in allowed - used]
    return problems, length_notes(seen)


def length_notes(seen):
    if not seen:
        return []
    lengths = sorted(f.lines for f in seen)
    median, p90 = percentile(lengths, 0.5), percentile(lengths, 0.9)
    top = max(seen, key=lambda f: f.lines)
    notes = [f"{len(seen)} functions: median {median}, p90 {p90}, p99 {percentile(lengths, 0.99)}, "
             f"longest {top.lines} ({top.file}:{top.name})"]
    if median > AIM_MEDIAN or p90 > AIM_P90:
        notes.append(f"the aim is a median of {AIM_MEDIAN} and a p90 of {AIM_P90} lines")
    return notes


CHECKS = {
    "layers": ("includes follow src/layers.txt", check_layers),
    "public": ("include/ and examples/ know the public library alone", check_public),
    "headers": ("each header compiles alone", check_headers),
    "spdx": ("each source names its licence first", check_spdx),
    "length": ("lines, functions and files keep their sizes", check_length),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=" ".join(CHECKS))
    args = parser.parse_args()
    unknown = [name for name in args.checks if name not in CHECKS]
    if unknown:
        parser.error(f"no check {unknown[0]}; there are: {' '.join(CHECKS)}")
    chosen = args.checks or list(CHECKS)
    failed = 0
    print(f"1..{len(chosen)}")
    for number, name in enumerate(chosen, 1):
        title, check = CHECKS[name]
        problems, notes = check(args.root, args.cc) if name == "headers" else check(args.root)
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {number} - {title}")
        for line in problems + notes:
            print(f"# {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
