#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: sqliteload.py DIR SECONDS SEED: one writer, write-ahead log, every commit synced. Each
transaction inserts a row and changes another. Prints the transactions a second as JSON."""
import json
import os
import random
import sqlite3
import sys
import time


def main(folder, seconds, seed):
    chance = random.Random(seed)
    db = sqlite3.connect(os.path.join(folder, "load.db"), isolation_level=None)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = full")
    db.execute("create table load (id integer primary key, n integer, text blob)")
    db.execute("begin")
    db.executemany("insert into load (n, text) values (0, ?)",
                   ((chance.randbytes(200),) for _ in range(20000)))
    db.execute("commit")
    times, start = [], time.monotonic()
    while not times or times[-1][1] < start + seconds:
        begun = time.monotonic()
        db.execute("begin immediate")
        db.execute("insert into load (n, text) values (0, ?)", (chance.randbytes(200),))
        db.execute("update load set n = n + 1 where id = ?", (chance.randrange(1, 20000),))
        db.execute("commit")
        times.append((begun, time.monotonic()))
    took = sorted(1e6 * (end - begun) for begun, end in times)
    print(json.dumps({"rate": len(times) / (times[-1][1] - start), "ios": len(times),
                      "p50_us": took[len(took) // 2], "p99_us": took[len(took) * 99 // 100],
                      "p999_us": took[len(took) * 999 // 1000]}))
    db.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
