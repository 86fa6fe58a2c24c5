#!/usr/bin/env python3
"""Single bits that flip on the disk of one chunkserver, beneath the page cache or above it: in the data of chunks, in
their headers, in their checksums, in the index. A reader gets the right bytes, or EIO for those that have no good copy;
and what is bad is mended without anybody's help, which is looked up on the disk itself.

CAIRN_FULL=1: 1,000 of each (of the index as many as CAIRN_INDEX_FAULTS says). CAIRN_SEED repeats the choices of a run.
"""
import ctypes
import errno
import json
import os
import random
import struct
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from disks import DiskCluster, drop_caches  # noqa: E402
from cluster import wait_for  # noqa: E402
from copies import settled  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
SEED = int(os.environ.get("CAIRN_SEED", random.randrange(1 << 32)))
FAULTS = 1000 if FULL else 10  # of each kind
INDEX_FAULTS = int(os.environ.get("CAIRN_INDEX_FAULTS", 60)) if FULL else 1
SERVERS = ["c1", "c2", "c3"]
KINDS = ["data", "header", "sums"]
LARGE, LARGE_BYTES = 75, 200_000  # a chunk file each
SMALL, SMALL_BYTES = 150, 12_000  # in the index
BLOCK = 4096
SLOTS = (0, 2048)
HEADER_FIXED = 97  # bytes before the path
MENDED_WITHIN = 90

hash64 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
hash64.restype = ctypes.c_uint64
hash64.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def active_header(front):
    """(sequence, offset of its slot, bytes) of the header that counts; (0, 0, 0) when none is whole."""
    best = (0, 0, 0)
    for slot in SLOTS:
        text = front[slot:slot + 512]
        path, = struct.unpack_from("<H", text, HEADER_FIXED)
        used = HEADER_FIXED + 2 + path
        if text[:8] == b"CAIRNCHK" and used <= 504 and struct.unpack_from("<Q", text, used)[0] == hash64(text, used):
            best = max(best, (struct.unpack_from("<Q", text, 12)[0], slot, used + 8))
    return best


