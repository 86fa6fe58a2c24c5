"""System calls that Python's os module does not have, and what a call came to in comparable form."""
import ctypes
import errno
import os
import pickle
import stat

_libc = ctypes.CDLL(None, use_errno=True)

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_COLLAPSE_RANGE, FALLOC_ZERO_RANGE = 1, 2, 8, 16
AT_FDCWD = -100


def _check(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def renameat2(old, new, flags):
    return _check(_libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), ctypes.c_uint(flags)))


def fallocate(fd, mode, offset, length):
    return _check(_libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def observe(call, *arguments):
    """What a call came to: its value, or the name of its errno."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def facts(path, follow=False):
    """What stat says that must be the same on every file system."""
    s = os.stat(path, follow_symlinks=follow)
    size = None if stat.S_ISDIR(s.st_mode) else s.st_size
    return (oct(s.st_mode), s.st_nlink, s.st_uid, s.st_gid, size, s.st_rdev)


def as_user(uid, gid, groups, body):
    """Runs body() in a child process with these ids; its value."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            answer = ("value", body())
        except BaseException as error:  # reported by the parent
            answer = ("error", repr(error))
        with os.fdopen(write_end, "wb") as out:
            pickle.dump(answer, out)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as source:
        kind, value = pickle.load(source)
    os.waitpid(child, 0)
    if kind == "error":
        raise AssertionError(f"as user {uid}: {value}")
    return value


def write(path, body=b"", mode=0o644):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)
    os.write(fd, body)
    os.close(fd)


def read(path):
    with open(path, "rb") as f:
        return f.read()
