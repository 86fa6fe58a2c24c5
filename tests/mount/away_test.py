#!/usr/bin/env python3
"""The mount while its cluster does not answer: programs wait and can be killed, soft mounts fail in time, the mount
itself can be taken down, and all goes on when the cluster is back."""
import errno
import os
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import BIN, PATIENCE, Cluster, wait_for  # noqa: E402


class ClusterAway(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.mounts = []

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def setUp(self):
        self.top = self.cluster.path(self.id().split(".")[-1])
        os.mkdir(self.top)

    def tearDown(self):
        self.cluster.play("resume", "m1")

    def another_mount(self, *words):
        """A second mount of the cluster: its directory and process."""
        at = tempfile.mkdtemp(prefix="cairn-second-", dir=self.cluster.base)
        process = subprocess.Popen([os.path.join(BIN, "dfs-mount"), "--foreground", "--connect-timeout", "120", *words,
                                    os.path.join(self.cluster.dir, "cluster.toml"), at], stderr=subprocess.DEVNULL)
        self.addCleanup(self.end, at, process)
        wait_for("the second mount", lambda: os.path.ismount(at) or process.poll() is not None)
        self.assertIsNone(process.poll(), "the second mount ended")
        return at, process

    def end(self, at, process):
        process.kill()
        process.wait()
        subprocess.run(["fusermount3", "-uz", at], stderr=subprocess.DEVNULL)

    def test_a_waiting_program_can_be_killed(self):
        self.cluster.play("pause", "m1")
        users = [subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for words in (
            ["stat", self.cluster.path("never-asked-for")], ["mkdir", self.cluster.path("made-while-away")])]
        time.sleep(0.5)
        self.assertEqual([user.poll() for user in users], [None, None])
        for user in users:
            user.kill()
        self.assertEqual([user.wait(PATIENCE) for user in users], [-9, -9])
        self.cluster.play("resume", "m1")
        os.mkdir(os.path.join(self.top, "after"))

    def test_nothing_comes_after_the_end_of_a_killed_program(self):
        """Who has waited for it removes what it made, and its directory."""
        script = ("import os, sys\nos.chdir(sys.argv[1])\nprint(flush=True)\nwhile True:\n"
                  "  os.close(os.open('a', os.O_CREAT | os.O_WRONLY))\n  os.rename('a', 'b')\n  os.unlink('b')\n")
        for number in range(25):
            folder = os.path.join(self.top, str(number))
            os.mkdir(folder)
            user = subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE)
            user.stdout.readline()
            time.sleep(number * 0.001)  # each is killed at another place
            user.kill()
            user.wait()
            user.stdout.close()
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)

    def test_waiting_programs_go_on(self):
        self.cluster.play("pause", "m1")
        user = subprocess.Popen(["mkdir", os.path.join(self.top, "d")])
        time.sleep(1)
        self.assertIsNone(user.poll())
        self.cluster.play("resume", "m1")
        self.assertEqual(user.wait(PATIENCE), 0)
        self.assertEqual(os.listdir(self.top), ["d"])

    def test_a_soft_mount_fails_in_time(self):
        at, _ = self.another_mount("-o", "soft,timeout=1")
        # One that fails after a second fails on a slow machine too.
        wait_for("a directory", lambda: not os.system(f"mkdir -p {at}/soft 2>/dev/null"))
        self.cluster.play("pause", "m1")
        began = time.monotonic()
        with self.assertRaises(OSError) as caught:
            os.mkdir(os.path.join(at, "soft", "d"))
        self.assertEqual(caught.exception.errno, errno.EIO)
        self.assertLess(time.monotonic() - began, 25)  # the default is 30 s
        self.cluster.play("resume", "m1")
        wait_for("the soft mount to work again", lambda: not os.system(f"mkdir -p {at}/soft/d2 2>/dev/null"))

    def test_unmount_while_away(self):
        at, process = self.another_mount()
        with open(os.path.join(at, "f"), "w") as f:
            f.write("x")
            os.fsync(f.fileno())
        self.cluster.play("pause", "m1")
        began = time.monotonic()
        subprocess.run(["fusermount3", "-uz", at], check=True, timeout=PATIENCE)  # umount(8) would ask the cluster
        process.wait(60 + PATIENCE)  # it tries for a minute to tell the master what it still has to tell
        print(f"ended after {time.monotonic() - began:.1f} s with {process.returncode}")

    def test_two_mounts_see_each_other(self):
        at, process = self.another_mount()
        mine = os.path.join(self.top, "f")
        theirs = os.path.join(at, os.path.basename(self.top), "f")
        for i in range(5):
            body = os.urandom(100000)
            with open(mine, "wb") as f:
                f.write(body)
                os.fsync(f.fileno())
            wait_for("the other mount to see it", lambda: os.path.exists(theirs) and self.read(theirs) == body)
            os.rename(mine, mine + str(i))
            self.assertEqual(self.read(theirs + str(i)), body)
            wait_for("the name to go", lambda: not os.path.exists(theirs))
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_subdir(self):
        os.makedirs(os.path.join(self.top, "a", "b", "c"))
        at, process = self.another_mount("-o", f"subdir={os.path.basename(self.top)}/a/b")
        self.assertEqual(os.listdir(at), ["c"])
        self.assertEqual(os.stat(os.path.join(at, "..")).st_ino, os.stat(os.path.dirname(at)).st_ino)
        os.mkdir(os.path.join(at, "d"))
        self.assertEqual(sorted(os.listdir(os.path.join(self.top, "a", "b"))), ["c", "d"])
        done = subprocess.run([os.path.join(BIN, "dfs-mount"), "-o", "subdir=/nowhere,nonempty",
                               os.path.join(self.cluster.dir, "cluster.toml"), self.cluster.base],
                              stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("'nowhere'", done.stderr)

    def read(self, path):
        with open(path, "rb") as f:
            return f.read()


if __name__ == "__main__":
    unittest.main(verbosity=2)
