#!/usr/bin/env python3
"""Servers killed hard at random, masters and chunkservers, one or all, while programs work on a hard mount. No
operation fails and nothing that was written is lost; whoever is killed while the servers are away is gone soon; once
they are back every program goes on and none stays in an uninterruptible sleep. CAIRN_FULL=1: a thousand kills.
"""
import fcntl
import mmap
import os
import random
import struct
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, await_gone, is_gone, kill, wait_for  # noqa: E402

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


class Program:
    """Makes, writes, syncs, locks, renames, reads back and removes files in a directory of its own, for ever."""

    def __init__(self, root, number, seed):
        self.done = mmap.mmap(-1, 8)  # how many rounds; shared with the process
        self.root = os.path.join(root, str(number))
        os.mkdir(self.root)
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                self.work(random.Random(seed))
            except BaseException as e:  # the process ends here, whatever it is
                print(f"a program failed: {e!r}", file=sys.stderr, flush=True)
            finally:
                os._exit(code)

    def work(self, chance):
        bodies = {}
        number = 0
        while True:
            name = os.path.join(self.root, f"f{chance.randrange(20)}")
            if name in bodies:
                with open(name, "rb") as f:
                    assert f.read() == bodies[name], f"{name}: other bytes than were written"
            if chance.random() < 0.2 and name in bodies:
                os.unlink(name)
                del bodies[name]
            elif chance.random() < 0.2 and name in bodies:
                os.rename(name, name + "r")
                os.rename(name + "r", name)
            else:
                body = chance.randbytes(chance.choice((10, 5000, 200000)))
                with open(name, "wb") as f:
                    fcntl.lockf(f, fcntl.LOCK_EX)
                    f.write(body)
                    f.flush()
                    if chance.random() < 0.5:
                        os.fsync(f.fileno())
                bodies[name] = body
            names = {os.path.basename(n) for n in bodies}
            assert set(os.listdir(self.root)) == names, "other names than were made"
            number += 1
            struct.pack_into("Q", self.done, 0, number)

    def rounds(self):
        return struct.unpack_from("Q", self.done)[0]

    def failed(self):
        return self.pid is not None and is_gone(self.pid)

    def close(self):
        if self.pid is not None:
            kill(self.pid)
            os.waitpid(self.pid, 0)
            self.pid = None


class Victim:
    """One call that waits for the servers, in a process that is killed meanwhile."""

    CALLS = (lambda at: os.mkdir(at), lambda at: os.stat(at), lambda at: open(at, "wb").close(),
             lambda at: os.listdir(os.path.dirname(at)), lambda at: os.symlink("x", at))

    def __init__(self, at, call):
        self.pid = os.fork()
        if self.pid == 0:
            try:
                call(at)
            finally:
                os._exit(0)

    def close(self):
        kill(self.pid)
        os.waitpid(self.pid, 0)


class HardKills(unittest.TestCase):
    def test_programs_go_on(self):
        seed = random.randrange(1 << 32)
        print(f"seed {seed}", flush=True)
        chance = random.Random(seed)
        with Cluster(masters=3) as c:
            programs = [Program(c.mnt, i, seed + i) for i in range(PROGRAMS)]
            try:
                self.kill_and_return(c, programs, chance)
            finally:
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
            longest_death = max(longest_death, self.kill_programs(c, chance))
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

    def kill_programs(self, c, chance):
        """How long programs live on that are killed while the servers are away."""
        name = f"v{chance.randrange(1 << 60)}"
        victims = [Victim(c.path(f"{name}{i}"), call) for i, call in enumerate(Victim.CALLS)]
        try:
            time.sleep(chance.uniform(0.1, 0.5))  # at a moment that nothing marks
            began = time.monotonic()
            for victim in victims:
                kill(victim.pid)
            for victim in victims:
                wait_for("a program that was killed to be gone", lambda one=victim: is_gone(one.pid))
            took = time.monotonic() - began
            self.assertLess(took, SLEEP_MAX)
            return took
        finally:
            for victim in victims:
                victim.close()

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
