"""Scenarios about names: what makes, moves, links, lists and removes them (see posix_test.py)."""
import os
import socket
import stat

import calls
from calls import facts, observe, read, write
from fixture import drop_caches


def make_and_remove(top, see):
    d, f = top + "/d", top + "/f"
    see("mkdir", observe(os.mkdir, d, 0o750))
    see("mkdir again", observe(os.mkdir, d))
    write(f, b"abc")
    see("facts of d", facts(d))
    see("facts of f", facts(f))
    see("facts of top", facts(top))
    see("mkdir over file", observe(os.mkdir, f))
    see("below a file", observe(os.mkdir, f + "/x"))
    see("stat below a file", observe(os.stat, f + "/x"))
    see("below nothing", observe(os.mkdir, top + "/none/x"))
    see("rmdir of a file", observe(os.rmdir, f))
    see("unlink of a directory", observe(os.unlink, d))
    write(d + "/inside")
    see("rmdir when full", observe(os.rmdir, d))
    see("rmdir of .", observe(os.rmdir, d + "/."))
    see("rmdir of ..", observe(os.rmdir, d + "/.."))
    see("unlink nothing", observe(os.unlink, top + "/none"))
    see("rmdir nothing", observe(os.rmdir, top + "/none"))
    os.unlink(d + "/inside")
    see("rmdir", observe(os.rmdir, d))
    see("gone", observe(os.stat, d))
    see("empty name", observe(os.mkdir, ""))


def names(top, see):
    see("255 bytes", observe(write, top + "/" + "n" * 255))
    see("256 bytes", observe(write, top + "/" + "n" * 256))
    see("stat of 256 bytes", observe(os.stat, top + "/" + "n" * 256))
    see("mkdir of 256 bytes", observe(os.mkdir, top + "/" + "n" * 256))
    see("rename to 256 bytes", observe(os.rename, top + "/" + "n" * 255, top + "/" + "m" * 256))
    see("unlink of 256 bytes", observe(os.unlink, top + "/" + "n" * 256))
    for name in (b"\xff\xfe not utf-8", "größe 漢字".encode(), b"new\nline", b" ", b"...", b"-rf", b"a\\b"):
        write(os.fsencode(top) + b"/" + name, name)
    see("listing", sorted(os.listdir(os.fsencode(top))))
    see("contents", [read(os.fsencode(top) + b"/" + n) for n in sorted(os.listdir(os.fsencode(top)))])


def links(top, see):
    f, l, s, d = top + "/f", top + "/l", top + "/s", top + "/d"
    write(f, b"linked")
    os.mkdir(d)
    see("link", observe(os.link, f, l))
    see("facts", (facts(f), facts(l), os.path.samefile(f, l)))
    see("link over a name", observe(os.link, f, l))
    see("link to a directory", observe(os.link, d, top + "/x"))
    see("link from nothing", observe(os.link, top + "/none", top + "/x"))
    os.unlink(f)
    see("after one unlink", (facts(l), read(l)))
    see("symlink", observe(os.symlink, "target/of it", s))
    see("symlink facts", facts(s))
    see("readlink", observe(os.readlink, s))
    see("readlink of a file", observe(os.readlink, l))
    see("through a dangling one", observe(os.stat, s))
    see("symlink over a name", observe(os.symlink, "x", s))
    see("long target", observe(os.symlink, "t" * 4000, top + "/long"))
    see("long target back", observe(os.readlink, top + "/long"))
    see("empty target", observe(os.symlink, "", top + "/empty"))
    os.symlink("loop2", top + "/loop1")
    os.symlink("loop1", top + "/loop2")
    see("loop", observe(os.stat, top + "/loop1"))
    see("open with O_NOFOLLOW", observe(os.open, s, os.O_RDONLY | os.O_NOFOLLOW))
    see("hard link to a symlink", observe(lambda: os.link(s, top + "/s2", follow_symlinks=False)))
    see("both", (facts(s), os.readlink(top + "/s2")))


