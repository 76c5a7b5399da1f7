#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many files in one directory and in many: each is listed exactly once, also while others come and
go. usage: many.py DIRECTORY FILES [CASE...]"""

import os
import random
import sys

from checks import case, expect, main

FILES = int(sys.argv.pop(2))


def create(name):
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def names(count):
    return [f"a-file-among-many-others-{i:06}" for i in range(count)]


@case
def files_in_one_directory_are_listed_once_and_found():
    made = names(FILES)
    for name in made:
        create(name)
    expect(sorted(os.listdir(".")), made, "the listing")
    with os.scandir(".") as entries:
        expect(sum(e.stat().st_size == 0 for e in entries), FILES, "files with attributes")
    for name in made[::997]:
        expect(os.path.exists(name), True, name)
    expect(os.path.exists("not-among-them"), False)


@case
def a_listing_gives_what_stays_once_while_the_rest_is_removed_and_more_is_made():
    made = names(FILES // 2)
    for name in made:
        create(name)
    stay = set(made[::3])
    go = [n for n in made if n not in stay]
    random.Random(64).shuffle(go)
    seen = []
    with os.scandir(".") as entries:
        for n, entry in enumerate(entries):
            seen.append(entry.name)
            if n % 3 == 0 and go:
                os.unlink(go.pop())
            if n % 50 == 0:
                create(f"new-{n}")
    expect(len(seen), len(set(seen)), "entries, and different ones")
    expect(stay - set(seen), set(), "what stayed and was not listed")
    for name in go:
        os.unlink(name)
    left = {n for n in os.listdir(".") if not n.startswith("new-")}
    expect(left, stay, "what is left")


@case
def a_tree_of_many_directories_is_removed_as_it_is_listed():
    per = max(FILES // 100, 10)
    for d in range(100):
        os.mkdir(f"d{d}")
        for name in names(per):
            create(f"d{d}/{name}")
    count = 0
    for top, _, files in os.walk(".", topdown=False):
        for name in files:
            os.unlink(os.path.join(top, name))
            count += 1
        if top != ".":
            os.rmdir(top)
    expect(count, 100 * per, "files that were removed")
    expect(os.listdir("."), [])


if __name__ == "__main__":
    main()
