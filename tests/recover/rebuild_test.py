#!/usr/bin/env python3
"""All masters' directories are gone. From the chunkservers' disks alone dfs-recover gives every file, and a master from
which the cluster starts; one disk of four may be missing, and of what several missing ones take along every byte is
named. CAIRN_FULL=1 with 200,000 files."""
import json
import os
import shutil
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
import trees  # noqa: E402
from cluster import BIN, AnotherMount, Cluster  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
FILES = 200_000 if FULL else 1_500
SERVERS = ["c1", "c2", "c3", "c4"]
MASTERS = ["m1", "m2", "m3"]
WHOLE, DAMAGED, REFUSED = 0, 1, 2
LIMIT = 7200 if FULL else 300


class Lost(unittest.TestCase):
    def setUp(self):
        self.c = Cluster(chunkservers=len(SERVERS), masters=len(MASTERS))
        self.addCleanup(self.c.close)
        self.c.up()
        self.c.wait_healthy()
        self.map = os.path.join(self.c.base, "map")
        self.out = os.path.join(self.c.base, "out")

    def recover(self, *words, code=WHOLE):
        done = subprocess.run([os.path.join(BIN, "dfs-recover"), "-o", "json", *words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT)
        said = done.stdout[-3000:] + done.stderr
        self.assertEqual(done.returncode, code, f"dfs-recover {' '.join(words)}\n{said}")
        return json.loads(done.stdout) if done.stdout else done.stderr

    def disks(self, *without):
        return [self.data(name) for name in SERVERS if name not in without]

    def data(self, name):
        return os.path.join(self.c.dir, name)

    def scan(self, *without, code=WHOLE):
        shutil.rmtree(self.map, ignore_errors=True)
        return self.recover("scan", *self.disks(*without), "--map", self.map, code=code)

    def extracted(self, code=WHOLE):
        shutil.rmtree(self.out, ignore_errors=True)
        report = self.recover("extract", "--map", self.map, "--to", self.out, "--write", code=code)
        return report, trees.look(self.out, without=(b"lost+found",))

    def test_disks_alone(self):
        trees.make(self.c.mnt, FILES)
        wanted = trees.look(self.c.mnt)
        trees.await_capsules(self.c)
        said = self.recover("scan", *self.disks(), "--map", self.map, code=REFUSED)
        self.assertIn("a daemon runs there", said)
        self.c.kill_all()
        for name in MASTERS:
            shutil.rmtree(self.data(name))
        self.everything(wanted)
        self.one_missing(wanted)
        self.two_missing(wanted)
        self.start_again(wanted)

    def everything(self, wanted):
        began = time.monotonic()
        report = self.scan()
        self.assertEqual([report["files"]["partial"], report["files"]["lost"], report["damaged"]], [0, 0, []], report)
        took = time.monotonic() - began
        print(f"scan: {report['files']['recovered']} files, {sum(d['bytesRead'] for d in report['disks']) >> 20} MiB "
              f"in {took:.1f} s")
        dry = self.recover("extract", "--map", self.map, "--to", self.out)
        self.assertFalse(dry["written"] or os.path.exists(self.out))
        began = time.monotonic()
        out, found = self.extracted()
        self.assertEqual(trees.differences(wanted, found), [])
        self.assertEqual(out["refused"], [])
        print(f"extract: {out['bytes'] >> 20} MiB in {time.monotonic() - began:.1f} s")
        again = self.recover("extract", "--map", self.map, "--to", self.out, "--write")
        self.assertEqual(again["skipped"], again["files"])
        self.assertEqual(trees.differences(wanted, trees.look(self.out)), [])

    def one_missing(self, wanted):
        report = self.scan("c2")
        self.assertEqual(report["damaged"], [], report)
        self.assertEqual(trees.differences(wanted, self.extracted()[1]), [])

    def two_missing(self, wanted):
        """Three copies over four servers: two that are missing leave at least one of each, but it may be stale."""
        report = self.scan("c1", "c3")
        self.assertEqual([report["files"]["partial"], report["files"]["lost"]], [0, 0], report["damaged"])
        self.assertEqual(trees.differences(wanted, self.extracted()[1]), [])
        # Of one disk alone a quarter of the shards is gone, and exactly what is lost is named.
        report = self.scan("c1", "c2", "c3", code=DAMAGED)
        self.assertGreater(report["files"]["partial"] + report["files"]["lost"], 0)
        _, found = self.extracted(code=DAMAGED)
        damaged = {bytes.fromhex(f["pathHex"]): f["lost"] for f in report["damaged"] if f["lost"]}
        for path, what in wanted.items():
            if path not in damaged:
                self.assertEqual(found[path], what, path)
            else:
                self.compare_ranges(path, damaged[path])

    def compare_ranges(self, path, lost):
        """What isn't lost is right; what is, reads as zeros."""
        before = os.path.join(os.fsencode(self.whole()), path)
        with open(before, "rb") as f, open(os.path.join(os.fsencode(self.out), path), "rb") as g:
            want, got = bytearray(f.read()), g.read()
        for part in lost:
            want[part["first"]:part["end"]] = bytes(part["end"] - part["first"])
        self.assertEqual(bytes(want), got, path)

    def whole(self):
        """The whole tree once more, beside the damaged one."""
        top = os.path.join(self.c.base, "whole")
        if not os.path.isdir(top):
            map_ = os.path.join(self.c.base, "whole.map")
            self.recover("scan", *self.disks(), "--map", map_)
            self.recover("extract", "--map", map_, "--to", top, "--write")
        return top

    def start_again(self, wanted):
        self.scan()
        plan = subprocess.run([os.path.join(BIN, "dfs-recover"), "rebuild", "--map", self.map, "--to", self.data("m1")],
                              capture_output=True, text=True, timeout=LIMIT, check=True).stdout
        self.assertIn("Nothing was written", plan)
        self.assertFalse(os.path.exists(self.data("m1")))
        made = self.recover("rebuild", "--map", self.map, "--to", self.data("m1"), "--name", "m1", "--write")
        file = os.path.join(self.c.dir, "cluster.toml")
        with open(file) as f:
            lines = f.read().split("\n")
        at = next(i for i, line in enumerate(lines) if line.startswith("cluster ="))
        lines.insert(at + 1, f'epoch = "{made["epoch"]}"')
        with open(file, "w") as f:
            f.write("\n".join(lines))
        self.c.play("start", "m1")
        for name in SERVERS:
            self.c.play("start", name)
        for name in MASTERS[1:]:
            os.mkdir(self.data(name))
            self.c.play("start", name)
        self.c.wait_healthy()
        mount = AnotherMount(self.c)
        try:
            self.assertEqual(trees.differences(wanted, trees.look(mount.mnt)), [])
            trees.write(os.path.join(os.fsencode(mount.mnt), b"after"), b"life goes on" * 1000)
            with open(os.path.join(mount.mnt, "after"), "rb") as f:
                self.assertEqual(f.read(), b"life goes on" * 1000)
        finally:
            mount.close()
        trees.await_capsules(self.c)


if __name__ == "__main__":
    unittest.main(verbosity=2)
