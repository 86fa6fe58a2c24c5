#!/usr/bin/env python3
"""A call that takes long is in the log with its path through the servers, on the status page and in `dfsadmin top`: one
chunkserver stands still for a while under a program's fsync.
"""
import os
import re
import signal
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mount"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, wait_for  # noqa: E402
from exposition import metrics, page  # noqa: E402

PAUSE = 1.3  # longer than --slow-ms, shorter than the time after which a chunkserver counts as gone
TRIES = 8


class Slow(unittest.TestCase):
    def log(self, cluster, name):
        with open(os.path.join(cluster.dir, "log", name + ".log"), errors="replace") as f:
            return f.read()

    def slow_fsync(self, cluster, number):
        """c2 stands still while a file is written and synced."""
        pid = cluster.pid("c2")
        with open(cluster.path(f"file{number}"), "wb", buffering=0) as f:
            os.kill(pid, signal.SIGSTOP)
            timer = threading.Timer(PAUSE, lambda: os.kill(pid, signal.SIGCONT))
            timer.start()
            try:
                f.write(os.urandom(1 << 20))
                os.fsync(f.fileno())
            finally:
                timer.join()
                os.kill(pid, signal.SIGCONT)

    def test_a_slow_call_says_where_its_time_went(self):
        with Cluster() as cluster:
            for number in range(TRIES):
                self.slow_fsync(cluster, number)
                if "slow: " in self.log(cluster, "mount"):
                    break
            lines = [line for line in self.log(cluster, "mount").splitlines() if "slow: " in line]
            self.assertTrue(lines, "no slow call in the mount's log")
            self.assertRegex(lines[0], r"slow: \w+ of inode \d+ took [\d.]+ m?s: .*\bc\d")
            self.assertGreater(metrics(cluster, "mount").total("cairn_mount_slow_operations_total"), 0)
            shown = wait_for("the page to show the slow call", lambda: page(cluster, "m1")["slow"])
            self.assertGreater(shown[0]["millis"], 900)
            self.assertTrue(re.search(r"\bc\d", shown[0]["path"]), shown)
            self.assertIn("WHERE THE TIME WENT", cluster.admin("top", "--once").stdout)
            numbers = re.findall(r"request ([0-9a-f]+)", "".join(self.log(cluster, f"c{i}") for i in (1, 2, 3)))
            self.assertTrue(numbers, "no chunkserver has named the request")


if __name__ == "__main__":
    unittest.main(verbosity=2)
