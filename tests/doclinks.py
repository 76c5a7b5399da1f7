#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Follow what the documents point to; prints TAP. Standard library only.

  links    each relative link of a Markdown file leads to a file or heading that is there
  names    each file of the project that a document names in `...` or a source names in a comment
           ("docs/x.md", "tests/y.py") is there
  pictures each picture in docs/img is shown by some document, and is well-formed XML
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# What looks like a path below one of our folders. "X/*" and "NN-name" stand for many.
FOLDERS = "src|docs|tests|tools|bench|man|examples|include|.ci"
NAME = re.compile(rf"(?<![\w/.-])((?:{FOLDERS})/[\w./*-]*\w(?:/|\b))")
PATTERN = re.compile(r"NN-|[A-Z]{4,}|\*|test_FILE|(^|[-/])X\b")


def documents():
    return sorted(p for p in [*TOP.glob("*.md"), *TOP.glob("docs/**/*.md")])


def text_outside_fences(path):
    lines, fenced = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            lines.append(line)
    return "\n".join(lines)


def anchors(path):
    """The names that headings get: lower case, marks dropped, blanks to hyphens."""
    found = set()
    for heading in re.findall(r"^#+\s+(.*)$", text_outside_fences(path), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(plain.replace(" ", "-"))
    return found


def check_links(path):
    problems = []
    for target in LINK.findall(text_outside_fences(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        if not there.exists():
            problems.append(f"{target}: no such file")
        elif anchor and there.suffix == ".md" and anchor not in anchors(there):
            problems.append(f"{target}: no such heading")
    return problems


def names_missing(text):
    missing = set()
    for name in NAME.findall(text):
        name = name.rstrip(".")
        if PATTERN.search(name):
            continue
        if not (TOP / name).exists():
            missing.add(name)
    return missing


def check_document_names(path):
    spans = re.findall(r"`([^`\n]+)`", text_outside_fences(path))
    return [f"`{name}`: no such file" for name in sorted(names_missing("\n".join(spans)))]


def source_files():
    for pattern in ("src/**/*.[ch]", "tests/**/*.[ch]", "tests/**/*.py", "tests/**/*.sh",
                    "bench/*", "man/*.1", "dev"):
        yield from (p for p in sorted(TOP.glob(pattern)) if p.is_file())


def check_source_names():
    """Only documents: paths of code move with the code, and the compiler knows them."""
    problems = []
    for path in source_files():
        for name in re.findall(r"\b(docs/[\w-]+\.md|[A-Z]{4,}\.md)\b",
                               path.read_text(encoding="utf-8", errors="replace")):
            if not (TOP / name).exists() and path.name != "doclinks.py":
                problems.append(f"{path.relative_to(TOP)} names {name}, which is not there")
    return problems


def check_pictures():
    shown = "\n".join(p.read_text(encoding="utf-8") for p in documents())
    problems = []
    for picture in sorted(TOP.glob("docs/img/*.svg")):
        if f"img/{picture.name}" not in shown:
            problems.append(f"{picture.name} is shown by no document")
        try:
            ElementTree.parse(picture)
        except ElementTree.ParseError as error:
            problems.append(f"{picture.name}: {error}")
    return problems


def main():
    results = []
    for path in documents():
        name = path.relative_to(TOP)
        results.append((f"links of {name} lead somewhere", check_links(path)))
        results.append((f"files that {name} names are there", check_document_names(path)))
    results.append(("documents that sources name are there", check_source_names()))
    results.append(("pictures are shown and well-formed", check_pictures()))
    for number, (title, problems) in enumerate(results, 1):
        print(f"{'not ok' if problems else 'ok'} {number} - {title}")
        for problem in problems:
            print(f"# {problem}")
    print(f"1..{len(results)}")
    return any(problems for _, problems in results)


if __name__ == "__main__":
    sys.exit(main())
