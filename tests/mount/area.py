#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Spoil the system area of a volume of files (docs/format.md), mounted or not.

  area.py VOLUME flip MEMBER PAGE...   a byte of these database pages, on one member ("all": on all)
  area.py VOLUME header MEMBER         both copies of the header become garbage
  area.py VOLUME sql SQL...            the database is changed, with checksums that are right, on all
  area.py VOLUME page-of TABLE [-a]    which page is the last leaf of a table (-a: all of them)
STABLEFS names the program, AREA_MOUNT the mount point of a mounted volume. An unmounted volume's log is empty: what is read is the database alone.
"""

import json
import os
import sqlite3
import struct
import subprocess
import sys
import tempfile

PAGE = 4096
TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


class Area:
    def __init__(self, volume):
        program = os.environ.get("STABLEFS", "build/src/cli/stablefs")
        ask = os.environ.get("AREA_MOUNT", volume)
        out = subprocess.run([program, "inspect", "--json", "super", ask], check=True,
                             stdout=subprocess.PIPE).stdout
        self.supers = json.loads(out)["superblocks"]
        head = self.read(0, 0, PAGE)
        self.salt, _, _, self.at, self.length = struct.unpack_from("<5Q", head, 24)

    def read(self, member, offset, length):
        with open(self.supers[member]["path"], "rb") as f:
            f.seek(self.supers[member]["system"]["offset"] + offset)
            return f.read(length)

    def write(self, member, offset, data):
        with open(self.supers[member]["path"], "r+b") as f:
            f.seek(self.supers[member]["system"]["offset"] + offset)
            f.write(data)
            f.flush()
            os.fsync(f.fileno())

    def members(self, word):
        return range(len(self.supers)) if word == "all" else [int(word)]

    def database(self):
        """As a file of SQLite's own, without a log."""
        pages = struct.unpack(">I", self.read(0, self.at + 28, 4))[0]
        data = bytearray(self.read(0, self.at, pages * PAGE))
        data[18:20] = b"\1\1"
        return data

    def seal(self, page, number):
        body = page[:PAGE - 8] + struct.pack("<I", number)
        crc = crc32c(body) ^ (self.salt & 0xFFFFFFFF) ^ (self.salt >> 32)
        return body + struct.pack("<I", crc)

    def sql(self, statements):
        old = bytes(self.database())
        with tempfile.NamedTemporaryFile(suffix=".db") as f:
            f.write(old)
            f.flush()
            base = sqlite3.connect(f.name, isolation_level=None)
            base.execute("PRAGMA writable_schema=ON")
            for statement in statements:
                base.executescript(statement)
            base.close()
            with open(f.name, "rb") as changed:
                new = bytearray(changed.read())
        new[18:20] = b"\2\2"
        for at in range(0, len(new), PAGE):
            page = bytes(new[at:at + PAGE])
            if page != old[at:at + PAGE]:
                for member in self.members("all"):
                    self.write(member, self.at + at, self.seal(page, at // PAGE + 1))

    def leaves(self, table):
        with tempfile.NamedTemporaryFile(suffix=".db") as f:
            f.write(self.database())
            f.flush()
            base = sqlite3.connect(f.name)
            root = base.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?",
                                (table,)).fetchone()[0]
            base.close()
        data, found, todo = self.database(), [], [root]
        while todo:
            number = todo.pop()
            page = data[(number - 1) * PAGE:number * PAGE]
            if page[0] in (0x0D, 0x0A):
                found.append(number - 1)
                continue
            cells = struct.unpack_from(">H", page, 3)[0]
            where = struct.unpack_from(f">{cells}H", page, 12)
            todo += [struct.unpack_from(">I", page, at)[0] for at in where]
            todo.append(struct.unpack_from(">I", page, 8)[0])
        return sorted(found)


def main():
    area, command, words = Area(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if command == "flip":
        for member in area.members(words[0]):
            for page in map(int, words[1:]):
                at = area.at + page * PAGE + 1000
                area.write(member, at, bytes([area.read(member, at, 1)[0] ^ 0x55]))
    elif command == "header":
        for member in area.members(words[0]):
            area.write(member, 0, b"\xA5" * 2 * PAGE)
    elif command == "sql":
        area.sql(words)
    elif command == "page-of":
        leaves = area.leaves(words[0])
        print(*(leaves if words[1:] else leaves[-1:]))
    else:
        sys.exit(__doc__)


main()
