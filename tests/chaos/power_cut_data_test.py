#!/usr/bin/env python3
"""The power of everything is cut during writes, again and again: of the disks of three masters and three chunkservers,
each an ext4 on a loop device that is shut down as it is, and of the machine with the mount.

Writers write anywhere in their files and fsync now and then. After each cut a new mount must see what fsync returned
for; what was written after that is there, or isn't, byte by byte, but reading it never fails. What was found once stays
so through later cuts. CAIRN_FULL=1: 300 cuts. CAIRN_SEED repeats the choices, though not the moments, of a run.
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
from disks import DiskCluster, await_gone, kill  # noqa: E402
from cluster import wait_for  # noqa: E402

CUTS = 300 if os.environ.get("CAIRN_FULL") == "1" else 6
SEED = int(os.environ.get("CAIRN_SEED", random.randrange(1 << 32)))
DISKS = {"m1": 768 << 20, "m2": 768 << 20, "m3": 768 << 20, "c1/v1": 1 << 30, "c2/v1": 1 << 30, "c3/v1": 1 << 30}
WRITERS, FILES = 4, 4
SIZES = [3000, 40_000, 200_000, 900_000]  # of files: some of them live in an index
WRITES = [1, 100, 512, 4096, 5000, 20_000, 130_000]
KEPT = 150  # files that are looked at again
HANG_SECONDS = 120


class Promised:
    """What may be in a file: the bytes fsync returned for, and those of any write that came later."""

    def __init__(self, path):
        self.path = path
        self.synced = bytearray()
        self.later = []  # (offset, bytes)

    def settle(self, count):
        """The first `count` of the later ones are promised now."""
        for offset, data in self.later[:count]:
            self.synced.extend(bytes(max(0, offset + len(data) - len(self.synced))))
            self.synced[offset:offset + len(data)] = data
        del self.later[:count]

    def problem(self):
        try:
            with open(self.path, "rb") as f:
                got = f.read()
        except OSError as e:
            return f"{self.path}: {e}"
        if len(got) < len(self.synced):
            return f"{self.path} has {len(got)} bytes and must have {len(self.synced)}"
        expected = bytes(self.synced).ljust(len(got), b"\0")
        for start in range(0, len(got), 512):
            if got[start:start + 512] == expected[start:start + 512]:
                continue
            for at in range(start, min(start + 512, len(got))):
                if got[at] != expected[at] and not self.written_later(at, got[at]):
                    return f"{self.path}: byte {at} was never {got[at]} since it was {expected[at]}"
        return None

    def written_later(self, at, byte):
        return any(offset <= at < offset + len(data) and data[at - offset] == byte for offset, data in self.later)


class Writer:
    def __init__(self, folder, seed):
        self.folder = folder
        self.chance = random.Random(seed)
        self.files = []
        self.fsyncs = 0
        self.cut = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            os.mkdir(self.folder)
            open_files = [self.begin(number) for number in range(FILES)]
            while True:
                self.change(*self.chance.choice(open_files))
        except OSError as e:
            if not self.cut.is_set():
                self.failure = e
        except BaseException as e:  # noqa: B902
            self.failure = e

    def begin(self, number):
        path = os.path.join(self.folder, f"f{number}")
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        self.files.append(Promised(path))  # its name is promised as soon as it is there
        return fd, self.files[-1], self.chance.choice(SIZES)

    def change(self, fd, file, size):
        for _ in range(self.chance.randrange(1, 5)):
            offset = self.chance.randrange(size)
            data = self.chance.randbytes(self.chance.choice(WRITES))
            file.later.append((offset, data))
            os.pwrite(fd, data, offset)
        if self.chance.random() < 0.5:
            count = len(file.later)
            os.fsync(fd)
            file.settle(count)
            self.fsyncs += 1
        else:
            time.sleep(self.chance.choice([0, 0.01, 0.05]))


class PowerCuts(unittest.TestCase):
    def test_everything_at_once(self):
        print(f"seed {SEED} (CAIRN_SEED={SEED} for the same choices)", flush=True)
        chance = random.Random(SEED)
        fsyncs, later, kept, back = 0, 0, [], []
        with DiskCluster(DISKS, chunkservers=3, masters=3) as c:
            c.wait_healthy()
            for number in range(CUTS):
                writers = self.write_until_cut(c, chance, number)
                began = time.monotonic()
                c.mount_disks()
                c.up()
                back.append(time.monotonic() - began)
                files = [file for writer in writers for file in writer.files]
                fsyncs += sum(writer.fsyncs for writer in writers)
                later += sum(len(file.later) for file in files)
                self.look(files + chance.sample(kept, min(len(kept), 10)), number)
                kept = (kept + files)[-KEPT:]
            self.look(kept, CUTS)
            volumes = [volume for server in c.wait_healthy()["servers"] for volume in server["volumes"]]
            self.assertEqual([v for v in volumes if v["unmendedBlocks"] or v["differingChunks"]], [])
            back.sort()
            print(f"{CUTS} cuts, {fsyncs} fsyncs and {later} later writes: nothing lost, nothing unreadable; all up "
                  f"again after p50 {back[len(back) // 2]:.1f} max {back[-1]:.1f} s", flush=True)

    def write_until_cut(self, c, chance, number):
        writers = [Writer(c.path(f"r{number}w{n}"), chance.random()) for n in range(WRITERS)]
        for writer in writers:
            writer.thread.start()
        wait_for("the writers to be at work", lambda: all(w.fsyncs or w.failure for w in writers), HANG_SECONDS, 0.005)
        time.sleep(chance.uniform(0, 0.6))
        for writer in writers:
            writer.cut.set()
        mount = c.pid("mount")
        if chance.random() < 0.5:
            kill(mount)
        c.cut_power(chance)
        kill(mount)
        subprocess.run(["fusermount3", "-uz", c.mnt], stderr=subprocess.DEVNULL)
        await_gone(mount)
        for writer in writers:
            writer.thread.join(HANG_SECONDS)
            self.assertFalse(writer.thread.is_alive(), "a writer hangs on a mount that is gone")
            self.assertIsNone(writer.failure)
        return writers

    def look(self, files, number):
        problems = [problem for problem in (file.problem() for file in files) if problem]
        self.assertEqual(problems, [], f"after cut {number}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
