#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kill the daemon under load and take members away, mount again, and look: what fsync acknowledged
must be there.

Each round: writers append numbered records to files of their own, fsync now and then, and note how
far an fsync got; others make, move and remove names, and run transactions of SQLite (livers.py).
Then one of these, at a random moment:
  kill      the daemon gets SIGKILL; mount again (which resyncs), verify.
  kill+lose the same, and a member is away at the next mount: verify, write on without it; it comes
            back, is brought up to date, verify.
  lose      the daemon ends in good order; a member is away for a while; as before.
  fail      a member is failed by `stablefs fail` under load, and comes back by `stablefs replace`
            (the same file, or a new one), sometimes with a kill in the middle of its rebuild.
At the end of each fsck and a scrub must find nothing. Usage: kill.py --stablefs PROGRAM [--rounds N]
[--seed N] [--only KIND]. Prints TAP; with --json a line of JSON at the end.
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import livers

RECORD = 4096
WRITERS = 4
GEOMETRIES = (("raid5", 4, "t10"), ("raid5", 3, "none"), ("raid1", 2, "crc32c"), ("single", 1, "t10"))
SETTLE_S = 120  # a rebuild of these small volumes takes a second


def record(writer, number):
    line = b"writer %d record %d. " % (writer, number)
    return (line * (RECORD // len(line) + 1))[:RECORD]


class Writer(threading.Thread):
    """Appends until the mount dies; acknowledged: records that an fsync has covered."""

    def __init__(self, directory, index, seed):
        super().__init__(daemon=True)
        self.path = os.path.join(directory, f"writer-{index}")
        self.index, self.random = index, random.Random(seed)
        self.written = self.acknowledged = self.verified = 0
        self.stop, self.failed = False, None

    def run(self):
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError:
            return
        try:
            with os.fdopen(fd, "wb", buffering=0):
                self.append(fd)
        except OSError as error:  # also what the end of a dead mount's file says
            self.failed = str(error)

    def append(self, fd):
        self.written = self.acknowledged = os.fstat(fd).st_size // RECORD
        while not self.stop:
            for _ in range(self.random.randint(1, 40)):
                os.write(fd, record(self.index, self.written))
                self.written += 1
            upto = self.written
            os.fsync(fd)
            self.acknowledged = upto

    def check(self, mnt, lost_with_kill):
        """Acknowledged records are there; behind them whole ones, zeros never written, or nothing."""
        problems, path = [], os.path.join(mnt, f"writer-{self.index}")
        torn_from = self.acknowledged if lost_with_kill else None
        count = 0
        for i, block in enumerate(blocks_of(path, problems, torn_from)):
            count += 1
            wanted = record(self.index, i)
            if block is None or block == wanted:
                continue
            if i < self.acknowledged:
                problems.append(f"writer {self.index}: record {i} is not what was written")
                break
            if not lost_with_kill and block.strip(b"\0"):
                problems.append(f"writer {self.index}: foreign bytes in record {i}")
                break
        if count < self.acknowledged:
            problems.append(f"writer {self.index}: {count} records, {self.acknowledged} were "
                            "acknowledged")
        self.verified = count * RECORD
        return problems

    def cut_back(self, mnt):
        """The next one begins behind what was acknowledged."""
        path = os.path.join(mnt, f"writer-{self.index}")
        if os.path.exists(path):
            os.truncate(path, self.acknowledged * RECORD)


class Volume:
    def __init__(self, args, scratch, level, members, pi):
        self.program, self.dir = args.stablefs, os.path.join(scratch, "volume")
        self.mnt, self.away = os.path.join(scratch, "mnt"), os.path.join(scratch, "away")
        self.members = members
        os.makedirs(self.mnt, exist_ok=True)
        shutil.rmtree(self.dir, ignore_errors=True)
        self.run("create", "--level", level, "--members", str(members), "--size", "256M", "--pi", pi,
                 self.dir)
        self.daemon, self.lost = None, None

    def run(self, *argv, also=0):
        done = subprocess.run([self.program, *argv], text=True, capture_output=True, timeout=300)
        if done.returncode not in (0, also):
            raise RuntimeError(f"{' '.join(argv)}: status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def member(self, index):
        return os.path.join(self.dir, f"member-{index}")

    def lose(self, index):
        os.rename(self.member(index), self.away)
        self.lost = index

    def bring_back(self):
        if self.lost is not None:
            os.rename(self.away, self.member(self.lost))
            self.lost = None

    def mount(self):
        self.daemon = subprocess.Popen([self.program, "mount", "-f", self.dir, self.mnt],
                                       stderr=subprocess.DEVNULL)
        deadline = time.time() + 60
        while not os.path.ismount(self.mnt):
            if self.daemon.poll() is not None or time.time() > deadline:
                raise RuntimeError(f"no mount; the daemon's status is {self.daemon.poll()}")
            time.sleep(0.02)

    def wait_healthy(self):
        """Until every member is up to date again."""
        deadline = time.time() + SETTLE_S
        while True:
            members = json.loads(self.run("status", "--json", self.mnt, also=3))["members"]
            if all(m["state"] == "active" for m in members):
                return
            if time.time() > deadline:
                raise RuntimeError("no rebuild: " + ", ".join(m["state"] for m in members))
            time.sleep(0.1)

    def kill(self):
        if self.daemon:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon = None
        subprocess.run(["umount", "-l", self.mnt], stderr=subprocess.DEVNULL, check=False)

    def unmount(self):
        for _ in range(100):
            if subprocess.run(["umount", self.mnt], stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.1)
        status = self.daemon.wait(60)
        self.daemon = None
        if status:
            raise RuntimeError(f"the daemon ended with status {status}")


def blocks_of(path, problems, torn_from):
    """The records of a file; None for one that cannot be read, which may be from @torn_from on."""
    if not os.path.exists(path):
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        for i in range(os.fstat(fd).st_size // RECORD):
            try:
                yield os.pread(fd, RECORD, i * RECORD)
            except OSError as error:
                if torn_from is None or i < torn_from:
                    problems.append(f"{os.path.basename(path)}: record {i}: {error.strerror}")
                yield None
    finally:
        os.close(fd)


def verify(mnt, workers, lost_with_kill=False):
    """What was acknowledged is there. Where a member went together with the daemon, what was in
    flight there may be anything."""
    problems = []
    for w in workers:
        problems += w.check(mnt, lost_with_kill)
    return problems


def load(volume, rng, seconds):
    """Start the workers and let them work for a while."""
    workers = [Writer(volume.mnt, i, rng.random()) for i in range(WRITERS)]
    workers += [livers.Names(volume.mnt, i, rng.random()) for i in range(2)]
    workers += [livers.Database(volume.mnt, i, rng.random()) for i in range(2)]
    for w in workers:
        w.start()
    time.sleep(seconds)
    return workers


def finish(volume, writers):
    """Stop the writers by ending the mount in good order; what they wrote is acknowledged so far."""
    for w in writers:
        w.stop = True
    for w in writers:
        w.join(60)
        if w.is_alive():
            raise RuntimeError(f"{w.path} hangs")
        if w.failed:
            raise RuntimeError(f"{w.path}: {w.failed}, with the mount alive")
    volume.unmount()


def cut_back(volume, workers):
    for w in workers:
        w.cut_back(volume.mnt)


def killed(volume, rng):
    volume.mount()
    writers = load(volume, rng, rng.uniform(0.05, 1.0))
    volume.kill()
    for w in writers:
        w.join(30)
    return writers


def round_kill(volume, rng, tally):
    writers = killed(volume, rng)
    volume.mount()
    problems = verify(volume.mnt, writers)
    tally.look(writers, kills=1)
    cut_back(volume, writers)
    volume.unmount()
    return problems


def without_a_member(volume, rng, tally, writers, lost_with_kill):
    """Mounted without it: verify, write on; then with it again: verify."""
    volume.mount()
    problems = verify(volume.mnt, writers, lost_with_kill)
    tally.look(writers, losses=1)
    cut_back(volume, writers)
    writers = load(volume, rng, rng.uniform(0.05, 0.5))
    if rng.random() < 0.5:
        finish(volume, writers)
    else:
        volume.kill()
        tally.kills += 1
        for w in writers:
            w.join(30)
    volume.bring_back()
    volume.mount()
    problems += verify(volume.mnt, writers)  # while it is brought up to date
    volume.wait_healthy()
    problems += verify(volume.mnt, writers)
    tally.look(writers, returns=1)
    cut_back(volume, writers)
    volume.unmount()
    return problems


def round_kill_lose(volume, rng, tally):
    writers = killed(volume, rng)
    tally.kills += 1
    volume.lose(rng.randrange(volume.members))
    return without_a_member(volume, rng, tally, writers, True)


def round_lose(volume, rng, tally):
    volume.mount()
    writers = load(volume, rng, rng.uniform(0.05, 0.5))
    finish(volume, writers)
    volume.lose(rng.randrange(volume.members))
    return without_a_member(volume, rng, tally, writers, False)


def round_fail(volume, rng, tally):
    volume.mount()
    writers = load(volume, rng, rng.uniform(0.05, 0.5))
    index = rng.randrange(volume.members)
    volume.run("fail", volume.mnt, str(index))
    time.sleep(rng.uniform(0.05, 0.5))
    new = rng.random() < 0.5
    if new:
        os.unlink(volume.member(index))
    volume.run("replace", volume.mnt, str(index), volume.member(index))
    tally.losses += 1
    killed_too = rng.random() < 0.4
    if killed_too:
        time.sleep(rng.uniform(0, 0.3))
        volume.kill()
        tally.kills += 1
        for w in writers:
            w.join(30)
        volume.mount()
        problems = verify(volume.mnt, writers)
    else:
        problems = []
    volume.wait_healthy()
    if not killed_too:
        finish(volume, writers)
        volume.mount()
    problems += verify(volume.mnt, writers)
    tally.look(writers, returns=1)
    cut_back(volume, writers)
    volume.unmount()
    return problems


ROUNDS = {"kill": round_kill, "kill+lose": round_kill_lose, "lose": round_lose, "fail": round_fail}


class Tally:
    def __init__(self):
        self.kills = self.losses = self.returns = self.bytes = self.rounds = self.violations = 0

    def look(self, writers, kills=0, losses=0, returns=0):
        self.bytes += sum(w.verified for w in writers)
        self.kills += kills
        self.losses += losses
        self.returns += returns


def kinds_for(args, members):
    kinds = ["kill"]
    if members > 1:
        kinds += ["kill+lose", "lose"]
        verbs = [subprocess.run([args.stablefs, verb, "--help"], capture_output=True).returncode
                 for verb in ("fail", "replace")]
        kinds += ["fail"] * (verbs == [0, 0])
    return [k for k in kinds if args.only in (None, k)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--stablefs", default=os.environ.get("STABLEFS", "build/src/cli/stablefs"))
    p.add_argument("--rounds", type=int, default=5, help="for each geometry")
    p.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    p.add_argument("--only", choices=sorted(ROUNDS))
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"# kill.py --seed {args.seed} --rounds {args.rounds}", flush=True)
    rng, count, tally = random.Random(args.seed), 0, Tally()
    scratch = tempfile.mkdtemp(prefix="stablefs-kill-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    volume = None
    try:
        for level, members, pi in GEOMETRIES:
            volume = Volume(args, scratch, level, members, pi)
            kinds = kinds_for(args, members)
            for n in range(args.rounds):
                kind = kinds[n % len(kinds)]
                count += 1
                tally.rounds += 1
                try:
                    problems = ROUNDS[kind](volume, rng, tally)
                    volume.run("fsck", volume.dir)
                    volume.run("scrub", volume.dir)
                except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                    problems = [str(error)]
                tally.violations += bool(problems)
                print(f"{'not ok' if problems else 'ok'} {count} - {level} of {members}, PI {pi}: "
                      f"what was acknowledged survives: {kind}, round {n + 1}", flush=True)
                for line in problems:
                    print("# " + line, flush=True)
                volume.kill()
                volume.bring_back()
    finally:
        if volume:
            volume.kill()
        shutil.rmtree(scratch, ignore_errors=True)
    if args.json:
        print(json.dumps({"sweep": "kill", "seed": args.seed, **vars(tally)}))
    print(f"1..{count}")
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
