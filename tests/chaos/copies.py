"""Files of mixed size with a writer and a reader at work, and where the copies of shards are."""
import hashlib
import json
import os
import random
import subprocess
import time

from worker import Worker


class Writer(Worker):
    """Writes files and fsyncs them; remembers what must be there."""

    def __init__(self, root, name):
        self.written = {}
        self.bytes = 0
        self.took = []  # (when, how long) of each file
        super().__init__(root, name)

    def round(self, number):
        body = os.urandom(512) * (1 + number * 37 % 200)
        began = time.monotonic()
        with open(self.path(f"n{number}"), "wb", buffering=0) as f:
            f.write(body)
            os.fsync(f.fileno())
        self.took.append((began, time.monotonic() - began))
        self.bytes += len(body)
        self.written[self.path(f"n{number}")] = hashlib.sha256(body).hexdigest()
        time.sleep(0.02)


class Reader(Worker):
    """Reads files that are there and compares."""

    def __init__(self, root, name, files):
        self.files = sorted(files.items())
        self.took = []  # (when, how long) of each file
        super().__init__(root, name)

    def round(self, number):
        path, digest = self.files[number * 7 % len(self.files)]
        began = time.monotonic()
        found = digest_of(path, forget=True)
        self.took.append((began, time.monotonic() - began))
        if found != digest:
            raise AssertionError(f"{path} reads back with other bytes")
        time.sleep(0.02)


class Changer(Worker):
    """Truncates, extends, overwrites, deletes and makes files anew; knows what must be in them."""

    FILES, BYTES = 24, 300_000

    def __init__(self, root, name):
        self.chance = random.Random(7)
        self.model = {}
        super().__init__(root, name)

    def round(self, number):
        name = f"m{self.chance.randrange(self.FILES)}"
        if name not in self.model:
            os.close(os.open(self.path(name), os.O_CREAT | os.O_EXCL))
            self.model[name] = bytearray()
        fd = os.open(self.path(name), os.O_RDWR)
        try:
            self.change(fd, name, self.chance.choice(["write", "write", "append", "shrink", "grow", "delete", "sync"]))
        finally:
            os.close(fd)
        time.sleep(0.01)

    def change(self, fd, name, what):
        body = self.model[name]
        if what == "write" or what == "append":
            at = len(body) if what == "append" else self.chance.randrange(self.BYTES)
            data = self.chance.randbytes(self.chance.choice([1, 700, 5000, 70_000]))
            os.pwrite(fd, data, at)
            body.extend(bytes(max(0, at + len(data) - len(body))))
            body[at:at + len(data)] = data
        elif what == "shrink" or what == "grow":
            size = self.chance.randrange(len(body) + 1) if what == "shrink" else len(body) + self.chance.randrange(9000)
            os.ftruncate(fd, size)
            del body[size:]
            body.extend(bytes(size - len(body)))
        elif what == "delete":
            os.unlink(self.path(name))
            del self.model[name]
        else:
            os.fsync(fd)

    def wrong(self):
        """Names of files that aren't as they must be. The thread has ended."""
        subprocess.run(["sysctl", "-q", "vm.drop_caches=3"], check=True)
        found = {}
        for name in os.listdir(self.root):
            with open(self.path(name), "rb") as f:
                found[name] = f.read()
        return sorted(name for name in self.model.keys() | found.keys() if found.get(name) != self.model.get(name))


def digest_of(path, forget=False):
    """`forget`: what the kernel has of it in memory doesn't count."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        if forget:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fill(c, total):
    """Files of mixed size, `total` bytes in all."""
    numbers = random.Random(5)
    files = {}
    os.mkdir(c.path("data"))
    left = total
    while left > 0:
        size = min(left, numbers.choice([100, 5000, 70000, 1 << 20, 6 << 20]))
        body = numbers.randbytes(size)
        path = c.path("data", f"f{len(files)}")
        with open(path, "wb") as f:
            f.write(body)
        files[path] = hashlib.sha256(body).hexdigest()
        left -= size
    os.sync()
    return files


def own_bytes(c, name):
    """What its chunks take on its disks."""
    server = next(s for s in c.status()["servers"] if s["name"] == name)
    return sum(volume["ownBytes"] for volume in server["volumes"])


class Busy:
    """A writer, a reader, and one that changes all kinds of things, who mustn't notice anything."""

    def __init__(self, c, files, root=None):
        top = root or c.mnt
        self.workers = [Writer(top, "writing"), Reader(top, "reading", files), Changer(top, "changing")]

    def __enter__(self):
        for worker in self.workers:
            worker.thread.start()
        return self

    def __exit__(self, *_):
        for worker in self.workers:
            worker.stop.set()
        for worker in self.workers:
            worker.thread.join(60)

    def failures(self):
        return [repr(worker.failure) for worker in self.workers if worker.failure is not None]

    def wrong(self):
        return self.workers[2].wrong()

    def bytes_written(self):
        return self.workers[0].bytes

    def bytes_changing(self):
        """In chunks that may have been changed."""
        return Changer.FILES * (Changer.BYTES + 70_000)

    @property
    def written(self):
        return self.workers[0].written

    @property
    def slowest_write(self):
        return max(took for _, took in self.workers[0].took)


def shards(c):
    return json.loads(c.admin("-o", "json", "shard", "list").stdout)["shards"]


def names(members):
    return {member["server"] for member in members}


def targets(c):
    return {shard["id"]: names(shard["target"]) for shard in shards(c)}


def state_of(c, name):
    return next(s["state"] for s in c.status()["servers"] if s["name"] == name)


def settled(c):
    """Every shard has its copies in sync where they belong."""
    return all(names(s["inSync"]) == names(s["target"]) and not s["joining"] for s in shards(c))


def unlike(files):
    """Paths whose bytes aren't what they were when nobody remembers them."""
    subprocess.run(["sysctl", "-q", "vm.drop_caches=3"], check=True)
    return [path for path, digest in files.items() if digest_of(path) != digest]
