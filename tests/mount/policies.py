#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What each policy of direct I/O promises, on a mount. Prints ok / not ok lines.

usage: policies.py stable|weak|neighbours|missing|rules|owner MOUNTPOINT COUNT STABLEFS...

stable  the policies that leave no damage, each with a mutator, a still writer and racing readers
weak    the one that leaves some: zerocopy
neighbours, missing   two files whose blocks share their stripes; and, where a member is missing
        then: what each policy leaves of the idle one's
rules   alignment, order, refusal, attributes, permissions; as root
owner   what dio-weaken=owner allows; as root
STABLEFS is the program with what goes in front of it; COUNT the writes of a run of it."""

import contextlib
import errno
import fcntl
import json
import mmap
import os
import subprocess
import sys
import threading
import time
import traceback

PAGE = 4096
BLOCK = 65536
NOBODY = 65534
# Races need processors: where others keep them busy, a longer window makes up for it.
HOLDS = ("200us", "3ms", "20ms")


def check(name, holds, *why):
    print(f"{'ok' if holds else 'not ok'} {name}", flush=True)
    if not holds:
        print("#", *why, flush=True)
    return holds


def error_of(call, *args):
    """The name of the error that the call fails with; None where it does not."""
    try:
        call(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return None


def aligned(byte, length):
    memory = mmap.mmap(-1, length)
    memory[:] = bytes([byte]) * length
    return memory


@contextlib.contextmanager
def opened(path, flags):
    fd = os.open(path, flags, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


class Mount:
    def __init__(self, mnt, count, program):
        self.mnt, self.count, self.program = mnt, count, program

    def path(self, *names):
        return os.path.join(self.mnt, *names)

    def set_policy(self, policy):
        with open(self.path(".stablefs/policy"), "w") as f:
            f.write(policy)

    def set_hold(self, text):
        with open(self.path(".stablefs/hold"), "w") as f:
            f.write(text)

    def direct_writes(self):
        with open(self.path(".stablefs/stats.json")) as f:
            got = json.load(f)["direct_writes"]
        return {k: v for k, v in got.items() if isinstance(v, int)}

    def counted(self, work):
        """What the work has added to the counters, and what it returned."""
        before = self.direct_writes()
        result = work()
        after = self.direct_writes()
        return {k: after[k] - before[k] for k in after}, result

    def mutate(self, name, *options):
        done = subprocess.run([*self.program, "mutate", "--json", "--block", "64K", "--count",
                               str(self.count), *options, self.path(name)],
                              text=True, capture_output=True, timeout=120)
        result = json.loads(done.stdout) if done.stdout.strip() else {}
        return {**result, "status": done.returncode, "message": done.stderr.strip()}


# --- the policies, with a mutator ---------------------------------------------------------------


class Racers(threading.Thread):
    """Others who use the volume meanwhile: a buffered and a direct reader of the file that is
    written, and a writer of another one, whose bytes must stay what they are."""

    def __init__(self, mount, name, policy):
        super().__init__()
        self.mount, self.name, self.policy = mount, name, policy
        self.stop = threading.Event()
        self.errors, self.rounds = [], 0

    def read_all(self, flags):
        with opened(self.mount.path(self.name), flags) as fd:
            into = mmap.mmap(-1, BLOCK)
            offset = 0
            while os.preadv(fd, [into], offset) == BLOCK:
                offset += BLOCK

    def run(self):
        flags = 0 if self.policy == "refuse" else os.O_DIRECT
        data = aligned(0x5a, BLOCK)
        try:
            with opened(self.mount.path("stranger"), os.O_RDWR | os.O_CREAT | flags) as fd:
                while not self.stop.is_set():
                    os.pwritev(fd, [data], self.rounds % 64 * BLOCK)
                    self.read_all(os.O_RDONLY)
                    self.read_all(os.O_RDONLY | flags)
                    self.rounds += 1
        except OSError:
            self.errors.append(traceback.format_exc().replace("\n", " | "))

    def stranger_is_whole(self):
        with open(self.mount.path("stranger"), "rb") as f:
            data = f.read()
        return len(data) >= BLOCK and not data.strip(b"\x5a")


def run_with_racers(mount, name, policy):
    with open(mount.path(name), "wb"):
        pass
    racers = Racers(mount, name, policy)
    racers.start()
    try:
        result = mount.mutate(name, "--verify")
    finally:
        racers.stop.set()
        racers.join()
    return result, racers


def looked_at(c):
    """Or would have been: on a busy machine a thread may be late to fall asleep in its call."""
    return c["observed"] + c["unobserved"]


def categories(c):
    return sum(c[k] for k in ("bounced", "buffered", "bounced_adaptive", "observed", "unobserved"))


def enough(policy, c, result):
    """Most of what the mutator knows it changed was acted upon."""
    changed = result.get("changed", 0)
    if policy == "verify":
        return changed and c["rejected"] >= changed * 0.95
    if policy in ("detect", "zerocopy"):
        return changed and c["mutated"] >= changed * 0.95
    if policy == "adaptive":
        return c["redone"] and c["bounced_adaptive"] >= changed * 0.9
    return True


def with_mutator(mount, policy):
    for attempt, hold in enumerate(HOLDS):
        mount.set_hold(hold)
        c, (result, racers) = mount.counted(
            lambda: run_with_racers(mount, f"{policy}-mutated-{attempt}", policy))
        if enough(policy, c, result):
            break
    mount.set_hold(HOLDS[0])
    check(f"{policy}: what the mutator changed is acted upon", enough(policy, c, result), c, result)
    check(f"{policy}: racing readers and writers see no error",
          racers.rounds and not racers.errors, racers.errors)
    check(f"{policy}: a stranger's bytes stay", racers.stranger_is_whole())
    check(f"{policy}: each direct write is counted as one kind", categories(c) == c["total"], c)
    check(f"{policy}: nothing was missed", c["missed"] == 0, c)
    return c, result


def expect_outcome(mount, policy, c, result):
    failed = mount.count - c["rejected"] if policy == "verify" else 0
    if policy == "verify":
        check("verify: a write that changed fails with EIO",
              result["failed"] == c["rejected"] and
              result["first_error"] == os.strerror(errno.EIO), c, result)
        check("verify: it is written once more from the copy", c["redone"] == c["rejected"], c)
        check("verify: the others succeed", failed == mount.count - result["failed"], result)
        return
    check(f"{policy}: every write succeeds, and a buffer held these bytes",
          result["status"] == 0 and result["failed"] == 0, result)
    if policy == "adaptive":
        check("adaptive: each write that changed was done again",
              c["redone"] == c["mutated"] >= 1 and c["rejected"] == 0, c)
    else:
        check(f"{policy}: nothing is written twice", c["redone"] == 0, c)


def with_still_buffers(mount, policy):
    c, result = mount.counted(lambda: mount.mutate(f"{policy}-still", "--still", "--verify"))
    check(f"{policy}: still buffers are written as they are, without a report",
          result["status"] == 0 and result["failed"] == 0 and c["total"] == mount.count and
          c["mutated"] == c["redone"] == c["rejected"] == 0, c, result)
    looks = policy in ("zerocopy", "detect", "verify", "adaptive")
    check(f"{policy}: " + ("each is looked at" if looks else "nobody's memory is looked at"),
          looked_at(c) == (mount.count if looks else 0), c)


def both_ways_read_alike(mount, name):
    with opened(mount.path(name), os.O_RDONLY | os.O_DIRECT) as fd:
        into = mmap.mmap(-1, mount.count * BLOCK)
        length = os.preadv(fd, [into], 0)
    with open(mount.path(name), "rb") as f:
        return into[:length] == f.read(length) and length > 0


def stable(mount):
    for policy in ("bounce", "buffered", "detect", "verify", "adaptive"):
        mount.set_policy(policy)
        c, result = with_mutator(mount, policy)
        expect_outcome(mount, policy, c, result)
        with_still_buffers(mount, policy)
        check(f"{policy}: the page cache holds what the volume holds",
              both_ways_read_alike(mount, f"{policy}-mutated-0"))
    mount.set_policy("refuse")
    c, result = mount.counted(lambda: mount.mutate("refused"))
    check("refuse: the mutator is told", result["status"] == 1 and result["message"], result)
    check("refuse: no file is left where there was none", not os.path.exists(mount.path("refused")))
    check("refuse: the open is counted, and nothing was written",
          c["refused_open"] >= 1 and c["total"] == 0, c)


def weak(mount):
    mount.set_policy("zerocopy")
    with_still_buffers(mount, "zerocopy")
    for attempt, hold in enumerate(HOLDS):
        mount.set_hold(hold)
        c, result = mount.counted(lambda: mount.mutate(f"zerocopy-mutated-{attempt}"))
        if enough("zerocopy", c, result):
            break
    check("zerocopy: what the mutator changed is seen", enough("zerocopy", c, result), c, result)
    check("zerocopy: nothing is written twice or rejected", c["redone"] == c["rejected"] == 0, c)


# --- a member is missing ------------------------------------------------------------------------


def neighbours(mount):
    """Chunks by turns: each stripe, and each row of it, has blocks of both."""
    mount.set_policy("bounce")
    flags = os.O_RDWR | os.O_CREAT | os.O_DIRECT
    with opened(mount.path("busy"), flags) as busy, opened(mount.path("idle"), flags) as idle:
        for i in range(mount.count):
            os.pwritev(busy, [aligned(0xb5, BLOCK)], i * BLOCK)
            os.pwritev(idle, [aligned(i + 1, BLOCK)], i * BLOCK)
    check("two files share stripes", True)


def idle_blocks_ruined(mount):
    """By direct reads: the page cache would hold what they were."""
    into = aligned(0, BLOCK)
    with opened(mount.path("idle"), os.O_RDONLY | os.O_DIRECT) as fd:
        return sum(os.preadv(fd, [into], i * BLOCK) != BLOCK or into[:] != bytes([i + 1]) * BLOCK
                   for i in range(mount.count))


def missing(mount):
    for policy in ("bounce", "detect", "verify", "adaptive"):
        mount.set_policy(policy)
        c, result = mount.counted(lambda: mount.mutate("busy"))
        ruined = idle_blocks_ruined(mount)
        check(f"{policy}: a missing member's blocks of a stranger stay", not ruined, ruined, c)
    mount.set_policy("zerocopy")
    for hold in HOLDS:
        mount.set_hold(hold)
        c, result = mount.counted(lambda: mount.mutate("busy"))
        ruined = idle_blocks_ruined(mount)
        if ruined:
            break
    check("zerocopy: they do not", ruined, c, result)


# --- rules --------------------------------------------------------------------------------------


def buffered_takes_any_alignment(mount):
    mount.set_policy("buffered")
    path = mount.path("unaligned")
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT) as fd:
        os.pwrite(fd, b"x" * 1000, 7)
        with opened(path, os.O_RDONLY) as other:
            same = os.pread(other, 2000, 0) == bytes(7) + b"x" * 1000
    check("buffered: any offset, length and address is taken", same)
    mount.set_policy("bounce")
    with opened(path, os.O_RDWR | os.O_DIRECT) as fd:
        check("bounce: what is not aligned fails with EINVAL",
              error_of(os.pwrite, fd, b"x" * 1000, 7) == "EINVAL")


def buffered_readers_see_each_write(mount):
    mount.set_policy("buffered")
    path = mount.path("seen")
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT) as fd, \
            opened(path, os.O_RDONLY) as reader:
        same = True
        for i in range(100):
            os.pwritev(fd, [aligned(i, PAGE)], 0)
            same = same and os.pread(reader, PAGE, 0) == bytes([i]) * PAGE
    check("buffered: a reader of the page cache sees each write that has ended", same)


def write_side_by_side(fds, writes):
    """Each by a thread of its own, all of them over the same block."""
    def work(fd, byte):
        data = aligned(byte, BLOCK)
        for _ in range(writes):
            os.pwritev(fd, [data], 0)
    threads = [threading.Thread(target=work, args=(fd, i + 1)) for i, fd in enumerate(fds)]
    begun = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return time.monotonic() - begun


def buffered_goes_one_at_a_time(mount):
    """A write is held for two milliseconds: so many in turn take so long, however they were
    opened."""
    path, hold, writes = mount.path("in-turn"), 0.002, 10
    mount.set_hold("2ms")
    for first in ("bounce", "buffered"):
        mount.set_policy(first)
        with contextlib.ExitStack() as stack:
            fds = [stack.enter_context(opened(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT))
                   for _ in range(4)]
            mount.set_policy("buffered")
            seconds = write_side_by_side(fds, writes)
        with open(path, "rb") as f:
            block = f.read()
        check(f"buffered: writes of a file that was opened under {first} go one at a time",
              seconds >= len(fds) * writes * hold, seconds)
        check(f"buffered: the last of them is there as a whole ({first})", len(set(block)) == 1)
    mount.set_hold("0")


def refuse_follows_open_files(mount):
    mount.set_policy("bounce")
    path = mount.path("open-before")
    data = aligned(1, PAGE)
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT) as fd, \
            opened(path, os.O_RDWR) as plain:
        os.pwritev(fd, [data], 0)
        mount.set_policy("refuse")
        check("refuse: direct writes by a descriptor from before fail with EINVAL",
              error_of(os.pwritev, fd, [data], 0) == "EINVAL")
        check("refuse: and direct reads", error_of(os.preadv, fd, [data], 0) == "EINVAL")
        check("refuse: what goes through the page cache does not",
              os.pwrite(plain, b"y" * 100, 0) == 100 and os.pread(plain, 3, 0) == b"yyy")
        fcntl.fcntl(plain, fcntl.F_SETFL, os.O_DIRECT)
        check("refuse: nor gets by who makes a descriptor direct later",
              error_of(os.pwritev, plain, [data], 0) == "EINVAL")
        mount.set_policy("bounce")
        check("refuse: another policy lets both through again",
              os.pwritev(fd, [data], 0) == PAGE and os.pwritev(plain, [data], 0) == PAGE)


def kind_of_write_to(mount, fd):
    c, _ = mount.counted(lambda: os.pwritev(fd, [aligned(1, PAGE)], 0))
    kinds = {"looked at": looked_at(c), **c}
    return next(k for k in ("bounced", "buffered", "bounced_adaptive", "looked at") if kinds[k])


def policies_change_under_open_files(mount):
    kinds = {"bounce": "bounced", "buffered": "buffered", "detect": "looked at",
             "zerocopy": "looked at", "verify": "looked at", "adaptive": "looked at"}
    wrong = []
    mount.set_policy("bounce")
    with opened(mount.path("switched"), os.O_RDWR | os.O_CREAT | os.O_DIRECT) as fd:
        for policy, kind in kinds.items():
            mount.set_policy(policy)
            got = kind_of_write_to(mount, fd)
            if got != kind:
                wrong.append((policy, got))
    check("a policy counts at once for files that are open", not wrong, wrong)


def kind_of_write(mount, path):
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT) as fd:
        return kind_of_write_to(mount, fd)


def attributes_count_before_the_mount(mount):
    mount.set_policy("bounce")
    path = mount.path("own")
    kind_of_write(mount, path)
    os.setxattr(path, "user.stablefs.dio", b"detect")
    check("a file's attribute counts before the mount's policy",
          kind_of_write(mount, path) == "looked at")
    os.setxattr(path, "trusted.stablefs.dio", b"buffered")
    check("root's attribute counts before the owner's", kind_of_write(mount, path) == "buffered")
    os.removexattr(path, "trusted.stablefs.dio")
    os.removexattr(path, "user.stablefs.dio")
    check("without an attribute the mount's policy counts again",
          kind_of_write(mount, path) == "bounced")
    check("a name that is no policy is refused",
          error_of(os.setxattr, path, "user.stablefs.dio", b"direct") == "EINVAL")
    check("root weakens by the trusted attribute, not by the user's",
          error_of(os.setxattr, path, "user.stablefs.dio", b"zerocopy") == "EPERM" and
          error_of(os.setxattr, path, "trusted.stablefs.dio", b"zerocopy") is None and
          kind_of_write(mount, path) == "looked at")


def attributes_are_handed_down(mount):
    top = mount.path("handed")
    os.mkdir(top)
    os.setxattr(top, "user.stablefs.dio", b"detect")
    os.setxattr(top, "trusted.stablefs.atomic", b"0")
    os.mkdir(os.path.join(top, "inner"))
    path = os.path.join(top, "inner", "file")
    kind = kind_of_write(mount, path)
    check("what is made in a directory takes its attributes over", kind == "looked at" and
          os.getxattr(path, "user.stablefs.dio") == b"detect" and
          os.getxattr(path, "trusted.stablefs.atomic") == b"0", kind)
    os.setxattr(top, "user.stablefs.dio", b"refuse")
    fresh = os.path.join(top, "fresh")
    check("a file that its directory would have refused is not made",
          error_of(os.open, fresh, os.O_RDWR | os.O_CREAT | os.O_DIRECT) == "EINVAL" and
          not os.path.exists(fresh))
    check("what was made before keeps what it has", kind_of_write(mount, path) == "looked at")


def atomic_files_take_whole_units_only(mount):
    mount.set_policy("verify")
    path = mount.path("atomic")
    wrong = []
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT) as fd:
        os.setxattr(path, "user.stablefs.atomic", b"1")
        for length, offset, error in ((512, 512, None), (PAGE, 0, None), (BLOCK, BLOCK, None),
                                      (3 * PAGE, 0, "EINVAL"), (2 * PAGE, PAGE, "EINVAL"),
                                      (2 * BLOCK, 0, "EINVAL")):
            got = error_of(os.pwritev, fd, [aligned(1, length)], offset)
            if got != error:
                wrong.append((length, offset, got))
        kind = kind_of_write_to(mount, fd)
        os.setxattr(path, "user.stablefs.atomic", b"0")
        if error_of(os.pwritev, fd, [aligned(1, 3 * PAGE)], 0):
            wrong.append("switched off")
    check("an atomic file takes powers of two at multiples of themselves", not wrong, wrong)
    check("its writes are bounced under a policy that is not stable", kind == "bounced", kind)


def as_nobody(work):
    """The errors, by name, that the work returns in a process of user nobody's."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(send, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive) as f:
        text = f.read()
    os.waitpid(child, 0)
    return json.loads(text or '["the child failed"]')


