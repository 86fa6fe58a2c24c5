#!/usr/bin/env python3
"""Failures under a real mount: daemons killed, a disk that lies. CAIRN_FULL=1: at full size (nightly)."""
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import PATIENCE, Cluster, wait_for  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"


class Failures(unittest.TestCase):
    def test_kill_one_chunkserver_during_a_large_write(self):
        size = (1 << 30) if FULL else (192 << 20)
        with Cluster() as c:
            digest = hashlib.sha256()
            longest = 0.0
            with open(c.path("large"), "wb", buffering=0) as f:
                for at in range(0, size, 1 << 20):
                    block = os.urandom(1 << 16) * 16
                    digest.update(block)
                    began = time.monotonic()
                    self.assertEqual(f.write(block), len(block))
                    longest = max(longest, time.monotonic() - began)
                    if at == size // 4:
                        c.play("kill", "c2")
                os.fsync(f.fileno())
            print(f"longest write {longest:.2f} s")

            def without_c2():
                status = c.status()
                return status if any("c2" in r["text"] for r in status["reasons"]) else None
            status = wait_for("the loss of c2 to be seen", without_c2)
            self.assertEqual(status["health"], "degraded")
            self.assertTrue(all(r["action"] for r in status["reasons"]), status["reasons"])
            self.check_file(c, "large", digest)
            c.play("start", "c2")
            c.wait_healthy()
            c.play("kill", "c1")
            c.play("kill", "c3")
            # What c2 caught up must be complete: it alone serves reads now.
            self.check_file(c, "large", digest)

    def check_file(self, c, name, digest):
        subprocess.run(["sysctl", "-q", "vm.drop_caches=3"], check=True)
        got = hashlib.sha256()
        with open(c.path(name), "rb") as f:
            while block := f.read(1 << 20):
                got.update(block)
        self.assertEqual(got.hexdigest(), digest.hexdigest())

    def test_kill_everything_during_writes(self):
        rounds = 5 if FULL else 2
        with Cluster() as c:
            synced = {}
            for round_number in range(rounds):
                c.wait_healthy()
                self.write_until_killed(c, round_number, synced)
                c.up()
                for name, body in synced.items():
                    with open(c.path(name), "rb") as f:
                        self.assertEqual(f.read()[:len(body)], body, name)
            self.assertGreater(len(synced), 10)
            status = c.wait_healthy()
            self.assertEqual(sum(v["badBlocks"] for s in status["servers"] for v in s["volumes"]), 0)

            def sound():
                done = c.admin("-o", "json", "file", "check", c.path(next(iter(synced))))
                problems = json.loads(done.stdout)["problems"]
                self.assertEqual([p for p in problems if p["kind"] in ("corrupt", "differs")], [])
                return done.returncode == 0
            wait_for("a file to be sound in all its copies", sound)

    def write_until_killed(self, c, round_number, synced):
        """Writers that fsync; what fsync returned for before the kill goes into `synced`."""
        stop = threading.Event()
        lock = threading.Lock()

        def writer(number):
            i = 0
            while not stop.is_set():
                name = f"r{round_number}w{number}n{i}"
                body = os.urandom(64) * (1 + (i * 37) % 2000)
                try:
                    fd = os.open(c.path(name), os.O_CREAT | os.O_WRONLY)
                    try:
                        os.write(fd, body)
                        os.fsync(fd)
                    finally:
                        os.close(fd)
                except OSError:
                    return  # killed under us
                with lock:
                    if not stop.is_set():
                        synced[name] = body
                i += 1

        threads = [threading.Thread(target=writer, args=(n,), daemon=True) for n in range(3)]
        goal = len(synced) + 60
        for t in threads:
            t.start()
        wait_for("fsynced files", lambda: len(synced) >= goal, 300)
        with lock:
            stop.set()
        c.kill_all()
        for t in threads:
            t.join(PATIENCE)
            self.assertFalse(t.is_alive(), "a writer hangs on a dead mount")

    def test_flipped_bit_is_never_read(self):
        # Reads go to a shard's primary: of so many files some have theirs where the bits are flipped.
        bodies = {f"victim{i}": os.urandom(1 << 20) for i in range(12)}
        with Cluster() as c:
            for name, body in bodies.items():
                with open(c.path(name), "wb") as f:
                    f.write(body)
                    f.flush()
                    os.fsync(f.fileno())
            c.wait_healthy()  # so that all copies have all of it
            c.down()
            for body in bodies.values():
                self.assertEqual(self.flip_a_bit_on(c, "c1", body) + self.flip_a_bit_on(c, "c2", body), 2)
            c.up()
            for name, body in bodies.items():
                with open(c.path(name), "rb") as f:
                    self.assertEqual(f.read(), body, name)
            bad = lambda: sum(v["badBlocks"] for s in c.status()["servers"] for v in s["volumes"])  # noqa: E731
            wait_for("the bad copies to be counted", lambda: bad() >= 1)
            self.assertEqual(c.status()["health"], "degraded")

    def flip_a_bit_on(self, c, server, body):
        """Flips one bit of the file's bytes in one chunk file of `server`."""
        needle = body[500000:500016]
        for folder, _, files in os.walk(os.path.join(c.dir, server)):
            for name in files:
                path = os.path.join(folder, name)
                with open(path, "r+b") as f:
                    data = f.read()
                    at = data.find(needle)
                    if at >= 0 and "/chunks/" in path:
                        f.seek(at)
                        f.write(bytes([data[at] ^ 1]))
                        return 1
        return 0

    def test_restarted_master_keeps_the_mount_alive(self):
        with Cluster() as c:
            with open(c.path("before"), "w") as f:
                f.write("x")
            c.play("kill", "m1")
            results = []

            def create():
                with open(c.path("during"), "w") as f:
                    f.write("y")
                results.append("done")

            t = threading.Thread(target=create, daemon=True)
            t.start()
            c.play("start", "m1")
            t.join(PATIENCE)
            self.assertEqual(results, ["done"], "create across a master restart")
            self.assertEqual(sorted(os.listdir(c.mnt)), ["before", "during"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
