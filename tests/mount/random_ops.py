"""Random operations for random_test.py: what can be done in a tree, how the next is drawn, and what of the tree an
operation may have touched."""
import errno
import mmap
import os
import random
import stat

import calls

LARGEST_BYTES = 300000
NAMES = [f"n{i}" for i in range(12)]
SLOTS = 6
# Not (-1, -1), which takes set-id bits away: the kernel doesn't tell a FUSE file system of it.
OWNERS = [(0, 0), (-1, 0), (-1, 1000), (1000, -1), (1000, 1000), (0, 1000)]
PAGE = mmap.PAGESIZE


def body(seed, length):
    return random.Random(seed).randbytes(length)


class Place:
    """A tree, with open files and maps known by slot. do_KIND(*arguments) is an operation: a value or OSError."""

    def __init__(self, top):
        self.top = top
        self.open = {}
        self.maps = {}
        os.mkdir(top)

    def path(self, name):
        return os.path.join(self.top, name)

    def fd(self, slot):
        if slot not in self.open:
            raise OSError(errno.EBADF, "no such slot")
        return self.open[slot]

    def close(self):
        for slot in list(self.open):
            self.do_close(slot)

    # ---- open files

    def opened(self, name, flags, mode=0):
        path = self.path(name)
        if calls.observe(lambda: stat.S_ISCHR(os.stat(path).st_mode)) is True:  # what a whiteout left
            raise OSError(errno.ENXIO, "whether a device may be opened is the mount's option")
        return os.open(path, flags | os.O_NONBLOCK, mode)  # it may be a FIFO

    def do_open(self, slot, name, flags, mode):
        fd = self.opened(name, flags, mode)
        self.do_close(slot)
        self.open[slot] = fd

    def do_close(self, slot):
        self.do_unmap(slot)
        if slot in self.open:
            os.close(self.open.pop(slot))

    def do_pwrite(self, slot, seed, length, offset):
        return os.pwrite(self.fd(slot), body(seed, length), offset)

    def do_pwritev(self, slot, seed, length, offset):
        parts = [body(seed, length), body(seed + 1, length // 2)]
        return os.pwritev(self.fd(slot), parts, offset)

    def do_write(self, slot, seed, length):
        return os.write(self.fd(slot), body(seed, length))

    def do_pread(self, slot, length, offset):
        return os.pread(self.fd(slot), length, offset)

    def do_seekread(self, slot, length, offset):
        os.lseek(self.fd(slot), offset, os.SEEK_SET)
        return os.read(self.fd(slot), length), os.lseek(self.fd(slot), 0, os.SEEK_CUR)

    def do_size(self, slot):
        s = os.fstat(self.fd(slot))
        return 0 if stat.S_ISDIR(s.st_mode) else s.st_size, s.st_nlink

    def do_ftruncate(self, slot, size):
        return os.ftruncate(self.fd(slot), size)

    def do_fsync(self, slot, data_only):
        return (os.fdatasync if data_only else os.fsync)(self.fd(slot))

    def do_fallocate(self, slot, mode, offset, length):
        return calls.fallocate(self.fd(slot), mode, offset, length)

    def do_copy(self, source, target, length, at, to):
        return os.copy_file_range(self.fd(source), self.fd(target), length, at, to)

    def do_sendfile(self, source, target, length, at):
        if os.path.sameopenfile(self.fd(source), self.fd(target)):
            # The kernel's pipe between them has pages, not copies: what of an overlap is read before it is written is
            # each file system's own affair.
            raise OSError(errno.EINVAL, "from a file into itself")
        return os.sendfile(self.fd(target), self.fd(source), at, length)

    def do_fchmod(self, slot, mode):
        return os.fchmod(self.fd(slot), mode)

    def do_futimens(self, slot, accessed, modified):
        return os.utime(self.fd(slot), ns=(accessed, modified))

    # ---- shared maps, which live on while other operations change the file

    def do_map(self, slot):
        fd = self.fd(slot)
        length = os.fstat(fd).st_size
        if length == 0 or not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "nothing to map")
        new = mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.do_unmap(slot)
        self.maps[slot] = new

    def do_unmap(self, slot):
        if slot in self.maps:
            self.maps.pop(slot).close()

    def mapped(self, slot, length, offset):
        """(map, begin, end) of what can be touched: pages past the file's end would end the process."""
        if slot not in self.maps:
            raise OSError(errno.EBADF, "no map")
        end = min(offset + length, os.fstat(self.fd(slot)).st_size, len(self.maps[slot]))
        return self.maps[slot], min(offset, end), end

    def do_mapwrite(self, slot, seed, length, offset):
        area, begin, end = self.mapped(slot, length, offset)
        area[begin:end] = body(seed, end - begin)
        return end - begin

    def do_mapread(self, slot, length, offset):
        area, begin, end = self.mapped(slot, length, offset)
        return area[begin:end]

    def do_mapsync(self, slot):
        area, _, _ = self.mapped(slot, 0, 0)
        area.flush()

    # ---- names

    def do_truncate(self, name, size):
        return os.truncate(self.path(name), size)

    def do_read(self, name):
        fd = self.opened(name, os.O_RDONLY)
        try:
            return os.read(fd, 10 * LARGEST_BYTES)
        finally:
            os.close(fd)

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

    def do_readlink(self, name):
        return os.readlink(self.path(name))

    def do_mknod(self, name, kind):
        return os.mknod(self.path(name), kind | 0o640)

    def do_chmod(self, name, mode):
        return os.chmod(self.path(name), mode)

    def do_chown(self, name, uid, gid):
        return os.lchown(self.path(name), uid, gid)

    def do_utimens(self, name, accessed, modified):
        return os.utime(self.path(name), ns=(accessed, modified), follow_symlinks=False)

    def do_setxattr(self, name, key, value, flags):
        return os.setxattr(self.path(name), "user." + key, value, flags, follow_symlinks=False)

    def do_removexattr(self, name, key):
        return os.removexattr(self.path(name), "user." + key, follow_symlinks=False)

    def do_xattrs(self, name):
        path = self.path(name)
        names = sorted(os.listxattr(path, follow_symlinks=False))
        return [(n, os.getxattr(path, n, follow_symlinks=False)) for n in names]

    def do_stat(self, name):
        return calls.facts(self.path(name))

    def do_list(self, name):
        with os.scandir(self.path(name)) as entries:
            return sorted((e.name, e.is_dir(follow_symlinks=False), e.is_symlink()) for e in entries)

    # ---- what an operation may have touched

    def touched(self, kind, arguments):
        """The state that `kind` acts on, as it is now: the files of its slots, its names and their directories."""
        seen = []
        for argument in arguments:
            if isinstance(argument, str) and kind != "symlink":
                seen.append(calls.observe(calls.facts, self.path(argument)))
                seen.append(calls.observe(calls.facts, os.path.dirname(self.path(argument))))
        slots = {"copy": arguments[1:2], "sendfile": arguments[1:2]}.get(kind, arguments[:1])
        for slot in slots:
            if slot in self.open:
                seen.append(calls.observe(self.do_size, slot))
        span = span_of(kind, arguments)
        if span is not None and span[0] in self.open:
            slot, offset, length = span
            seen.append(calls.observe(os.pread, self.open[slot], length + 2, max(0, offset - 1)))
        return seen

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


def span_of(kind, arguments):
    """(slot, offset, length) of the bytes that an operation changes, if it is known."""
    if kind in ("pwrite", "pwritev", "mapwrite"):
        return arguments[0], arguments[3], arguments[2]
    if kind == "fallocate":
        return arguments[0], arguments[2], arguments[3]
    if kind == "copy":
        return arguments[1], arguments[4], arguments[2]
    if kind == "ftruncate":
        return arguments[0], max(0, arguments[1] - 100), 200
    return None


class Chooser:
    """Draws the next operation: (kind, arguments)."""

    WEIGHTS = {"open": 14, "close": 4, "pwrite": 16, "pwritev": 3, "write": 6, "pread": 10, "seekread": 3, "size": 4,
               "ftruncate": 5, "fsync": 2, "fallocate": 4, "copy": 3, "sendfile": 2, "fchmod": 1, "futimens": 1,
               "map": 5, "unmap": 2, "mapwrite": 9, "mapread": 9, "mapsync": 2, "truncate": 3, "read": 7, "mkdir": 4,
               "rmdir": 2, "unlink": 5, "rename": 7, "link": 3, "symlink": 2, "readlink": 1, "mknod": 2, "chmod": 2,
               "chown": 1, "utimens": 2, "setxattr": 2, "removexattr": 1, "xattrs": 2, "stat": 5, "list": 3}

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.kinds = list(self.WEIGHTS)
        self.weights = list(self.WEIGHTS.values())

    def name(self):
        depth = self.r.choice((1, 1, 1, 2, 2, 3))
        return "/".join(self.r.choice(NAMES) for _ in range(depth))

    def slot(self):
        return self.r.randrange(SLOTS)

    def offset(self):
        return self.r.choice((0, 4096, self.r.randrange(LARGEST_BYTES), self.r.randrange(20000)))

    def length(self):
        return self.r.choice((1, 100, 4096, self.r.randrange(1, 9000), self.r.randrange(1, 60000)))

    def seed(self):
        return self.r.randrange(1 << 30)

    def mode(self):
        return self.r.choice((0o600, 0o644, 0o755, 0o4711, 0o2750))

    def time(self):
        return self.r.choice((0, 1, self.r.randrange(2**60), -self.r.randrange(10**15), 2**32 * 10**9))

    def open_flags(self):
        flags = self.r.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR, os.O_RDWR))
        for flag, chance in ((os.O_CREAT, 0.7), (os.O_TRUNC, 0.1), (os.O_APPEND, 0.15), (os.O_EXCL, 0.1),
                             (os.O_SYNC, 0.03)):
            flags |= flag if self.r.random() < chance else 0
        return flags if flags & os.O_CREAT else flags & ~os.O_EXCL

    def of_slot(self, kind):
        punch = calls.FALLOC_PUNCH_HOLE | calls.FALLOC_KEEP_SIZE
        modes = (0, punch, punch, calls.FALLOC_ZERO_RANGE, calls.FALLOC_KEEP_SIZE)
        slot = self.slot()
        return {
            "open": lambda: (slot, self.name(), self.open_flags(), 0o644),
            "pwrite": lambda: (slot, self.seed(), self.length(), self.offset()),
            "pwritev": lambda: (slot, self.seed(), self.length(), self.offset()),
            "mapwrite": lambda: (slot, self.seed(), self.length(), self.offset()),
            "write": lambda: (slot, self.seed(), self.length()),
            "pread": lambda: (slot, self.length(), self.offset()),
            "seekread": lambda: (slot, self.length(), self.offset()),
            "mapread": lambda: (slot, self.length(), self.offset()),
            "ftruncate": lambda: (slot, self.offset()),
            "fsync": lambda: (slot, self.r.random() < 0.5),
            "fallocate": lambda: (slot, self.r.choice(modes), self.offset(), self.length()),
            "copy": lambda: (slot, self.slot(), self.length(), self.offset(), self.offset()),
            "sendfile": lambda: (slot, self.slot(), self.length(), self.offset()),
            "fchmod": lambda: (slot, self.mode()),
            "futimens": lambda: (slot, self.time(), self.time()),
        }.get(kind, lambda: (slot,))()

    def of_name(self, kind):
        name = self.name()
        return {
            "truncate": lambda: (name, self.offset()),
            "rename": lambda: (name, self.name(), self.r.choice((0, 0, 0, 0, 1, 2, 4))),
            "link": lambda: (name, self.name()),
            "symlink": lambda: (name, self.name()),
            "mknod": lambda: (name, self.r.choice((stat.S_IFIFO, stat.S_IFREG, stat.S_IFSOCK))),
            "chmod": lambda: (name, self.mode()),
            "chown": lambda: (name, *self.r.choice(OWNERS)),
            "utimens": lambda: (name, self.time(), self.time()),
            "setxattr": lambda: (name, self.r.choice("ab"), self.r.randbytes(self.r.randrange(200)),
                                 self.r.choice((0, 0, os.XATTR_CREATE, os.XATTR_REPLACE))),
            "removexattr": lambda: (name, self.r.choice("ab")),
        }.get(kind, lambda: (name,))()

    def next(self):
        kind = self.r.choices(self.kinds, self.weights)[0]
        names = ("truncate", "read", "mkdir", "rmdir", "unlink", "rename", "link", "symlink", "readlink", "mknod",
                 "chmod", "chown", "utimens", "setxattr", "removexattr", "xattrs", "stat", "list")
        return kind, self.of_name(kind) if kind in names else self.of_slot(kind)
