#!/usr/bin/env python3
"""Random operations in the mount and in a local directory (ext4): the same results, the same state of what each
touched, and the same trees. What differs is shrunk to the fewest operations that show it.

random_test.py [SEED [STEPS]] repeats a run. CAIRN_FULL=1: many more steps (nightly), and a form in which a master that
leads or a chunkserver is killed every 10 s.
"""
import collections
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from calls import observe  # noqa: E402
from cluster import Cluster, await_gone, kill, wait_for  # noqa: E402
from fixture import FULL, MEMORY, a_mount, drop_caches  # noqa: E402
from random_ops import Chooser, Place  # noqa: E402

EPOCH_STEPS = 5000  # then the trees are compared as a whole, and new ones begun
SHRINK_SECONDS = 300
KILL_EVERY_SECONDS = 10


class Differ(Exception):
    """The mount did something else than the local file system; says what."""


class Comparison:
    """One epoch: the same operations in two new directories."""

    def __init__(self, local, mount):
        self.tops = local, mount
        self.places = []

    def __enter__(self):
        self.places = [Place(top) for top in self.tops]
        return self

    def __exit__(self, *_):
        for place in self.places:
            place.close()
        for top in self.tops:
            shutil.rmtree(top)

    def step(self, kind, arguments):
        local, mount = self.places
        expected, got = (observe(getattr(place, "do_" + kind), *arguments) for place in (local, mount))
        if expected != got:
            raise Differ(f"{kind}{short(arguments)} gives {short(got)} in the mount, {short(expected)} locally")
        expected, got = (place.touched(kind, arguments) for place in (local, mount))
        if expected != got:
            raise Differ(f"after {kind}{short(arguments)} = {short(expected)} there is {short(got)} in the "
                         f"mount, {short(expected)} locally")
        return expected

    def compare_trees(self):
        for cold in (False, True):
            if cold:
                drop_caches()
            try:
                expected, got = (place.tree() for place in self.places)
            except OSError as error:
                raise Differ(f"cold {cold}: a tree can't be read: {error}") from error
            if expected.keys() != got.keys():
                raise Differ(f"cold {cold}: only on one side: {short(sorted(expected.keys() ^ got.keys()))}")
            for name, what in expected.items():
                if got[name] != what:
                    raise Differ(f"cold {cold}: {name} is {short(got[name])}, locally {short(what)}")


class Player:
    def __init__(self, mount, seed):
        self.mount = mount
        self.seed = seed
        self.epochs = 0

    def comparison(self):
        self.epochs += 1
        return Comparison(os.path.join(self.mount.base, f"local{self.epochs}"),
                          self.mount.path(f"random{self.epochs}"))

    def play(self, steps):
        """Raises AssertionError with the fewest operations that show the first difference."""
        for first in range(0, steps, EPOCH_STEPS):
            chooser = Chooser(f"{self.seed} {first}")
            history = [chooser.next() for _ in range(min(EPOCH_STEPS, steps - first))]
            why = self.differs(history)
            if why is not None:
                print(f"step {first + why[0]}: {why[1]}; shrinking it", flush=True)
                fewest = self.shrink(history[:why[0] + 1])
                again = self.differs(fewest)
                lines = "\n".join(f"  ({kind!r}, {arguments!r})," for kind, arguments in fewest)
                raise AssertionError(f"seed {self.seed}, step {first + why[0]}: {why[1]}\nshrunk to {len(fewest)} "
                                     f"operations, {again[1] if again else 'which do not always show it'}:\n{lines}")

    def differs(self, history):
        """(step, why) of the first difference when `history` is played in new trees, or None."""
        with self.comparison() as both:
            number = 0
            try:
                for number, (kind, arguments) in enumerate(history):
                    both.step(kind, arguments)
                both.compare_trees()
            except Differ as why:
                return number, str(why)
        return None

    def shrink(self, history):
        """The last operations alone if they are enough; then leaves out parts, smaller and smaller, as long as what is
        left still differs."""
        end = time.monotonic() + SHRINK_SECONDS
        tails = (history[-length:] for length in (20, 100, 500, 2000) if length < len(history))
        history = next((tail for tail in tails if self.differs(tail) is not None), history)
        part = max(1, len(history) // 2)
        while time.monotonic() < end:
            shorter = self.without_a_part(history, part, end)
            if shorter is not None:
                history = shorter
            elif part == 1:
                break
            part = max(1, min(part if shorter is not None else part // 2, len(history) // 2))
        return history

    def without_a_part(self, history, part, end):
        for begin in range(0, len(history), part):
            if time.monotonic() > end:
                break
            shorter = history[:begin] + history[begin + part:]
            why = self.differs(shorter) if shorter else None
            if why is not None:
                return shorter[:why[0] + 1]
        return None


class Killer:
    """Kills the master that leads, then a chunkserver, and so on; starts each again before the next is killed."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.stop = threading.Event()
        self.failure = None
        self.kills = collections.Counter()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        if self.failure is not None:
            raise self.failure

    def leader(self):
        group = json.loads(self.cluster.admin("-o", "json", "raft", "status").stdout)
        return next((m["name"] for m in group["members"] if m["role"] == "leader"), None)

    def run(self):
        servers = [f"c{n + 1}" for n in range(self.cluster.chunkservers)]
        try:
            while not self.stop.wait(KILL_EVERY_SECONDS):
                number = self.kills.total()
                name = wait_for("a leader", self.leader) if number % 2 == 0 else servers[number // 2 % len(servers)]
                pid = self.cluster.pid(name)
                kill(pid)
                self.kills[name] += 1
                await_gone(pid)
                self.cluster.play("start", name)
                self.cluster.wait_healthy()
        except BaseException as failure:  # raised by __exit__
            self.failure = failure


class RandomOperations(unittest.TestCase):
    seed = random.SystemRandom().randrange(2**32)
    steps = 1000000 if FULL else 20000 if MEMORY else 100000
    steps_with_kills = 1000000 if FULL else 20000

    def measured(self, player, steps):
        print(f"seed {self.seed}, {steps} steps of {len(Chooser.WEIGHTS)} kinds", flush=True)
        began = time.monotonic()
        player.play(steps)
        print(f"{time.monotonic() - began:.0f} s", flush=True)

    def test_same_as_local(self):
        with a_mount() as mount:
            self.measured(Player(mount, self.seed), self.steps)

    @unittest.skipIf(MEMORY, "nothing to kill")
    def test_same_as_local_while_servers_are_killed(self):
        with Cluster(masters=3) as cluster, Killer(cluster) as killer:
            self.measured(Player(cluster, self.seed), self.steps_with_kills)
            print(f"killed: {dict(killer.kills)}", flush=True)


def short(value):
    text = repr(value)
    return text if len(text) < 200 else text[:90] + " ... " + text[-90:]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        RandomOperations.seed = int(sys.argv.pop(1))
    if len(sys.argv) > 1:
        RandomOperations.steps = RandomOperations.steps_with_kills = int(sys.argv.pop(1))
    unittest.main(verbosity=2)
