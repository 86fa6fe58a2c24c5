#!/usr/bin/env python3
"""Quotas of directories over a real mount: limits that are never exceeded by a byte, though several mounts write at
once, leaders go and mounts are killed; nobody is refused while there is room; errors of buffered writes, told once to
each open file. About 60 s."""
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import unittest

from support import HERE, REFUSED, USAGE, CommandTest

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import AnotherMount, Cluster, kill, run, wait_for  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20


def used(path):
    return int(os.getxattr(path, "user.dfs.rbytes"))


def code_of(work):
    """The errno that it fails with; 0: it doesn't."""
    try:
        work()
        return 0
    except OSError as e:
        return e.errno


def fill(path, step, most=1 << 40):
    """Appends until that is refused. The bytes that write() has accepted, and the errno that ended it."""
    written = 0
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        while written < most:
            written += os.write(file, b"x" * min(step, most - written))
        os.fsync(file)
        return written, 0
    except OSError as e:
        os.fsync(file)
        return written, e.errno
    finally:
        os.close(file)


class Quotas(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.c = Cluster(chunkservers=1, masters=3)
        cls.addClassCleanup(cls.c.close)
        cls.c.up()
        cls.c.wait_healthy()

    def setUp(self):
        super().setUp()
        self.show_logs_of(self.c)
        self.q = self.c.path(self.id().rpartition(".")[2])
        os.mkdir(self.q)

    def tearDown(self):
        shutil.rmtree(self.q)
        super().tearDown()

    def admin(self, *words, code=0):
        done = self.c.admin(*words, check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}{done.stderr}")
        return done

    def set(self, *limits, path=None):
        return json.loads(self.admin("-o", "json", "quota", "set", path or self.q, *limits).stdout)

    def quota(self):
        listed = json.loads(self.admin("-o", "json", "quota", "list", self.q).stdout)["quotas"]
        return listed[0] if listed else None

    def another(self):
        other = AnotherMount(self.c)
        self.addCleanup(other.close)
        return other

    def elsewhere(self, other, *names):
        return os.path.join(other.mnt, os.path.basename(self.q), *names)

    # ---- the command line

    def test_limits_are_set_shown_and_cleared(self):
        self.assertIsNone(self.quota())
        now = self.set("--bytes", "1.5M", "--files", "10")
        self.assertEqual((now["bytesMax"], now["filesMax"], now["bytesUsed"]), (3 * MIB // 2, 10, 0))
        self.assertEqual(now["path"], "/" + os.path.basename(self.q))
        now = self.set("--files", "none")
        self.assertEqual((now["bytesMax"], now["filesMax"]), (3 * MIB // 2, None))
        self.assertIn("1.5 MiB", self.admin("quota", "list").stdout)
        self.assertIn("1.5 MiB", self.admin("quota", "set", self.q, "--files", "5").stdout)
        self.admin("quota", "clear", self.q)
        self.assertIsNone(self.quota())
        self.assertIn("no quota", self.admin("quota", "clear", self.q, code=REFUSED).stderr)
        self.assertIn("--bytes", self.admin("quota", "set", self.q, code=USAGE).stderr)
        for bad in ("0", "ten", "10X", "-5"):
            self.assertIn(bad, self.admin("quota", "set", self.q, f"--bytes={bad}", code=USAGE).stderr)
        self.admin("quota", "set", self.q, "--files", "0", code=USAGE)
        self.assertIn("no such", self.admin("quota", "set", "/nothing", "--files", "1", code=REFUSED).stderr)
        with open(os.path.join(self.q, "f"), "w"):
            pass
        self.assertIn("directory", self.admin("quota", "set", os.path.join(self.q, "f"), "--files", "1",
                                              code=REFUSED).stderr)

    # ---- bytes

    def test_bytes_are_used_to_the_last_one(self):
        limit = 5 * MIB + 4321
        self.set("--bytes", str(limit))
        first, second = os.path.join(self.q, "first"), os.path.join(self.q, "second")
        self.assertEqual(fill(first, 100 * KIB, 3 * MIB), (3 * MIB, 0))
        self.assertEqual(fill(second, 333 * KIB), (limit - 3 * MIB, errno.EDQUOT))
        self.assertEqual(used(self.q), limit)
        self.assertEqual(fill(first, 1), (0, errno.EDQUOT))
        self.assertEqual(code_of(lambda: os.truncate(first, 3 * MIB + 1)), errno.EDQUOT)
        self.assertEqual(code_of(lambda: subprocess.run(["fallocate", "-l", "4M", first], check=False)), 0)
        self.assertEqual(os.stat(first).st_size, 3 * MIB)
        os.truncate(first, MIB)
        self.assertEqual(fill(second, 77 * KIB), (2 * MIB, errno.EDQUOT))
        os.unlink(first)
        self.assertEqual(fill(second, 64 * KIB), (MIB, errno.EDQUOT))
        self.assertEqual(used(self.q), limit)

    def test_a_hole_is_charged_and_filling_it_never_fails(self):
        self.set("--bytes", "4M")
        path = os.path.join(self.q, "sparse")
        with open(path, "wb") as f:
            f.truncate(4 * MIB)
        self.assertEqual(fill(os.path.join(self.q, "other"), 1), (0, errno.EDQUOT))
        with open(path, "r+b", buffering=0) as f:
            for at in range(0, 4 * MIB, 256 * KIB):
                os.pwrite(f.fileno(), b"y" * (256 * KIB), at)
            os.fsync(f.fileno())
        self.assertEqual(code_of(lambda: os.truncate(path, 1 << 40)), errno.EDQUOT)

    def test_df_shows_the_quota(self):
        self.set("--bytes", "10M", "--files", "20")
        os.mkdir(os.path.join(self.q, "below"))
        fill(os.path.join(self.q, "below", "f"), MIB, 4 * MIB)
        for path in (self.q, os.path.join(self.q, "below"), os.path.join(self.q, "below", "f")):
            at = os.statvfs(path)
            self.assertEqual((at.f_blocks * at.f_frsize, at.f_bavail * at.f_frsize), (10 * MIB, 6 * MIB))
            self.assertEqual((at.f_files, at.f_ffree), (20, 18))
        whole = os.statvfs(self.c.mnt)
        self.assertGreater(whole.f_blocks * whole.f_frsize, 10 * MIB)

    def test_a_limit_below_what_is_used(self):
        path = os.path.join(self.q, "f")
        fill(path, MIB, 3 * MIB)
        self.set("--bytes", "1M")
        self.assertEqual(fill(path, 1), (0, errno.EDQUOT))
        with open(path, "r+b", buffering=0) as f:
            self.assertEqual(os.pwrite(f.fileno(), b"z" * MIB, MIB), MIB)  # no growth
            os.fsync(f.fileno())
        os.truncate(path, MIB - 10)
        self.assertEqual(fill(path, 100), (10, errno.EDQUOT))
        self.admin("quota", "clear", self.q)
        self.assertEqual(fill(path, MIB, MIB), (MIB, 0))

    def test_all_that_are_above_count(self):
        inner = os.path.join(self.q, "inner")
        os.mkdir(inner)
        self.set("--bytes", "3M")
        self.set("--bytes", "2M", path=inner)
        self.assertEqual(fill(os.path.join(inner, "f"), 100 * KIB), (2 * MIB, errno.EDQUOT))
        self.assertEqual(fill(os.path.join(self.q, "f"), 100 * KIB), (MIB, errno.EDQUOT))
        os.unlink(os.path.join(inner, "f"))
        self.assertEqual(fill(os.path.join(self.q, "f"), 100 * KIB, MIB), (MIB, 0))
        self.assertEqual(fill(os.path.join(inner, "f"), 100 * KIB), (MIB, errno.EDQUOT))

    # ---- files, names, the trash

    def test_files_count_exactly(self):
        self.set("--files", "5")
        for number in range(5):
            with open(os.path.join(self.q, f"f{number}"), "w") as f:
                f.write("x")
        one_more = os.path.join(self.q, "more")
        self.assertEqual(code_of(lambda: os.mkdir(one_more)), errno.EDQUOT)
        self.assertEqual(code_of(lambda: os.symlink("x", one_more)), errno.EDQUOT)
        self.assertEqual(code_of(lambda: os.close(os.open(one_more, os.O_CREAT | os.O_WRONLY))), errno.EDQUOT)
        os.link(os.path.join(self.q, "f0"), one_more)
        os.unlink(os.path.join(self.q, "f1"))
        os.mkdir(os.path.join(self.q, "directory"))
        self.assertEqual(self.quota()["filesUsed"], 5)

    def test_nothing_is_moved_from_quota_to_quota(self):
        outside = self.c.path("outside")
        os.mkdir(outside)
        self.addCleanup(shutil.rmtree, outside)
        self.set("--bytes", "1M")
        for directory in (outside, self.q):
            fill(os.path.join(directory, "f"), 1000, 1000)
            os.mkdir(os.path.join(directory, "d"))
        for source, target in ((outside, self.q), (self.q, outside)):
            for name in ("f", "d"):
                there = os.path.join(target, "moved")
                self.assertEqual(code_of(lambda: os.rename(os.path.join(source, name), there)), errno.EXDEV)
            self.assertEqual(code_of(lambda: os.link(os.path.join(source, "f"), there)), errno.EXDEV)
        run("mv", os.path.join(outside, "f"), os.path.join(self.q, "moved"))
        wait_for("its size to be known", lambda: used(self.q) == 2000)
        fill(os.path.join(outside, "d", "large"), MIB, 2 * MIB)
        failed = subprocess.run(["mv", os.path.join(outside, "d"), os.path.join(self.q, "large")], check=False,
                                stderr=subprocess.PIPE, text=True)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("quota", failed.stderr.lower())
        self.assertEqual(os.stat(os.path.join(outside, "d", "large")).st_size, 2 * MIB)

    def test_a_file_without_a_name_is_charged_when_it_gets_one(self):
        self.set("--bytes", "1M")
        file = os.open(self.q, os.O_TMPFILE | os.O_RDWR)
        self.addCleanup(os.close, file)
        os.write(file, b"t" * (MIB + 1))
        there = os.path.join(self.q, "named")

        def name():
            os.link(f"/proc/self/fd/{file}", there, src_dir_fd=file, follow_symlinks=True)  # linkat(2)
        self.assertEqual(code_of(name), errno.EDQUOT)
        os.ftruncate(file, MIB)
        name()
        self.assertEqual(used(self.q), MIB)

    def test_what_comes_back_from_the_trash_must_fit(self):
        self.set("--bytes", "1M")
        path = os.path.join(self.q, "f")
        fill(path, MIB, MIB)
        os.unlink(path)
        name = "/" + os.path.basename(self.q) + "/f"

        def items():
            listed = json.loads(self.admin("-o", "json", "trash", "list", self.q).stdout)["items"]
            return [item["id"] for item in listed if item["path"] == name and item["bytes"] == MIB]
        item = wait_for("the file in the trash", items)[0]
        fill(os.path.join(self.q, "g"), 1, 1)
        self.assertIn("quota", self.admin("trash", "restore", str(item), code=REFUSED).stderr)
        os.unlink(os.path.join(self.q, "g"))
        self.admin("trash", "restore", str(item))
        self.assertEqual(os.stat(path).st_size, MIB)

    # ---- several mounts

    def test_two_mounts_at_once_and_the_leader_goes(self):
        """Each writes into files of its own; nobody is refused while a byte is left."""
        limit = 64 * MIB + 17
        self.set("--bytes", str(limit))
        other = self.another()
        results, over, stop = {}, [], threading.Event()

        def work(name, directory, step):
            total = 0
            for number in range(1000):
                written, code = fill(os.path.join(directory, f"{name}{number}"), step, 3 * MIB)
                total += written
                if code != 0:
                    results[name] = (total, code)
                    return

        def watch():
            while not stop.is_set():
                now = used(self.q)
                if now > limit:
                    over.append(now)

        def unsettle():
            leader = next(m["name"] for m in self.c.status()["masters"] if m["role"] == "leader")
            self.c.play("kill", leader)
            self.c.play("start", leader)
        workers = [threading.Thread(target=work, args=("a", self.q, 100_001)),
                   threading.Thread(target=work, args=("b", self.elsewhere(other), 65_536)),
                   threading.Thread(target=work, args=("c", self.elsewhere(other), 7_777))]
        watcher = threading.Thread(target=watch)
        for thread in [watcher, *workers]:
            thread.start()
        try:
            wait_for("some to be written", lambda: used(self.q) > 8 * MIB)
            unsettle()
        finally:
            for thread in workers:
                thread.join()
            stop.set()
            watcher.join()
        self.assertEqual(over, [])
        self.assertEqual({code for _, code in results.values()}, {errno.EDQUOT}, results)
        self.assertEqual(sum(written for written, _ in results.values()), limit)
        self.assertEqual(used(self.q), limit)
        self.c.wait_healthy()

    def test_an_idle_grant_is_called_in(self):
        self.set("--bytes", "20M")
        other = self.another()
        fill(self.elsewhere(other, "small"), 10, 10)
        self.assertGreater(self.quota()["bytesGranted"], 0)
        self.assertEqual(fill(os.path.join(self.q, "f"), MIB), (20 * MIB - 10, errno.EDQUOT))
        self.assertEqual(self.quota()["bytesGranted"], 0)

    def test_grants_go_back_by_themselves(self):
        self.set("--bytes", "20M")
        fill(os.path.join(self.q, "f"), 10, 10)
        wait_for("the grant to be given back", lambda: self.quota()["bytesGranted"] == 0)
        self.assertEqual(self.quota()["bytesUsed"], 10)

    def test_the_grant_of_a_killed_mount_comes_back(self):
        """Whoever is short waits until the dead mount's session has ended, and isn't refused."""
        self.set("--bytes", "20M")
        other = self.another()
        fill(self.elsewhere(other, "small"), 10, 10)
        self.assertGreater(self.quota()["bytesGranted"], 0)
        kill(other.process.pid)
        other.process.wait()
        self.assertEqual(fill(os.path.join(self.q, "f"), MIB), (20 * MIB - 10, errno.EDQUOT))

    # ---- errors of buffered writes

    def check_told_once(self, failing, path, provoke):
        """`path` is written while its chunkserver stands still; `provoke` makes what was accepted fail."""
        files = [os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(3)]
        chunkserver = self.c.pid("c1")
        os.kill(chunkserver, signal.SIGSTOP)
        try:
            self.assertEqual(os.write(files[0], b"b" * 100 * KIB), 100 * KIB)
            provoke()
        finally:
            os.kill(chunkserver, signal.SIGCONT)
        self.assertEqual(code_of(lambda: os.fsync(files[0])), failing)
        self.assertEqual(code_of(lambda: os.fsync(files[0])), 0)
        self.assertEqual(code_of(lambda: os.close(files[0])), 0)
        self.assertEqual(code_of(lambda: os.close(files[1])), failing)
        again = os.dup(files[2])
        self.assertEqual(code_of(lambda: os.close(again)), failing)
        self.assertEqual(code_of(lambda: os.close(files[2])), 0)
        late = os.open(path, os.O_RDWR)
        self.assertEqual(code_of(lambda: os.fsync(late)), 0)  # it has been told
        os.close(late)

    def test_edquot_is_told_once_to_each_open_file(self):
        """What was accepted before there was a quota, and can't be stored before it holds."""
        self.check_told_once(errno.EDQUOT, os.path.join(self.q, "f"), lambda: self.set("--bytes", "4096"))
        self.assertEqual(used(self.q), 0)

    def test_an_eviction_is_told_once_to_each_open_file(self):
        def evict():
            sessions = json.loads(self.admin("-o", "json", "session", "list").stdout)["sessions"]
            for session in sessions:
                self.admin("session", "evict", str(session["id"]))
        self.check_told_once(errno.EIO, os.path.join(self.q, "f"), evict)


if __name__ == "__main__":
    unittest.main()
