# SPDX-License-Identifier: MIT
"""Who lives on a mount while kill.py kills it: each worker does things and notes what was
acknowledged; after the crash, check() says what of it is not there.

  Names    creates, replaces, renames, exchanges, links and removes names in a directory of its own,
           and knows the set of names behind each step. A sync of the directory acknowledges the step.
           What is found must be the set of one step, not older than that; a file that was synced is
           whole, one that took an old one's place is the old or the new.
  Database rows by SQLite, one transaction each. What COMMIT returned for is there, in order.
"""
import ctypes
import hashlib
import os
import random
import shutil
import sqlite3
import threading

RENAME_EXCHANGE = 2
AT_FDCWD = -100
NAMES = 12


def bytes_of(serial):
    """What the file of that number holds; its length follows from the number."""
    return hashlib.sha256(b"%d" % serial).digest() * (1 + serial * 37 % 700)


class Names(threading.Thread):
    def __init__(self, directory, index, seed):
        super().__init__(daemon=True)
        self.relative = f"names-{index}"
        self.path = os.path.join(directory, self.relative)
        self.random = random.Random(seed)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.names, self.serial = {}, 0  # name -> number of its file, 0 a directory
        self.steps, self.acknowledged = [{}], 0
        self.synced = set()  # numbers of files that were synced
        self.stop, self.verified, self.failed = False, 0, None
        self.ready = False  # what an earlier worker left is gone

    def run(self):
        try:
            shutil.rmtree(self.path, ignore_errors=True)
            os.mkdir(self.path)
            self.sync_all()
            self.ready = True
            while not self.stop:
                self.step()
        except OSError as error:
            self.failed = str(error)  # the mount has died?

    def sync_all(self):
        step = len(self.steps) - 1
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        self.acknowledged = step

    def at(self, name):
        return os.path.join(self.path, name)

    def will_be(self, names):
        """Said before it is done: the crash may come in the middle."""
        self.names = names
        self.steps.append(dict(names))

    def write(self, name, sync):
        self.serial += 1
        serial = self.serial
        self.will_be({**self.names, name: serial})
        fd = os.open(self.at(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(fd, bytes_of(serial))
            if sync:
                os.fsync(fd)
                self.synced.add(serial)
        finally:
            os.close(fd)

    def step(self):
        rng = self.random
        name, other = (f"n{rng.randrange(NAMES)}" for _ in range(2))
        here, there = self.names.get(name), self.names.get(other)
        what = rng.randrange(12)
        if what == 0:
            self.sync_all()
        elif here is None:
            if what < 3:
                self.will_be({**self.names, name: 0})
                os.mkdir(self.at(name))
            else:
                self.write(name, rng.random() < 0.6)
        elif name == other or what < 3:
            self.remove(name, here)
        elif there is not None and what < 6:
            self.exchange(name, other)
        elif there is None or (here and there and here != there):
            self.move(name, other)

    def remove(self, name, serial):
        self.will_be({n: s for n, s in self.names.items() if n != name})
        if serial:
            os.unlink(self.at(name))
        else:
            os.rmdir(self.at(name))

    def move(self, name, other):
        moved = {n: s for n, s in self.names.items() if n != name}
        if self.names[name] and other not in self.names and self.random.random() < 0.3:
            self.will_be({**self.names, other: self.names[name]})
            os.link(self.at(name), self.at(other))
            return
        self.will_be({**moved, other: self.names[name]})
        os.rename(self.at(name), self.at(other))

    def exchange(self, name, other):
        self.will_be({**self.names, name: self.names[other], other: self.names[name]})
        if self.libc.renameat2(AT_FDCWD, self.at(name).encode(), AT_FDCWD, self.at(other).encode(),
                               RENAME_EXCHANGE):
            raise OSError(ctypes.get_errno(), "renameat2")

    def found(self, mnt):
        """Names and what of their file is there."""
        top, out = os.path.join(mnt, self.relative), {}
        for name in os.listdir(top):
            path = os.path.join(top, name)
            if os.path.isdir(path):
                out[name] = None
            else:
                with open(path, "rb") as f:
                    out[name] = f.read()
                self.verified += len(out[name])
        return out

    def fits(self, found, step):
        return found.keys() == step.keys() and all(
            (found[n] is None) == (not s) and (not s or self.is_of(found[n], s))
            for n, s in step.items())

    def is_of(self, content, serial):
        wanted = bytes_of(serial)
        if serial in self.synced:
            return content == wanted
        return all(a in (b, 0) for a, b in zip(content, wanted)) and len(content) <= len(wanted)

    def difference(self, found, step):
        """Of the names, or of what they lead to."""
        out = [f"-{n}" for n in sorted(step.keys() - found.keys())]
        out += [f"+{n}" for n in sorted(found.keys() - step.keys())]
        for n in sorted(step.keys() & found.keys()):
            serial, content = step[n], found[n]
            if (content is None) != (not serial):
                out.append(f"{n} is of another kind")
            elif serial and not self.is_of(content, serial):
                how = "synced" if serial in self.synced else "not synced"
                out.append(f"{n} is not file {serial} ({how}, "
                           f"{len(content)} of {len(bytes_of(serial))} bytes)")
        return out

    def check(self, mnt, lost_with_kill):
        if not self.ready:
            return []
        try:
            found = self.found(mnt)
        except OSError as error:
            if error.filename and lost_with_kill and os.path.isfile(error.filename):
                return []  # bytes that were in flight on the lost member
            return [f"{self.relative}: {error}"]
        if any(self.fits(found, step) for step in reversed(self.steps[self.acknowledged:])):
            return []
        known = any(self.fits(found, step) for step in self.steps)
        steps = range(self.acknowledged, len(self.steps))
        nearest = min(steps, key=lambda s: len(self.difference(found, self.steps[s])))
        return [f"{self.relative}: {'older than what was acknowledged' if known else 'of no step'}, "
                f"steps {steps[0]} to {steps[-1]}; the nearest is {nearest}: "
                f"{', '.join(self.difference(found, self.steps[nearest]))}"]

    def cut_back(self, mnt):
        pass  # begins anew


class Database(threading.Thread):
    def __init__(self, directory, index, seed):
        super().__init__(daemon=True)
        self.relative = f"database-{index}"
        self.path = os.path.join(directory, self.relative)
        self.random = random.Random(seed)
        self.mode = ("WAL", "DELETE", "TRUNCATE")[index % 3]
        self.acknowledged = self.tried = self.verified = 0
        self.stop, self.failed = False, None

    def run(self):
        db = None
        try:
            db = sqlite3.connect(self.path, isolation_level=None, timeout=1)
            db.execute(f"PRAGMA journal_mode={self.mode}")
            # EXTRA: without it the removal of a rollback journal, which is the commit, is not synced.
            db.execute("PRAGMA synchronous=EXTRA")
            db.execute("CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, b BLOB)")
            self.acknowledged = self.tried = db.execute("SELECT count(*) FROM t").fetchone()[0]
            while not self.stop:
                self.tried += 1
                db.execute("INSERT INTO t VALUES(?, ?)",
                           (self.tried, self.random.randbytes(self.random.randrange(1, 9000))))
                # Where the directory cannot be opened any more, SQLite takes the removal of its
                # journal for synced (unixDelete()): a mount that answers now could be opened then.
                os.statvfs(os.path.dirname(self.path))
                self.acknowledged = self.tried
        except (sqlite3.Error, OSError) as error:
            self.failed = str(error)  # the mount has died?
        if db:
            try:
                db.close()
            except sqlite3.Error:
                pass

    def check(self, mnt, lost_with_kill):
        path = os.path.join(mnt, self.relative)
        if not os.path.exists(path):
            return [f"{self.relative} is gone"] if self.acknowledged else []
        try:
            db = sqlite3.connect(path, isolation_level=None)
            state = db.execute("PRAGMA integrity_check").fetchone()[0]
            rows = db.execute("SELECT count(*), max(n) FROM t").fetchone() \
                if self.acknowledged else (0, 0)
            db.close()
        except sqlite3.Error as error:
            return [f"{self.relative}: {error}"] if self.acknowledged else []
        self.verified = os.path.getsize(path)
        if state != "ok":
            return [f"{self.relative}: {state}"]
        count, last = rows[0], rows[1] or 0
        if count != last or not self.acknowledged <= last <= self.tried:
            return [f"{self.relative}: {count} rows to {last}, {self.acknowledged} were acknowledged"]
        return []

    def cut_back(self, mnt):
        pass  # goes on behind what is there
