#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run test programs side by side and count their cases, not the programs.

Programs come from a meson build directory (--meson DIR [--suite NAME]...) or from the command
line. Each speaks TAP on stdout (cmocka does, by CMOCKA_MESSAGE_OUTPUT=TAP); one that does not is
one case, judged by its exit status (77: skipped). A crash, a time-out or a plan that was not
fulfilled is one failed case more. With CI=true a skip is a failure: there everything must run, save
what --may-skip names.

The last line is "N passed, N failed[, N skipped]". Exit 1 where something failed or nothing ran.
On INT and TERM the running programs get TERM, and KILL after a while; nobody else's do.
"""

import argparse
import fnmatch
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

TAP_LINE = re.compile(r"^(not ok|ok)\b\s*\d*\s*(?:-\s*)?(.*)$")
TAP_PLAN = re.compile(r"^1\.\.(\d+)\s*(?:#\s*(.*))?$")
TAP_SKIP = re.compile(r"#\s*skip\b", re.IGNORECASE)
GRACE_S = 15  # between TERM and KILL: a mounted test unmounts in this time


class Program:
    """A test program and what became of it."""

    def __init__(self, name, argv, env=None, workdir=None, timeout_s=60):
        self.name, self.argv, self.env = name, argv, env or {}
        self.workdir, self.timeout_s = workdir, timeout_s
        self.passed = self.failed = self.skipped = 0
        self.skipped_names = []
        self.notes, self.output, self.seconds = [], "", 0.0


def note_skip(program, what):
    program.skipped += 1
    program.skipped_names.append(what)
    program.notes.append("skipped: " + what)


def tap_count(program, stdout, status):
    """Count @stdout's TAP lines into @program; True where it was TAP at all."""
    planned, seen = None, 0
    for line in stdout.splitlines():
        plan = TAP_PLAN.match(line)
        if plan:
            planned = int(plan[1])
            if planned == 0 and status in (0, 77):
                note_skip(program, plan[2] or "no reason given")
            continue
        case = TAP_LINE.match(line)
        if not case:
            continue
        seen += 1
        if TAP_SKIP.search(line):
            note_skip(program, case[2])
        elif case[1] == "ok":
            program.passed += 1
        else:
            program.failed += 1
    if planned is None and not seen:
        return False
    if planned is None:
        program.failed += 1
        program.notes.append("no plan: the program ended early")
    elif planned != seen:
        program.failed += 1
        program.notes.append(f"{seen} of {planned} planned cases ran")
    return True


def judge(program, stdout, status, timed_out):
    """Turn what a program wrote and returned into counts."""
    is_tap = tap_count(program, stdout, status)
    if timed_out:
        program.failed += 1
        program.notes.append(f"timed out after {program.timeout_s:.0f} s")
    elif not is_tap and status == 77:
        note_skip(program, "exit status 77")
    elif not is_tap and status == 0:
        program.passed += 1
    elif status not in (0, 77 if program.skipped else 0) and not program.failed:
        program.failed += 1
        program.notes.append(f"killed by {signal.Signals(-status).name}" if status < 0
                             else f"exit status {status}")


