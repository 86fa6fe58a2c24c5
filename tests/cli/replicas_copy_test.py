#!/usr/bin/env python3
"""Files that are there already get another number of copies, while they are written to: bytes stay what they are."""
import json
import os
import sys
import threading
import unittest

from support import HERE, CommandTest

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, wait_for  # noqa: E402

SETTLED_SECONDS = 60
FILES = 20
BLOCK = 4096


class ReplicasOfExistingFiles(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(chunkservers=3, extra=("--replicas", "2"))
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.up()
        cls.cluster.wait_healthy()

    def json(self, *words):
        done = self.cluster.admin("-o", "json", *words, check=False)
        self.assertEqual(done.returncode, 0, f"{words}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def tasks(self):
        return [t for t in self.json("task", "list")["tasks"] if t["kind"] == "replicas"]

    def copies(self, path):
        return {len(chunk["inSync"]) for chunk in self.json("file", "locate", path)["chunks"]}

    def make(self, directory):
        contents = {}
        for below in ("", "a", os.path.join("a", "b")):
            os.makedirs(os.path.join(directory, below), exist_ok=True)
            for i in range(FILES // 3):
                path = os.path.join(directory, below, f"f{i}")
                contents[path] = os.urandom(1 + i * 70_000)
                with open(path, "wb") as f:
                    f.write(contents[path])
        big = os.path.join(directory, "big")
        contents[big] = os.urandom(9 << 20)
        with open(big, "wb") as f:
            f.write(contents[big])
            f.flush()
            os.fsync(f.fileno())
        return contents

    def test_files_are_copied_under_a_writer(self):
        directory = self.cluster.path("tree")
        os.mkdir(directory)
        contents = self.make(directory)
        log = os.path.join(directory, "log")
        written = []
        stop = threading.Event()

        def write():
            with open(log, "wb", buffering=0) as f:
                while not stop.is_set():
                    block = os.urandom(BLOCK)
                    written.append(block)
                    f.write(block)
                    if len(written) % 8 == 0:
                        os.fsync(f.fileno())
        writer = threading.Thread(target=write)
        writer.start()
        try:
            done = self.json("replicas", "set", directory, "3")
            self.assertIsNotNone(done["task"])
            wait_for("the files to be copied", lambda: not self.tasks(), SETTLED_SECONDS)
        finally:
            stop.set()
            writer.join()
        with open(log, "rb") as f:
            self.assertEqual(f.read(), b"".join(written), "what was written meanwhile")
        for path, bytes_ in contents.items():
            with open(path, "rb") as f:
                self.assertEqual(f.read(), bytes_, path)
            self.assertEqual(self.copies(path), {3}, path)
        self.assertEqual(self.copies(log), {3})
        self.assertEqual(self.json("replicas", "show", os.path.join(directory, "a", "b"))["copies"], 3)

    def test_a_task_is_shown_and_can_be_cancelled(self):
        directory = self.cluster.path("other")
        os.mkdir(directory)
        contents = self.make(directory)
        task = "replicas-" + str(self.json("replicas", "set", directory, "1")["task"])
        shown = [t for t in self.tasks() if t["id"] == task]
        if shown:  # unless it is done already
            self.assertEqual(shown[0]["copies"], 1)
            self.cluster.admin("task", "cancel", task, check=False)
        wait_for("the task to end", lambda: not self.tasks(), SETTLED_SECONDS)
        again = self.cluster.admin("task", "cancel", task, check=False)
        self.assertNotEqual(again.returncode, 0)
        self.assertIn("no such task", again.stderr)
        for path, bytes_ in contents.items():
            with open(path, "rb") as f:
                self.assertEqual(f.read(), bytes_, path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
