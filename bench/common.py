# SPDX-License-Identifier: MIT
"""What the benchmarks share: running a command, and saying why one failed."""
import subprocess


class Failure(Exception):
    pass


def run(*argv, check=True):
    done = subprocess.run(argv, text=True, capture_output=True, stdin=subprocess.DEVNULL)
    if check and done.returncode:
        raise Failure(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done
