# SPDX-License-Identifier: MIT
"""What a piece of work took: processor time by who spent it, memory of the daemon, I/Os of the
array. The machine is expected to do nothing else."""
from common import busy_seconds, children_seconds, memory_mib, process_seconds, reset_peak


def snapshot(target):
    return {"busy": busy_seconds(), "children": children_seconds(),
            "daemon": process_seconds(target.pid) if target.pid else (0.0, 0.0),
            "counters": target.counters()}


def difference(before, after):
    """Numbers of nested dictionaries and lists; what is no number is left out."""
    if isinstance(after, dict):
        inner = {k: difference(before[k], v) for k, v in after.items() if k in before}
        return {k: v for k, v in inner.items() if v is not None}
    if isinstance(after, list):
        return [difference(b, a) for b, a in zip(before, after)]
    if isinstance(after, bool) or not isinstance(after, (int, float)):
        return None
    return after - before


def cpu_split(before, after):
    """Seconds of the program that asked, of the daemon, and of everything else: the kernel's own
    threads and interrupts."""
    asker = [a - b for a, b in zip(after["children"], before["children"])]
    daemon = [a - b for a, b in zip(after["daemon"], before["daemon"])]
    rest = after["busy"] - before["busy"] - sum(asker) - sum(daemon)
    return {"asker": sum(asker), "daemon_user": daemon[0], "daemon_system": daemon[1],
            "rest": max(rest, 0.0)}


def metered(target, work):
    """What @work() returns, a dictionary, with what it took beside."""
    if target.pid:
        reset_peak(target.pid)
    before = snapshot(target)
    result = work()
    after = snapshot(target)
    result["cpu"] = cpu_split(before, after)
    if target.pid:
        result["peak_mib"] = memory_mib(target.pid, "VmHWM")
    if after["counters"]:
        result["counters"] = difference(before["counters"], after["counters"])
    return result
