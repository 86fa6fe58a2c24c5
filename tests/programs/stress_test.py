#!/usr/bin/env python3
"""Programs that load a file system and complain of it: stress-ng, dbench, bonnie++, fs_mark. None may have anything to
say. CAIRN_FULL=1: stress-ng's whole class for ten minutes, one stressor after the other, and the others at size."""
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, run  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
STRESS_SECONDS = 600
# bind-mount: stress-ng itself leaves it out, for it may hang the machine. io opens and syncs every mount that there is,
# and waits with those of clusters that another test has stopped. The others don't look at the file system.
ELSEWHERE = ["bind-mount", "binderfs", "dup", "eventfd", "io", "ioprio", "procfs"]
# One round of each of these is many thousand files or links, however short the time: too much where minutes count.
LONG = ["dentry", "dirdeep", "filename", "link", "symlink"]
COMPLAINT = re.compile(r"stress-ng: (fail|error|warn):")


def stressors():
    """The class as this version of stress-ng has it."""
    done = subprocess.run(["stress-ng", "--class", "filesystem?"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    names = done.stdout.rpartition("stressors:")[2].split()
    if len(names) < 20:
        raise AssertionError(f"stress-ng doesn't say what its class filesystem is: {done.stdout}")
    return names


class Stress(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.__enter__()
        os.chmod(cls.cluster.base, 0o755)

    def setUp(self):
        self.top = self.cluster.path(self._testMethodName)
        os.mkdir(self.top)
        self.began = time.monotonic()

    def tearDown(self):
        print(f"{self._testMethodName}: {time.monotonic() - self.began:.1f} s", flush=True)
        shutil.rmtree(self.top)

    def test_stress_ng(self):
        wanted = [name for name in stressors() if name not in ELSEWHERE and (FULL or name not in LONG)]
        left_out = [name for name in stressors() if name not in wanted]
        if FULL:
            how = ["--sequential", "2", "--timeout", f"{STRESS_SECONDS // len(wanted)}s"]
        else:
            how = ["--all", "1", "--timeout", "5s"]  # all at the same time
        done = subprocess.run(["stress-ng", "--class", "filesystem", *how, "--exclude", ",".join(left_out), "--verify",
                               "--temp-path", self.top], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=4 * STRESS_SECONDS)
        complaints = [line for line in done.stdout.splitlines() if COMPLAINT.match(line)]
        self.assertEqual(complaints, [])
        self.assertEqual(done.returncode, 0, done.stdout[-4000:])
        self.assertEqual(os.listdir(self.top), [])

    def test_dbench(self):
        seconds = 60 if FULL else 6
        output = run("dbench", "-D", self.top, "-t", str(seconds), "4")
        found = re.search(r"^Throughput .*", output, re.MULTILINE)
        self.assertIsNotNone(found, output[-2000:])
        print(found[0], flush=True)
        self.assertNotRegex(output, r"(?i)\b(error|failed|unexpected)")

    def test_bonnie(self):
        size = ["-s", "2048:8k", "-n", "4"] if FULL else ["-s", "16:8k", "-n", "0"]
        # -f: not byte by byte, for each would be a call of its own, tens of millions of them.
        output = run("bonnie++", "-q", "-f", "-d", self.top, "-u", "root", "-r", "8", "-x", "1", "-m", "mount", *size)
        self.assertTrue(output.splitlines()[-1].count(",") > 40, output[-2000:])  # its line of figures

    def test_fs_mark(self):
        count = "5000" if FULL else "150"
        output = run("fs_mark", "-d", "files", "-n", count, "-s", "6000", "-t", "2", "-L", "2", "-D", "8", "-S", "1",
                     cwd=self.top)
        rows = re.findall(r"^\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+\d+\s*$", output, re.MULTILINE)
        self.assertEqual(len(rows), 2, output[-2000:])
        print("fs_mark:", [row.split()[3] for row in rows], "files a second, each synced", flush=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
