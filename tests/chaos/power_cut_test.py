#!/usr/bin/env python3
"""The power of all three masters is cut under a mount, again and again: their file systems are shut down as they are
(EXT4_IOC_SHUTDOWN: what wasn't synced is gone), they are killed, and come back on what the journals give back.

Each master has an ext4 of its own on a loop device. Writers on the mount create, rename, link and remove files and
directories and note what was acknowledged. After each cut another mount, which remembers nothing, must see exactly
that: nothing acknowledged is gone, nothing is done twice (a second time each of these operations fails). A cut may hit
masters that are only just coming back from the one before. CAIRN_FULL=1: 300 cuts instead of 30. CAIRN_SEED repeats the
choices, though not the moments, of a run.
"""
import os
import random
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from disks import DiskCluster  # noqa: E402
from cluster import BIN, wait_for  # noqa: E402
from worker import Worker  # noqa: E402

CUTS = 300 if os.environ.get("CAIRN_FULL") == "1" else 30
SEED = int(os.environ.get("CAIRN_SEED", random.randrange(1 << 32)))
IMAGE_BYTES = 768 << 20  # thin: a log of two segments, LevelDB, the reserve
HANG_SECONDS = 120
MASTERS = ["m1", "m2", "m3"]


class CutCluster(DiskCluster):
    """Each master's directory is a file system of its own, on a loop device."""

    def __init__(self):
        super().__init__({name: IMAGE_BYTES for name in MASTERS}, chunkservers=1, masters=len(MASTERS))
        self.watcher = os.path.join(self.base, "watcher")  # the other mount
        os.mkdir(self.watcher)
        self.process = None

    def close(self):
        self.unmount_watcher()
        super().close()

    def power_on(self):
        self.mount_disks()
        for name in MASTERS:
            self.play("start", name)

    # ---- a mount that remembers nothing

    def mount_watcher(self):
        with open(os.path.join(self.dir, "log", "watcher.log"), "a") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "dfs-mount"), "--foreground", os.path.join(self.dir, "cluster.toml"), self.watcher],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("the other mount", lambda: os.path.ismount(self.watcher), HANG_SECONDS, 0.01)

    def unmount_watcher(self):
        if self.process is None:
            return
        if subprocess.run(["fusermount3", "-u", self.watcher], stderr=subprocess.DEVNULL).returncode != 0:
            subprocess.run(["fusermount3", "-uz", self.watcher], stderr=subprocess.DEVNULL)
            self.process.kill()
        self.process.wait()
        self.process = None


class Writer(Worker):
    """Can be held between two operations."""

    def __init__(self, root, name):
        super().__init__(root, name)
        self.expected = {}  # name: whether it is a directory
        self.done = 0
        self.gate = threading.Lock()  # held by the thread during an operation

    def step(self, what, *names, gone=None, come=None, directory=False):
        with self.gate:
            self.since = time.monotonic()
            what(*map(self.path, names))
            if gone is not None:
                del self.expected[gone]
            if come is not None:
                self.expected[come] = directory
            self.done += 1
        time.sleep(0)

    @staticmethod
    def create(path):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))

    def round(self, number):
        name = f"{number}"
        self.step(self.create, name + ".new", come=name + ".new")
        self.step(os.rename, name + ".new", name, gone=name + ".new", come=name)
        if number % 3 == 0:
            self.step(os.mkdir, name + ".d", come=name + ".d", directory=True)
        if number % 3 == 1:
            self.step(os.link, name, name + ".link", come=name + ".link")
        if number % 3 == 2 and number > 30:
            gone = number - 29
            self.step(os.unlink, f"{gone}", gone=f"{gone}")
            self.step(os.rmdir, f"{gone - gone % 3}.d", gone=f"{gone - gone % 3}.d")


class PowerCuts(unittest.TestCase):
    def look(self, writers):
        for writer in writers:
            if writer.failure is not None:
                raise AssertionError("an operation on the mount failed") from writer.failure
            if writer.thread.is_alive():
                self.assertLess(time.monotonic() - writer.since, HANG_SECONDS, "an operation on the mount hangs")

    def await_work(self, writers):
        """Until each has got something done since now."""
        done = [w.done for w in writers]

        def all_moved():
            self.look(writers)
            return all(w.done > before + 1 for w, before in zip(writers, done))
        wait_for("the work to go on", all_moved, HANG_SECONDS, 0.005)

    def compare(self, c, writers):
        """What is there, seen from elsewhere, with what was acknowledged: writers stand still meanwhile."""
        for writer in writers:
            self.assertTrue(writer.gate.acquire(timeout=HANG_SECONDS), "an operation on the mount hangs")
        try:
            self.look(writers)
            c.mount_watcher()
            for writer in writers:
                with os.scandir(os.path.join(c.watcher, writer.name)) as entries:
                    found = {entry.name: entry.is_dir() for entry in entries}
                gone = sorted(set(writer.expected.items()) - set(found.items()))
                come = sorted(set(found.items()) - set(writer.expected.items()))
                self.assertEqual((gone, come), ([], []), f"{writer.name}: acknowledged and gone, or there unasked")
        finally:
            c.unmount_watcher()
            for writer in writers:
                writer.gate.release()

    def test_all_masters_at_once(self):
        print(f"seed {SEED} (CAIRN_SEED={SEED} for the same choices)", flush=True)
        chance = random.Random(SEED)
        with CutCluster() as c:
            c.wait_healthy()
            writers = [Writer(c.mnt, f"w{number}") for number in range(4)]
            for writer in writers:
                writer.thread.start()
            stalls = []
            try:
                for _ in range(CUTS):
                    self.cut_once(c, chance, writers, stalls)
            finally:
                for writer in writers:
                    writer.stop.set()
            for writer in writers:
                writer.thread.join(HANG_SECONDS)
                self.assertFalse(writer.thread.is_alive(), "a writer hangs")
            self.compare(c, writers)
            ordered = sorted(round(1000 * s) for s in stalls)
            print(f"{CUTS} cuts, {sum(w.done for w in writers)} acknowledged changes, none lost, none done twice; from "
                  f"power on to the next change p50 {ordered[len(ordered) // 2]} max {ordered[-1]} ms", flush=True)

    def cut_once(self, c, chance, writers, stalls):
        time.sleep(chance.uniform(0.05, 0.6))
        c.cut_power(chance)
        if chance.random() < 0.2:  # again, while they come back
            c.power_on()
            time.sleep(chance.uniform(0, 0.6))
            c.cut_power(chance)
        began = time.monotonic()
        c.power_on()
        self.await_work(writers)
        stalls.append(time.monotonic() - began)
        self.compare(c, writers)


if __name__ == "__main__":
    unittest.main(verbosity=2)