def special_files(top, see):
    for name, mode, device in (("fifo", stat.S_IFIFO | 0o640, 0), ("char", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
                               ("block", stat.S_IFBLK | 0o600, os.makedev(7, 300)), ("plain", stat.S_IFREG | 0o604, 0)):
        see("mknod " + name, observe(os.mknod, top + "/" + name, mode, device))
        see("facts " + name, facts(top + "/" + name))
    s = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(top)
    see("bind a socket", observe(s.bind, "sock"))
    os.chdir(here)
    s.close()
    see("facts of it", facts(top + "/sock"))
    fifo = os.open(top + "/fifo", os.O_RDWR)
    os.write(fifo, b"through")
    see("a fifo carries", os.read(fifo, 100))
    os.close(fifo)


def rename(top, see):
    for name in ("a", "b", "c"):
        write(top + "/" + name, name.encode())
    os.makedirs(top + "/d/e")
    os.makedirs(top + "/full/x")
    os.mkdir(top + "/empty")
    see("to a new name", observe(os.rename, top + "/a", top + "/a2"))
    see("over a file", observe(os.rename, top + "/a2", top + "/b"))
    see("what is there", read(top + "/b"))
    see("file over directory", observe(os.rename, top + "/b", top + "/d"))
    see("directory over file", observe(os.rename, top + "/d", top + "/b"))
    see("directory over full one", observe(os.rename, top + "/d", top + "/full"))
    see("directory over empty one", observe(os.rename, top + "/d", top + "/empty"))
    see("into itself", observe(os.rename, top + "/empty", top + "/empty/e/deeper"))
    see("over its parent", observe(os.rename, top + "/empty/e", top + "/empty"))
    see("nothing", observe(os.rename, top + "/none", top + "/x"))
    see("to below nothing", observe(os.rename, top + "/b", top + "/none/x"))
    see("onto itself", observe(os.rename, top + "/b", top + "/b"))
    os.link(top + "/b", top + "/b2")
    see("onto a link of itself", observe(os.rename, top + "/b", top + "/b2"))
    see("both stay", sorted(os.listdir(top)))
    see("to another directory", observe(os.rename, top + "/c", top + "/full/c"))
    see("a directory to another", observe(os.rename, top + "/empty", top + "/full/moved"))
    see("link counts", (facts(top), facts(top + "/full"), facts(top + "/full/moved")))
    see("tree", sorted((r[len(top):], sorted(d), sorted(f)) for r, d, f in os.walk(top)))


def rename_flags(top, see):
    write(top + "/a", b"a")
    write(top + "/b", b"b")
    os.makedirs(top + "/d/inner")
    see("noreplace over a name", observe(calls.renameat2, top + "/a", top + "/b", calls.RENAME_NOREPLACE))
    see("noreplace", observe(calls.renameat2, top + "/a", top + "/a2", calls.RENAME_NOREPLACE))
    see("exchange", observe(calls.renameat2, top + "/a2", top + "/b", calls.RENAME_EXCHANGE))
    see("exchanged", (read(top + "/a2"), read(top + "/b")))
    see("exchange with nothing", observe(calls.renameat2, top + "/b", top + "/none", calls.RENAME_EXCHANGE))
    see("exchange file, directory", observe(calls.renameat2, top + "/b", top + "/d", calls.RENAME_EXCHANGE))
    see("facts", (facts(top + "/b"), facts(top + "/d"), facts(top)))
    see("exchange with own child", observe(calls.renameat2, top + "/b", top + "/b/inner", calls.RENAME_EXCHANGE))
    see("both flags", observe(calls.renameat2, top + "/a2", top + "/x",
                              calls.RENAME_NOREPLACE | calls.RENAME_EXCHANGE))
    see("unknown flag", observe(calls.renameat2, top + "/a2", top + "/x", 64))
    see("whiteout", observe(calls.renameat2, top + "/a2", top + "/w", calls.RENAME_WHITEOUT))
    left = os.lstat(top + "/a2")
    see("what it left", (stat.S_ISCHR(left.st_mode), left.st_rdev))
    see("names", sorted(os.listdir(top)))


def unlinked_open(top, see):
    fd = os.open(top + "/f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"before")
    os.unlink(top + "/f")
    see("gone", observe(os.stat, top + "/f"))
    see("links", os.fstat(fd).st_nlink)
    see("write", os.pwrite(fd, b"after", 100000))
    os.fsync(fd)
    drop_caches()
    see("read", os.pread(fd, 200000, 0))
    see("truncate", observe(os.ftruncate, fd, 3))
    see("fchmod", observe(os.fchmod, fd, 0o600))
    see("read again", (os.pread(fd, 100, 0), oct(os.fstat(fd).st_mode)))
    write(top + "/f", b"another")
    see("a new file", (read(top + "/f"), os.pread(fd, 100, 0)))
    write(top + "/g", b"victim")
    victim = os.open(top + "/g", os.O_RDONLY)
    os.rename(top + "/f", top + "/g")
    see("a rename's victim", (os.read(victim, 100), os.fstat(victim).st_nlink, read(top + "/g")))
    os.close(fd)
    os.close(victim)
    os.mkdir(top + "/d")
    folder = os.open(top + "/d", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir(top + "/d")
    see("create in a removed directory", observe(lambda: os.mkdir("x", dir_fd=folder)))
    see("list a removed directory", observe(os.listdir, folder))
    os.close(folder)


def directories(top, see):
    names = [f"name-{i:04}" for i in range(1500)]
    for name in names:
        write(top + "/" + name)
    see("all of them", sorted(os.listdir(top)) == names)
    seen = []
    with os.scandir(top) as entries:
        for entry in entries:
            seen.append((entry.name, entry.is_file(follow_symlinks=False)))
            os.unlink(entry.path)
    see("each once while they go", sorted(seen) == [(name, True) for name in names])
    see("none left", os.listdir(top))
    os.mkdir(top + "/sub")
    write(top + "/sub/x")
    see("types", sorted((e.name, e.is_dir()) for e in os.scandir(top)))
    see("inode numbers", all(e.inode() == e.stat(follow_symlinks=False).st_ino for e in os.scandir(top)))
    see("list a file", observe(os.listdir, top + "/sub/x"))
    see("list nothing", observe(os.listdir, top + "/none"))
    fd = os.open(top, os.O_RDONLY)
    write(top + "/late")
    see("made after the open", "late" in os.listdir(fd))
    see("fsync of a directory", observe(os.fsync, fd))
    see("read of a directory", observe(os.read, fd, 10))
    os.close(fd)


SCENARIOS = [make_and_remove, names, links, special_files, rename, rename_flags, unlinked_open, directories]
