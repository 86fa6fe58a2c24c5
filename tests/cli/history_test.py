#!/usr/bin/env python3
"""A master's data directory comes back from earlier: chunkservers that have obeyed a longer history take nothing from
it, deletes above all, and say why, until the right directory is back or people begin the group anew. Then what the
masters don't know any more stays until people agree, and goes into quarantine."""
import json
import os
import shutil
import sys
import unittest

from support import HERE, CommandTest, check_schema

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, wait_for  # noqa: E402

CRITICAL = 2
ORPHAN_SECONDS = 4
SMALL_FILES = 30


class RolledBack(CommandTest):
    def setUp(self):
        super().setUp()
        self.c = Cluster(chunkservers=2, extra=("--replicas", "2"))
        self.addCleanup(self.c.close)
        self.show_logs_of(self.c)
        self.c.up()
        with open(os.path.join(self.c.dir, "cluster.toml"), "a") as f:
            f.write(f"[upkeep]\norphan_seconds = {ORPHAN_SECONDS}\n")
        for name in ("c1", "c2"):
            self.c.play("kill", name)
            self.c.play("start", name)
        self.c.wait_healthy()
        self.c.admin("trash", "set", "/", "off")  # what is deleted is to reach the chunkservers

    def data(self, name):
        return os.path.join(self.c.dir, name)

    def write(self, name, megabytes=1):
        data = os.urandom(megabytes << 20)
        with open(self.c.path(name), "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        return data

    def read(self, name):
        with open(self.c.path(name), "rb") as f:
            return f.read()

    def stop_master(self):
        self.c.play("kill", "m1")

    def keep(self, name):
        shutil.copytree(self.data("m1"), self.data(name))

    def put_earlier(self):
        """In place of the master's directory, which is kept aside."""
        os.rename(self.data("m1"), self.data("newest"))
        shutil.copytree(self.data("earlier"), self.data("m1"))

    def put_newest(self):
        shutil.rmtree(self.data("m1"))
        os.rename(self.data("newest"), self.data("m1"))

    def chunks(self):
        found = set()
        for server in ("c1", "c2"):
            for path, _, names in os.walk(os.path.join(self.data(server), "v1", "chunks")):
                found.update((server, os.path.basename(path), name) for name in names)
        return found

    def reasons(self):
        return {reason["code"]: reason for reason in self.c.status()["reasons"]}

    def log_has(self, name, *texts):
        with open(os.path.join(self.c.dir, "log", name + ".log"), errors="replace") as f:
            log = f.read()
        return all(text in log for text in texts)

    def test_a_directory_from_earlier(self):
        first = self.write("first")
        self.write("deleted")
        os.unlink(self.c.path("deleted"))  # its chunks are on the queue of what is kept now
        self.stop_master()
        self.keep("earlier")
        self.c.play("start", "m1")
        self.c.wait_healthy()
        second = self.write("second")
        for number in range(SMALL_FILES):
            with open(self.c.path(f"small{number}"), "w") as f:
                f.write("x" * 100)
        os.sync()
        self.stop_master()
        self.put_earlier()
        before = self.chunks()  # the newest master may have had some deleted, where a disk is filling up
        self.c.play("start", "m1")
        wait_for("the master to hear of it", lambda: "history-short" in self.reasons(), 30)
        reason = self.reasons()["history-short"]
        self.assertIn("has obeyed entry", reason["text"])
        self.assertIn("master m1 has come to", reason["text"])
        self.assertIn("raft recover", reason["action"])
        self.assertEqual(self.c.admin("status", check=False).returncode, CRITICAL)
        for server in ("c1", "c2"):
            wait_for(f"{server} to say why", lambda: self.log_has(server, "doesn't obey master m1", "raft recover"), 20)
        # Longer than deletes wait, and it stays so after a restart of everybody.
        for name in ("m1", "c1"):
            self.c.play("kill", name)
        self.c.play("start", "m1")
        self.start_refused("c1")
        wait_for("the master to hear of it again", lambda: "history-short" in self.reasons(), 30)
        self.assertLessEqual(before, self.chunks(), "a chunk is gone")
        self.stop_master()
        self.put_newest()
        self.c.play("start", "m1")
        self.c.wait_healthy()
        self.assertEqual((self.read("first"), self.read("second")), (first, second))
        self.begin_anew(first)

    def start_refused(self, name):
        """It isn't ready before a master takes it, so nobody waits for that."""
        self.c.dfs("play", "--dir", self.c.dir, "start", name, check=False)

    def begin_anew(self, first):
        """People decide that the earlier directory is what they go on with."""
        before = self.chunks()
        self.stop_master()
        self.put_earlier()
        command = ("raft", "recover", "m1", "--dir", self.data("m1"))
        plan = json.loads(self.c.admin("-o", "json", *command).stdout)["plan"]
        self.c.admin(*command, "--apply", plan)
        self.c.play("start", "m1")
        wait_for("chunkservers to obey it", lambda: "history-short" not in self.reasons(), 60)
        self.c.play("kill", "mount")
        self.c.play("start", "mount")
        self.assertEqual(self.read("first"), first)
        self.assertFalse(os.path.exists(self.c.path("second")))
        self.agree_to_removal(before)
        self.assertEqual(self.read("first"), first)

    def removals(self):
        return json.loads(self.c.admin("-o", "json", "removal", "list").stdout)["removals"]

    def quarantined(self):
        kept = [os.path.join(self.data(name), "v1", "deleted") for name in ("c1", "c2")]
        return sum(len(os.listdir(path)) for path in kept)

    def let_go(self):
        """What is found later has a plan of its own."""
        held = self.removals()
        for removal in held:
            done = self.c.admin("-o", "json", "removal", "apply", removal["plan"], check=False)
            if done.returncode == 0:
                check_schema("removal-apply", json.loads(done.stdout))
        return not held

    def agree_to_removal(self, before):
        wait_for("both volumes to hold back what no file has", lambda: len(self.removals()) == 2, 20 * ORPHAN_SECONDS)
        held = self.removals()
        self.assertGreater(sum(h["unknownChunks"] for h in held), SMALL_FILES // 2)
        self.assertIn("removal-held", self.reasons())
        unlinked = self.quarantined()
        refused = self.c.admin("removal", "apply", "12345", check=False)
        self.assertEqual(refused.returncode, CRITICAL)
        self.assertEqual(self.quarantined(), unlinked, "nothing goes before somebody agrees")
        wait_for("them to be let go", self.let_go, 60)
        wait_for("health", lambda: "removal-held" not in self.reasons(), 30)
        wait_for("them to be in quarantine", lambda: self.quarantined() >= unlinked + 2, 30)
        self.assertLess(len(self.chunks()), len(before))


if __name__ == "__main__":
    unittest.main(verbosity=2)
