#!/usr/bin/env python3
"""A cluster that fills up: warned, then refused, deletes always, what was deleted gives way to what is written, and
`dfsadmin df --explain` says why so much is available."""
import errno
import json
import os
import subprocess
import sys
import unittest

from support import HERE, CommandTest

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, run, wait_for  # noqa: E402

MIB = 1 << 20
DISK_MIB = 160
SERVERS = ("c1", "c2")


class SmallDisks(Cluster):
    """Each chunkserver's directory is a file system of its own."""

    def __init__(self):
        super().__init__(chunkservers=len(SERVERS), extra=("--replicas", "2"))

    def up(self):
        super().up()
        for name in SERVERS:
            self.play("kill", name)
            os.rename(self.disk(name), self.disk(name + ".before"))
            os.mkdir(self.disk(name))
            run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", self.disk(name))
            run("cp", "-a", self.disk(name + ".before", "."), self.disk(name))
            self.play("start", name)

    def disk(self, *names):
        return os.path.join(self.dir, *names)

    def close(self):
        self.dfs("down", "--dir", self.dir, check=False, timeout=60)
        self.kill_all()
        for name in SERVERS:
            subprocess.run(["umount", "-l", self.disk(name)], stderr=subprocess.DEVNULL)
        super().close()


class Filling(CommandTest):
    def setUp(self):
        super().setUp()
        self.c = SmallDisks()
        self.addCleanup(self.c.close)
        self.c.up()
        self.c.wait_healthy()
        self.written = {}

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before and os.path.isdir(self.c.dir):
            self.c.show_logs()

    def write(self, name, megabytes=2):
        """0, or the errno of the failure."""
        data = os.urandom(megabytes * MIB)
        try:
            with open(self.c.path(name), "wb", buffering=0) as f:
                f.write(data)
                os.fsync(f.fileno())
        except OSError as e:
            os.unlink(self.c.path(name))
            return e.errno
        self.written[name] = data
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

    def one_disk_is_full(self):
        """By something else: the cluster has room, but chunks of every file go there too."""
        foreign = self.c.disk("c1", "foreign")
        free = os.statvfs(self.c.disk("c1"))
        with open(foreign, "wb") as f:
            f.write(b"x" * (free.f_bavail * free.f_frsize - MIB))
        wait_for("the report", lambda: "volume-full" in self.codes(), 30)
        why = self.adds_up()
        self.assertEqual((why["fullest"], why["availableBytes"]), ("c1", 0))
        self.assertIn("c1 is full first", self.c.admin("df", "--explain").stdout)
        name = sorted(self.written)[0]
        os.unlink(self.c.path(name))
        del self.written[name]
        self.read_all()
        os.unlink(foreign)
        wait_for("room", lambda: self.write("last") == 0, 30)
        self.read_all()


if __name__ == "__main__":
    unittest.main(verbosity=2)