def data_offset(front):
    blocks = 1 << (front[active_header(front)[1] + 60] - 12)
    return BLOCK + -(-blocks * 8 // BLOCK) * BLOCK


def read_at(path, offset, size):
    with open(path, "rb") as f:
        f.seek(offset)
        return f.read(size)


class Fault:
    """One bit of one chunk file of `server`."""

    def __init__(self, kind, top, server, chunk, chance):
        self.kind, self.top, self.server, self.chunk = kind, top, server, chunk
        self.bit = chance.randrange(8)
        front = read_at(self.path(server), 0, BLOCK)
        self.sequence, slot, used = active_header(front)
        if kind == "header":
            self.offset = slot + chance.randrange(used)
        elif kind == "sums":
            self.offset = BLOCK + chance.randrange(LARGE_BYTES // BLOCK * 8)
        else:
            self.offset = data_offset(front) + chance.randrange(LARGE_BYTES)

    def path(self, server):
        return os.path.join(self.top, server, "v1", "chunks", self.chunk)

    def __str__(self):
        return f"{self.kind} of {self.path(self.server)} at {self.offset} bit {self.bit}"

    def mended(self):
        """As the disks have it."""
        if self.kind == "header":
            return active_header(read_at(self.path(self.server), 0, BLOCK))[0] >= self.sequence
        start = self.offset - self.offset % (8 if self.kind == "sums" else BLOCK)
        size = 8 if self.kind == "sums" else BLOCK
        return len({read_at(self.path(server), start, size).ljust(size, b"\0") for server in SERVERS}) == 1


class Flips(unittest.TestCase):
    def setUp(self):
        print(f"seed {SEED} (CAIRN_SEED={SEED} for the same choices)", flush=True)
        self.chance = random.Random(SEED)

    def cluster(self):
        return DiskCluster({name + "/v1": 256 << 20 for name in SERVERS})

    def fill(self, c):
        files = {}
        for number in range(LARGE + SMALL):
            path = c.path(f"f{number}")
            files[path] = self.chance.randbytes(LARGE_BYTES if number < LARGE else SMALL_BYTES)
            with open(path, "wb", buffering=0) as f:
                f.write(files[path])
        os.sync()
        return files

    def check(self, files):
        """Nothing is wrong, and as there are good copies of all, nothing fails."""
        drop_caches()
        for path, body in files.items():
            with open(path, "rb") as f:
                self.assertTrue(f.read() == body, f"{path} reads back with other bytes")

    def scrub_of(self, c, server):
        volumes = json.loads(c.admin("-o", "json", "scrub", "status").stdout)["volumes"]
        unheard = {"running": True, "lastPassEnded": 0, "unmended": 1}
        return next((volume for volume in volumes if volume["server"] == server), unheard)

    def scrub(self, c, server):
        """A whole pass: the one that may be under way ends first."""
        for _ in range(2):
            time.sleep(1.1)  # passes are told apart by the second in which they began
            now = int(time.time())
            c.admin("scrub", "start", server)
            wait_for("the scrub to end", lambda: not self.scrub_of(c, server)["running"] and (
                self.scrub_of(c, server)["lastPassEnded"] >= now), 60, 0.1)

    def await_copies(self, c):
        def all_there():
            counts = c.status()["shards"]
            return counts["healthy"] == counts["total"] and settled(c)
        wait_for("all copies in sync", all_there, 120, 0.2)

    def alone(self, c, server, files):
        """What this server has must be all there is."""
        self.await_copies(c)
        others = [name for name in SERVERS if name != server]
        for name in others:
            c.play("kill", name)
        self.check(files)
        for name in others:
            c.play("start", name)
        wait_for("all copies in sync", lambda: settled(c), 60, 0.2)

    def chunks_on(self, c, server):
        top = os.path.join(c.dir, server, "v1", "chunks")
        return sorted(os.path.join(folder, name) for folder in os.listdir(top)
                      for name in os.listdir(os.path.join(top, folder)))

    def flip(self, c, fault):
        if self.chance.random() < 0.5:
            return c.disks[fault.server + "/v1"].flip(fault.path(fault.server), fault.offset, fault.bit)
        with open(fault.path(fault.server), "r+b", buffering=0) as f:
            byte = os.pread(f.fileno(), 1, fault.offset)[0]
            os.pwrite(f.fileno(), bytes([byte ^ 1 << fault.bit]), fault.offset)
        return True

    def test_in_chunks(self):
        with self.cluster() as c:
            c.wait_healthy()
            files = self.fill(c)
            self.await_copies(c)
            time.sleep(20)  # until nothing is marked as perhaps being written, 10 s after the last sync
            subprocess.run(["sync"], check=True)
            counts = {kind: [0, 0] for kind in KINDS}
            number = 0
            while counts["sums"][0] < FAULTS:
                server = SERVERS[number % 3]
                number += 1
                faults = self.some_faults(c, server, counts)
                self.check(files)
                self.scrub(c, server)
                wait_for("what is bad to be mended", lambda: self.scrub_of(c, server)["unmended"] == 0, MENDED_WITHIN)
                subprocess.run(["sync"], check=True)
                drop_caches()
                for fault in faults:
                    mended = fault.mended()
                    counts[fault.kind][1] += mended
                    if not mended:
                        print(f"not mended: {fault}", flush=True)
            c.down()
            drop_caches()
            c.up()
            self.alone(c, "c1", files)
            figures = ", ".join(f"{kind} {mended} of {n}" for kind, (n, mended) in counts.items())
            print(f"single bits flipped, and mended: {figures}", flush=True)
            for kind, (n, mended) in counts.items():
                self.assertGreaterEqual(mended * 100, n * 99, kind)

    def some_faults(self, c, server, counts):
        """At most one to a chunk."""
        chunks = self.chunks_on(c, server)
        self.chance.shuffle(chunks)
        faults = []
        for chunk, kind in zip(chunks[:LARGE], KINDS * LARGE):
            if counts[kind][0] >= FAULTS:
                continue
            fault = Fault(kind, c.dir, server, chunk, self.chance)
            self.assertTrue(self.flip(c, fault), fault)
            counts[kind][0] += 1
            faults.append(fault)
        return faults

    def test_where_no_copy_is_left(self):
        with self.cluster() as c:
            c.wait_healthy()
            body = self.chance.randbytes(LARGE_BYTES)
            with open(c.path("victim"), "wb") as f:
                f.write(body)
                f.flush()
                os.fsync(f.fileno())
            self.await_copies(c)
            at = 11 * BLOCK + 5
            for number, server in enumerate(SERVERS):
                chunk, = self.chunks_on(c, server)
                path = os.path.join(c.dir, server, "v1", "chunks", chunk)
                self.assertTrue(c.disks[server + "/v1"].flip(path, data_offset(read_at(path, 0, BLOCK)) + at, number))
            drop_caches()
            fd = os.open(c.path("victim"), os.O_RDWR | os.O_DIRECT)
            with self.assertRaises(OSError) as failed:
                os.pread(fd, BLOCK, 11 * BLOCK)
            self.assertEqual(failed.exception.errno, errno.EIO)
            buffered = os.open(c.path("victim"), os.O_RDONLY)
            os.posix_fadvise(buffered, 0, 0, os.POSIX_FADV_RANDOM)
            for block in [n for n in range(LARGE_BYTES // BLOCK) if n != 11]:
                got = os.pread(buffered, BLOCK, block * BLOCK)
                self.assertTrue(got == body[block * BLOCK:][:BLOCK], f"block {block}")
            checked = json.loads(c.admin("-o", "json", "file", "check", c.path("victim")).stdout)
            self.assertEqual([p["blocks"] for p in checked["problems"]], [[11]] * 3, checked)
            wait_for("the log to say which bytes are lost", lambda: f"{11 * BLOCK}" in c.log("mount"))
            os.pwrite(fd, body[11 * BLOCK:12 * BLOCK], 11 * BLOCK)  # whole, so it is good again
            os.fsync(fd)
            os.close(fd)
            os.close(buffered)
            self.check({c.path("victim"): body})

    def test_in_the_index(self):
        with self.cluster() as c:
            c.wait_healthy()
            files = self.fill(c)
            noticed = 0
            for number in range(INDEX_FAULTS):
                server = SERVERS[number % 3]
                with self.subTest(fault=number):
                    noticed += self.flip_in_index(c, server, files)
            print(f"{INDEX_FAULTS} flips in the index, {noticed} of them noticed", flush=True)

    def flip_in_index(self, c, server, files):
        """Whether the index was found to be damaged."""
        c.kill(server)
        top = os.path.join(c.dir, server, "v1", "index")
        names = sorted(n for n in os.listdir(top) if n not in ("LOCK", "LOG", "LOG.old"))
        name = self.chance.choice(names)
        size = os.path.getsize(os.path.join(top, name))
        used = [at for at, byte in enumerate(read_at(os.path.join(top, name), 0, size)) if byte] or [0]
        offset = self.chance.choice(used)  # not in what is only set aside for later
        with open(os.path.join(top, name), "r+b") as f:
            byte = os.pread(f.fileno(), 1, offset)[0]
            os.pwrite(f.fileno(), bytes([byte ^ 1 << self.chance.randrange(8)]), offset)
        print(f"{server}: {name} at {offset}", flush=True)
        seen = len(c.log(server))
        c.play("start", server)
        self.check(files)
        wait_for("all copies in sync", lambda: settled(c), 120, 0.2)
        self.scrub(c, server)
        wait_for("all copies in sync again", lambda: settled(c) and c.status()["shards"]["healthy"] ==
                 c.status()["shards"]["total"], 120, 0.2)
        wait_for("what is bad to be mended", lambda: self.scrub_of(c, server)["unmended"] == 0, MENDED_WITHIN)
        self.alone(c, server, files)
        return "index" in c.log(server)[seen:]


if __name__ == "__main__":
    unittest.main(verbosity=2)
