# SPDX-License-Identifier: MIT
"""Another build to compare with: of a revision, in a worktree that is gone afterwards."""
import os
import shutil

from common import Failure, run, say

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def other_build(what, place):
    """@what: a revision of this repository, or a program that was built before. Returns its path
    and what to call it."""
    if os.path.isfile(what) and os.access(what, os.X_OK):
        return os.path.abspath(what), what
    found = run("git", "-C", TOP, "rev-parse", "--verify", "--short", what + "^{commit}",
                check=False)
    if found.returncode:
        raise Failure(f"--against {what}: neither a revision nor a program")
    commit = found.stdout.strip()
    tree, build = place.path("other"), place.path("other-build")
    run("git", "-C", TOP, "worktree", "add", "--detach", tree, commit)
    place.undo.callback(run, "git", "-C", TOP, "worktree", "remove", "--force", tree, check=False)
    say(f"bench: building {what} ({commit})")
    # As ./dev build does it.
    options = ["--buildtype=debugoptimized", "-Db_ndebug=false"]
    with open(os.path.join(tree, "meson_options.txt")) as f:
        options += ["-Dtests=false"] if "'tests'" in f.read() else []
    env = {**os.environ, "CC": os.environ.get("CC", "ccache gcc" if shutil.which("ccache")
                                              else "gcc")}
    run("meson", "setup", *options, build, tree, env=env)
    run("ninja", "-C", build, "src/cli/stablefs", env=env)
    return os.path.join(build, "src/cli/stablefs"), f"{what} ({commit})" if what != commit else what
