#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""runner.py on programs that end in every way: the count, the exit status. Prints TAP."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNNER = Path(__file__).resolve().parent / "runner.py"

# (what it is, the program, options, CI?, the last line of the runner, its status)
CASES = [
    ("cases are counted, not programs",
     "echo 1..2; echo ok 1 - a; echo ok 2 - b", [], False, "2 passed, 0 failed", 0),
    ("a failed case fails the run",
     "echo 1..2; echo ok 1; echo 'not ok 2'; exit 1", [], False, "1 passed, 1 failed", 1),
    ("a failed case with exit status 0 fails the run",
     "echo 1..1; echo 'not ok 1'", [], False, "0 passed, 1 failed", 1),
    ("a crash behind good cases is a failure",
     "echo 1..1; echo ok 1; kill -SEGV $$", [], False, "1 passed, 1 failed", 1),
    ("a program that ends before its plan is a failure, whatever its status",
     "echo 1..3; echo ok 1", [], False, "1 passed, 1 failed", 1),
    ("a program without any plan ended early",
     "echo ok 1", [], False, "1 passed, 1 failed", 1),
    ("cmocka's way to say skip",
     "echo 1..2; echo ok 1; echo 'not ok 2 # SKIP x'", [], False, "1 passed, 0 failed, 1 skipped", 0),
    ("a skip is a failure in CI",
     "echo 1..2; echo ok 1; echo 'not ok 2 # SKIP x'", [], True, "1 passed, 1 failed", 1),
    ("unless that case may be skipped there",
     "echo 1..2; echo ok 1; echo 'not ok 2 # SKIP a_case'", ["--may-skip", "a_case"], True,
     "1 passed, 0 failed, 1 skipped", 0),
    ("a program that skips all of itself",
     "echo '1..0 # SKIP no device'; exit 77", [], False, "0 passed, 0 failed, 1 skipped", 0),
    ("and in CI",
     "echo '1..0 # SKIP no device'; exit 77", [], True, "0 passed, 1 failed", 1),
    ("a program that speaks no TAP is one case",
     "echo hello", [], False, "1 passed, 0 failed", 0),
    ("and fails by its status",
     "exit 3", [], False, "0 passed, 1 failed", 1),
    ("a program that does not end is ended",
     "echo 1..1; echo ok 1; exec sleep 60", ["--timeout", "0.5"], False, "1 passed, 1 failed", 1),
    ("a text that matches nothing is a failure",
     "true", ["--filter", "nonesuch"], False, "0 passed, 1 failed", 1),
    ("unless that was said to be right",
     "true", ["--filter", "nonesuch", "--allow-none"], False, "0 passed, 0 failed", 0),
]


def start(folder, script, options, in_ci):
    program = Path(folder) / "program"
    program.write_text("#!/bin/sh\n" + script + "\n", encoding="utf-8")
    program.chmod(0o755)
    env = {**os.environ, "CI": "true" if in_ci else ""}
    return subprocess.Popen([sys.executable, str(RUNNER), *options, str(program)], env=env,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(script, options, in_ci):
    with tempfile.TemporaryDirectory(prefix="stablefs-runner.") as folder:
        proc = start(folder, script, options, in_ci)
        output = proc.communicate(timeout=60)[0]
        return output.splitlines()[-1] if output else "", proc.returncode


def stopped_by_a_signal():
    """The runner gets TERM: the program may clean up, and nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="stablefs-runner.") as folder:
        mark, pid_file = Path(folder) / "cleaned", Path(folder) / "pid"
        proc = start(folder, f"trap 'touch {mark}; kill $child; exit 1' TERM\n"
                             f"sleep 60 &\nchild=$!\necho $child >{pid_file}\nwait", [], False)
        deadline = time.monotonic() + 20
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        proc.send_signal(signal.SIGTERM)
        proc.communicate(timeout=60)
        child = int(pid_file.read_text())
        left = Path(f"/proc/{child}/cmdline").exists() and b"sleep" in Path(
            f"/proc/{child}/cmdline").read_bytes()
        return mark.exists() and not left and proc.returncode == 143, (
            mark.exists(), left, proc.returncode)


def alone_in_turn():
    """Three programs that cannot bear each other, side by side and one at a time."""
    with tempfile.TemporaryDirectory(prefix="stablefs-runner.") as folder:
        programs = []
        for i in range(3):
            program = Path(folder) / f"7{i}-racer.sh"
            program.write_text(f"#!/bin/sh\necho 1..1\nmkdir {folder}/held || exit 1\n"
                               f"sleep 0.3\nrmdir {folder}/held\necho ok 1\n")
            program.chmod(0o755)
            programs.append(str(program))
        status = []
        for options in (["--alone", "7?-*"], []):
            argv = [sys.executable, str(RUNNER), "--jobs", "3", *options, *programs]
            status.append(subprocess.run(argv, capture_output=True, check=False).returncode)
        return status == [0, 1], status


def main():
    failed = 0
    print(f"1..{len(CASES) + 2}")
    for number, (title, script, options, in_ci, want_line, want_status) in enumerate(CASES, 1):
        line, status = run(script, options, in_ci)
        good = (line, status) == (want_line, want_status)
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {title}")
        if not good:
            print(f"# got: {line!r}, status {status}")
    tests = [(stopped_by_a_signal, "a signal ends what runs, and only that"),
             (alone_in_turn, "what must run alone does")]
    for number, (test, title) in enumerate(tests, len(CASES) + 1):
        good, got = test()
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {title}")
        if not good:
            print(f"# got: {got}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
