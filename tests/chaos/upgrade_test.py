#!/usr/bin/env python3
"""An upgrade as administrators do it: each server is stopped in good order and started from the new programs, one at a
time, and the mount hands over, while programs work. No operation fails. CAIRN_OLD_BIN: programs to upgrade from,
those of an earlier build; without it the same ones replace themselves. CAIRN_FULL=1: ten times over.
"""
import os
import random
import signal
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
sys.path.insert(0, HERE)
from cluster import BIN, Cluster, await_gone, run, wait_for  # noqa: E402
from program import Program  # noqa: E402
from supervised import SupervisedMount  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
OLD_BIN = os.environ.get("CAIRN_OLD_BIN", BIN)
TIMES = 10 if FULL else 1
MASTERS = ["m1", "m2", "m3"]
SERVERS = ["c1", "c2", "c3", "c4"]


class Upgrade(unittest.TestCase):
    def test_no_operation_fails(self):
        seed = random.randrange(1 << 32)
        print(f"seed {seed}", flush=True)
        os.environ["CAIRN_BIN"] = OLD_BIN
        self.addCleanup(os.environ.update, CAIRN_BIN=BIN)
        with Cluster(masters=3, chunkservers=len(SERVERS)) as c:
            installed = os.path.join(c.base, "dfs-mount")
            run("cp", os.path.join(OLD_BIN, "dfs-mount"), installed)
            with SupervisedMount(c, installed) as mount:
                programs = []
                for i in range(4):
                    programs.append(Program(mount.mnt, i, seed + i))
                    self.addCleanup(programs[-1].close)  # when the mount has gone, if not before
                os.environ["CAIRN_BIN"] = BIN
                for _ in range(TIMES):
                    self.upgrade(c, mount, installed, programs)
                for program in programs:
                    program.close()

    def upgrade(self, c, mount, installed, programs):
        longest = {}
        for name in MASTERS + SERVERS:
            longest[name] = self.watch(programs, lambda one=name: self.replace(c, one))
        run("cp", os.path.join(BIN, "dfs-mount"), installed + ".new")
        os.rename(installed + ".new", installed)
        longest["mount"] = self.watch(programs, mount.hand_over)
        status = c.wait_healthy()
        versions = {one["version"] for kind in ("masters", "servers") for one in status[kind]}
        self.assertEqual(len(versions), 1, status)
        self.assertEqual(status["levelHeldBy"], [])
        told = ", ".join(f"{name} {seconds:.2f}" for name, seconds in longest.items())
        print(f"longest round of a program, in s, while it was replaced: {told}; "
              f"{sum(p.rounds() for p in programs)} rounds of work")

    def watch(self, programs, replace):
        """Runs it; the longest time without a round of some program. Each goes on afterwards, and none has failed."""
        before = [(p.rounds(), time.monotonic()) for p in programs]
        longest = 0.0

        def look():
            nonlocal longest
            self.assertEqual([p.root for p in programs if p.failed()], [], "an operation failed")
            for i, program in enumerate(programs):
                rounds, since = before[i]
                now = time.monotonic()
                longest = max(longest, now - since)
                if program.rounds() != rounds:
                    before[i] = (program.rounds(), now)
            return True
        look()
        replace()
        begun = [p.rounds() for p in programs]
        wait_for("every program to go on", lambda: look() and all(
            p.rounds() >= n + 2 for p, n in zip(programs, begun)), every=0.01)
        return longest

    def replace(self, c, name):
        if name in SERVERS:
            wait_for(f"{name} to be one that may stop", lambda: c.admin("node", "ok-to-stop", name).returncode == 0)
        elif self.leader(c) == name:
            c.admin("raft", "transfer", next(other for other in MASTERS if other != name))
            wait_for("another leader", lambda: self.leader(c) not in (None, name))
        pid = c.pid(name)
        os.kill(pid, signal.SIGTERM)
        await_gone(pid)
        c.play("start", name)
        c.wait_healthy()

    def leader(self, c):
        return next((m["name"] for m in c.status()["masters"] if m["role"] == "leader"), None)


if __name__ == "__main__":
    unittest.main(verbosity=2)