def owners_choose_stable_policies_only(mount):
    mount.set_policy("bounce")
    roots, theirs = mount.path("roots"), mount.path("theirs")
    for path in (roots, theirs):
        kind_of_write(mount, path)
    os.chown(theirs, NOBODY, NOBODY)

    def work():
        return [error_of(os.setxattr, theirs, "user.stablefs.dio", b"detect"),
                error_of(os.setxattr, theirs, "user.stablefs.dio", b"verify"),
                error_of(os.setxattr, theirs, "trusted.stablefs.dio", b"detect"),
                error_of(os.setxattr, roots, "user.stablefs.dio", b"detect"),
                error_of(os.open, mount.path(".stablefs/policy"), os.O_WRONLY)]
    errors = as_nobody(work)
    check("an owner chooses stable policies for his own files, and nothing else",
          errors == [None, "EPERM", "EPERM", "EACCES", "EACCES"], errors)
    mount.set_policy("zerocopy")
    errors = as_nobody(lambda: [error_of(os.setxattr, theirs, "user.stablefs.dio", b"verify")])
    seen = kind_of_write(mount, theirs)
    check("on a mount that is no more stable itself he may choose the others",
          errors == [None] and seen == "looked at", errors, seen)
    mount.set_policy("bounce")
    check("such a choice counts no more when the mount is made stable",
          kind_of_write(mount, theirs) == "bounced")


def rules(mount):
    for rule in (buffered_takes_any_alignment, buffered_readers_see_each_write,
                 buffered_goes_one_at_a_time, refuse_follows_open_files,
                 policies_change_under_open_files, attributes_count_before_the_mount,
                 attributes_are_handed_down, atomic_files_take_whole_units_only,
                 owners_choose_stable_policies_only):
        try:
            rule(mount)
        except Exception:  # one rule's failure is one case
            check(rule.__name__, False, traceback.format_exc().replace("\n", " | "))


def owner(mount):
    mount.set_policy("bounce")
    path = mount.path("nobodys")
    kind_of_write(mount, path)
    os.chown(path, NOBODY, NOBODY)
    errors = as_nobody(lambda: [error_of(os.setxattr, path, "user.stablefs.dio", b"zerocopy")])
    kind = kind_of_write(mount, path)
    check("an owner weakens the policy of his file where the mount lets him",
          errors == [None] and kind == "looked at", errors, kind)


def main():
    part, mnt, count, *program = sys.argv[1:]
    parts = (stable, weak, neighbours, missing, rules, owner)
    {p.__name__: p for p in parts}[part](Mount(mnt, int(count), program))


if __name__ == "__main__":
    main()
