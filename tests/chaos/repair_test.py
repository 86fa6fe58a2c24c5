#!/usr/bin/env python3
"""Copies that move under a real mount: a chunkserver lost for good, one added, one drained, one that comes and goes.
CAIRN_FULL=1: at full size (nightly)."""
import json
import os
import re
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
sys.path.insert(0, HERE)
from cluster import Cluster, wait_for  # noqa: E402
from copies import Busy, fill, names, own_bytes, settled, shards, state_of, targets, unlike  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
BYTES = (1 << 30) if FULL else (48 << 20)
BEGINS_WITHIN = 30.0 if FULL else 60.0  # seconds from the loss; the machine may stand still for some of them
ENDS_WITHIN = 600 if FULL else 300


class Repair(unittest.TestCase):
    def check_bytes(self, files, busy):
        self.assertEqual(unlike(files), [])
        self.assertEqual(busy.wrong(), [])

    def test_lost_for_good(self):
        with Cluster(chunkservers=6) as c:
            files = fill(c, BYTES)
            before = targets(c)
            with Busy(c, files) as busy:
                lost = time.monotonic()
                c.play("kill", "c3")

                def begun():
                    """Or over already, for some shard."""
                    return any(s["joining"] or before[s["id"]] != names(s["target"]) for s in shards(c))
                wait_for("the repair to begin", begun, 60, 0.2)
                began = time.monotonic() - lost
                busiest = 0

                def healed():
                    nonlocal busiest
                    status = c.status()
                    busiest = max(busiest, status["repair"]["bytesPerSecond"])
                    return status["shards"]["healthy"] == status["shards"]["total"] and settled(c)

                wait_for("all copies to be made again", healed, ENDS_WITHIN, 0.3)
                ended = time.monotonic() - lost
            print(f"repair began after {began:.1f} s, ended after {ended:.1f} s, at most {busiest >> 20} MiB/s; "
                  f"slowest write {busy.slowest_write:.2f} s")
            self.assertLess(began, BEGINS_WITHIN)
            self.assertEqual(busy.failures(), [])
            self.assertEqual(state_of(c, "c3"), "dead")
            self.assertTrue(all("c3" not in t for t in targets(c).values()))
            files.update(busy.written)
            self.check_bytes(files, busy)
            c.wait_healthy()
            wait_for("all copies in sync", lambda: settled(c))
            # Two more go at once: what was made again is all that is left of some shards.
            c.play("kill", "c1")
            c.play("kill", "c2")
            self.check_bytes(files, busy)

    def test_add_and_drain(self):
        with Cluster(chunkservers=6) as c:
            files = fill(c, BYTES)
            with Busy(c, files) as busy:
                before = targets(c)
                c.play("add", "chunkserver")
                wait_for("the new one to get copies", lambda: any("c7" in t for t in targets(c).values()), 60, 0.3)
                wait_for("the copies to be moved", lambda: c.status()["shards"]["misplaced"] == 0 and settled(c),
                         ENDS_WITHIN, 0.5)
                after = targets(c)
                self.check_balance(before, after, 7)
                self.drain(c, "c1")
                self.assertEqual(busy.failures(), [])
            self.assertEqual(busy.failures(), [])
            c.play("kill", "c1")
            wait_for("c1 to be gone", lambda: not c.status()["servers"][0]["online"], 20)
            done = c.admin("node", "remove", "c1")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertNotIn("c1", [s["name"] for s in c.status()["servers"]])
            c.wait_healthy()
            files.update(busy.written)
            self.check_bytes(files, busy)

    def check_balance(self, before, after, servers):
        copies = sum(len(t) for t in after.values())
        moved = sum(len(after[i] - before[i]) for i in after)
        share = copies / servers
        held = {}
        for target in after.values():
            for name in target:
                held[name] = held.get(name, 0) + 1
        print(f"added: {moved} of {copies} copies moved ({moved / share:.2f} shares), {sorted(held.values())} held")
        self.assertLessEqual(moved, 1.25 * share)
        for name, count in held.items():
            self.assertLess(abs(count - share), 0.1 * share, name)

    def drain(self, c, name):
        wait_for("all copies in sync", lambda: settled(c))
        planned = c.admin("-o", "json", "plan", "drain", name)
        self.assertEqual(planned.returncode, 0, planned.stdout + planned.stderr)
        self.assertEqual(json.loads(planned.stdout)["leastCopies"], 3)
        refused = c.admin("node", "remove", name)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("drain it first", refused.stderr)
        done = c.admin("node", "drain", name)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        held, fewest = set(), 3  # shards with a copy there, as seen last

        def drained():
            """Copies that go from there go for good: then there are enough others. (A server that stands still for a
            second or two may be left out of a shard at any time, which says nothing about the draining.)"""
            nonlocal held, fewest
            now = {s["id"]: names(s["inSync"]) for s in shards(c)}
            fewest = min([fewest, *(len(now[shard]) for shard in held if name not in now[shard])])
            held = {shard for shard, members in now.items() if name in members}
            return state_of(c, name) == "drained"

        wait_for(f"{name} to be drained", drained, ENDS_WITHIN, 0.3)
        self.assertEqual(fewest, 3, "fewer copies on the way")
        wait_for(f"{name} to be empty", lambda: own_bytes(c, name) == 0, ENDS_WITHIN, 0.5)
        wait_for(f"{name} to be stoppable", lambda: c.admin("node", "ok-to-stop", name).returncode == 0)

    def test_flapping(self):
        rounds = 18 if FULL else 3
        missed = 0
        with Cluster(chunkservers=5) as c:
            files = fill(c, BYTES)
            before = targets(c)
            with Busy(c, files) as busy:
                for _ in range(rounds):
                    written = busy.bytes_written()
                    c.play("kill", "c2")
                    time.sleep(5)
                    c.play("start", "c2")
                    missed += busy.bytes_written() - written + busy.bytes_changing()
                    time.sleep(5)
                wait_for("all copies in sync", lambda: settled(c), 60, 0.3)
                wait_for("it to say what it took over", lambda: self.taken_over(c, "c2"), 60, 0.3)
                time.sleep(3)  # all of it
            moved = self.taken_over(c, "c2")
            print(f"gone {rounds} times for 5 s: {moved} bytes taken over; changed meanwhile: {missed} at most")
            self.assertGreater(moved, 0)
            self.assertLessEqual(moved, missed)
            self.assertEqual(busy.failures(), [])
            self.assertEqual(targets(c), before, "copies were made elsewhere of a server that always came back")
            files.update(busy.written)
            self.check_bytes(files, busy)

    def taken_over(self, c, name):
        """Bytes in all lives of a server."""
        total = last = 0
        with open(os.path.join(c.dir, "log", name + ".log"), errors="replace") as f:
            for line in f:
                if " ready: " in line:
                    total, last = total + last, 0
                elif found := re.search(r" (\d+) bytes taken over", line):
                    last = int(found[1])
        return total + last


if __name__ == "__main__":
    unittest.main(verbosity=2)
