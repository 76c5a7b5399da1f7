#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kill the daemon under load, mount again, and look: what fsync acknowledged must be there.

Each round: writers append numbered records to files of their own, fsync now and then, and note how
far an fsync got. The daemon is killed by SIGKILL at a random moment, the dead mount is taken away, the
volume is mounted again (which resyncs it), every file is compared with what was acknowledged, and a
scrub must find nothing. Usage: kill.py --stablefs PROGRAM [--rounds N] [--seed N]. Prints TAP.
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

RECORD = 4096
WRITERS = 4
GEOMETRIES = (("raid5", 4, "t10"), ("raid5", 3, "none"), ("raid1", 2, "crc32c"), ("single", 1, "t10"))


def record(writer, number):
    line = b"writer %d record %d. " % (writer, number)
    return (line * (RECORD // len(line) + 1))[:RECORD]


class Writer(threading.Thread):
    """Appends until the mount dies; acknowledged: records that an fsync has covered."""

    def __init__(self, directory, index, seed):
        super().__init__(daemon=True)
        self.path = os.path.join(directory, f"writer-{index}")
        self.index, self.random = index, random.Random(seed)
        self.written = self.acknowledged = 0

    def run(self):
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            fd = os.open(self.path, flags, 0o644)
            self.written = self.acknowledged = os.fstat(fd).st_size // RECORD
            while True:
                for _ in range(self.random.randint(1, 40)):
                    os.write(fd, record(self.index, self.written))
                    self.written += 1
                upto = self.written
                os.fsync(fd)
                self.acknowledged = upto
        except OSError:
            return


class Volume:
    def __init__(self, args, scratch, level, members, pi):
        self.program, self.dir = args.stablefs, os.path.join(scratch, "volume")
        self.mnt = os.path.join(scratch, "mnt")
        os.makedirs(self.mnt, exist_ok=True)
        shutil.rmtree(self.dir, ignore_errors=True)
        self.run("create", "--level", level, "--members", str(members), "--size", "256M", "--pi", pi,
                 self.dir)
        self.daemon = None

    def run(self, *argv):
        done = subprocess.run([self.program, *argv], text=True, capture_output=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: status {done.returncode}: {done.stderr.strip()}")

    def mount(self):
        self.daemon = subprocess.Popen([self.program, "mount", "-f", self.dir, self.mnt],
                                       stderr=subprocess.DEVNULL)
        deadline = time.time() + 60
        while not os.path.ismount(self.mnt):
            if self.daemon.poll() is not None or time.time() > deadline:
                raise RuntimeError(f"no mount; the daemon's status is {self.daemon.poll()}")
            time.sleep(0.02)

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


def verify(mnt, writers):
    problems = []
    for w in writers:
        try:
            data = open(os.path.join(mnt, f"writer-{w.index}"), "rb").read()
        except FileNotFoundError:
            data = b""
        if len(data) < w.acknowledged * RECORD:
            problems.append(f"writer {w.index}: {len(data) // RECORD} records, "
                            f"{w.acknowledged} were acknowledged")
        for i in range(min(len(data) // RECORD, w.acknowledged)):
            if data[i * RECORD:(i + 1) * RECORD] != record(w.index, i):
                problems.append(f"writer {w.index}: record {i} is not what was written")
                break
        # Behind what was acknowledged: whole records, zeros never written, or nothing.
        for i in range(w.acknowledged, len(data) // RECORD):
            block = data[i * RECORD:(i + 1) * RECORD]
            if block != record(w.index, i) and block.strip(b"\0"):
                problems.append(f"writer {w.index}: foreign bytes in record {i}")
                break
    return problems


def one_round(volume, rng):
    volume.mount()
    writers = [Writer(volume.mnt, i, rng.random()) for i in range(WRITERS)]
    for w in writers:
        w.start()
    time.sleep(rng.uniform(0.05, 1.0))
    volume.kill()
    for w in writers:
        w.join(30)
    volume.mount()
    problems = verify(volume.mnt, writers)
    for w in writers:  # the next round begins behind what is there now
        path = os.path.join(volume.mnt, f"writer-{w.index}")
        if os.path.exists(path):
            os.truncate(path, w.acknowledged * RECORD)
    volume.unmount()
    volume.run("scrub", volume.dir)
    return problems


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--stablefs", default=os.environ.get("STABLEFS", "build/src/cli/stablefs"))
    p.add_argument("--rounds", type=int, default=5, help="for each geometry")
    p.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    args = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"# kill.py --seed {args.seed} --rounds {args.rounds}", flush=True)
    rng, count, failed = random.Random(args.seed), 0, 0
    scratch = tempfile.mkdtemp(prefix="stablefs-kill-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    volume = None
    try:
        for level, members, pi in GEOMETRIES:
            volume = Volume(args, scratch, level, members, pi)
            for n in range(args.rounds):
                count += 1
                try:
                    problems = one_round(volume, rng)
                except RuntimeError as error:
                    problems = [str(error)]
                failed += bool(problems)
                print(f"{'not ok' if problems else 'ok'} {count} - {level} of {members}, PI {pi}: "
                      f"what was acknowledged survives kill {n + 1}", flush=True)
                for line in problems:
                    print("# " + line, flush=True)
                volume.kill()
    finally:
        if volume:
            volume.kill()
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"1..{count}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
