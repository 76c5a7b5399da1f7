#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bring comment lines of C sources within 100 columns, and leave all other lines alone.

clang-format is told to keep the breaks of comments, since head comments hold numbered invariants and
diagrams. What stands too far right goes to the line below: put in front of a sentence that goes on
there, else on a line of its own.

usage: rewrap.py FILE..."""

import re
import sys

COLUMNS, TAB = 100, 8
COMMENT = re.compile(r"^(\s*)(/\*+|\*)(\s+)(\S.*)$")
NEW_ITEM = re.compile(r"^([A-Z]\d+\b|[-*+] |\d+[.)] |@|[a-z_]+:)")


def width(line):
    return len(line.expandtabs(TAB))


def split_line(line):
    """Returns (what stays, the words that go down); the last is "" where nothing can be done."""
    cut = len(line)
    while width(line[:cut]) > COLUMNS or line[cut:].strip() == "*/":
        cut = line.rfind(" ", 0, cut)
        if cut <= 0:
            return line, ""
    return line[:cut].rstrip(), line[cut:].strip()


def continues(line):
    """The body of a comment line that words can be put in front of, or None."""
    match = COMMENT.match(line)
    if not match or match[2] != "*" or NEW_ITEM.match(match[4]) or "->" in match[4]:
        return None
    return match


def rewrap(lines):
    out, todo = [], list(lines)
    while todo:
        line = todo.pop(0)
        match = COMMENT.match(line)
        if width(line) <= COLUMNS or not match:
            out.append(line)
            continue
        stays, down = split_line(line)
        prefix = match[1] + (" " if match[2] != "*" else "") + "*"
        if not down or not stays[len(match[1]) + len(match[2]):].strip():
            out.append(line)
            continue
        out.append(stays)
        below = continues(todo[0]) if todo and not down.endswith("*/") else None
        if below:
            todo[0] = below[1] + below[2] + below[3] + down + " " + below[4]
        else:
            gap = match[3] if match[2] == "*" else " "
            todo.insert(0, prefix + gap + down)
    return out


def main():
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            before = file.read()
        after = "\n".join(rewrap(before.split("\n")))
        if after != before:
            with open(path, "w", encoding="utf-8") as file:
                file.write(after)


if __name__ == "__main__":
    main()
