#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Hold the manual pages against the program; prints TAP. STABLEFS names the program.

  each verb that `stablefs help` lists has a page man/stablefs-VERB.1, and each page a verb
  the options of a page are those of `stablefs VERB --help`
  a page is formatted without a warning, where groff is installed
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
STABLEFS = os.environ.get("STABLEFS", str(TOP / "build/src/cli/stablefs"))
PAGES = TOP / "man"

OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*|-[a-zA-Z])(?![\w-])")
# Options of -o in --help stand alone at the start of a line, deeper than its dashed ones.
MOUNT_OPTION = re.compile(r"^ {5,10}([a-z_-]+)(?:=[A-Z]+)?  ")


def help_of(*words):
    got = subprocess.run([STABLEFS, *words, "--help"], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
    return got.returncode, got.stdout


def listed_verbs():
    _, text = help_of()
    return set(re.findall(r"^  ([a-z]+)  +\S", text, re.MULTILINE))


def help_options(text):
    """Options are what lines begin with: other words of them may name options of others."""
    found = set()
    for line in text.splitlines():
        if line.startswith("  -"):
            found |= set(OPTION.findall(re.split(r"  +", line.strip())[0]))
        elif match := MOUNT_OPTION.match(line):
            found.add(match[1])
    return found


def unescape(text):
    """A line of roff as plain text: fonts and escapes gone."""
    text = re.sub(r"\\f(\[\w*\]|\(..|.)", "", text)
    text = text.replace(r"\-", "-").replace(r"\&", "").replace(r"\(aq", "'")
    return re.sub(r"\\ ", " ", text)


def page_options(path):
    """Options are the tags of .TP paragraphs. Plain words inside .RS are values of an option."""
    found, tag_next, depth = set(), False, 0
    for line in path.read_text(encoding="utf-8").splitlines():
        depth += line.startswith(".RS") - line.startswith(".RE")
        if line.startswith((".TP", ".TQ")):
            tag_next = True
            continue
        if tag_next and not line.startswith((r".\"", r".PD")):
            tag_next = False
            text = unescape(re.sub(r"^\.(BR?|BI|IR?|IB|RB|RI|SM|OP)\s+", "", line)).replace('"', "")
            text = re.sub(r"(?<=\S) (?=[=,])", "", text)
            found |= set(OPTION.findall(text))
            if not text.startswith("-") and depth == 0:
                found |= set(re.findall(r"(?:^|, *)([a-z_-]+)(?==|,|$|\s*$)", text))
    return found


def groff_says(path):
    got = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", str(path)], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return got.stdout.strip()


class Tap:
    def __init__(self):
        self.number = self.failed = 0

    def result(self, problems, title):
        self.number += 1
        self.failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {self.number} - {title}")
        for problem in problems:
            print(f"# {problem}")


def check_options(tap, verb, page):
    status, text = help_of(verb)
    problems = [f"stablefs {verb} --help: exit status {status}"] if status else []
    in_help, in_page = help_options(text), page_options(page)
    if not in_help:
        problems.append("--help lists no option")
    dashed = {option for option in in_page if option.startswith("-")}
    plain_help = {option for option in in_help if not option.startswith("-")}
    problems += [f"{option} is in --help and not in the page" for option in
                 sorted(in_help - in_page)]
    # Words without dashes are options only where --help has such (those of -o); elsewhere a page's
    # tags may be names of other things.
    problems += [f"{option} is in the page and not in --help" for option in
                 sorted(dashed - in_help)]
    if plain_help:
        problems += [f"{option} is in the page and not in --help" for option in
                     sorted(in_page - dashed - in_help)]
    tap.result(problems, f"the page of {verb} and its --help list the same options")


def main():
    tap = Tap()
    verbs = listed_verbs()
    tap.result([] if len(verbs) > 3 else [f"found {sorted(verbs)}"], "help lists the verbs")
    pages = {path.stem.removeprefix("stablefs-"): path for path in PAGES.glob("stablefs-*.1")}
    tap.result([f"{verb} has no page" for verb in sorted(verbs - pages.keys())],
               "each verb has a page")
    tap.result([f"{name} is no verb" for name in sorted(pages.keys() - verbs)],
               "each page has a verb")
    for verb in sorted(verbs & pages.keys()):
        check_options(tap, verb, pages[verb])
    for path in sorted(PAGES.glob("*.[1-8]")):
        if shutil.which("groff"):
            tap.result(groff_says(path).splitlines(), f"{path.name} is formatted without warnings")
    print(f"1..{tap.number}")
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
