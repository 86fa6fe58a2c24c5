#!/usr/bin/env python3
"""A cluster that fills up: warned, then refused, deletes always, what was deleted gives way to what is written, and
`dfsadmin df --explain` says why so much is available."""
import errno
import json
import os
import unittest

from support import CommandTest
from small_disks import MIB, SmallDisks  # noqa: E402
from cluster import wait_for  # noqa: E402

DISK_MIB = 160


class Filling(CommandTest):
    def setUp(self):
        super().setUp()
        self.c = SmallDisks(chunkservers=2, replicas=2, mib=DISK_MIB)
        self.addCleanup(self.c.close)
        self.show_logs_of(self.c)
        self.c.up()
        self.c.wait_healthy()
        self.written = {}

    def write(self, name, megabytes=2):
        """0, or the errno of the failure."""
        try:
            self.written[name] = self.c.write(name, megabytes)
        except OSError as e:
            return e.errno
        return 0

    def fill(self, prefix):
        for number in range(DISK_MIB):
            code = self.write(f"{prefix}{number}")
            if code != 0:
                self.assertEqual(code, errno.ENOSPC)
                return number
        raise AssertionError("the disks never got full")

    def codes(self):
        return {reason["code"] for reason in self.c.status()["reasons"]}

    def df(self):
        return json.loads(self.c.admin("-o", "json", "df", "--explain").stdout)

    def percent(self):
        space = self.c.status()["space"]
        return space["usedBytes"] * 100 / space["rawBytes"]

    def adds_up(self):
        why = self.df()["explain"]
        self.assertEqual(why["freeBytes"], max(0, why["rawBytes"] - why["usedBytes"] - why["reserveBytes"]))
        self.assertEqual(why["evenBytes"], why["freeBytes"] // why["copies"])
        self.assertLessEqual(abs(why["evenBytes"] - why["imbalanceBytes"] - why["availableBytes"]), MIB)
        return why

    def read_all(self):
        for name, data in self.written.items():
            with open(self.c.path(name), "rb") as f:
                self.assertEqual(f.read(), data, name)

    def test_it_fills_up(self):
        self.fill("a")
        wait_for("the warning", lambda: self.codes() & {"space-full", "space-low"}, 10)
        self.assertGreater(self.percent(), 88)
        self.assertLess(self.percent(), 98)
        self.adds_up()
        self.read_all()
        # Deletes work, and what they free can be written at once, though it is kept while nobody wants it.
        deleted = sorted(self.written)[::2]
        for name in deleted:
            os.unlink(self.c.path(name))
            del self.written[name]
        wanted = len(deleted) * 3 * MIB // 2
        wait_for("the room to be there again", lambda: self.adds_up()["availableBytes"] > wanted, 30)
        self.assertGreater(self.df()["retiredBytes"], 0)
        self.assertFalse(self.codes() & {"space-full", "space-low"})
        for number in range(len(deleted) * 2 // 3):
            self.assertEqual(self.write(f"b{number}"), 0)
        self.read_all()
        self.one_disk_is_full()

    def fill_c1(self):
        self.c.fill_disk("c1")
        return "volume-full" in self.codes()

    def one_disk_is_full(self):
        """By something else: the cluster has room, but chunks of every file go there too."""
        wait_for("the report", self.fill_c1, 30)  # what is kept of deletes gives way first
        why = self.adds_up()
        self.assertEqual((why["fullest"], why["availableBytes"]), ("c1", 0))
        self.assertIn("c1 is full first", self.c.admin("df", "--explain").stdout)
        name = sorted(self.written)[0]
        os.unlink(self.c.path(name))
        del self.written[name]
        self.read_all()
        self.c.empty_disk("c1")
        wait_for("room", lambda: self.write("last") == 0, 30)
        self.read_all()


if __name__ == "__main__":
    unittest.main(verbosity=2)
