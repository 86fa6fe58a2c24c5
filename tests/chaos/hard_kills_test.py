#!/usr/bin/env python3
"""Servers killed hard at random, masters and chunkservers, one or all, while programs work on a hard mount. No
operation fails and nothing that was written is lost; whoever is killed while the servers are away is gone soon; once
they are back every program goes on and none stays in an uninterruptible sleep. CAIRN_FULL=1: a thousand kills.
"""
import os
import random
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
sys.path.insert(0, HERE)
from cluster import Cluster, await_gone, is_gone, kill, wait_for  # noqa: E402
from program import Program  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
KILLS = 1000 if FULL else 12
PROGRAMS = 4
SLEEP_MAX = 5.0  # seconds in an uninterruptible sleep, once the servers are back


def state_of(pid):
    """As /proc says it: R, S, D ...; X when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


class Victim:
    """One call that waits for the servers, in a process that is killed meanwhile. `folder`: an open directory that only
    victims use: the kernel lets in some calls on a directory one at a time, so who is killed would have to wait behind
    a program that isn't."""

    CALLS = (lambda at, folder: os.mkdir(at, dir_fd=folder), lambda at, folder: os.stat(at, dir_fd=folder),
             lambda at, folder: os.close(os.open(at, os.O_CREAT | os.O_WRONLY, dir_fd=folder)),
             lambda _, folder: os.listdir(folder), lambda at, folder: os.symlink("x", at, dir_fd=folder))

    def __init__(self, at, folder, call):
        self.pid = os.fork()
        if self.pid == 0:
            try:
                call(at, folder)
            finally:
                os._exit(0)

    def close(self):
        if self.pid is not None:
            kill(self.pid)
            os.waitpid(self.pid, 0)
            self.pid = None


class HardKills(unittest.TestCase):
    def test_programs_go_on(self):
        seed = random.randrange(1 << 32)
        print(f"seed {seed}", flush=True)
        chance = random.Random(seed)
        with Cluster(masters=3) as c:
            os.mkdir(c.path("victims"))
            self.folder = os.open(c.path("victims"), os.O_RDONLY)
            self.addCleanup(os.close, self.folder)
            programs = []
            for i in range(PROGRAMS):
                programs.append(Program(c.mnt, i, seed + i))
                # When all is well it ends below. Else it may not end before the mount has.
                self.addCleanup(programs[-1].close)
            self.kill_and_return(c, programs, chance)
            for program in programs:
                program.close()
            c.wait_healthy()

    def kill_and_return(self, c, programs, chance):
        servers = ["m1", "m2", "m3", "c1", "c2", "c3"]
        kills, longest_return, longest_sleep, longest_death = 0, 0.0, 0.0, 0.0
        while kills < KILLS:
            chosen = chance.sample(servers, chance.choice((1, 1, 2, 3, len(servers))))
            pids = [c.pid(name) for name in chosen]
            for pid in pids:
                kill(pid)
                self.pass_time(programs, chance.uniform(0, 0.3))
            kills += len(chosen)
            longest_death = max(longest_death, self.kill_victims(chance))
            await_gone(*pids)
            for name in chosen:
                c.play("start", name)
            returned, slept = self.watch(programs)
            longest_return, longest_sleep = max(longest_return, returned), max(longest_sleep, slept)
        print(f"{kills} kills: programs went on after {longest_return:.1f} s at most, slept uninterruptibly for "
              f"{longest_sleep:.1f} s, and died within {longest_death:.1f} s; "
              f"{sum(p.rounds() for p in programs)} rounds of work")

    def pass_time(self, programs, seconds):
        """Programs work, or wait, in that time; none may fail."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check(programs)
            time.sleep(0.01)

    def check(self, programs):
        failed = [p.root for p in programs if p.failed()]
        self.assertEqual(failed, [], "programs of a hard mount ended")

    def kill_victims(self, chance):
        """How long programs live on that are killed while the servers are away."""
        name = f"v{chance.randrange(1 << 60)}"
        victims = [Victim(f"{name}{i}", self.folder, call) for i, call in enumerate(Victim.CALLS)]
        for victim in victims:
            self.addCleanup(victim.close)
        time.sleep(chance.uniform(0.1, 0.5))  # at a moment that nothing marks
        began = time.monotonic()
        for victim in victims:
            kill(victim.pid)
        for victim in victims:
            wait_for("a program that was killed to be gone", lambda one=victim: is_gone(one.pid))
        took = time.monotonic() - began
        for victim in victims:
            victim.close()
        self.assertLess(took, SLEEP_MAX)
        return took

    def watch(self, programs):
        """The servers are back: until every program has done something; how long that took, and the longest sleep."""
        began = time.monotonic()
        before = {p: p.rounds() for p in programs}
        asleep, longest = {}, 0.0

        def all_went_on():
            nonlocal longest
            self.check(programs)
            now = time.monotonic()
            for program in programs:
                if state_of(program.pid) == "D":
                    slept = now - asleep.setdefault(program, now)
                    longest = max(longest, slept)
                    self.assertLess(slept, SLEEP_MAX, f"{program.root}: an uninterruptible sleep")
                else:
                    asleep.pop(program, None)
            # Two rounds: the first may have been as good as done.
            return all(p.rounds() >= before[p] + 2 for p in programs)
        wait_for("every program to go on", all_went_on)
        return time.monotonic() - began, longest


if __name__ == "__main__":
    unittest.main(verbosity=2)
