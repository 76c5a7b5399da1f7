# SPDX-License-Identifier: MIT
"""What the benchmarks share: running a command, saying why one failed, what /proc knows."""
import contextlib
import os
import platform
import resource
import signal
import subprocess
import sys
import time

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TICK = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    pass


def run(*argv, check=True, **options):
    done = subprocess.run(argv, text=True, capture_output=True, stdin=subprocess.DEVNULL, **options)
    if check and done.returncode:
        raise Failure(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done


def say(text):
    print(text, file=sys.stderr, flush=True)


held = {"depth": 0, "signal": None}


def leave_once(number, _):
    """The first signal ends the run; what undoes it is not disturbed by a second one."""
    if held["depth"]:
        held["signal"] = held["signal"] or number
        return
    for n in ENDING:
        signal.signal(n, signal.SIG_IGN)
    sys.exit(128 + number)


@contextlib.contextmanager
def undisturbed():
    """A signal ends the run only behind this: what is made here, and who undoes it, go together."""
    held["depth"] += 1
    try:
        yield
    finally:
        held["depth"] -= 1
        if held["signal"] and not held["depth"]:
            number, held["signal"] = held["signal"], None
            leave_once(number, None)


@contextlib.contextmanager
def undoing():
    """Callbacks that undo what was set up, all of them, whatever ends the run and when."""
    undo = contextlib.ExitStack()
    try:
        yield undo
    finally:
        with undisturbed():
            undo.close()


def run_main(main):
    """The exit status is main()'s; 1 with a reason where a command failed. Whatever ends it, what
    is to be undone is undone."""
    for number in ENDING:
        signal.signal(number, leave_once)
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"bench: {failure}")


class Progress:
    """Lines on stderr with the time that is left, judged by the weights of what was done so far."""

    def __init__(self, total):
        self.total, self.done, self.start = total, 0.0, None

    def step(self, weight, text):
        left = ""
        self.start = self.start or time.monotonic()
        if self.done:
            spent = time.monotonic() - self.start
            left = f", {as_clock(spent / self.done * max(self.total - self.done, 0))} left"
        say(f"bench: [{min(self.done / max(self.total, 1e-9), 1):4.0%}{left}] {text}")
        self.done += weight


def as_clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


# ---- mounts ----

def unmount(path):
    """At once, or when whoever looks at it for a moment has gone."""
    for _ in range(50):
        if run("umount", path, check=False).returncode == 0 or not os.path.ismount(path):
            return
        time.sleep(0.2)
    run("umount", "-l", path, check=False)


def wait_for_member(path, seconds=60):
    """Until the daemon that had this member open has ended."""
    run("flock", "-w", str(seconds), path, "true", check=False)


def end_process(process, seconds=60):
    """It ends by itself, unless another mount namespace has a copy of its mount."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()


def drop_caches():
    os.sync()
    with contextlib.suppress(OSError), open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3\n")


# ---- time and memory ----

def process_seconds(pid):
    """User and system time of a process so far, all of its threads."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICK, int(fields[12]) / TICK


def children_seconds():
    """User and system time of the children that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime, usage.ru_stime


def busy_seconds():
    """Of all processors since boot: everything but idle, waiting for disks, and stolen."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq = map(int, f.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICK


def memory_mib(pid, field):
    """VmRSS: now; VmHWM: the most since reset_peak()."""
    with open(f"/proc/{pid}/status") as f:
        return int(next(line for line in f if line.startswith(field + ":")).split()[1]) / 1024


def reset_peak(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w") as f:
        f.write("5\n")


def machine():
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":", 1)[1].strip() for line in f
                    if line.startswith("model name")), "unknown")
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) / 2**20
    return {"cpu": cpu, "cpus": os.cpu_count(), "memory_gib": round(memory, 1),
            "kernel": platform.release()}
