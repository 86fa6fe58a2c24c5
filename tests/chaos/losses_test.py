#!/usr/bin/env python3
"""Chunkservers lost one after another while files are written, read and changed: how fast copies are made again and
what users feel of it, whose turn it is first, and what an old copy is worth that comes back.
CAIRN_FULL=1: 10 GiB (CAIRN_BYTES) and the usual delays (nightly)."""
import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from disks import DiskCluster  # noqa: E402
from cluster import wait_for  # noqa: E402
from copies import Busy, fill, names, own_bytes, settled, shards, targets, unlike  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
BYTES = int(os.environ.get("CAIRN_BYTES", 10 << 30)) if FULL else 1 << 30
SERVERS = 6
RATE_MIB = int(os.environ.get("CAIRN_RATE", 10)) if FULL else 40  # of each server that makes copies
BEGINS_WITHIN = 30.0
ENDS_WITHIN = 3600 if FULL else 120
QUIET_SECONDS = 60
SHARE_LEAST = 0.8  # of the set rate
SLOWDOWN_MOST = 2.0


def p99(took, begin, end):
    inside = sorted(seconds for began, seconds in took if begin <= began < end)
    return inside[len(inside) * 99 // 100] if inside else 0.0


def alive(shard, dead):
    return len(names(shard["inSync"]) - dead)


class Losses(unittest.TestCase):
    def cluster(self, upkeep):
        return DiskCluster({}, chunkservers=SERVERS, masters=3, upkeep=upkeep,
                           defaults="" if FULL else "repair_delay = 3")

    def check(self, files, busy):
        self.assertEqual(unlike(files), [])
        self.assertEqual(busy.wrong(), [])

    def await_settled(self, c, what):
        def done():
            counts = c.status()["shards"]
            return counts["healthy"] == counts["total"] and counts["misplaced"] == 0 and settled(c)
        wait_for(what, done, ENDS_WITHIN, 0.3)

    def lose(self, c, name):
        """Until its copies begin to be made again. Returns when it was lost, when that began, and its bytes."""
        held = own_bytes(c, name)
        c.play("kill", name)
        lost = time.monotonic()
        wait_for("the repair to begin", lambda: any(s["joining"] for s in shards(c)), 60, 0.1)
        return lost, time.monotonic(), held

    def report(self, busy, quiet, repair, what):
        print(f"{what}: p99 before and meanwhile, in ms:", end="")
        for kind, worker in (("write", busy.workers[0]), ("read", busy.workers[1])):
            before, during = p99(worker.took, *quiet), p99(worker.took, *repair)
            print(f" {kind} {before * 1000:.0f} {during * 1000:.0f} ({during / max(before, 1e-6):.1f} x)", end="")
            self.assertLessEqual(during, SLOWDOWN_MOST * before, kind)
        print(flush=True)

    def test_one_after_another(self):
        with self.cluster(f"repair_mib_per_second = {RATE_MIB}") as c:
            c.wait_healthy()
            files = fill(c, BYTES)
            with Busy(c, files) as busy:
                time.sleep(1)
                self.lose(c, "c3")
                c.play("kill", "c5")
                self.watch_order(c, {"c3", "c5"})
                self.await_settled(c, "all copies to be made again")
                self.assertTrue(all(not t & {"c3", "c5"} for t in targets(c).values()))
                time.sleep(1)  # of changes that neither of the two has seen
                c.play("start", "c3")
                wait_for("the old copies to be of use again", lambda: any("c3" in t for t in targets(c).values()),
                         ENDS_WITHIN, 0.3)
                self.await_settled(c, "all to be where it belongs")
            self.assertEqual(busy.failures(), [])
            files.update(busy.written)
            self.check(files, busy)
            self.await_settled(c, "all copies to be in sync")
            # Of some shards only what came back is left now.
            c.play("kill", "c1")
            c.play("kill", "c2")
            self.check(files, busy)

    def watch_order(self, c, dead):
        """Shards with one copy left get their second before those with two get their third."""
        def noticed():
            now = shards(c)
            return now if not any("c5" in names(s["inSync"]) and len(s["inSync"]) > 1 for s in now) else None
        before = wait_for("the second loss to be noticed", noticed, 30, 0.1)
        waiting = {s["id"]: alive(s, dead) for s in before if not s["joining"]}
        copied = {1: [], 2: []}

        def done():
            for s in shards(c):
                had = waiting.get(s["id"])
                if had in copied and alive(s, dead) > had:
                    copied[had].append(time.monotonic())
                    del waiting[s["id"]]
            return not any(had in copied for had in waiting.values())
        wait_for("every shard to get a copy", done, ENDS_WITHIN, 0.2)
        self.assertTrue(copied[1] and copied[2], "the second loss came too late to show anything")
        first = min(copied[1] + copied[2])
        of_one, of_two = (sorted(at - first for at in copied[n]) for n in (1, 2))
        print(f"second loss: {len(of_one)} shards with one copy got another within {of_one[-1]:.1f} s (half of them in "
              f"{of_one[len(of_one) // 2]:.1f} s), {len(of_two)} with two within {of_two[-1]:.1f} s (half in "
              f"{of_two[len(of_two) // 2]:.1f} s)", flush=True)
        self.assertLess(of_one[len(of_one) * 95 // 100], of_two[len(of_two) * 95 // 100])
        self.assertLess(of_one[len(of_one) // 2], of_two[len(of_two) // 2])

    def lose_one(self, upkeep, what):
        """Its bytes, and in how many seconds they were copied."""
        with self.cluster(upkeep) as c:
            c.wait_healthy()
            files = fill(c, BYTES)
            with Busy(c, files) as busy:
                time.sleep(QUIET_SECONDS)
                lost, began, held = self.lose(c, "c3")
                self.await_settled(c, "all copies to be made again")
                ended = time.monotonic()
                time.sleep(1)
            print(f"{what}: repair began after {began - lost:.1f} s; {held >> 20} MiB in {ended - began:.1f} s",
                  flush=True)
            self.assertLess(began - lost, BEGINS_WITHIN)
            self.assertEqual(busy.failures(), [])
            files.update(busy.written)
            self.check(files, busy)
            self.report(busy, (lost - QUIET_SECONDS, lost), (began, ended), what)
        return held, ended - began

    if FULL:  # a little of it shows nothing
        def test_at_a_set_rate(self):
            held, seconds = self.lose_one(f"repair_mib_per_second = {RATE_MIB}", "at a set rate")
            share = held / seconds / ((SERVERS - 1) * RATE_MIB << 20)
            print(f"{SERVERS - 1} servers at {RATE_MIB} MiB/s each: {share * 100:.0f} % of it used", flush=True)
            self.assertGreaterEqual(share, SHARE_LEAST)

        def test_as_fast_as_users_do_not_feel_it(self):
            held, seconds = self.lose_one("", "as fast as users don't feel it")
            print(f"{held / seconds / (1 << 20):.0f} MiB/s", flush=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