class Runner:
    """Runs programs in process groups of their own, so that it can end exactly what it started."""

    def __init__(self, wrapper, may_skip, verbose):
        self.wrapper, self.may_skip, self.verbose = wrapper, may_skip, verbose
        self.lock, self.running, self.stopping = threading.Lock(), set(), False

    def stop(self, signum, _frame):
        self.stopping = True
        for proc in list(self.running):
            signal_group(proc, signal.SIGTERM)
        threading.Thread(target=self.kill_late, args=(128 + signum,), daemon=True).start()

    def kill_late(self, status):
        deadline = time.monotonic() + GRACE_S
        while self.running and time.monotonic() < deadline:
            time.sleep(0.1)
        for proc in list(self.running):
            signal_group(proc, signal.SIGKILL)
        os._exit(status)

    def run(self, program):
        if self.stopping:
            return program
        started = time.monotonic()
        env = {**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP", **program.env}
        with self.lock:
            proc = subprocess.Popen(self.wrapper + program.argv, env=env, cwd=program.workdir,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True, errors="replace",
                                    start_new_session=True)
            self.running.add(proc)
        stdout, stderr, timed_out = self.wait(proc, program.timeout_s)
        self.running.discard(proc)
        program.seconds = time.monotonic() - started
        program.output = stdout + stderr
        judge(program, stdout, proc.returncode, timed_out)
        self.announce(program)
        return program

    @staticmethod
    def wait(proc, timeout_s):
        """Returns (stdout, stderr, timed_out). A program that outlives its time is ended."""
        try:
            return *proc.communicate(timeout=timeout_s), False
        except subprocess.TimeoutExpired:
            signal_group(proc, signal.SIGTERM)
        try:
            return *proc.communicate(timeout=GRACE_S), True
        except subprocess.TimeoutExpired:
            signal_group(proc, signal.SIGKILL)
        try:
            return *proc.communicate(timeout=GRACE_S), True
        except subprocess.TimeoutExpired:
            # Somebody outside the group holds the pipes: do not wait for him.
            proc.stdout.close()
            proc.stderr.close()
            proc.wait()
            return "", "(output lost: a process that left its group holds the pipes)\n", True

    def refuse_skips(self, program):
        unwanted = sum(not any(text in name for text in self.may_skip)
                       for name in program.skipped_names)
        if unwanted:
            program.notes.append("a skip is a failure where CI=true")
            program.failed += unwanted
            program.skipped -= unwanted

    def announce(self, program):
        if os.environ.get("CI") == "true":
            self.refuse_skips(program)
        word = "FAIL" if program.failed else "skip" if not program.passed else "ok"
        cases = program.passed + program.failed + program.skipped
        with self.lock:
            print(f"  {word:4} {program.name}  ({cases} case{'s' * (cases != 1)}, "
                  f"{program.seconds:.1f} s)", flush=True)
            for note in program.notes:
                print(f"       {note}")
            if program.failed or self.verbose:
                print("".join(f"       | {line}\n" for line in program.output.splitlines()),
                      end="", flush=True)


def signal_group(proc, signum):
    """Signal the group that @proc leads; it exists while @proc has not been waited for."""
    if proc.returncode is None:
        try:
            os.killpg(proc.pid, signum)
        except ProcessLookupError:
            pass


def meson_programs(builddir, suites, timeout_factor):
    """The tests that meson knows in @builddir, in the given suites (none given: all)."""
    listed = subprocess.run(["meson", "introspect", "--tests", builddir], check=True,
                            stdout=subprocess.PIPE, text=True)
    for test in json.loads(listed.stdout):
        names = {suite.split(":")[-1] for suite in test["suite"]}
        if not suites or names & set(suites):
            yield Program(test["name"], test["cmd"], test["env"], test["workdir"],
                          test["timeout"] * timeout_factor)


def wanted(program, filters):
    return not filters or any(fnmatch.fnmatch(program.name, f"*{f}*") for f in filters)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--meson", metavar="DIR", help="run the tests of this build directory")
    parser.add_argument("--suite", action="append", default=[], help="only these suites of it")
    parser.add_argument("--filter", action="append", default=[], help="only names with this text")
    parser.add_argument("--without", action="append", default=[], help="no names with this text")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--alone", action="append", default=[], metavar="TEXT",
                        help="programs with this text in their name run one at a time, after the others")
    parser.add_argument("--timeout", type=float, default=60, help="seconds, for named programs")
    parser.add_argument("--timeout-factor", type=float, default=1, help="for meson's time limits")
    parser.add_argument("--wrapper", default="", help="put this command in front of each program")
    parser.add_argument("--may-skip", action="append", default=[], metavar="TEXT",
                        help="a case with this text in its name may be skipped in CI too")
    parser.add_argument("--totals", metavar="FILE", help="append PASSED FAILED SKIPPED to it")
    parser.add_argument("--allow-none", action="store_true", help="no test at all is no failure")
    parser.add_argument("--verbose", action="store_true", help="show the output of all programs")
    parser.add_argument("programs", nargs="*")
    return parser.parse_args()


def run_all(runner, programs, jobs):
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        for future in [pool.submit(runner.run, p) for p in programs]:
            while not future.done():  # in slices: a signal handler runs between them
                time.sleep(0.02)
            future.result()


def main():
    args = parse_args()
    programs = [Program(os.path.basename(p), [os.path.abspath(p)], timeout_s=args.timeout)
                for p in args.programs]
    if args.meson:
        programs += meson_programs(args.meson, args.suite, args.timeout_factor)
    programs = [p for p in programs if wanted(p, args.filter) and
                not (args.without and wanted(p, args.without))]

    runner = Runner(args.wrapper.split(), args.may_skip, args.verbose)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, runner.stop)
    alone = [p for p in programs if args.alone and wanted(p, args.alone)]
    run_all(runner, [p for p in programs if p not in alone], args.jobs)
    run_all(runner, alone, 1)
    if runner.stopping:
        print("stopped by a signal")
        return 143

    passed, failed, skipped = (sum(getattr(p, k) for p in programs)
                               for k in ("passed", "failed", "skipped"))
    if not programs and not args.allow_none:
        print("  FAIL no test was found")
        failed = 1
    if args.totals:
        with open(args.totals, "a", encoding="utf-8") as totals:
            totals.write(f"{passed} {failed} {skipped}\n")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
