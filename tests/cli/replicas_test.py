#!/usr/bin/env python3
"""Copies in different racks: a directory's files get them, `dfsadmin` says so, and what can't be is refused."""
import json
import os
import sys
import unittest

from support import HERE, REFUSED, USAGE, CommandTest

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, wait_for  # noqa: E402

RACKS = {"c1": "r1", "c2": "r2", "c3": "r3", "c4": "r1"}
SETTLED_SECONDS = 60


class Replicas(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(chunkservers=4, extra=("--racks", "3", "--replicas", "2"))
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.up()
        cls.cluster.wait_healthy()

    def admin(self, *words, code=0):
        done = self.cluster.admin(*words, check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *words):
        return json.loads(self.admin("-o", "json", *words).stdout)

    def directory(self, name):
        os.mkdir(self.cluster.path(name))
        return self.cluster.path(name)

    def file(self, *names):
        path = self.cluster.path(*names)
        with open(path, "wb") as f:
            f.write(os.urandom(300_000))
            f.flush()
            os.fsync(f.fileno())
        return path

    def racks_of(self, path):
        """For each chunk the racks of its copies, once they are where they are wanted."""
        def settled():
            chunks = self.json("file", "locate", path)["chunks"]
            return None if any(c["joining"] or c["state"] != "healthy" for c in chunks) else chunks
        chunks = wait_for("the copies to be where they belong", settled, SETTLED_SECONDS)
        return [sorted(RACKS[member["server"]] for member in chunk["inSync"]) for chunk in chunks]

    def test_a_directorys_files_get_copies_in_different_racks(self):
        books = self.directory("books")
        before = self.file("books", "before")
        plan = self.json("replicas", "set", books, "3", "--level", "rack", "--new-only")
        self.assertFalse(plan["applied"])
        self.assertIn("replication class of", plan["plan"])
        self.assertEqual(self.json("replicas", "show", books)["copies"], 2, "a plan changes nothing")
        said = self.admin("replicas", "set", books, "3", "--level", "rack", "--new-only").stdout
        self.assertIn("nothing was done", said)
        self.assertIn("--apply", said)
        done = self.json("replicas", "set", books, "3", "--level", "rack", "--new-only", "--apply")
        self.assertTrue(done["applied"])
        shown = self.json("replicas", "show", books)
        self.assertEqual((shown["copies"], shown["level"]), (3, "rack"))
        os.mkdir(os.path.join(books, "below"))
        for names in (("books", "f"), ("books", "below", "g")):
            for racks in self.racks_of(self.file(*names)):
                self.assertEqual(racks, ["r1", "r2", "r3"])
        self.assertEqual(len(self.racks_of(before)[0]), 2, "what was there stays")
        self.assertEqual(self.json("replicas", "show", before)["copies"], 2)

    def test_a_number_alone_is_set_at_once_and_counts_in_df(self):
        scratch = self.directory("scratch")
        room = os.statvfs(scratch).f_bavail
        self.assertTrue(self.json("replicas", "set", scratch, "1", "--new-only")["applied"])
        self.assertEqual(len(self.racks_of(self.file("scratch", "f"))[0]), 1)
        single = os.statvfs(scratch)
        self.assertGreater(single.f_bavail * single.f_frsize, 1.5 * room * single.f_frsize)
        classes = {(c["copies"], c["level"]): c["availableBytes"] for c in self.json("df")["classes"]}
        self.assertGreater(classes[(1, "server")], 1.5 * classes[(2, "server")])

    def test_nodes_say_where_they_are(self):
        nodes = {n["name"]: n["rack"] for n in self.json("node", "list")["nodes"]}
        self.assertEqual(nodes, RACKS)
        self.assertIn("rack r2", self.admin("node", "show", "c2").stdout)

    def test_what_cant_be_is_refused_with_figures(self):
        refused = self.directory("refused")
        path = self.file("refused", "f")

        def says(words, *parts, code=REFUSED):
            done = self.admin("replicas", "set", *words, code=code)
            for part in parts:
                self.assertIn(part, done.stderr)
        says((refused, "4", "--level", "rack", "--new-only", "--apply"),
             "4 copies in different racks need 4 racks", "there are 3: r1, r2, r3")
        says((refused, "5", "--new-only"), "need 5 servers in service; there are 4")
        says((refused, "9", "--new-only"), "1 to 7 copies")
        says((path, "1", "--new-only"), "it is a file")
        says((self.cluster.path("nowhere"), "1", "--new-only"), "nowhere")
        says((refused, "0"), "COPIES", code=USAGE)
        says((refused, "2", "--level", "galaxy"), "galaxy", code=USAGE)
        self.assertEqual(self.json("replicas", "show", refused)["copies"], 2)

    def test_a_bad_name_of_a_rack_is_refused(self):
        words = ("--cluster", self.cluster_file(), "--name", "c9", "--dir", self.path("c9"))
        self.refused(USAGE, ["--rack", "letters, digits"], "dfs-chunkserver", *words, "--rack", "r 1/x")
        self.refused(USAGE, ["--zone", "letters, digits"], "dfs-chunkserver", *words, "--zone", "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
