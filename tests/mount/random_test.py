#!/usr/bin/env python3
"""Random operations in the mount and in a local directory (ext4): the same results and the same trees.

random_test.py [SEED [STEPS]] repeats a run. CAIRN_FULL=1: many more steps (nightly).
"""
import collections
import os
import random
import stat
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import calls  # noqa: E402
from calls import observe  # noqa: E402
from fixture import FULL, a_mount, drop_caches  # noqa: E402

LARGEST_BYTES = 300000
NAMES = [f"n{i}" for i in range(12)]


class Place:
    """One of the two trees: its open files are known by slot."""

    def __init__(self, top):
        self.top = top
        self.open = {}

    def path(self, name):
        return os.path.join(self.top, name)

    def fd(self, slot):
        if slot not in self.open:
            raise OSError(9, "no such slot")
        return self.open[slot]

    def do_open(self, slot, name, flags, mode):
        fd = os.open(self.path(name), flags, mode)
        self.do_close(slot)
        self.open[slot] = fd

    def do_close(self, slot):
        if slot in self.open:
            os.close(self.open.pop(slot))

    def do_pwrite(self, slot, seed, length, offset):
        return os.pwrite(self.fd(slot), random.Random(seed).randbytes(length), offset)

    def do_pread(self, slot, length, offset):
        return os.pread(self.fd(slot), length, offset)

    def do_size(self, slot):
        s = os.fstat(self.fd(slot))
        return 0 if stat.S_ISDIR(s.st_mode) else s.st_size, s.st_nlink

    def do_ftruncate(self, slot, size):
        return os.ftruncate(self.fd(slot), size)

    def do_fsync(self, slot):
        return os.fsync(self.fd(slot))

    def do_fallocate(self, slot, mode, offset, length):
        return calls.fallocate(self.fd(slot), mode, offset, length)

    def do_copy(self, source, target, length, at, to):
        return os.copy_file_range(self.fd(source), self.fd(target), length, at, to)

    def do_truncate(self, name, size):
        return os.truncate(self.path(name), size)

    def do_read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def do_mkdir(self, name):
        return os.mkdir(self.path(name))

    def do_rmdir(self, name):
        return os.rmdir(self.path(name))

    def do_unlink(self, name):
        return os.unlink(self.path(name))

    def do_rename(self, old, new, flags):
        return calls.renameat2(self.path(old), self.path(new), flags)

    def do_link(self, old, new):
        return os.link(self.path(old), self.path(new), follow_symlinks=False)

    def do_symlink(self, target, name):
        return os.symlink(target, self.path(name))

    def do_chmod(self, name, mode):
        return os.chmod(self.path(name), mode)

    def do_setxattr(self, name, key, value):
        return os.setxattr(self.path(name), "user." + key, value, follow_symlinks=False)

    def do_stat(self, name):
        return calls.facts(self.path(name))

    def do_list(self, name):
        return sorted(os.listdir(self.path(name)))

    def tree(self):
        """Everything below top, with contents."""
        out = {}
        for folder, folders, files in os.walk(self.top):
            for name in folders + files:
                path = os.path.join(folder, name)
                s = os.lstat(path)
                what = [calls.facts(path)]
                if stat.S_ISREG(s.st_mode):
                    with open(path, "rb") as f:
                        what.append(f.read())
                if stat.S_ISLNK(s.st_mode):
                    what.append(os.readlink(path))
                else:
                    what.append(sorted((k, os.getxattr(path, k)) for k in os.listxattr(path)))
                out[os.path.relpath(path, self.top)] = what
        return out

    def close(self):
        for slot in list(self.open):
            self.do_close(slot)


