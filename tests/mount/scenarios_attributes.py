"""Scenarios about modes, owners, permissions, times and extended attributes (see posix_test.py)."""
import fcntl
import os
import stat
import time

from calls import as_user, facts, fallocate, observe, read, write
from fixture import drop_caches

NOBODY = 65534
TCGETS = 0x5401


def xattrs(top, see):
    f = top + "/f"
    write(f)
    see("none", os.listxattr(f))
    see("get nothing", observe(os.getxattr, f, "user.none"))
    see("remove nothing", observe(os.removexattr, f, "user.none"))
    see("set", observe(os.setxattr, f, "user.one", b"1"))
    see("set binary", observe(os.setxattr, f, "user.two", bytes(range(256))))
    see("set empty", observe(os.setxattr, f, "user.empty", b""))
    see("create over", observe(os.setxattr, f, "user.one", b"x", os.XATTR_CREATE))
    see("replace nothing", observe(os.setxattr, f, "user.new", b"x", os.XATTR_REPLACE))
    see("replace", observe(os.setxattr, f, "user.one", b"eins", os.XATTR_REPLACE))
    see("list", sorted(os.listxattr(f)))
    see("values", [os.getxattr(f, n) for n in ("user.one", "user.two", "user.empty")])
    see("trusted", observe(os.setxattr, f, "trusted.t", b"t"))
    see("trusted back", observe(os.getxattr, f, "trusted.t"))
    see("no namespace", observe(os.setxattr, f, "plain", b"x"))
    see("unknown namespace", observe(os.setxattr, f, "other.x", b"x"))
    see("long name", observe(os.setxattr, f, "user." + "n" * 251, b"x"))
    os.symlink("f", top + "/s")
    see("user on a symlink", observe(lambda: os.setxattr(top + "/s", "user.x", b"x", follow_symlinks=False)))
    os.mkdir(top + "/d")
    see("on a directory", observe(os.setxattr, top + "/d", "user.d", b"d"))
    see("remove", observe(os.removexattr, f, "user.two"))
    see("gone", observe(os.getxattr, f, "user.two"))
    os.chmod(f, 0o644)
    see("as another", as_user(NOBODY, NOBODY, [], lambda: (
        observe(os.getxattr, f, "user.one"), observe(os.setxattr, f, "user.one", b"x"), sorted(os.listxattr(f)),
        observe(os.getxattr, f, "trusted.t"))))
    drop_caches()
    see("kept", sorted(os.listxattr(f)))


def modes_and_owners(top, see):
    f = top + "/f"
    write(f)
    for mode in (0o0, 0o777, 0o4755, 0o2755, 0o1777, 0o6711):
        see(f"chmod {mode:o}", (observe(os.chmod, f, mode), facts(f)))
    os.chmod(f, 0o6775)
    see("chown drops set-id", (observe(os.chown, f, 1000, 1001), facts(f)))
    os.mkdir(top + "/d", 0o755)
    os.chmod(top + "/d", 0o2775)
    os.chown(top + "/d", 0, 1234)
    write(top + "/d/f")
    os.mkdir(top + "/d/d")
    see("group of a set-gid directory", (facts(top + "/d/f"), facts(top + "/d/d")))
    see("chmod of nothing", observe(os.chmod, top + "/none", 0o600))
    os.symlink("x", top + "/s")
    see("lchown", (observe(os.lchown, top + "/s", 5, 6), facts(top + "/s")))
    os.chmod(top, 0o777)
    os.chown(f, 0, 0)
    os.chmod(f, 0o6777)

    def writes():
        fd = os.open(f, os.O_WRONLY)
        os.write(fd, b"x")
        os.close(fd)
        return facts(f)

    see("a stranger's write drops set-id", as_user(NOBODY, NOBODY, [], writes))
    os.chmod(f, 0o6777)
    see("a stranger's truncate drops set-id", as_user(NOBODY, NOBODY, [], lambda: (os.truncate(f, 0), facts(f))))
    os.chmod(f, 0o6777)
    see("root's write keeps it", writes())

    def with_descriptor(change):
        fd = os.open(f, os.O_RDWR)
        try:
            change(fd)
        finally:
            os.close(fd)
        return facts(f)

    for what, change in (("fallocate", lambda fd: fallocate(fd, 0, 0, 9000)),
                         ("copy_file_range", lambda fd: os.copy_file_range(fd, fd, 10, 0, 100))):
        os.chmod(f, 0o6777)
        see(f"a stranger's {what} drops set-id", as_user(NOBODY, NOBODY, [], lambda: with_descriptor(change)))


