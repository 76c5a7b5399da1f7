# SPDX-License-Identifier: MIT
"""The cost model: what a write or read of a raid5 of four costs the members, from the plan alone
(docs/design.md, docs/performance.md), beside what the members counted.

Pure. Numbers are per request of the user; the model is of aligned requests, without merging unless
the workload is sequential, and of the steady state: tuples and marks are amortised to nothing. An
I/O is one transfer of one member; transfers that belong to the log are counted apart, since they
are batched."""

DATA = 3            # data slots of a row
CHUNK = 64 * 2**10
STRIPE = DATA * CHUNK


def plan_partial(length):
    """A write of @length aligned bytes inside one chunk: rmw reads old data and old parity, rcw the
    two other slots; as many I/Os, as many bytes. Data and parity are written, both are logged."""
    return {"reads": 2.0, "writes": 2.0, "read_bytes": 2 * length, "write_bytes": 2 * length,
            "log_bytes": 2 * length, "plan": "rmw or rcw"}


def plan_full(length):
    """A stream of writes, merged to full stripes: nothing is read, nothing is logged."""
    stripes = length / STRIPE
    return {"reads": 0.0, "writes": stripes * (DATA + 1), "read_bytes": 0,
            "write_bytes": length * (DATA + 1) / DATA, "log_bytes": 0, "plan": "full"}


def plan_read(length):
    """One transfer for each chunk that is touched; tuples come from memory."""
    return {"reads": max(1.0, length / CHUNK), "writes": 0.0, "read_bytes": length,
            "write_bytes": 0, "log_bytes": 0, "plan": "read"}


def model(rw, length, hole):
    """What the plan says of one request. @hole: journal or bitmap."""
    if "read" in rw:
        return plan_read(length)
    if rw == "write":
        return plan_full(length)
    said = plan_partial(length)
    if hole != "journal":
        said["log_bytes"] = 0
    return said


def measured(counters, ios):
    """The same of a difference of counters over @ios requests. Bytes of the log, of marks and of
    tuple pages are what the process moved beyond the members' own transfers."""
    members = counters["members"]

    def each(name):
        return sum(m.get(name, 0) for m in members) / ios
    moved = counters["below"]["write_bytes"] / ios
    array = counters["array"]
    plans = {p: array.get("plan_" + p, 0) / ios for p in ("full", "rmw", "rcw", "degraded")}
    return {"reads": each("reads"), "writes": each("writes"), "flushes": each("flushes"),
            "read_bytes": each("read_bytes"), "write_bytes": each("write_bytes"),
            "log_bytes": max(moved - each("write_bytes"), 0.0),
            "tuple_pages": each("tuple_page_reads") + each("tuple_page_writes"),
            "merged": array.get("merged", 0) / ios,
            "plans": {p: n for p, n in plans.items() if n > 0.005}}
