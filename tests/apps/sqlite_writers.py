#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Processes that write rows to one SQLite database, and a check of what they wrote.

  sqlite_writers.py write DATABASE MODE ACKED --writers N --seconds S
      N processes insert and update; what a commit acknowledged is noted in the folder ACKED, which
      lies elsewhere. They end when the time is over, or at the first error of the disk.
  sqlite_writers.py check DATABASE MODE ACKED --writers N
      The database is whole, every noted row is there and has its bytes, every transaction is there
      as a whole.
"""
import argparse
import hashlib
import multiprocessing
import os
import random
import sqlite3
import sys
import time


def content(writer, number):
    seed = b"%d/%d" % (writer, number)
    return hashlib.sha256(seed).digest() * (1 + number % 40)


def connect(args):
    db = sqlite3.connect(args.database, timeout=60, isolation_level=None)
    got = db.execute(f"pragma journal_mode={args.mode}").fetchone()[0]
    assert got == args.mode, f"journal mode {got}"
    # With a rollback journal a commit is the journal's removal, and only "extra" has the directory
    # synced behind it; a removal that was not synced may be undone by a crash, on any filesystem.
    db.execute("pragma synchronous=" + ("full" if args.mode == "wal" else "extra"))
    return db


def note(fd, number):
    os.write(fd, b"%d\n" % number)


def noted(args, writer):
    path = os.path.join(args.acked, str(writer))
    if not os.path.exists(path):
        return -1
    with open(path) as f:
        return max((int(line) for line in f.read().split()), default=-1)


def insert(db, writer, number):
    """One transaction: a row, and the writer's count."""
    db.execute("begin immediate")
    db.execute("insert or replace into t values (?, ?, ?)", (writer, number, content(writer, number)))
    db.execute("insert or replace into last values (?, ?)", (writer, number))
    db.execute("commit")


def work(args, writer, until):
    rng = random.Random(writer)
    acked = os.open(os.path.join(args.acked, str(writer)), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    db = connect(args)
    row = db.execute("select n from last where writer = ?", (writer,)).fetchone()
    number = row[0] + 1 if row else 0
    while time.time() < until:
        insert(db, writer, number)
        note(acked, number)
        number += 1
        if rng.random() < 0.1:
            db.execute("select count(*), sum(length(b)) from t where writer = ?", (writer,)).fetchone()


def run_one(args, writer, until):
    try:
        work(args, writer, until)
    except sqlite3.Error as error:
        print(f"writer {writer}: {error}", file=sys.stderr)
        os._exit(3)
    os._exit(0)


def write(args):
    os.makedirs(args.acked, exist_ok=True)
    db = connect(args)
    db.execute("create table if not exists t (writer int, n int, b blob, primary key (writer, n))")
    db.execute("create table if not exists last (writer int primary key, n int)")
    db.close()
    until = time.time() + args.seconds
    processes = [multiprocessing.Process(target=run_one, args=(args, w, until))
                 for w in range(args.writers)]
    for p in processes:
        p.start()
    for p in processes:
        p.join()
    return 0 if all(p.exitcode == 0 for p in processes) else 3


def problems_of(args, db):
    for row in db.execute("pragma integrity_check"):
        if row[0] != "ok":
            yield row[0]
    for w in range(args.writers):
        rows = db.execute("select n, b from t where writer = ? order by n", (w,)).fetchall()
        last = db.execute("select n from last where writer = ?", (w,)).fetchone()
        last = last[0] if last else -1
        if [n for n, _ in rows] != list(range(last + 1)):
            yield f"writer {w}: {len(rows)} rows, but the last is {last}"
        if last < noted(args, w):
            yield f"writer {w}: {noted(args, w)} was acknowledged, the last one there is {last}"
        bad = [n for n, b in rows if b != content(w, n)]
        if bad:
            yield f"writer {w}: wrong bytes in rows {bad[:5]}"


def check(args):
    db = connect(args)
    problems = list(problems_of(args, db))
    print(*problems[:20], sep="\n")
    db.close()
    return 1 if problems else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("verb", choices=("write", "check"))
    p.add_argument("database")
    p.add_argument("mode", choices=("wal", "delete"))
    p.add_argument("acked")
    p.add_argument("--writers", type=int, default=8)
    p.add_argument("--seconds", type=float, default=5)
    args = p.parse_args()
    return {"write": write, "check": check}[args.verb](args)


if __name__ == "__main__":
    sys.exit(main())
