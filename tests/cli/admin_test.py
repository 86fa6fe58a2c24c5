#!/usr/bin/env python3
"""dfsadmin on a running cluster: the JSON that programs rely on, exit codes, looking at files copy by copy."""
import json
import os
import sys
import time
import unittest

from support import HERE, REFUSED, UNREACHABLE, CommandTest

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, wait_for  # noqa: E402

MIB = 1 << 20
STATUS_KEYS = {
    "": {"health", "reasons", "cluster", "version", "masters", "servers", "shards", "repair", "space", "sessions"},
    "masters": {"name", "address", "role", "term", "commitIndex", "appliedIndex"},
    "servers": {"name", "address", "state", "volumes"},
    "volumes": {"id", "state", "usedBytes", "totalBytes"},
    "shards": {"total", "healthy", "degraded", "atRisk", "unavailable", "misplaced"},
    "repair": {"bytesLeft", "bytesPerSecond", "etaSeconds"},
    "space": {"rawBytes", "usedBytes", "availableBytes"}}


class Admin(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.up()
        cls.cluster.wait_healthy()

    def admin(self, *words, code=0):
        done = self.cluster.admin(*words, check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *words, code=0):
        return json.loads(self.admin("-o", "json", *words, code=code))

    def file(self, name, size):
        path = self.cluster.path(name)
        with open(path, "wb") as f:
            f.write(os.urandom(size))
            f.flush()
            os.fsync(f.fileno())
        return path

    def test_status_keeps_its_schema(self):
        status = self.cluster.wait_healthy()
        self.assertLessEqual(STATUS_KEYS[""], set(status))
        for part in ("masters", "servers"):
            for entry in status[part]:
                self.assertLessEqual(STATUS_KEYS[part], set(entry))
        for volume in status["servers"][0]["volumes"]:
            self.assertLessEqual(STATUS_KEYS["volumes"], set(volume))
        for part in ("shards", "repair", "space"):
            self.assertLessEqual(STATUS_KEYS[part], set(status[part]))
            self.assertTrue(all(isinstance(v, int) for v in status[part].values()), status[part])
        self.assertEqual(status["health"], "degraded" if status["reasons"] else "healthy")
        self.assertEqual([s["name"] for s in status["servers"]], ["c1", "c2", "c3"])
        self.assertEqual(status["shards"]["total"], status["shards"]["healthy"])
        # The option may stand after the verb as well.
        again = self.cluster.admin("status", "-o", "json").stdout
        self.assertEqual(json.loads(again)["cluster"], status["cluster"])

    def test_the_cluster_is_found_by_environment_and_place(self):
        done = self.run_program("dfsadmin", "df", env={"DFS_CLUSTER": os.path.join(self.cluster.dir, "cluster.toml")})
        self.assertEqual(done.returncode, 0, done.stderr)
        os.symlink(self.cluster.dir, self.path(".dfs"))
        self.assertEqual(self.run_program("dfsadmin", "df").returncode, 0)

    def test_nodes_and_shards_agree(self):
        shards = self.json("shard", "list")["shards"]
        self.assertEqual(len(shards), self.cluster.status()["shards"]["total"])

        def held(name):
            """Copies by both accounts, when nothing changed meanwhile: a server that stood still comes and goes."""
            before = self.json("shard", "list")["shards"]
            node = self.json("node", "show", name)
            if self.json("shard", "list")["shards"] != before:
                return None
            return node["inSync"], sum(name in [m["server"] for m in s["inSync"]] for s in before)
        for name in ("c1", "c2", "c3"):
            counts = wait_for("a time without a change of the map", lambda: held(name))
            self.assertEqual(counts[0], counts[1], name)
        one = self.json("shard", "show", str(shards[7]["id"]))
        self.assertEqual(one["id"], shards[7]["id"])
        wait_for("no shard to be unhealthy", lambda: self.json("shard", "list", "--unhealthy")["shards"] == [])
        self.assertIn("c1", self.admin("node", "list"))
        self.assertIn("PRIMARY", self.admin("shard", "list"))
        self.refused_by("c9", "node", "show", "c9")
        self.refused_by("999999", "shard", "show", "999999")

    def refused_by(self, says, *words):
        done = self.cluster.admin(*words, check=False)
        self.assertEqual(done.returncode, REFUSED)
        self.assertIn(says, done.stderr)

    def test_sessions(self):
        def attached():
            sessions = self.json("session", "list")["sessions"]
            return sessions if all(s["attached"] for s in sessions) else None
        sessions = wait_for("the mount's session to be attached", attached)
        self.assertEqual(len(sessions), 1)
        self.assertIn(self.cluster.mnt, sessions[0]["name"])
        self.refused_by("no session", "session", "evict", "4711")

    def test_space_is_what_the_mount_says(self):
        def equal():
            """Others write to the same disk, and neither looks at it all the time."""
            space = self.json("df")
            s = os.statvfs(self.cluster.mnt)
            near = space["totalBytes"] // 50
            return (abs(space["totalBytes"] - s.f_blocks * s.f_frsize) <= near and
                    abs(space["availableBytes"] - s.f_bavail * s.f_frsize) <= near)
        wait_for("the same space here and there", equal)

    def test_locate(self):
        path = self.file("located", 9 * MIB)

        def in_sync():
            """By both names, with no server left out of it just now."""
            by_mount, by_path = self.json("file", "locate", path), self.json("file", "locate", "/located")
            whole = all(len(c["inSync"]) == 3 for c in by_mount["chunks"])
            return (by_mount, by_path) if whole and by_mount["chunks"] == by_path["chunks"] else None
        by_mount, by_path = wait_for("three copies of the file", in_sync)
        self.assertEqual(by_mount, by_path)
        self.assertEqual(by_mount["inode"], os.stat(path).st_ino)
        self.assertEqual(by_mount["sizeBytes"], 9 * MIB)
        self.assertEqual([c["index"] for c in by_mount["chunks"]], [0, 1, 2])
        for chunk in by_mount["chunks"]:
            self.assertEqual(sorted(m["server"] for m in chunk["inSync"]), ["c1", "c2", "c3"])
        os.mkdir(self.cluster.path("d"))
        self.refused_by("not a regular file", "file", "locate", "/d")
        self.refused_by("no such", "file", "locate", "/nowhere/x")


class Trouble(CommandTest):
    def test_check_finds_what_is_wrong_with_a_copy_and_has_it_mended(self):
        with Cluster() as c:
            path = c.path("checked")
            with open(path, "wb") as f:
                f.write(os.urandom(5 * MIB))
                f.flush()
                os.fsync(f.fileno())

            def check():
                return json.loads(c.admin("-o", "json", "file", "check", path, check=False).stdout)

            def sound():
                found = check()
                return (found["chunks"], found["copies"], found["problems"]) == (2, 6, [])
            wait_for("two chunks, six copies, no problem", sound)
            self.flip_a_bit(c, "c2", json.loads(c.admin("-o", "json", "file", "locate", path).stdout)["object"])
            bad = check()
            self.assertEqual([(p["server"], p["kind"]) for p in bad["problems"]], [("c2", "corrupt")])
            self.assertEqual(len(bad["problems"][0]["blocks"]), 1)
            # The server has been told: it counts the block and takes it from another copy.
            wait_for("the copy to be mended", sound)
            wait_for("the bad block to be counted", lambda: sum(
                v["badBlocks"] for s in c.status()["servers"] if s["name"] == "c2" for v in s["volumes"]) == 1)

    def flip_a_bit(self, cluster, server, obj):
        """In the data of the first chunk's file."""
        for folder, _, names in os.walk(os.path.join(cluster.dir, server)):
            for name in names:
                path = os.path.join(folder, name)
                if f"{obj:x}" in name.lower() and os.path.getsize(path) > 4 * MIB:
                    with open(path, "r+b") as f:
                        f.seek(-2 * MIB, os.SEEK_END)
                        byte = f.read(1)
                        f.seek(-1, os.SEEK_CUR)
                        f.write(bytes([byte[0] ^ 1]))
                        f.flush()
                        os.fsync(f.fileno())
                    return
        self.fail(f"no chunk of object {obj} on {server}")

    def test_a_server_that_is_away(self):
        with Cluster() as c:
            path = c.path("file")
            with open(path, "wb") as f:
                f.write(os.urandom(MIB))
                f.flush()
                os.fsync(f.fileno())
            c.play("kill", "c2")
            wait_for("the master to notice", lambda: "c2" in " ".join(r["text"] for r in c.status()["reasons"]))
            self.assertEqual(c.status()["health"], "degraded")
            self.assertEqual(c.admin("status").returncode, 1)
            late = c.admin("wait", "healthy", "--timeout", "1", check=False)
            self.assertEqual(late.returncode, 1)
            self.assertIn("not healthy after", late.stderr)

            def two_good_copies():
                check = json.loads(c.admin("-o", "json", "file", "check", path).stdout)
                return (check["copies"], check["problems"]) == (2, [])
            wait_for("two good copies", two_good_copies)
            c.play("start", "c2")
            done = c.admin("wait", "clean", "--timeout", "240", timeout=600)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_master_that_hangs(self):
        with Cluster(chunkservers=1) as c:
            c.play("pause", "m1")
            try:
                for words in (["status"], ["df"], ["wait", "healthy", "--timeout", "2"]):
                    began = time.monotonic()
                    done = c.admin(*words, check=False, patient=False)
                    self.assertEqual(done.returncode, UNREACHABLE, done.stderr)
                    self.assertIn("m1", done.stderr)
                    self.assertLess(time.monotonic() - began, 40)  # some 4 s, on a machine that isn't slow
            finally:
                c.play("resume", "m1")
            done = c.admin("wait", "healthy", "--timeout", "240", timeout=600)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_an_evicted_session_is_gone_and_the_mount_lives_on(self):
        with Cluster(chunkservers=1) as c:
            listed = json.loads(c.admin("-o", "json", "session", "list").stdout)["sessions"]
            self.assertEqual(c.admin("session", "evict", str(listed[0]["id"])).returncode, 0)

            def renewed():
                now = json.loads(c.admin("-o", "json", "session", "list").stdout)["sessions"]
                return now and now[0]["id"] != listed[0]["id"]
            wait_for("a new session of the mount", renewed)
            with open(c.path("after"), "w") as f:
                f.write("x")


if __name__ == "__main__":
    unittest.main(verbosity=2)
