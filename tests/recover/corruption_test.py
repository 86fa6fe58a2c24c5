#!/usr/bin/env python3
"""dfs-recover on rotten disks: bits flipped, blocks zeroed, files cut off, in copies of a cluster's disks. It never
crashes, never hangs, and never gives out a wrong byte: what it calls recovered is as it was. And what it is given is
left as it is. CAIRN_FULL=1: 10,000 corruptions. CAIRN_SEED for other ones."""
import json
import os
import random
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
import trees  # noqa: E402
from cluster import BIN, Cluster  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
SEED = int(os.environ.get("CAIRN_SEED", "1"))
ROUNDS = 250 if FULL else 15
CORRUPTIONS = 40  # in a round
BLOCK = 4096
LIMIT = 120  # seconds that one run may take: longer is a hang


class Rot(unittest.TestCase):
    def setUp(self):
        self.c = Cluster(chunkservers=2, extra=("--replicas", "1"))
        self.addCleanup(self.c.close)
        self.c.up()
        self.c.wait_healthy()
        self.pristine = os.path.join(self.c.base, "pristine")
        self.work = os.path.join(self.c.base, "work")

    def recover(self, *words):
        done = subprocess.run([os.path.join(BIN, "dfs-recover"), "-o", "json", *words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT)
        self.assertIn(done.returncode, (0, 1, 2), f"{self.seen}\n{done.stderr[-3000:]}")
        self.assertNotIn(b"internal error", done.stderr, self.seen)
        return json.loads(done.stdout) if done.returncode != 2 else None

    def test_rot(self):
        trees.make(self.c.mnt, 150)
        wanted = trees.look(self.c.mnt)
        trees.await_capsules(self.c)
        self.c.down()
        os.mkdir(self.pristine)
        for name in ("c1", "c2"):
            shutil.copytree(os.path.join(self.c.dir, name), os.path.join(self.pristine, name))
        self.seen = "nothing rotten"
        report = self.recover("scan", self.pristine + "/c1", self.pristine + "/c2", "--map", self.work + ".map")
        self.assertEqual(report["damaged"], [])
        whole = self.work + ".whole"
        self.recover("extract", "--map", self.work + ".map", "--to", whole, "--write")
        self.assertEqual(trees.differences(wanted, trees.look(whole)), [])
        counts = {"recovered": 0, "damaged": 0, "missing": 0}
        for number in range(ROUNDS):
            self.one_round(number, whole, counts)
        print(f"{ROUNDS * CORRUPTIONS} corruptions: {counts}")
        self.assertGreater(counts["recovered"], 0, "nothing was left to compare")
        self.assertGreater(counts["damaged"], 0, "the corruptions didn't bite")

    def one_round(self, number, whole, counts):
        rng = random.Random(f"{SEED} {number}")
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.pristine, self.work)
        spare_names = number % 2 == 0
        # With its index damaged, a disk's small chunks may be older than they were: half of the rounds are about files.
        spared = ["/capsule/"] * spare_names + ["/index"] * (number % 4 < 2)
        self.seen = f"seed {SEED}, round {number}: " + ", ".join(self.corrupt(rng, spared))
        before = self.contents()
        map_, out = os.path.join(self.work, "map"), os.path.join(self.work, "out")
        report = self.recover("scan", self.work + "/c1", self.work + "/c2", "--map", map_)
        if report is None:
            return
        self.recover("verify", self.work + "/c1", self.work + "/c2")
        extracted = self.recover("extract", "--map", map_, "--to", out, "--write")
        self.assertEqual(before, self.contents(), f"the disks were written to: {self.seen}")
        if extracted is None:
            return
        missing = counts["missing"]
        self.compare(whole, out, extracted, counts)
        if spare_names:
            self.assertEqual(counts["missing"], missing, f"names are missing: {self.seen}")

    def contents(self):
        return {path: os.stat(path).st_mtime_ns for path in self.files()}

    def files(self):
        for name in ("c1", "c2"):
            for folder, _, files in os.walk(os.path.join(self.work, name)):
                yield from (os.path.join(folder, file) for file in sorted(files))

    def corrupt(self, rng, spared):
        paths = [p for p in sorted(self.files()) if os.path.getsize(p) > 0 and not any(part in p for part in spared)]
        sizes = [os.path.getsize(p) for p in paths]
        said = []
        for _ in range(CORRUPTIONS):
            # By size, and now and then any file: the small ones matter too.
            path = rng.choices(paths, sizes)[0] if rng.random() < 0.7 else rng.choice(paths)
            size = os.path.getsize(path)
            if size == 0:
                continue
            at, how = rng.randrange(size), rng.choice(("flip", "flip", "zero", "cut"))
            with open(path, "r+b") as f:
                if how == "flip":
                    f.seek(at)
                    byte = f.read(1)[0]
                    f.seek(at)
                    f.write(bytes([byte ^ 1 << rng.randrange(8)]))
                elif how == "zero":
                    f.seek(at // BLOCK * BLOCK)
                    f.write(bytes(min(BLOCK, size - at // BLOCK * BLOCK)))
                elif rng.random() < 0.2:
                    f.truncate(at)
            said.append(f"{how} {os.path.relpath(path, self.work)}:{at}")
        return said

    def compare(self, whole, out, extracted, counts):
        """What is called recovered is as it was; of the rest so are the bytes that aren't named as lost."""
        damaged = {bytes.fromhex(f["pathHex"]): f for f in extracted["damaged"]}
        for folder, folders, files in os.walk(os.fsencode(whole)):
            folders[:] = [f for f in folders if f != b"lost+found"]
            for name in files:
                path = os.path.relpath(os.path.join(folder, name), os.fsencode(whole))
                before, after = os.path.join(folder, name), os.path.join(os.fsencode(out), path)
                if os.path.islink(before) or not os.path.isfile(before):
                    continue
                if not os.path.isfile(after):
                    counts["missing"] += 1
                    continue
                said = damaged.get(path)
                counts["damaged" if said else "recovered"] += 1
                if said and said["mayBeOlder"]:
                    continue
                with open(before, "rb") as f, open(after, "rb") as g:
                    want, got = bytearray(f.read()), g.read()
                if len(want) != len(got):
                    continue  # the names are of a moment earlier
                for part in said["lost"] if said else ():
                    want[part["first"]:part["end"]] = bytes(part["end"] - part["first"])
                self.assertEqual(want == got, True, f"wrong bytes in {path!r} ({said}): {self.seen}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
