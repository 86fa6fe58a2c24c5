#!/usr/bin/env python3
"""The leader of three masters is lost under a mount, again and again: killed, stopped for 5 s, or cut off one way.

Writers on the mount create, write, fsync, rename, link and remove files and directories, and note what was
acknowledged. Nothing may fail, nothing may be done twice (a second time each of these operations fails), and at the end
the tree is exactly what was acknowledged. How long each loss held them up is printed. CAIRN_FULL=1: ten times as many.
"""
import itertools
import json
import os
import random
import signal
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
sys.path.insert(0, HERE)
from cluster import Cluster, await_gone, wait_for  # noqa: E402
from namespaces import SplitCluster  # noqa: E402
from worker import Worker  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
LOSSES = 10 if FULL else 1  # times as many
HANG_SECONDS = 120
CREATES_MIN = 10  # of each writer
PAUSE_SECONDS = 5
SLOW_SECONDS = 1  # a stall that long is explained by the logs


class Writer(Worker):
    def __init__(self, root, name):
        super().__init__(root, name)
        self.expected = {}  # name: bytes, or None for a directory
        self.creates = []  # (begun, acknowledged)
        self.fsyncs = []

    def timed(self, what, *arguments):
        self.since = time.monotonic()
        return what(*arguments)

    def round(self, number):
        new, name = f"{number}.new", f"{number}"
        begun = time.monotonic()
        fd = self.timed(os.open, self.path(new), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        self.creates.append((begun, time.monotonic()))
        self.expected[new] = b""
        try:
            body = f"{self.root} {number} ".encode() * (1 + number % 7)
            begun = time.monotonic()
            self.timed(os.write, fd, body)
            self.timed(os.fsync, fd)
            self.fsyncs.append((begun, time.monotonic()))
            self.expected[new] = body
        finally:
            os.close(fd)
        self.timed(os.rename, self.path(new), self.path(name))
        self.expected[name] = self.expected.pop(new)
        if number % 3 == 0:
            self.timed(os.mkdir, self.path(name + ".d"))
            self.expected[name + ".d"] = None
        if number % 3 == 1:
            self.timed(os.link, self.path(name), self.path(name + ".link"))
            self.expected[name + ".link"] = self.expected[name]
        if number % 3 == 2 and number > 12:
            gone = str(number - 11)
            self.timed(os.unlink, self.path(gone))
            del self.expected[gone]
            self.timed(os.rmdir, self.path(str(number - 11 - (number - 11) % 3) + ".d"))
            del self.expected[str(number - 11 - (number - 11) % 3) + ".d"]

    def check(self, test):
        test.assertEqual(sorted(os.listdir(self.root)), sorted(self.expected))
        for name, body in self.expected.items():
            if body is None:
                test.assertTrue(os.path.isdir(self.path(name)), name)
            else:
                with open(self.path(name), "rb") as f:
                    test.assertEqual(f.read(), body, name)


class Load:
    """Writers, and how long they stood still."""

    def __init__(self, test, root, writers=3):
        self.test = test
        self.writers = [Writer(root, f"w{number}") for number in range(writers)]

    def __enter__(self):
        for writer in self.writers:
            writer.thread.start()
        return self

    def __exit__(self, *_):
        for writer in self.writers:
            writer.stop.set()
        for writer in self.writers:
            writer.thread.join(HANG_SECONDS)

    def look(self):
        for writer in self.writers:
            if writer.failure is not None:
                raise AssertionError("an operation on the mount failed") from writer.failure
            self.test.assertLess(time.monotonic() - writer.since, HANG_SECONDS, "an operation on the mount hangs")

    def has_worked(self):
        self.look()
        return all(len(writer.creates) > CREATES_MIN for writer in self.writers)

    def await_create_after(self, when):
        """Until a create (and an fsync) that was begun after `when` is acknowledged. Seconds since then, of both."""
        def first(kind):
            done = [end for w in self.writers for begun, end in getattr(w, kind)[-20:] if begun > when]
            return min(done) - when if done else None

        def both():
            self.look()
            return first("creates") is not None and first("fsyncs") is not None
        wait_for("a create after the loss of the leader", both, HANG_SECONDS, 0.01)
        return first("creates"), first("fsyncs")

    def check(self):
        self.look()
        for writer in self.writers:
            self.test.assertFalse(writer.thread.is_alive(), "a writer hangs")
            writer.check(self.test)
            self.test.assertGreater(len(writer.creates), CREATES_MIN)


class LogTails:
    """What the masters and the mount log from now on, in the order of time."""

    def __init__(self, folder):
        names = [os.path.join(folder, "log", name) for name in os.listdir(os.path.join(folder, "log"))]
        self.sizes = {name: os.path.getsize(name) for name in names if os.path.basename(name)[0] == "m"}

    def since(self):
        lines = []
        for name, size in self.sizes.items():
            with open(name, errors="replace") as f:
                f.seek(size)
                lines += [line.rstrip()[:160] for line in f]
        return "\n".join(sorted(lines)[:60])


def report(what, stalls):
    for kind, values in zip(("create", "fsync"), zip(*stalls)):
        ordered = [round(v * 1000) for v in sorted(values)]
        at = lambda part: ordered[min(len(ordered) - 1, int(len(ordered) * part))]  # noqa: E731
        print(f"{what}: {len(ordered)} x, next {kind} after p50 {at(0.5)} p99 {at(0.99)} max {ordered[-1]} ms; "
              f"slowest: {' '.join(map(str, ordered[-20:]))}", flush=True)


class Failover(unittest.TestCase):
    def group(self, c):
        done = c.admin("-o", "json", "raft", "status", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {"members": []}

    def leader(self, c):
        def one():
            return [m["name"] for m in self.group(c)["members"] if m["role"] == "leader"]
        return wait_for("a leader", one, HANG_SECONDS)[0]

    def await_all(self, c):
        """Until all three vote, answer and have nearly everything: else the next loss would be of the majority."""
        def ready():
            group = self.group(c)
            return len(group["members"]) == 3 and all(
                m["reachable"] and m["role"] != "learner" and m["matchIndex"] + 200 > group["commitIndex"]
                for m in group["members"])
        wait_for("three masters in step", ready, HANG_SECONDS, 0.1)

    def lose_leaders(self, c, times, lose, mend):
        """`lose(leader)` says in which way it is lost; the stalls are reported for each way."""
        self.await_all(c)
        c.wait_healthy()
        stalls = {}
        with Load(self, c.mnt) as load:
            for _ in range(times):
                time.sleep(random.uniform(0.1, 0.4))  # at any moment of the work
                leader = self.leader(c)
                logs = LogTails(c.dir)
                what = lose(leader)
                lost = time.monotonic()
                stall = load.await_create_after(lost)
                stalls.setdefault(what, []).append(stall)
                if stall[0] > SLOW_SECONDS:
                    print(f"{what}, {leader}: {stall[0]:.2f} s\n{logs.since()}", flush=True)
                mend(leader, lost)
                self.await_all(c)
                load.look()
            wait_for("some work of each writer", load.has_worked, HANG_SECONDS)
        load.check()
        for what, measured in stalls.items():
            report(what, measured)
        self.assertEqual(len(json.loads(c.admin("-o", "json", "session", "list").stdout)["sessions"]), 1)

    def test_killed(self):
        def kill(name):
            os.kill(c.pid(name), signal.SIGKILL)
            return "SIGKILL"

        def start(name, _):
            await_gone(c.pid(name))
            c.play("start", name)
        with Cluster(masters=3) as c:
            self.lose_leaders(c, 20 * LOSSES, kill, start)

    def test_stopped(self):
        def stop(name):
            os.kill(c.pid(name), signal.SIGSTOP)
            return "SIGSTOP"

        def resume(name, lost):
            time.sleep(max(0, lost + PAUSE_SECONDS - time.monotonic()))
            os.kill(c.pid(name), signal.SIGCONT)
        with Cluster(masters=3) as c:
            self.lose_leaders(c, 3 * LOSSES, stop, resume)

    def test_cut_off_in_one_direction(self):
        """Mute or deaf, to everybody or only to the other masters: with nftables, in namespaces."""
        kinds = itertools.cycle(itertools.product(("mute", "deaf"), ("to all", "to masters")))

        def cut(leader):
            kind, to = next(kinds)
            others = [name for name in c.master_names() if name != leader]
            c.cut(leader, "output" if kind == "mute" else "input", others if to == "to masters" else ())
            return f"{kind} {to}"
        with SplitCluster() as c:
            self.lose_leaders(c, 4 * LOSSES, cut, lambda leader, _: c.heal(leader))


if __name__ == "__main__":
    unittest.main(verbosity=2)
