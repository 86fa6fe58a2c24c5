"""Scenarios about the bytes of files (see posix_test.py)."""
import mmap
import os

import calls
from calls import facts, observe, read, write
from fixture import drop_caches


def open_flags(top, see):
    f, d, s = top + "/f", top + "/d", top + "/s"
    os.mkdir(d)
    os.symlink("f", s)

    def opened(path, flags, mode=0o644):
        fd = os.open(path, flags, mode)
        os.close(fd)
        return "opened"

    see("absent", observe(opened, f, os.O_RDONLY))
    see("through a symlink to nothing, O_CREAT|O_EXCL", observe(opened, s, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    see("through a symlink to nothing, O_CREAT", observe(opened, s, os.O_CREAT | os.O_WRONLY))
    see("made", facts(f))
    see("O_EXCL", observe(opened, f, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    see("O_CREAT on a directory", observe(opened, d, os.O_CREAT | os.O_WRONLY))
    see("write a directory", observe(opened, d, os.O_WRONLY))
    see("O_DIRECTORY on a file", observe(opened, f, os.O_RDONLY | os.O_DIRECTORY))
    write(f, b"some text")
    see("O_TRUNC", observe(opened, f, os.O_WRONLY | os.O_TRUNC))
    see("truncated", facts(f))
    fd = os.open(f, os.O_RDONLY)
    see("write to O_RDONLY", observe(os.write, fd, b"x"))
    os.close(fd)
    fd = os.open(f, os.O_WRONLY)
    see("read from O_WRONLY", observe(os.read, fd, 1))
    os.close(fd)
    fd = os.open(top + "/readonly", os.O_CREAT | os.O_RDWR, 0o444)
    see("create 0444 and write", observe(os.write, fd, b"x"))
    os.close(fd)
    old = os.umask(0o027)
    write(top + "/masked", mode=0o777)
    os.mkdir(top + "/maskeddir")
    os.umask(old)
    see("umask", (facts(top + "/masked"), facts(top + "/maskeddir")))


def read_and_write(top, see):
    fd = os.open(top + "/f", os.O_CREAT | os.O_RDWR)
    see("empty", os.read(fd, 10))
    see("write", os.pwrite(fd, b"0123456789", 0))
    see("inside", os.pread(fd, 4, 3))
    see("over the end", os.pread(fd, 100, 8))
    see("at the end", os.pread(fd, 100, 10))
    see("past the end", os.pread(fd, 100, 1000))
    see("a hole", os.pwrite(fd, b"far", 100000))
    see("hole reads zeros", os.pread(fd, 20, 99990))
    see("size", os.fstat(fd).st_size)
    see("writev", os.pwritev(fd, [b"ab", b"", b"cde"], 50))
    buffers = [bytearray(3), bytearray(3)]
    see("readv", (os.preadv(fd, buffers, 50), buffers))
    see("zero bytes", os.pwrite(fd, b"", 200000))
    see("size stays", os.fstat(fd).st_size)
    see("negative offset", observe(os.pread, fd, 1, -1))
    for step in (1, 511, 4095, 4096, 4097, 65537):
        body = bytes((i * 7 + step) & 255 for i in range(step))
        os.pwrite(fd, body, step * 3 + 1)
        see(f"unaligned {step}", os.pread(fd, step + 2, step * 3) == b"\0" + body + b"\0"
            or os.pread(fd, step, step * 3 + 1) == body)
    see("fsync", observe(os.fsync, fd))
    see("fdatasync", observe(os.fdatasync, fd))
    os.close(fd)
    drop_caches()
    see("after all", read(top + "/f"))


def append(top, see):
    f = top + "/f"
    a = os.open(f, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    b = os.open(f, os.O_RDWR | os.O_APPEND)
    for i in range(50):
        os.write(a, b"a%d " % i)
        os.write(b, b"b%d " % i)
    os.ftruncate(a, 20)
    os.write(b, b"after the cut ")
    os.lseek(b, 0, os.SEEK_SET)
    os.write(b, b"at the end")
    see("position", os.lseek(b, 0, os.SEEK_CUR))
    os.lseek(b, 0, os.SEEK_SET)
    see("through the appender", os.read(b, 1000))
    plain = os.open(f, os.O_RDWR)
    see("through another", os.read(plain, 1000))
    os.pwrite(plain, b"PLAIN", 0)
    os.write(a, b"!")
    see("mixed", os.pread(b, 1000, 0))
    for fd in (a, b, plain):
        os.close(fd)
    drop_caches()
    see("file", read(f))


def truncate(top, see):
    f = top + "/f"
    write(f, b"x" * 10000)
    see("shrink", observe(os.truncate, f, 5000))
    see("grow", observe(os.truncate, f, 9000))
    see("zeros", read(f) == b"x" * 5000 + bytes(4000))
    fd = os.open(f, os.O_RDWR)
    see("ftruncate 0", observe(os.ftruncate, fd, 0))
    see("grow again", observe(os.ftruncate, fd, 70000))
    see("all zeros", os.pread(fd, 100000, 0) == bytes(70000))
    os.pwrite(fd, b"y", 69999)
    os.ftruncate(fd, 12345)
    os.ftruncate(fd, 70000)
    see("no old byte", os.pread(fd, 100000, 0) == bytes(70000))
    os.close(fd)
    fd = os.open(f, os.O_RDONLY)
    see("ftruncate of O_RDONLY", observe(os.ftruncate, fd, 1))
    os.close(fd)
    see("negative", observe(os.truncate, f, -1))
    see("of a directory", observe(os.truncate, top, 1))
    see("of nothing", observe(os.truncate, top + "/none", 1))


def allocate_and_holes(top, see):
    fd = os.open(top + "/f", os.O_CREAT | os.O_RDWR)
    see("allocate", observe(calls.fallocate, fd, 0, 1000, 200000))
    see("size", os.fstat(fd).st_size)
    see("keep size", observe(calls.fallocate, fd, calls.FALLOC_KEEP_SIZE, 0, 400000))
    see("size stays", os.fstat(fd).st_size)
    see("zeros", os.pread(fd, 300000, 0) == bytes(201000))
    os.pwrite(fd, b"z" * 201000, 0)
    see("punch", observe(calls.fallocate, fd, calls.FALLOC_PUNCH_HOLE | calls.FALLOC_KEEP_SIZE, 5000, 90000))
    expected = b"z" * 5000 + bytes(90000) + b"z" * 106000
    see("punched", os.pread(fd, 300000, 0) == expected)
    see("first hole", os.lseek(fd, 0, os.SEEK_HOLE))
    see("data after it", os.lseek(fd, 8192, os.SEEK_DATA))
    see("last hole is the end", os.lseek(fd, 150000, os.SEEK_HOLE))
    see("data past the end", observe(os.lseek, fd, 201000, os.SEEK_DATA))
    see("hole past the end", observe(os.lseek, fd, 300000, os.SEEK_HOLE))
    see("zero range", observe(calls.fallocate, fd, calls.FALLOC_ZERO_RANGE, 100000, 150000))
    see("zeroed", os.pread(fd, 300000, 0) == expected[:100000] + bytes(150000))
    see("punch without keep", observe(calls.fallocate, fd, calls.FALLOC_PUNCH_HOLE, 0, 4096))
    see("length 0", observe(calls.fallocate, fd, 0, 0, 0))
    os.close(fd)
    fd = os.open(top + "/f", os.O_RDONLY)
    see("read-only", observe(calls.fallocate, fd, 0, 0, 10))
    os.close(fd)
    drop_caches()
    see("after all", read(top + "/f") == expected[:100000] + bytes(150000))


def copy_range(top, see):
    body = os.urandom(1 << 16) * 40
    write(top + "/from", body)
    source = os.open(top + "/from", os.O_RDONLY)
    target = os.open(top + "/to", os.O_CREAT | os.O_RDWR)
    done = 0
    while done < len(body):
        copied = os.copy_file_range(source, target, len(body) - done, done, done + 777)
        if copied == 0:
            break
        done += copied
    see("copied", (done, os.fstat(target).st_size))
    see("equal", os.pread(target, len(body) + 1000, 0) == bytes(777) + body)
    see("past the end", observe(os.copy_file_range, source, target, 10, len(body) + 5, 0))
    see("short at the end", observe(os.copy_file_range, source, target, 1000, len(body) - 10, 0))
    see("to a read-only descriptor", observe(os.copy_file_range, target, source, 10, 0, 0))
    see("within a file", observe(os.copy_file_range, target, target, 5000, 0, 100000))
    see("overlapping", observe(os.copy_file_range, target, target, 5000, 0, 100))
    os.close(source)
    os.close(target)


def mapped(top, see):
    fd = os.open(top + "/f", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 50000)
    with mmap.mmap(fd, 50000) as shared:
        shared[100:105] = b"mmapd"
        shared[49990:50000] = b"0123456789"
        see("read sees the map", os.pread(fd, 5, 100))
        os.pwrite(fd, b"written", 20000)
        see("the map sees a write", shared[20000:20007])
        shared.flush()
    private = mmap.mmap(fd, 50000, flags=mmap.MAP_PRIVATE)
    private[0:4] = b"mine"
    see("private stays private", os.pread(fd, 4, 0))
    private.close()
    os.close(fd)
    drop_caches()
    body = read(top + "/f")
    see("on the file", (len(body), body[100:105], body[20000:20007], body[49990:]))


SCENARIOS = [open_flags, read_and_write, append, truncate, allocate_and_holes, copy_range, mapped]
