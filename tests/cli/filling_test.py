#!/usr/bin/env python3
"""Small disks that fill up while copies are made again: one that is full gets none, a copy that doesn't fit goes
elsewhere, and when there is no room anywhere deletes make it. Deletes work throughout."""
import errno
import json
import os
import unittest

from support import CommandTest
from small_disks import SmallDisks
from cluster import wait_for  # noqa: E402

DISK_MIB = 128
SERVERS = 4
FILE_MIB = 2
CONFIG = "repair_delay = 2\n[upkeep]\nrepair_mib_per_second = 4\n"


class Filling(CommandTest):
    def setUp(self):
        super().setUp()
        self.c = SmallDisks(chunkservers=SERVERS, replicas=2, mib=DISK_MIB, config=CONFIG)
        self.addCleanup(self.c.close)
        self.show_logs_of(self.c)
        self.c.up()
        self.c.wait_healthy()
        self.written = {}
        self.files = 0

    def write(self):
        """0, or the errno of the failure."""
        name = f"f{self.files}"
        self.files += 1
        try:
            self.written[name] = self.c.write(name, FILE_MIB)
        except OSError as e:
            return e.errno
        return 0

    def delete(self, names):
        """Deletes work, whatever is full."""
        for name in names:
            os.unlink(self.c.path(name))
            del self.written[name]

    def read_all(self):
        for name, data in self.written.items():
            with open(self.c.path(name), "rb") as f:
                self.assertEqual(f.read(), data, name)

    def codes(self):
        return {reason["code"] for reason in self.c.status()["reasons"]}

    def shards(self):
        return json.loads(self.c.admin("-o", "json", "shard", "list").stdout)["shards"]

    def members(self, kind):
        return {member["server"] for shard in self.shards() for member in shard[kind]}

    def has_copy(self, server, name):
        return f'"{server}"' in self.c.admin("-o", "json", "file", "locate", self.c.path(name)).stdout

    def lacking(self):
        """Shards that don't have both copies where they belong."""
        def names(members):
            return {member["server"] for member in members}
        return [s for s in self.shards()
                if len(s["inSync"]) != 2 or names(s["inSync"]) != names(s["target"]) or s["joining"]]

    def whole(self):
        return not self.lacking()

    def await_whole(self):
        try:
            wait_for("both copies of everything", self.whole)
        except AssertionError as e:
            status = self.c.status()
            raise AssertionError(f"{e}\n{self.lacking()[:3]}\n{status['reasons']}\n{status['servers']}") from e

    def used(self, name):
        server = next(s for s in self.c.status()["servers"] if s["name"] == name)
        return sum(v["ownBytes"] for v in server["volumes"])

    def failed(self):
        return self.codes() & {"volume-failed", "shards-unavailable"}

    def test_repair_on_full_disks(self):
        for _ in range(SERVERS * DISK_MIB // 2 // FILE_MIB // 3):  # to a third
            self.assertEqual(self.write(), 0)
        self.a_full_disk_gets_none()
        self.what_does_not_fit_goes_elsewhere()
        self.no_room_anywhere()

    def a_full_disk_gets_none(self):
        self.c.fill_disk("c1")
        wait_for("the report", lambda: "volume-full" in self.codes())
        held = self.used("c1")
        self.read_all()
        # Not so many that it isn't full any more.
        self.delete([name for name in sorted(self.written) if self.has_copy("c1", name)][:3])
        wait_for("the deletes to be carried out there", lambda: self.used("c1") < held)
        self.assertFalse(self.failed())
        held = self.used("c1")
        self.c.play("kill", "c4")
        wait_for("c4 to be given up", lambda: "c4" not in self.members("target"))
        self.assertNotIn("c1", self.members("joining"))
        self.assertLessEqual(self.used("c1"), held)  # deletes may still be on their way
        self.await_whole()
        self.assertFalse(self.failed())
        self.c.empty_disk("c1")
        self.c.play("start", "c4")
        wait_for("c4 to have its share", lambda: "c4" in self.members("inSync") and self.whole())
        self.c.wait_healthy()
        self.read_all()

    def what_does_not_fit_goes_elsewhere(self):
        self.c.play("kill", "c3")
        wait_for("copies to be made on c1", lambda: "c1" in self.members("joining"))
        self.c.fill_disk("c1")
        self.await_whole()
        self.assertFalse(self.failed())
        self.c.empty_disk("c1")
        self.c.play("start", "c3")
        wait_for("c3 to have its share", lambda: "c3" in self.members("inSync") and self.whole())
        self.c.wait_healthy()
        self.read_all()

    def no_room_anywhere(self):
        code = 0
        while code == 0:
            code = self.write()
        self.assertEqual(code, errno.ENOSPC)
        self.c.play("kill", "c2")
        wait_for("c2 to be dropped", lambda: "c2" not in self.members("inSync"))
        self.assertIn("copies-missing", self.codes())
        self.read_all()
        self.assertFalse(self.whole())
        self.delete(sorted(self.written)[:len(self.written) * 2 // 3])
        self.await_whole()
        self.assertFalse(self.failed())
        self.read_all()
        self.assertEqual(self.write(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
