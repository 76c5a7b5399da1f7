#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The pure parts of the benchmark on made-up figures: what is chosen, how rounds become ratios and
verdicts, the cost model, the tables, the pictures. Prints TAP."""

import argparse
import os
import signal
import sys
import xml.etree.ElementTree
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))
import bench  # noqa: E402
import common  # noqa: E402
import cores  # noqa: E402
import cost  # noqa: E402
import fio  # noqa: E402
import meter  # noqa: E402
import plot  # noqa: E402
import report  # noqa: E402
import show  # noqa: E402
import summary  # noqa: E402
import workloads  # noqa: E402

SMALL, SMALL_READ = "4K random write, depth 16", "4K random read, depth 16"
STREAM = "4K sequential write, depth 16"
CASES = []


def case(test):
    CASES.append(test)
    return test


def called(*titles):
    return [w for w in workloads.WORKLOADS if w.title in titles]


def counters(writes=0):
    member = {"reads": writes, "writes": writes, "flushes": 0, "read_bytes": writes * 4096,
              "write_bytes": writes * 4096, "tuple_page_reads": 0, "tuple_page_writes": 1}
    return {"array": {"plan_rmw": 2 * writes, "merged": 0}, "members": [member] * 4,
            "below": {"read_bytes": 0, "write_bytes": 8 * writes * 4096}}


def measured(iops, ios=1000, **more):
    return {"iops": iops, "mib_s": iops / 256, "ios": ios, "bytes": ios * 4096, "seconds": 1.0,
            "p50_us": 10.0, "p99_us": 20.0, "p999_us": 400.0,
            "cpu": {"asker": 0.1, "daemon_user": 0.2, "daemon_system": 0.3, "rest": 0.4}, **more}


def made_up():
    """Two rounds; the machine is half as fast in the second one, and ratios stay what they are."""
    def rounds(iops, **more):
        return [measured(iops, **more), measured(iops / 2, **more)]
    ours = {"counters": counters(500), "peak_mib": 70.0}
    return {SMALL: {"bare": rounds(80000), "btrfs": rounds(2000),
                    "journal": rounds(11000, **ours), "bitmap": rounds(14000, **ours)}}


def verdict_of(array, key, results=None):
    rows = summary.summarize(called(SMALL), results or made_up())
    return rows[0]["arrays"][array][key]


# ---- workloads ----

@case
def every_aim_is_of_a_workload_that_is_there():
    titles = [w.title for w in workloads.WORKLOADS]
    named = [w.limit.workload for w in workloads.WORKLOADS if w.limit and w.limit.workload]
    return len(set(titles)) == len(titles) and all(n in titles for n in named)


@case
def a_workload_brings_along_the_one_that_its_limit_is_made_of():
    return [w.title for w in workloads.choose(["4k sequential*"])] == [SMALL, STREAM]


@case
def a_pattern_begins_with_a_word():
    return not any(w.title.startswith("64K") for w in workloads.choose(["4K random write"]))


@case
def a_part_is_a_pattern():
    return {w.part for w in workloads.choose(["buffered"])} == {"buffered"}


@case
def a_pattern_that_fits_nothing_chooses_nothing():
    return workloads.choose(["64K random read"]) == []


# ---- rounds, ratios, verdicts ----

@case
def a_ratio_is_taken_within_each_round():
    return verdict_of("journal", "btrfs")[:3] == (5.5, 5.5, 5.5)


@case
def an_aim_that_is_missed_is_called_so():
    return verdict_of("journal", "btrfs").met is False


@case
def an_aim_that_is_reached_is_called_so():
    return verdict_of("bitmap", "btrfs").met is True


@case
def a_limit_is_the_share_of_what_it_is_made_of():
    return abs(verdict_of("bitmap", "limit").ratio - 14000 / (80000 / 4)) < 1e-9


@case
def a_limit_that_is_another_modes_aim_is_a_figure_only():
    return verdict_of("journal", "limit").met is None


@case
def without_btrfs_there_is_no_verdict_on_it():
    results = made_up()
    del results[SMALL]["btrfs"]
    return verdict_of("journal", "btrfs", results) is None


@case
def where_less_is_better_the_ratio_is_turned_round():
    return summary.ratio([2.0], [8.0], less_is_better=True) == (4.0, 4.0, 4.0)


@case
def the_spread_is_the_least_and_the_most_of_the_rounds():
    return summary.ratio([1.0, 6.0, 4.0], [1.0, 2.0, 2.0]) == (2.0, 1.0, 3.0)


@case
def nothing_measured_gives_no_ratio():
    return summary.ratio([0, 5.0], [3.0, 0]) is None


@case
def our_own_other_workload_is_a_limit():
    rounds = {"journal": [measured(9000)]}
    rows = summary.summarize(called(SMALL, STREAM),
                             {SMALL: rounds, STREAM: {"journal": [measured(36000)]}})
    found = rows[1]["arrays"]["journal"]["limit"]
    return found.ratio == 4.0 and found.met


@case
def the_better_null_server_is_the_limit():
    title = "single, in memory: " + SMALL
    rows = summary.summarize(called(title), {title: {
        "single": [measured(90)], "null-1": [measured(100)], "null-2": [measured(80)]}})
    return rows[0]["arrays"]["single"]["limit"].ratio == 0.9


@case
def two_builds_are_compared_in_each_round():
    rows = summary.compare_builds(called(SMALL), {SMALL: {
        "journal": [measured(30), measured(60)],
        "journal@old": [measured(20), measured(30)]}}, "@old")
    return rows[0]["ratio"] == (1.75, 1.5, 2.0)


@case
def cpu_time_is_counted_for_each_request_and_byte():
    cpu = summary.cpu_cost([measured(1, ios=1000)])["daemon_system"]
    return abs(cpu["per_million"] - 300) < 1e-9 and abs(cpu["per_gib"] - 0.3 * 2**18 / 1000) < 1e-9


# ---- runs that go wrong ----

def one_round(measure):
    """A Bench of two workloads on one target, after measuring with @measure(title)."""
    args = argparse.Namespace(minutes=1, rounds=2, seed=1)
    run = bench.Bench(args, None, None, argparse.Namespace(step=lambda *_: None))
    target = argparse.Namespace(name="journal")
    chosen = called(SMALL, STREAM)
    run.measure = lambda _: run.rounds(chosen, [target], 1, 1.0, lambda w, t, s: measure(w.title))
    run.done = run.measure_or_end(chosen)
    return run


@case
def what_was_measured_before_a_signal_is_kept():
    def measure(title):
        if title == STREAM:
            sys.exit(130)
        return measured(5)
    run = one_round(measure)
    return run.ended == 130 and [w.title for w in run.done] == [SMALL] and \
        len(run.results[SMALL]["journal"]) == 1


@case
def what_fails_is_left_out_and_named_and_the_rest_goes_on():
    def measure(title):
        if title == SMALL:
            raise common.Failure("no room")
        return measured(5)
    run = one_round(measure)
    return [w.title for w in run.done] == [STREAM] and len(run.results[STREAM]["journal"]) == 2 \
        and len(run.notes) == 1 and "no room" in run.notes[0]


def signalled(work):
    """What @work(seen) has seen, and the code that it ended with, if it did."""
    seen = []
    before = {n: signal.signal(n, common.leave_once) for n in common.ENDING}
    try:
        work(seen)
    except SystemExit as end:
        seen.append(end.code)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return seen


@case
def a_signal_ends_a_run_behind_what_goes_together():
    def work(seen):
        with common.undisturbed():
            with common.undisturbed():
                os.kill(os.getpid(), signal.SIGTERM)
            seen.append("inside")
        seen.append("behind")
    return signalled(work) == ["inside", 143]


@case
def all_is_undone_though_a_signal_comes_meanwhile():
    def work(seen):
        with common.undoing() as undo:
            undo.callback(seen.append, "first")
            undo.callback(os.kill, os.getpid(), signal.SIGINT)
            undo.callback(seen.append, "last")
        seen.append("behind")
    return signalled(work) == ["last", "first", 130]


# ---- meters ----

@case
def a_difference_goes_through_lists_and_leaves_words_out():
    return meter.difference({"a": [{"n": 1, "path": "x", "here": True}], "gone": 1},
                            {"a": [{"n": 5, "path": "x", "here": True}], "new": 1}) == \
        {"a": [{"n": 4}]}


@case
def what_neither_the_program_nor_the_daemon_spent_is_the_rest():
    before = {"busy": 100.0, "children": (1.0, 1.0), "daemon": (5.0, 5.0)}
    after = {"busy": 110.0, "children": (2.0, 3.0), "daemon": (6.0, 7.0)}
    return meter.cpu_split(before, after) == {"asker": 3.0, "daemon_user": 1.0,
                                              "daemon_system": 2.0, "rest": 4.0}


@case
def fio_is_understood_with_a_warning_before_its_report():
    text = 'fio: a note\n{"jobs": [{"read": {"iops": 7.5, "bw_bytes": 1048576, "total_ios": 9, ' \
           '"io_bytes": 36864, "runtime": 2000, "lat_ns": {"percentile": {"50.000000": 5000}}}, ' \
           '"usr_cpu": 5.0, "sys_cpu": 20.0}]}'
    got = fio.parse(text, "randread")
    return (got["iops"], got["mib_s"], got["seconds"], got["p50_us"], got["cpu_s"]) == \
        (7.5, 1.0, 2.0, 5.0, 0.5)


# ---- the cost model ----

@case
def a_small_write_is_four_transfers_and_a_log_of_two_blocks():
    said = cost.model("randwrite", 4096, "journal")
    return (said["reads"], said["writes"], said["log_bytes"]) == (2, 2, 8192)


@case
def with_marks_alone_nothing_is_logged():
    return cost.model("randwrite", 4096, "bitmap")["log_bytes"] == 0


@case
def a_stream_reads_nothing_and_writes_a_third_more():
    said = cost.model("write", 3 * 64 * 1024, "journal")
    return (said["reads"], said["writes"], said["write_bytes"]) == (0, 4, 4 * 64 * 1024)


@case
def counters_are_divided_by_the_requests():
    got = cost.measured(counters(500), 1000)
    return (got["reads"], got["write_bytes"], got["log_bytes"]) == (2.0, 8192.0, 8192.0) and \
        got["plans"] == {"rmw": 1.0}


@case
def rounds_are_added_up_for_the_cost():
    rows = summary.summarize(called(SMALL), made_up())
    return rows[0]["arrays"]["journal"]["cost"]["measured"]["writes"] == 2.0


@case
def what_moved_below_is_counted_for_each_byte_that_was_asked_for():
    row = summary.summarize(called(SMALL), made_up())[0]["targets"]["journal"]
    return row["moved"] == {"read": 0.0, "write": 4.0}


# ---- the model of more cores ----

COST = {"engine": 10e-6, "others": 5e-6, "program": 4e-6, "rest": 1e-6, "transfers": 4.0,
        "moved_bytes": 16384.0, "rate": 50000.0}
FULL_ROUND = {k.title: [COST] for k in cores.KINDS}


def found(**checks):
    """One round of each; the empty servers carry 150,000 and 120,000 requests a second."""
    return {"memory": {"free": FULL_ROUND, **{
        c: {k.title: [rate] for k in cores.KINDS} for c, rate in checks.items()}},
        "null": {n: {k.title: [rate] for k in cores.KINDS}
                 for n, rate in (("null-1", 150000.0), ("null-2", 120000.0))}}


@case
def an_engine_thread_is_full_when_its_time_is_used_up():
    return round(cores.full_rate(COST)) == 100000 and round(cores.cores_when_full(COST), 9) == 2


@case
def more_engine_threads_bring_nothing_where_the_cores_are_used_up():
    return round(cores.rate(COST, 8, 2)) == 100000 and round(cores.rate(COST, 8, 4)) == 200000


@case
def engine_threads_end_at_what_a_connection_carries():
    return round(cores.rate(COST, 8, 64, 150000)) == 150000 and \
        round(cores.cores_for(COST, 8, 150000), 9) == 3


@case
def on_one_cpu_all_but_the_rest_take_turns():
    return round(cores.foretold(COST, "together", 2) * 19e-6, 9) == 1


@case
def apart_the_slower_side_says_how_fast_it_goes():
    slow_program = {**COST, "program": 40e-6}
    return round(cores.foretold(COST, "apart", 2) * 15e-6, 9) == 1 and \
        round(cores.foretold(slow_program, "apart", 2)) == 25000


@case
def seconds_of_the_daemon_that_are_not_the_engines_are_the_others():
    spent = {"engine": 1.0, "daemon": 1.5, "program": 0.25, "busy": 2.0}
    got = cores.costs_of(spent, 0.25, 100)
    return (got["engine"], got["others"], got["program"], got["rest"]) == \
        (0.01, 0.005, 0.0025, 0.0025)


@case
def the_start_of_the_program_is_no_part_of_a_request():
    spent = {"engine": 1.0, "daemon": 1.0, "program": 3.0, "busy": 4.5}
    got = cores.costs_of(spent, 2.0, 100)
    return (got["program"], got["rest"]) == (0.02, 0.005)


@case
def what_the_members_moved_is_divided_by_the_requests():
    spent = {"counters": {"members": [{"reads": 5, "writes": 15, "read_bytes": 0,
                                       "write_bytes": 4096}] * 4}}
    got = cores.transfers_of(spent, 20)
    return (got["transfers"], got["moved_bytes"]) == (4.0, 819.2)


@case
def a_run_is_held_against_what_the_model_says_of_it():
    rows, checks = cores.summarize(cores.KINDS, found(two=50000.0), 2)
    return len(rows) == len(cores.KINDS) and round(checks[0]["foretold"]) == 100000 and \
        round(checks[0]["ratio"], 9) == 0.5 and rows[0]["engines"][0]["rate"] == 150000.0


@case
def kinds_are_chosen_by_how_they_begin():
    return [k.bs for k in cores.chosen(["4k"])] == ["4k", "4k"] and \
        cores.chosen(["K"]) == [] and cores.chosen([]) == cores.KINDS


@case
def the_tables_of_the_cores_have_as_many_cells_in_each_line():
    rows, checks = cores.summarize(cores.KINDS, found(apart=1.0), 2)
    made = [cores.cost_lines(rows), cores.model_lines(rows), cores.check_lines(checks)]
    return all(len(line) == len(head) for head, lines in made for line in lines) and \
        all(lines for _, lines in made)


# ---- tables and pictures ----

@case
def the_table_names_verdicts():
    text = report.verdicts_table(summary.summarize(called(SMALL), made_up()))
    return ">= 6: met" in text and ">= 6: NOT met" in text


@case
def every_table_can_be_made_of_nothing():
    return not any(f([]) for f in (report.figures_table, report.verdicts_table,
                                   report.latency_table, report.cpu_table, report.cost_table,
                                   report.growth_table, report.moved_table,
                                   report.spread_note))


@case
def of_several_results_the_first_counts():
    def document(*titles):
        return {"rows": [{"workload": t, "from": titles} for t in titles], "growth": []}
    rows = show.merge([document("a"), document("a", "b")])["rows"]
    return [(r["workload"], len(r["from"])) for r in rows] == [("a", 1), ("b", 2)]


@case
def a_table_in_markdown_has_as_many_cells_in_each_line():
    rows = summary.plain(summary.summarize(called(SMALL), made_up()))
    tables = [show.throughput(rows), show.latencies(rows), show.processor(rows), show.costs(rows)]
    return all(len({line.replace("---|", "-- |").count(" |") for line in t if line}) == 1
               for t in tables)


@case
def a_logarithmic_axis_keeps_its_ends():
    place = plot.log_scale(1, 100, 0, 200)
    return [place(v) for v in (0.1, 1, 10, 100, 1000)] == [0, 0, 100, 200, 200]


@case
def ticks_enclose_the_values():
    return plot.powers(0.7, 9) == [0.5, 1, 2, 4, 8, 16] and plot.powers(1, 1) == [1, 2]


def pictures():
    point = {"series": "s", "members": 4, "iops": 1.0, "member_mib_s": 2.0, "p50_us": 1,
             "p99_us": 2, "peak_mib": 70}
    longest = max((w.title for w in workloads.WORKLOADS if w.limit), key=len)
    results = {**made_up(), longest: {"single": [measured(50)], "null-1": [measured(100)]}}
    rows = summary.plain(summary.summarize(called(SMALL, longest), results))
    document = {"rows": rows, "growth": [{**point, "label": "<1>", "mib_s": 5.0},
                                         {**point, "label": "2", "mib_s": 0.0}]}
    return [plot.draw_ratios(document, "btrfs", "t", "b", str), plot.draw_latency(document),
            plot.draw_ratios(document, "limit", "t", "b", str), plot.draw_cpu(document),
            plot.draw_growth(document),
            plot.draw_cores(cores.summarize(cores.KINDS, found(), 2)[0])]


@case
def every_picture_is_well_formed():
    return all(xml.etree.ElementTree.fromstring(p.document()) is not None for p in pictures())


@case
def nothing_lies_outside_a_picture():
    for picture in pictures():
        for e in xml.etree.ElementTree.fromstring(picture.document()).iter():
            x, y = float(e.get("x", 0)), float(e.get("y", 0))
            if e.get("text-anchor") == "end":
                x -= 0.54 * float(e.get("font-size")) * len(e.text)  # about as wide as it is
            if not (0 <= x <= picture.width and 0 <= y <= picture.height and
                    x + float(e.get("width", 0)) <= picture.width + 0.5):
                return False
    return True


@case
def there_is_no_picture_of_nothing():
    nothing = {"rows": [], "growth": []}
    return plot.draw_cpu(nothing) is None and plot.draw_growth(nothing) is None and \
        plot.draw_latency(nothing) is None and plot.draw_cores([]) is None


def main():
    failed = 0
    print(f"1..{len(CASES)}")
    for number, test in enumerate(CASES, 1):
        good = test()
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {test.__name__.replace('_', ' ')}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
