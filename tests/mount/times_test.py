#!/usr/bin/env python3
"""Access times on two mounts of a cluster: what moves them under relatime, noatime, strictatime and nodiratime, what
the other mount sees, and that reading costs no call to the master each time."""
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import AnotherMount, Cluster, wait_for  # noqa: E402

LONG_AGO = 1_000_000_000_000_000_001  # 2001, in nanoseconds
DAY = 24 * 60 * 60 * 10**9


def read(path, flags=0):
    fd = os.open(path, os.O_RDONLY | flags)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def accessed(path):
    return os.lstat(path).st_atime_ns


class AccessTimes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.c = Cluster()
        cls.addClassCleanup(cls.c.close)
        cls.c.__enter__()

    def another(self, options=""):
        mount = AnotherMount(self.c, options)
        self.addCleanup(mount.close)
        return mount.mnt

    def made(self, top=None):
        path = os.path.join(top or self.c.mnt, self._testMethodName)
        with open(path, "w") as f:
            f.write("bytes")
        return path

    def entries(self):
        return self.c.status()["masters"][0]["commitIndex"]

    def test_relatime(self):
        path = self.made()
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
        read(path)
        first = accessed(path)
        self.assertLess(abs(first - time.time_ns()), DAY)  # the first since the change
        read(path)
        self.assertEqual(accessed(path), first)
        os.chmod(path, 0o600)
        read(path)
        self.assertGreater(accessed(path), first)  # chmod is a change
        now = time.time_ns()
        os.utime(path, ns=(now + 1000 * 10**9, LONG_AGO))
        self.assertEqual(accessed(path), now + 1000 * 10**9)
        read(path)
        self.assertEqual(accessed(path), now + 1000 * 10**9)  # later than all changes, and not a day old

    def test_what_is_older_than_a_day(self):
        path = self.made()
        old = time.time_ns() - 2 * DAY
        os.utime(path, ns=(old, old - DAY))
        fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
        self.addCleanup(os.close, fd)
        os.pread(fd, 5, 0)
        self.assertEqual(accessed(path), old)  # and its pages are in the kernel now
        read(path)
        self.assertGreater(accessed(path), old + DAY)

    def test_the_other_mount_hears_of_it(self):
        path = self.made()
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
        there = os.path.join(self.another(), os.path.basename(path))
        self.assertEqual(accessed(there), LONG_AGO)
        read(path)
        mine = accessed(path)
        self.assertGreater(mine, LONG_AGO)
        wait_for("the time of reading on the other mount", lambda: accessed(there) == mine)
        self.assertEqual(accessed(path), mine)
        self.assertEqual(os.lstat(there).st_ctime_ns, os.lstat(path).st_ctime_ns)
        os.utime(there, ns=(LONG_AGO + 1, LONG_AGO + 1))
        self.assertEqual(accessed(path), LONG_AGO + 1)

    def test_what_somebody_sets_has_the_last_word(self):
        path = self.made()
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
        there = os.path.join(self.another(), os.path.basename(path))
        read(path)
        os.utime(there, ns=(LONG_AGO, LONG_AGO))  # before the master has heard of the reading
        self.assertEqual(accessed(path), LONG_AGO)
        read(path)
        seen = accessed(path)
        self.assertGreater(seen, LONG_AGO)
        wait_for("the time of reading on the other mount", lambda: accessed(there) == seen)

    def test_many_reads_are_one_entry(self):
        paths = [self.c.path(f"many{number}") for number in range(100)]
        for path in paths:
            with open(path, "w") as f:
                f.write("bytes")
        os.sync()
        for path in paths:
            os.utime(path, ns=(LONG_AGO, LONG_AGO))
        before = self.entries()
        for path in paths:
            for _ in range(3):
                read(path)
            self.assertGreater(accessed(path), LONG_AGO)
        there = self.another()
        wait_for("all to be told",
                 lambda: all(accessed(os.path.join(there, os.path.basename(path))) > LONG_AGO for path in paths))
        self.assertLess(self.entries() - before, 60)  # closing files, and the other mount, make some

    def test_kept_over_an_unmount(self):
        mount = AnotherMount(self.c)
        self.addCleanup(mount.close)
        path = self.made()
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
        there = os.path.join(mount.mnt, os.path.basename(path))
        read(there)
        seen = accessed(there)
        subprocess.run(["fusermount3", "-u", mount.mnt], check=True)
        mount.process.wait(60)
        self.assertGreater(seen, LONG_AGO)
        self.assertEqual(accessed(path), seen)

    def test_options(self):
        none, every, files = (self.another(options) for options in ("noatime", "strictatime", "nodiratime"))
        name = os.path.basename(self.made())
        folder = "folder"
        os.mkdir(self.c.path(folder))

        def fresh():
            for one in (name, folder):
                os.utime(self.c.path(one), ns=(LONG_AGO, LONG_AGO))

        fresh()
        read(os.path.join(none, name))
        os.listdir(os.path.join(none, folder))
        self.assertEqual(accessed(os.path.join(none, name)), LONG_AGO)
        self.assertEqual(accessed(os.path.join(none, folder)), LONG_AGO)
        read(os.path.join(files, name))
        os.listdir(os.path.join(files, folder))
        self.assertGreater(accessed(os.path.join(files, name)), LONG_AGO)
        self.assertEqual(accessed(os.path.join(files, folder)), LONG_AGO)
        fresh()
        path = os.path.join(every, name)
        with open(path, "rb", buffering=0) as f:
            seen = LONG_AGO
            for _ in range(3):
                f.seek(0)
                f.read(3)
                self.assertGreater(accessed(path), seen)
                seen = accessed(path)
        read(path, os.O_NOATIME)
        self.assertEqual(accessed(path), seen)
        os.listdir(os.path.join(every, folder))
        self.assertGreater(accessed(os.path.join(every, folder)), LONG_AGO)


if __name__ == "__main__":
    unittest.main(verbosity=2)
