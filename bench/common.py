# SPDX-License-Identifier: MIT
"""What the benchmarks share: running a command, and saying why one failed."""
import signal
import subprocess
import sys


class Failure(Exception):
    pass


def run(*argv, check=True):
    done = subprocess.run(argv, text=True, capture_output=True, stdin=subprocess.DEVNULL)
    if check and done.returncode:
        raise Failure(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done


def run_main(main):
    """The exit status is main()'s; 1 with a reason where a command failed. Whatever ends it, what is
    to be undone is undone."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
