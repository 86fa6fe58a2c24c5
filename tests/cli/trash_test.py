#!/usr/bin/env python3
"""What is below a directory, and what was deleted: counts that are always right, trees that go at once, and everything
back as it was. About 20 s."""
import errno
import json
import os
import random
import shutil
import sys
import unittest

from support import DFS, HERE, REFUSED, CommandTest

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, run, wait_for  # noqa: E402


def counts(path):
    """As the file system says: bytes, files, directories below it."""
    return tuple(int(os.getxattr(path, f"user.dfs.{name}")) for name in ("rbytes", "rfiles", "rsubdirs"))


def counted(path):
    """By looking through it."""
    sizes, files, directories = {}, 0, 0
    for at, below, names in os.walk(path):
        directories += len(below)
        for name in names:
            found = os.lstat(os.path.join(at, name))
            files += found.st_ino not in sizes
            sizes[found.st_ino] = found.st_size
    return sum(sizes.values()), files, directories


def contents(path):
    found = {}
    for at, below, names in os.walk(path):
        for name in below:
            found[os.path.relpath(os.path.join(at, name), path)] = None
        for name in names:
            with open(os.path.join(at, name), "rb") as f:
                found[os.path.relpath(os.path.join(at, name), path)] = f.read()
    return found


class Trash(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.c = Cluster(chunkservers=1)
        cls.addClassCleanup(cls.c.close)
        cls.c.up()
        cls.c.wait_healthy()

    def directory(self, name):
        os.mkdir(self.c.path(name))
        return self.c.path(name)

    def write(self, path, size=5000):
        data = random.randbytes(size)
        with open(path, "wb", buffering=0) as f:
            f.write(data)
            os.fsync(f.fileno())
        return data

    def tree(self, name):
        top = self.directory(name)
        for at in ("", "x", "x/y", "z"):
            os.makedirs(os.path.join(top, at), exist_ok=True)
            for number in range(3):
                self.write(os.path.join(top, at, f"f{number}"), 1000 * number + 7)
        return top

    def admin(self, *words, code=0):
        done = self.c.admin(*words, check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}{done.stderr}")
        return done

    def items(self, path):
        return json.loads(self.admin("-o", "json", "trash", "list", path).stdout)["items"]

    def test_counts(self):
        top = self.tree("counts")
        self.assertEqual(counts(top), counted(top))
        os.link(os.path.join(top, "f2"), os.path.join(top, "z", "again"))
        os.rename(os.path.join(top, "x", "y"), os.path.join(top, "moved"))
        os.truncate(os.path.join(top, "z", "f1"), 10)
        os.unlink(os.path.join(top, "f2"))
        for at in (top, os.path.join(top, "x"), os.path.join(top, "z"), os.path.join(top, "moved")):
            self.assertEqual(counts(at), counted(at), at)
        said = run(DFS, "du", top, env=os.environ).split("\t")
        self.assertEqual(tuple(map(int, said[:3])), (counts(top)[0], counts(top)[1], counts(top)[2] + 1))
        self.assertNotIn("user.dfs.rbytes", os.listxattr(top))
        with self.assertRaises(OSError) as refused:
            os.setxattr(top, "user.dfs.rbytes", b"0")
        self.assertEqual(refused.exception.errno, errno.EPERM)

    def test_a_file_comes_back(self):
        top = self.directory("file")
        path = os.path.join(top, "f")
        data = self.write(path, 300_000)
        os.setxattr(path, "user.note", b"kept")
        inode = os.stat(path).st_ino
        with open(path, "rb") as still_open:
            os.unlink(path)
            self.assertEqual(self.items("/file"), [], "not before its last close")
            self.assertEqual(still_open.read(), data)
        self.assertEqual(counts(top)[:2], (0, 0))
        item, = wait_for("it to be in the trash", lambda: self.items("/file"))
        self.assertEqual((item["path"], item["bytes"], item["directory"]), ("/file/f", 300_000, False))
        self.assertAlmostEqual(item["expires"] - item["deleted"], 24 * 3600, delta=60)
        self.assertFalse(os.path.exists(path))
        self.admin("trash", "restore", str(item["id"]))
        wait_for("it to be seen", lambda: os.path.exists(path))
        with open(path, "rb") as f:
            self.assertEqual(f.read(), data)
        self.assertEqual((os.stat(path).st_ino, os.getxattr(path, "user.note")), (inode, b"kept"))
        self.assertEqual(counts(top)[:2], (300_000, 1))
        self.assertEqual(self.items("/file"), [])

    def test_a_tree_comes_back(self):
        """Removed name by name, as `rm -r` does; what had been deleted before that stays where it is."""
        top = self.tree("tree")
        self.write(os.path.join(top, "x", "earlier"))
        os.unlink(os.path.join(top, "x", "earlier"))
        self.write(os.path.join(top, "x", "last"))
        before, was = contents(top), counts(top)
        shutil.rmtree(top)
        item = wait_for("the tree", lambda: [i for i in self.items("/tree") if i["path"] == "/tree"])[0]
        self.assertEqual((item["bytes"], item["files"]), (was[0], was[1] + was[2] + 1))
        self.admin("trash", "restore", str(item["id"]))
        wait_for("it to be seen", lambda: os.path.exists(top))
        self.assertEqual(contents(top), before)
        self.assertEqual(counts(top), was)
        self.assertEqual([i["path"] for i in self.items("/tree")], ["/tree/x/earlier"])

    def test_a_tree_goes_at_once(self):
        top = self.tree("at-once")
        before = contents(top)
        run(DFS, "rm", top, env=os.environ)
        self.assertFalse(os.path.exists(top))
        self.assertNotIn("at-once", os.listdir(self.c.mnt))
        item, = self.items("/at-once")
        self.write(top)  # something else has the name now
        refused = self.admin("trash", "restore", str(item["id"]), code=REFUSED)
        self.assertIn("--to", self.admin("trash", "restore", "--help").stdout)
        self.assertIn("another place", refused.stderr)
        self.admin("trash", "restore", str(item["id"]), "--to", self.c.path("elsewhere"))
        wait_for("it to be seen", lambda: os.path.exists(self.c.path("elsewhere")))
        self.assertEqual(contents(self.c.path("elsewhere")), before)

    def test_nothing_is_kept_where_it_is_off(self):
        top = self.directory("off")
        self.admin("trash", "set", top, "off")
        self.write(os.path.join(top, "f"))
        os.unlink(os.path.join(top, "f"))
        self.assertEqual(self.items("/off"), [])
        self.admin("trash", "set", top, "1s")
        self.write(os.path.join(top, "f"))
        os.unlink(os.path.join(top, "f"))
        wait_for("its time to be over", lambda: self.items("/off") == [])
        self.admin("trash", "set", top, "off")
        os.mkdir(os.path.join(top, "tree"))
        self.write(os.path.join(top, "tree", "f"))
        inodes = os.statvfs(self.c.mnt).f_files - os.statvfs(self.c.mnt).f_ffree
        run(DFS, "rm", os.path.join(top, "tree"), env=os.environ)
        wait_for("the tree to be taken apart",
                 lambda: os.statvfs(self.c.mnt).f_files - os.statvfs(self.c.mnt).f_ffree <= inodes - 2)

    def test_purge(self):
        top = self.directory("purge")
        for number in range(3):
            self.write(os.path.join(top, f"f{number}"), 1000)
            os.unlink(os.path.join(top, f"f{number}"))
        items = wait_for("three items", lambda: len(self.items("/purge")) == 3 and self.items("/purge"))
        one = str(items[1]["id"])
        plan = json.loads(self.admin("-o", "json", "trash", "purge", one).stdout)
        self.assertEqual((len(plan["items"]), plan["bytes"], plan["applied"]), (1, 1000, False))
        self.assertEqual(len(self.items("/purge")), 3)
        self.admin("trash", "purge", one, "--apply")
        self.assertEqual([i["id"] for i in self.items("/purge")], [items[0]["id"], items[2]["id"]])
        self.admin("trash", "restore", one, code=REFUSED)
        self.admin("trash", "purge", "--older-than", "1d", "--apply")
        self.assertEqual(len(self.items("/purge")), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
