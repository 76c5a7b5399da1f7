# SPDX-License-Identifier: MIT
"""Buffered work: programs as they are, through the page cache, made durable at the end."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

import fio
from common import Failure, drop_caches, run, undisturbed

HERE = os.path.dirname(os.path.abspath(__file__))
NOBODY = 65534
TREES = ("/usr/include", "/usr/share/doc", "/usr/lib/python3")
TREE_MAX = 48 * 2**20


def postgres_bin():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    return os.path.dirname(found[-1]) if found and shutil.which("setpriv") else None


class Buffered:
    """What the workloads need once: a tree to unpack, a database cluster to copy. In memory, so
    that reading them is no part of a figure."""

    def __init__(self, place, seconds, size_mib, seed, wanted):
        self.place, self.seconds, self.size_mib, self.seed = place, seconds, size_mib, seed
        self.pg = postgres_bin() if os.geteuid() == 0 else None
        self.commands = {}
        if "untar" in wanted:
            self.make_tree()
        if "pgbench" in wanted and self.pg:
            self.make_cluster()

    def lacks(self, what):
        """Why it cannot be measured here; None: it can."""
        if what == "pgbench" and not self.pg:
            return "no PostgreSQL (postgres, pgbench, setpriv) here, or not root"
        return None

    # ---- untar ----

    def make_tree(self):
        """The sources of a folder that every machine to build on has, as far as TREE_MAX goes."""
        source = next(t for t in TREES if os.path.isdir(t))
        names, size = self.place.path("names"), 0
        with open(names, "w") as f:
            for top, dirs, files in os.walk(source):
                dirs.sort()
                for name in sorted(files):
                    path = os.path.join(top, name)
                    if os.path.isfile(path) and not os.path.islink(path) and size < TREE_MAX:
                        size += os.path.getsize(path)
                        f.write(os.path.relpath(path, "/") + "\n")
        self.tar = self.place.path("tree.tar")
        run("tar", "-C", "/", "-cf", self.tar, "-T", names)
        self.files = sum(1 for _ in open(names))
        self.commands["untar"] = (f"tar -xf TREE -C DIR && sync -f DIR ({self.files} files of "
                                  f"{source}, {size / 2**20:.0f} MiB)")

    def untar(self, target, seed):
        del seed
        top = os.path.join(target.dir, "tree")
        os.mkdir(top)
        start = time.monotonic()
        run("tar", "-xf", self.tar, "-C", top, "--no-same-owner")
        run("sync", "-f", top)
        took = time.monotonic() - start
        return {"value": took, "ios": self.files, "bytes": os.path.getsize(self.tar),
                "seconds": took}

    def untar_end(self, target):
        shutil.rmtree(os.path.join(target.dir, "tree"))

    # ---- sequential ----

    def sequential(self, what, argv):
        self.commands[what] = " ".join(argv[:1] + [re.sub("=/.*(buffered)", r"=DIR/\1", a)
                                                   for a in argv[1:]])
        start = time.monotonic()
        run(*argv)
        took = time.monotonic() - start
        return {"value": self.size_mib / took, "ios": self.size_mib, "seconds": took,
                "bytes": self.size_mib * 2**20}

    def write(self, target, seed):
        del seed
        return self.sequential("write", ["dd", "if=/dev/zero", f"of={target.dir}/buffered",
                                         "bs=1M", f"count={self.size_mib}", "conv=fsync"])

    def read_begin(self, target):
        path = os.path.join(target.dir, "buffered")
        if not os.path.exists(path) or os.path.getsize(path) < self.size_mib * 2**20:
            fio.fill(path, self.size_mib)
        drop_caches()

    def read(self, target, seed):
        del seed
        return self.sequential("read", ["dd", f"if={target.dir}/buffered", "of=/dev/null",
                                        "bs=1M"])

    # ---- databases ----

    def sqlite(self, target, seed):
        top = os.path.join(target.dir, "sqlite")
        os.mkdir(top)
        argv = [sys.executable, os.path.join(HERE, "sqliteload.py"), top, str(self.seconds),
                str(seed)]
        self.commands["sqlite"] = f"bench/sqliteload.py DIR {self.seconds} SEED"
        result = json.loads(run(*argv).stdout)
        result.update(value=result["rate"], seconds=self.seconds)
        return result

    def sqlite_end(self, target):
        shutil.rmtree(os.path.join(target.dir, "sqlite"))

    def as_nobody(self, *argv):
        return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "env",
                "HOME=/nonexistent", *argv]

    def make_cluster(self):
        self.sock = self.place.mkdir("sock")
        os.chown(self.sock, NOBODY, NOBODY)
        self.cluster = self.place.mkdir("cluster")
        os.chown(self.cluster, NOBODY, NOBODY)
        run(*self.as_nobody(self.pg + "/initdb", "-D", self.cluster, "-U", "bench",
                            "--auth=trust", "--no-sync"))
        with open(self.cluster + "/postgresql.conf", "a") as f:
            f.write(f"listen_addresses = ''\nunix_socket_directories = '{self.sock}'\n"
                    "shared_buffers = 32MB\nmax_wal_size = 128MB\n")
        server = self.start_server(self.cluster)
        try:
            run(self.pg + "/pgbench", *self.login(), "-i", "-q", "-s", "5", "postgres")
        finally:
            self.stop_server(server)

    def login(self):
        return ["-h", self.sock, "-U", "bench"]

    def start_server(self, data):
        with undisturbed():
            server = subprocess.Popen(self.as_nobody(self.pg + "/postgres", "-D", data),
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
            deadline = time.time() + 60
            while run(self.pg + "/pg_isready", "-q", *self.login(), check=False).returncode:
                if time.time() > deadline or server.poll() is not None:
                    self.stop_server(server)
                    raise Failure(f"PostgreSQL does not start on {data}")
                time.sleep(0.05)
            return server

    @staticmethod
    def stop_server(server):
        server.send_signal(2)  # fast shutdown
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def pgbench_begin(self, target):
        data = os.path.join(target.dir, "pg")
        if not os.path.exists(data):
            run("cp", "-a", self.cluster, data)
        self.server = self.start_server(data)

    def pgbench(self, target, seed):
        del target
        argv = [self.pg + "/pgbench", *self.login(), "-c", "4", "-j", "2", "-n", "-T",
                str(max(1, round(self.seconds))), f"--random-seed={seed}", "postgres"]
        self.commands["pgbench"] = " ".join(argv[:1] + argv[5:]).replace(str(seed), "SEED")
        text = run(*argv).stdout
        tps = float(re.search(r"^tps = ([0-9.]+)", text, re.MULTILINE)[1])
        done = int(re.search(r"actually processed: (\d+)", text)[1])
        mean = float(re.search(r"latency average = ([0-9.]+) ms", text)[1])
        return {"value": tps, "ios": done, "seconds": self.seconds, "mean_us": mean * 1000}

    def pgbench_end(self, target):
        del target
        self.stop_server(self.server)

    def measure(self, what, target, seed, metered):
        """One figure. What comes before and after it is not metered, and undone in any case."""
        getattr(self, what + "_begin", lambda t: None)(target)
        try:
            return metered(target, lambda: getattr(self, what)(target, seed))
        finally:
            getattr(self, what + "_end", lambda t: None)(target)
            target.settle()
