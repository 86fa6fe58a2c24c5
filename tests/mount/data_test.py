#!/usr/bin/env python3
"""Amounts: large files by hash, sparse files, many descriptors, large directories, many programs at once.
CAIRN_FULL=1: at full size (nightly)."""
import hashlib
import mmap
import os
import random
import resource
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import calls  # noqa: E402
from fixture import FULL, MEMORY, a_mount, drop_caches  # noqa: E402

MIB = 1 << 20


def pattern(seed, size):
    """Bytes that differ everywhere, made quickly."""
    block = random.Random(seed).randbytes(1 << 16)
    return b"".join(block[i % 65521:] + block[:i % 65521] for i in range(0, -(-size // len(block))))[:size]


class Amounts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mount = a_mount()
        cls.mount.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.mount.close()

    def setUp(self):
        self.top = self.mount.path(self.id().split(".")[-1])
        os.mkdir(self.top)
        self.began = time.monotonic()

    def tearDown(self):
        print(f"{self.id()}: {time.monotonic() - self.began:.1f} s", flush=True)

    def path(self, name):
        return os.path.join(self.top, name)

    def digest(self, path, step):
        digest = hashlib.sha256()
        with open(path, "rb", buffering=0) as f:
            while block := f.read(step):
                digest.update(block)
        return digest.hexdigest()

    def test_large_writes_and_reads(self):
        size = (1024 if FULL else 96) * MIB
        for write_step, read_step in ((MIB, MIB), (4 * MIB, 4096 * 33), (65536, 3 * MIB), (1000003, 999)):
            size_now = size if write_step >= 65536 and read_step > 10000 else size // 8
            body = pattern(write_step, size_now)
            with open(self.path("large"), "wb", buffering=0) as f:
                for at in range(0, len(body), write_step):
                    self.assertEqual(f.write(body[at:at + write_step]), len(body[at:at + write_step]))
                os.fsync(f.fileno())
            drop_caches()
            self.assertEqual(self.digest(self.path("large"), read_step), hashlib.sha256(body).hexdigest(),
                             (write_step, read_step))
            os.unlink(self.path("large"))

    def test_direct_io(self):
        body = pattern(1, 8 * MIB)
        buffer = mmap.mmap(-1, MIB)  # aligned
        fd = os.open(self.path("direct"), os.O_CREAT | os.O_RDWR | os.O_DIRECT)
        for at in range(0, len(body), MIB):
            buffer[:] = body[at:at + MIB]
            self.assertEqual(os.pwrite(fd, buffer, at), MIB)
        for at in range(len(body) - MIB, -1, -MIB):
            self.assertEqual(os.preadv(fd, [buffer], at), MIB)
            self.assertEqual(buffer[:], body[at:at + MIB])
        os.close(fd)
        with open(self.path("direct"), "rb") as f:
            self.assertEqual(f.read(), body)

    def test_random_order(self):
        """Pieces written in random order, some twice, read back in another."""
        draw = random.Random(7)
        size = (64 if FULL else 16) * MIB
        body = bytearray(size)
        fd = os.open(self.path("f"), os.O_CREAT | os.O_RDWR)
        for i in range(3000):
            at = draw.randrange(size - 20000)
            piece = draw.randbytes(draw.choice((1, 10, 4096, draw.randrange(1, 20000))))
            body[at:at + len(piece)] = piece
            os.pwrite(fd, piece, at)
        os.ftruncate(fd, size)
        drop_caches()
        for i in range(3000):
            at, length = draw.randrange(size), draw.randrange(1, 50000)
            self.assertEqual(os.pread(fd, length, at), bytes(body[at:at + length]), (at, length))
        os.close(fd)

    def test_sparse_4_gib(self):
        size = 4 << 30
        fd = os.open(self.path("sparse"), os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, size)
        pieces = {0: b"start", 1 << 30: pattern(1, 70000), (3 << 30) + 12345: b"odd", size - 3: b"end"}
        for at, piece in pieces.items():
            os.pwrite(fd, piece, at)
        os.fsync(fd)
        drop_caches()
        self.assertEqual(os.fstat(fd).st_size, size)
        self.assertLess(os.fstat(fd).st_blocks * 512, 2 * MIB)
        self.assertEqual(self.extents(fd, size), [(0, 4096), (1 << 30, (1 << 30) + 73728),
                                                  ((3 << 30) + 12288, (3 << 30) + 16384), (size - 4096, size)])
        for at, piece in pieces.items():
            self.assertEqual(os.pread(fd, len(piece), at), piece)
        self.assertEqual(os.pread(fd, MIB, 2 << 30), bytes(MIB))
        punch = calls.FALLOC_PUNCH_HOLE | calls.FALLOC_KEEP_SIZE
        calls.fallocate(fd, punch, 4096, (3 << 30))
        self.assertEqual(self.extents(fd, size)[:2], [(0, 4096), ((3 << 30) + 12288, (3 << 30) + 16384)])
        self.assertEqual(os.pread(fd, 70000, 1 << 30), bytes(70000))
        os.close(fd)

    def extents(self, fd, size):
        found, at = [], 0
        while at < size:
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(fd, begin, os.SEEK_HOLE)
            found.append((begin, at))
        return found

    def test_many_descriptors(self):
        count = 3000
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        fds = [os.open(self.path(f"f{i}"), os.O_CREAT | os.O_RDWR) for i in range(count)]
        for i, fd in enumerate(fds):
            os.pwrite(fd, b"%d" % i, i)
        for i in range(0, count, 2):
            os.unlink(self.path(f"f{i}"))
        for i, fd in enumerate(fds):
            self.assertEqual(os.pread(fd, 100, i), b"%d" % i)
            os.close(fd)
        self.assertEqual(len(os.listdir(self.top)), count // 2)

    def test_many_files_in_one_directory(self):
        count = 100000 if FULL else 5000
        for i in range(count):
            os.close(os.open(self.path(f"file-{i:06}"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        names = [f"file-{i:06}" for i in range(count)]
        self.assertEqual(sorted(os.listdir(self.top)), names)
        drop_caches()
        listed = subprocess.run(["ls", "-lU", self.top], stdout=subprocess.PIPE, text=True, check=True).stdout
        self.assertEqual(len(listed.splitlines()), count + 1)
        subprocess.run(["rm", "-r", self.top], check=True)
        self.assertFalse(os.path.exists(self.top))

    def test_many_threads(self):
        """Threads with files of their own, and one file that all append to."""
        errors, lines = [], 200

        def worker(number):
            try:
                draw = random.Random(number)
                log = os.open(self.path("log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
                for i in range(lines):
                    name = self.path(f"t{number}-{i % 7}")
                    body = draw.randbytes(draw.randrange(1, 30000))
                    with open(name, "wb") as f:
                        f.write(body)
                    with open(name, "rb") as f:
                        if f.read() != body:
                            errors.append(f"{name} differs at step {i}")
                    os.write(log, b"%d:%d\n" % (number, i))
                    os.rename(name, self.path(f"r{number}"))
                os.close(log)
            except Exception as error:
                errors.append(repr(error))

        threads = [threading.Thread(target=worker, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        with open(self.path("log"), "rb") as f:
            logged = f.read().split()
        self.assertEqual(sorted(logged), sorted(b"%d:%d" % (n, i) for n in range(8) for i in range(lines)))

    def test_deep_paths(self):
        here = self.top
        for i in range(60):
            here = os.path.join(here, "directory-with-a-rather-long-name-%02d" % i)
            os.mkdir(here)
        with open(os.path.join(here, "leaf"), "w") as f:
            f.write("deep")
        drop_caches()
        with open(os.path.join(here, "leaf")) as f:
            self.assertEqual(f.read(), "deep")

    def test_copy_range_large(self):
        body = pattern(5, (256 if FULL else 24) * MIB)
        with open(self.path("from"), "wb") as f:
            f.write(body)
        subprocess.run(["cp", "--reflink=auto", self.path("from"), self.path("to")], check=True)
        self.assertEqual(self.digest(self.path("to"), MIB), hashlib.sha256(body).hexdigest())

    @unittest.skipIf(MEMORY, "needs a cluster")
    def test_persists_over_a_new_mount(self):
        body = pattern(3, 5 * MIB)
        with open(self.path("kept"), "wb") as f:
            f.write(body)
            f.flush()
            os.fsync(f.fileno())
        os.setxattr(self.path("kept"), "user.k", b"v")
        os.symlink("kept", self.path("link"))
        before = calls.facts(self.path("kept"))
        self.mount.play("kill", "mount")
        subprocess.run(["fusermount3", "-uz", self.mount.mnt], stderr=subprocess.DEVNULL)
        self.mount.play("start", "mount")
        self.assertEqual(calls.facts(self.path("kept")), before)
        self.assertEqual(os.getxattr(self.path("kept"), "user.k"), b"v")
        self.assertEqual(self.digest(self.path("link"), MIB), hashlib.sha256(body).hexdigest())


if __name__ == "__main__":
    unittest.main(verbosity=2)
