#!/usr/bin/env python3
"""What can become of one disk of a chunkserver that has two, each an ext4 of its own, with a writer and a reader at
work: not mounted, at another's place, full, read-only, unreadable, slow. Nothing may be written where it isn't, nobody
gets a wrong byte, and the copies are made again on other disks. CAIRN_FULL=1: with more data."""
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from disks import DiskCluster, Throttle, drop_caches  # noqa: E402
from cluster import wait_for  # noqa: E402
from copies import Busy, fill, settled, unlike  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
BYTES = (256 << 20) if FULL else (24 << 20)
DISK_BYTES = (1 << 30) if FULL else (256 << 20)
HEALTHY_WITHIN = 300
SLOW = 1 << 20  # bytes a second
VICTIMS = {"test_full": "c1/v1", "test_read_only": "c1/v2", "test_slow": "c2/v1", "test_unreadable": "c2/v2",
           "test_swapped_on_its_server": "c3/v1", "test_swapped_between_servers": "c3/v2", "test_vanished": "c4/v1"}
READ_WITHIN = 5.0  # seconds for a megabyte, by way of another copy


class OneDisk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        disks = {f"c{server}/v{volume}": DISK_BYTES for server in (1, 2, 3, 4) for volume in (1, 2)}
        cls.c = DiskCluster(disks, chunkservers=4, volumes=2, defaults="repair_delay = 3")
        cls.addClassCleanup(cls.c.close)
        cls.c.up()
        cls.c.wait_healthy()
        cls.files = fill(cls.c, BYTES)
        for number in range(8):  # so that every disk has something large
            path, body = cls.c.path(f"large{number}"), os.urandom(1 << 20)
            with open(path, "wb") as f:
                f.write(body)
            cls.files[path] = hashlib.sha256(body).hexdigest()
        os.sync()

    def setUp(self):
        """Each test has a disk of its own: one that was given up gets copies again only after a while."""
        self.server, self.volume = VICTIMS[self._testMethodName].split("/")
        self.disk = self.c.disks[f"{self.server}/{self.volume}"]
        self.healthy()
        self.assertGreater(len(os.listdir(os.path.join(self.disk.at, "chunks"))), 0, "there is nothing on the disk")
        self.began = time.monotonic()

    def tearDown(self):
        print(f"{self._testMethodName}: {time.monotonic() - self.began:.1f} s", flush=True)

    # ---- the cluster

    def busy(self):
        name = self._testMethodName
        os.mkdir(self.c.path(name))
        return Busy(self.c, self.files, self.c.path(name))

    def unharmed(self, busy):
        self.assertEqual(busy.failures(), [])
        self.assertEqual(busy.wrong(), [])
        self.files.update(busy.written)
        self.assertEqual(unlike(self.files), [])

    def healthy(self):
        def well():
            left = {reason["code"] for reason in self.c.status()["reasons"]} - {"volume-slow", "bad-blocks"}
            return not left and settled(self.c)
        wait_for("all to be well", well, HEALTHY_WITHIN, 0.2)

    def reasons(self, code):
        return [reason["text"] for reason in self.c.status()["reasons"] if reason["code"] == code]

    def copied_elsewhere(self):
        def done():
            shards = self.c.status()["shards"]
            return shards["healthy"] == shards["total"] and settled(self.c)
        wait_for("the copies to be made on other disks", done, HEALTHY_WITHIN, 0.2)

    def await_failed(self):
        text, = wait_for("the disk to be reported", lambda: self.reasons("volume-failed"), 60, 0.2)
        self.assertIn(f"chunkserver {self.server}", text)
        wait_for("its server to go on with the other disk",
                 lambda: any(s["name"] == self.server and s["online"] for s in self.c.status()["servers"]))
        return text

    def restart(self, name=None):
        name = name or self.server
        if self.c.pid(name) and os.path.exists(f"/proc/{self.c.pid(name)}/exe"):
            self.c.kill(name)
        self.c.play("start", name)

    def put_back(self):
        self.c.kill(self.server)
        self.disk.unmount()
        self.disk.check()
        self.disk.mount()
        self.restart()
        self.healthy()

    def refused(self, name):
        done = self.c.dfs("play", "--dir", self.c.dir, "start", name, check=False)
        self.assertNotEqual(done.returncode, 0, f"{name} started on disks that aren't its own")
        return done.stdout

    # ---- what can become of a disk

    def test_vanished(self):
        """Unmounted under its server, which then is started without it."""
        with self.busy() as busy:
            self.disk.vanish()
            for number in range(200):  # so much that the index begins new files
                with open(self.c.path(f"vanished{number}"), "wb") as f:
                    f.write(os.urandom(60_000))
            os.sync()
            self.c.kill(self.server)
            wait_for("the disk to be free", lambda: not self.disk.devices(), 20)
            self.assertEqual(os.listdir(self.disk.at), [], "written where the disk isn't")
            self.restart()
            self.await_failed()
            self.copied_elsewhere()
            self.assertEqual(os.listdir(self.disk.at), [], "written where the disk isn't")
            self.disk.mount()
            self.restart()
            self.healthy()
        self.unharmed(busy)

    def test_swapped_on_its_server(self):
        other = self.c.disks["c3/v2"]
        with self.busy() as busy:
            self.swap(self.disk, other, ["c3"])
            self.assertIn("swapped", self.refused("c3"))
            self.swap_back(self.disk, other)
            self.restart()
            self.healthy()
        self.unharmed(busy)

    def test_swapped_between_servers(self):
        other = self.c.disks["c4/v2"]
        with self.busy() as busy:
            self.swap(self.disk, other, ["c3", "c4"])
            for name in ("c3", "c4"):
                self.assertIn("belongs to chunkserver", self.refused(name))
            self.swap_back(self.disk, other)
            for name in ("c3", "c4"):
                self.restart(name)
            self.healthy()
        self.unharmed(busy)

    def swap(self, one, other, users):
        for name in users:
            self.c.kill(name)
        one.unmount()
        other.unmount()
        one.mount(other.at)
        other.mount(one.at)

    def swap_back(self, one, other):
        one.unmount(other.at)
        other.unmount(one.at)
        one.mount()
        other.mount()

    def test_read_only(self):
        with self.busy() as busy:
            self.disk.give_up_writing()
            self.await_failed()
            self.copied_elsewhere()
            self.put_back()
        self.unharmed(busy)

    def test_full(self):
        """By what isn't ours: new data is refused where it would have to be there, and nothing else happens."""
        filler = os.path.join(self.disk.at, "filler")
        with open(filler, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, max(1, self.c.room(f"{self.server}/{self.volume}") - (4 << 20)))
        wait_for("the full disk to be reported", lambda: self.reasons("volume-full"), 30, 0.2)
        written, refused = {}, 0
        for number in range(60):
            path = self.c.path(f"full{number}")
            body = os.urandom(100_000)
            try:
                with open(path, "wb", buffering=0) as f:
                    f.write(body)
                    os.fsync(f.fileno())
                written[path] = body
            except OSError as e:
                self.assertEqual(e.errno, errno.ENOSPC, path)
                refused += 1
        print(f"one disk of 8 full: of 60 files {refused} were refused", flush=True)
        self.assertGreater(len(written), 0)
        self.assertEqual(self.reasons("volume-failed"), [], "to be full is no failure")
        self.assertEqual(unlike(self.files), [])
        for path, body in written.items():
            with open(path, "rb") as f:
                self.assertTrue(f.read() == body, path)
        for number in range(60):
            os.unlink(self.c.path(f"full{number}"))
        os.unlink(filler)
        self.healthy()
        with self.busy() as busy:
            time.sleep(2)
        self.unharmed(busy)

    def test_unreadable(self):
        """First some chunks, which are mended in their places; then all of it, and the disk is given up."""
        saved = self.disk.image + ".saved"
        with self.busy() as busy:
            os.sync()
            subprocess.run(["fsfreeze", "-f", self.disk.at], check=True)
            try:
                subprocess.run(["cp", "--sparse=always", self.disk.image, saved], check=True)
            finally:
                subprocess.run(["fsfreeze", "-u", self.disk.at], check=True)
            self.healthy()  # the server may have been missed meanwhile
            begin = self.first_chunk_byte()
            self.disk.cut_image(begin)
            self.assertEqual(unlike(self.files), [])

            def given_up():  # at once, when the index is among what can't be read now
                return self.reasons("volume-failed")

            def found():
                self.c.admin("scrub", "start", self.server)
                return given_up() or self.reasons("bad-blocks")
            wait_for("bad blocks to be found", found, 60, 0.5)
            wait_for("them to be mended", lambda: given_up() or not self.reasons("bad-blocks-unmended"), 60, 0.2)
            self.assertEqual(unlike(self.files), [])

            def failed():
                for _ in range(10):  # what was mended too, and again, for what is written makes it longer
                    self.disk.cut_image(begin)
                    time.sleep(0.02)
                self.c.admin("scrub", "start", self.server)
                return self.reasons("volume-failed")
            wait_for("the disk to be given up", failed, 60, 0.05)
            self.await_failed()
            self.copied_elsewhere()
            self.c.kill(self.server)
            self.disk.unmount()
            shutil.move(saved, self.disk.image)  # as if it had only been away, and with what it had then
            self.disk.mount()
            self.restart()
            self.healthy()
        self.unharmed(busy)

    def first_chunk_byte(self):
        """From here on the image has chunks, and perhaps the index."""
        starts = []
        for folder, _, names in os.walk(os.path.join(self.disk.at, "chunks")):
            for name in names:
                try:
                    starts += [at for _, at, _ in self.disk.extents(os.path.join(folder, name))]
                except (AssertionError, subprocess.CalledProcessError):
                    continue  # deleted meanwhile
        return min(starts)

    def test_slow(self):
        slow = Throttle(self.disk.devices()[0], SLOW)
        self.addCleanup(slow.release)
        slow.hold(self.c.pid(self.server))
        took = []
        drop_caches()
        for path in self.files:
            with open(path, "rb", buffering=0) as f:
                while True:
                    began = time.monotonic()
                    if not f.read(1 << 20):
                        break
                    took.append(time.monotonic() - began)
        took.sort()
        print(f"a disk at 1 MiB/s: {len(took)} reads, p50 {took[len(took) // 2] * 1000:.0f} ms, "
              f"p99 {took[len(took) * 99 // 100] * 1000:.0f} ms, max {took[-1] * 1000:.0f} ms", flush=True)
        self.c.admin("scrub", "start", self.server)  # users are soon asking others only
        wait_for("the slow disk to be reported",
                 lambda: any(f"chunkserver {self.server}" in text for text in self.reasons("volume-slow")), 30, 0.2)
        self.assertLess(took[-1], READ_WITHIN)
        self.assertEqual(unlike(self.files), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