class Chooser:
    """Draws the next operation: (method, arguments)."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.weighted = [("open", 14), ("close", 4), ("pwrite", 22), ("pread", 14), ("size", 6), ("ftruncate", 5),
                         ("fsync", 2), ("fallocate", 4), ("copy", 3), ("truncate", 3), ("read", 8), ("mkdir", 4),
                         ("rmdir", 2), ("unlink", 5), ("rename", 7), ("link", 3), ("symlink", 2), ("chmod", 2),
                         ("setxattr", 2), ("stat", 6), ("list", 3)]

    def name(self):
        depth = self.r.choice((1, 1, 1, 2, 2, 3))
        return "/".join(self.r.choice(NAMES) for _ in range(depth))

    def slot(self):
        return self.r.randrange(6)

    def offset(self):
        return self.r.choice((0, 4096, self.r.randrange(LARGEST_BYTES), self.r.randrange(20000)))

    def length(self):
        return self.r.choice((1, 100, 4096, self.r.randrange(1, 9000), self.r.randrange(1, 150000)))

    def open_flags(self):
        flags = self.r.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR))
        for flag, chance in ((os.O_CREAT, 0.7), (os.O_TRUNC, 0.1), (os.O_APPEND, 0.15), (os.O_EXCL, 0.1)):
            flags |= flag if self.r.random() < chance else 0
        return flags if flags & os.O_CREAT else flags & ~os.O_EXCL

    def next(self):
        names, weights = zip(*self.weighted)
        kind = self.r.choices(names, weights)[0]
        punch = calls.FALLOC_PUNCH_HOLE | calls.FALLOC_KEEP_SIZE
        modes = (0, punch, punch, calls.FALLOC_ZERO_RANGE)
        arguments = {
            "open": lambda: (self.slot(), self.name(), self.open_flags(), 0o644),
            "close": lambda: (self.slot(),),
            "pwrite": lambda: (self.slot(), self.r.random(), self.length(), self.offset()),
            "pread": lambda: (self.slot(), self.length(), self.offset()),
            "size": lambda: (self.slot(),),
            "ftruncate": lambda: (self.slot(), self.offset()),
            "fsync": lambda: (self.slot(),),
            "fallocate": lambda: (self.slot(), self.r.choice(modes), self.offset(), self.length()),
            "copy": lambda: (self.slot(), self.slot(), self.length(), self.offset(), self.offset()),
            "truncate": lambda: (self.name(), self.offset()),
            "read": lambda: (self.name(),),
            "mkdir": lambda: (self.name(),),
            "rmdir": lambda: (self.name(),),
            "unlink": lambda: (self.name(),),
            "rename": lambda: (self.name(), self.name(), self.r.choice((0, 0, 0, 1, 2))),
            "link": lambda: (self.name(), self.name()),
            "symlink": lambda: (self.name(), self.name()),
            "chmod": lambda: (self.name(), self.r.choice((0o600, 0o644, 0o755, 0o4711))),
            "setxattr": lambda: (self.name(), self.r.choice("ab"), self.r.randbytes(self.r.randrange(200))),
            "stat": lambda: (self.name(),),
            "list": lambda: (self.name(),),
        }[kind]()
        return kind, arguments


class RandomOperations(unittest.TestCase):
    seed = random.SystemRandom().randrange(2**32)
    steps = 60000 if FULL else 6000

    def test_same_as_local(self):
        print(f"seed {self.seed}, {self.steps} steps", flush=True)
        with a_mount() as mount:
            places = []
            for top in (os.path.join(mount.base, "local"), mount.path("random")):
                os.mkdir(top)
                places.append(Place(top))
            try:
                self.play(places)
            finally:
                for place in places:
                    place.close()

    def play(self, places):
        chooser, history = Chooser(self.seed), collections.deque(maxlen=15)
        for step in range(self.steps):
            kind, arguments = chooser.next()
            expected, got = (observe(getattr(place, "do_" + kind), *arguments) for place in places)
            history.append(f"  {step}: {kind}{short(arguments)} = {short(expected)}")
            if expected != got:
                self.fail(f"seed {self.seed}, step {step}: {kind}{short(arguments)} gives {short(got)} in the mount, "
                          f"{short(expected)} on the local file system; before it:\n" + "\n".join(history))
            if step % 1500 == 1499:
                self.compare_trees(places, step)

    def compare_trees(self, places, step):
        for cold in (False, True):
            if cold:
                drop_caches()
            expected, got = (place.tree() for place in places)
            self.assertEqual(expected.keys(), got.keys(), f"seed {self.seed}, after step {step}")
            for name, what in expected.items():
                if got[name] != what:
                    self.fail(f"seed {self.seed}, after step {step}, cold {cold}: {name} is {short(got[name])}, "
                              f"locally {short(what)}")


def short(value):
    text = repr(value)
    return text if len(text) < 160 else text[:70] + " ... " + text[-70:]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        RandomOperations.seed = int(sys.argv.pop(1))
    if len(sys.argv) > 1:
        RandomOperations.steps = int(sys.argv.pop(1))
    unittest.main(verbosity=2)
