#!/usr/bin/env python3
"""The POSIX suite (posix_suite, tests/posix/*.cc) on ext4 and on a mount.

It runs on ext4 first: a case that fails there is wrong itself, unless ON_EXT4 says why ext4 is right to fail it. On the
mount every case must pass but those of ON_MOUNT, each with its reason; one of these that passes must leave the list.

posix_suite_test.py [PREFIX]: only the cases whose names begin so.
"""
import fnmatch
import os
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "mount"))
from cluster import BIN, Cluster, require_environment, run  # noqa: E402

SUITE = os.environ.get("CAIRN_POSIX_SUITE", os.path.join(BIN, "posix_suite"))
CASES_MIN = 5000
EXT4_BYTES = 1 << 31  # thin
# As the mount is mounted, so far as that decides what a call comes to.
EXT4_OPTIONS = "loop,nosuid,nodev,relatime"

# Patterns of case names -> why they fail there.
ON_EXT4 = {
    "xattr/large-value-of-*": "ext4 keeps a file's attributes in one block",
}
ON_MOUNT = {}


def reason(name, table):
    return next((why for pattern, why in table.items() if fnmatch.fnmatchcase(name, pattern)), None)


def play(directory, prefix):
    """Runs the suite; {name: what is wrong, empty when nothing is}."""
    done = subprocess.run([SUITE, directory, *prefix], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          errors="replace", timeout=1200)
    results = {}
    for line in done.stdout.splitlines():
        verdict, _, rest = line.partition(" ")
        name, _, why = rest.partition(": ")
        if verdict == "pass":
            results[rest] = ""
        elif verdict == "FAIL":
            results[name] = why or "it fails"
    if done.returncode not in (0, 1) or not results:
        raise AssertionError(f"posix_suite ended with {done.returncode}: {done.stdout[-500:]}")
    return results


class Ext4:
    """A file system of its own, on a loop device."""

    def __enter__(self):
        self.base = tempfile.TemporaryDirectory(prefix="cairn-posix-")
        self.top = os.path.join(self.base.name, "ext4")
        image = os.path.join(self.base.name, "image")
        os.chmod(self.base.name, 0o755)
        os.mkdir(self.top)
        with open(image, "wb") as f:
            f.truncate(EXT4_BYTES)
        run("mkfs.ext4", "-q", "-F", "-I", "256", image)
        run("mount", "-o", EXT4_OPTIONS, image, self.top)
        return self

    def __exit__(self, *_):
        run("umount", self.top)
        self.base.cleanup()


class PosixSuite(unittest.TestCase):
    prefix = []

    def compare(self, results, table):
        wrong = [f"{name}: {why}" for name, why in results.items() if why and reason(name, table) is None]
        passed = {pattern for pattern in table
                  if any(fnmatch.fnmatchcase(name, pattern) for name in results)
                  and not any(why and fnmatch.fnmatchcase(name, pattern) for name, why in results.items())}
        self.assertEqual(wrong, [], f"{len(wrong)} of {len(results)} cases fail")
        self.assertEqual(passed, set(), "these pass now: take them out of the list of those that fail")

    def measured(self, where, directory):
        began = time.monotonic()
        results = play(directory, self.prefix)
        failed = sum(1 for why in results.values() if why)
        print(f"{where}: {len(results)} cases, {failed} fail, {time.monotonic() - began:.0f} s", flush=True)
        return results

    def test_1_ext4(self):
        with Ext4() as ext4:
            results = self.measured("ext4", ext4.top)
        self.compare(results, ON_EXT4)
        self.assertGreaterEqual(len(results), 1 if self.prefix else CASES_MIN)

    def test_2_mount(self):
        with Cluster() as cluster:
            os.chmod(cluster.base, 0o755)
            results = self.measured("mount", cluster.mnt)
        self.compare(results, ON_MOUNT)


if __name__ == "__main__":
    require_environment()
    if len(sys.argv) > 1:
        PosixSuite.prefix = [sys.argv.pop(1)]
    unittest.main(verbosity=2)