def permissions(top, see):
    os.chmod(top, 0o755)
    write(top + "/private", b"secret", 0o600)
    write(top + "/group", b"shared", 0o640)
    os.chown(top + "/group", 0, 4242)
    os.mkdir(top + "/closed", 0o700)
    write(top + "/closed/in")
    os.mkdir(top + "/sticky")
    os.chmod(top + "/sticky", 0o1777)
    write(top + "/sticky/theirs", mode=0o666)

    def attempts():
        return [
            observe(read, top + "/private"), observe(read, top + "/group"), observe(os.listdir, top + "/closed"),
            observe(os.stat, top + "/closed/in"), observe(os.mkdir, top + "/new"), observe(os.unlink, top + "/private"),
            observe(os.rename, top + "/private", top + "/p2"), observe(os.chmod, top + "/private", 0o666),
            observe(os.chown, top + "/private", NOBODY, NOBODY), observe(os.utime, top + "/private"),
            observe(os.truncate, top + "/private", 0), observe(os.unlink, top + "/sticky/theirs"),
            observe(os.rename, top + "/sticky/theirs", top + "/sticky/mine"), observe(write, top + "/sticky/own"),
            observe(os.unlink, top + "/sticky/own"), observe(os.link, top + "/private", top + "/sticky/l"),
            observe(os.mknod, top + "/sticky/dev", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
            os.access(top + "/private", os.R_OK), os.access(top + "/group", os.R_OK),
            os.access(top + "/closed", os.X_OK),
        ]

    see("a stranger", as_user(NOBODY, NOBODY, [], attempts))
    see("a member of the group", as_user(NOBODY, NOBODY, [100, 4242], attempts))
    see("its own group", as_user(NOBODY, 4242, [], attempts))
    os.mkdir(top + "/own")
    os.chown(top + "/own", NOBODY, NOBODY)

    def owner():
        write(top + "/own/f", b"x", 0o400)
        return (facts(top + "/own/f"), observe(os.chmod, top + "/own/f", 0o2770), facts(top + "/own/f"),
                observe(os.chown, top + "/own/f", -1, 4242), facts(top + "/own/f"),
                observe(os.chown, top + "/own/f", -1, 9999), observe(os.chown, top + "/own/f", 0, -1),
                observe(os.open, top + "/own/f", os.O_WRONLY) != "EACCES")

    see("an owner in the group", as_user(NOBODY, NOBODY, [4242], owner))


def times(top, see):
    """Which times an operation moves, of the file and of its directory."""
    f = top + "/f"
    write(f, b"0123456789")
    exact = (1_000_000_001_123456789, -5_000_000_007)
    os.utime(f, ns=exact)
    s = os.stat(f)
    see("nanoseconds", (s.st_atime_ns, s.st_mtime_ns))
    os.utime(f, ns=(0, 4_000_000_000 * 10**9))
    see("far future", os.stat(f).st_mtime_ns)

    def moved(name, operation, path=f):
        time.sleep(0.012)
        before, above = os.lstat(path), os.lstat(top)
        operation()
        after, above2 = os.lstat(path), os.lstat(top)
        see(name, tuple(getattr(a, k) != getattr(b, k) for a, b in ((before, after), (above, above2))
                        for k in ("st_mtime_ns", "st_ctime_ns")))

    def written(body, offset):
        fd = os.open(f, os.O_WRONLY)
        os.pwrite(fd, body, offset)
        os.close(fd)

    os.utime(f)
    moved("chmod", lambda: os.chmod(f, 0o600))
    moved("write", lambda: written(b"x", 0))
    moved("write of nothing", lambda: written(b"", 0))
    moved("truncate", lambda: os.truncate(f, 3))
    moved("truncate to the same", lambda: os.truncate(f, 3))
    moved("link", lambda: os.link(f, top + "/l"))
    moved("unlink of a link", lambda: os.unlink(top + "/l"))
    moved("setxattr", lambda: os.setxattr(f, "user.x", b"x"))
    moved("read", lambda: read(f))
    moved("mkdir beside", lambda: os.mkdir(top + "/d"))
    moved("rename beside", lambda: os.rename(top + "/d", top + "/e"))
    moved("create in a directory", lambda: write(top + "/e/x"), top + "/e")
    moved("chown", lambda: os.chown(f, 1, 1))
    moved("open and close", lambda: written(b"", 0))
    os.utime(f, ns=(10**18, 10**18))
    see("utime stays over close", os.stat(f).st_mtime_ns)
    fd = os.open(f, os.O_WRONLY)
    os.write(fd, b"later")
    os.utime(f, ns=(10**18, 10**18))
    os.close(fd)
    drop_caches()
    see("utime after a write stays", os.stat(f).st_mtime_ns)


def file_system(top, see):
    def terminal():
        fd = os.open(top, os.O_RDONLY)
        try:
            return fcntl.ioctl(fd, TCGETS)
        finally:
            os.close(fd)

    space = os.statvfs(top)
    see("longest name", space.f_namemax)
    see("room", space.f_bavail > 0 and space.f_blocks >= space.f_bfree >= space.f_bavail and space.f_files > 0)
    see("ioctl", observe(terminal))


SCENARIOS = [xattrs, modes_and_owners, permissions, times, file_system]
