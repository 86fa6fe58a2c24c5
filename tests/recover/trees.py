"""A tree with everything that a file system can hold, and what is to be seen of one, for comparing."""
import hashlib
import os
import random
import socket
import stat
import subprocess
import time

from cluster import wait_for

ODD_NAMES = [b"new\nline", b"-rf", b"a\\b", b"\xff\xfe not utf-8", "Übergröße".encode(), b"n" * 255, b" ",
             b"*?[x]", b"'\"$(x)"]
MIB = 1 << 20


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def await_capsules(cluster):
    """Until the chunkservers have all names that were made by now."""
    began = time.monotonic()
    wait_for("the chunkservers' copies of the names",
             lambda: cluster.status()["capsuleAgeSeconds"] + 2 < time.monotonic() - began, every=0.5)


def make(top, files, seed=1):
    """Some of everything below `top`, and `files` small files besides."""
    rng = random.Random(seed)
    top = os.fsencode(top)
    for number in range(files):
        folder = os.path.join(top, b"many", b"%03d" % (number // 100))
        if number % 100 == 0:
            os.makedirs(folder)
        path = os.path.join(folder, b"f%05d" % number)
        write(path, rng.randbytes(rng.choice((0, 1, 100, 4096, 5000, 20000))))
        os.chmod(path, rng.choice((0o644, 0o600, 0o4755, 0o2750)))
        if number % 7 == 0:
            os.chown(path, 1000 + number % 5, 2000)
            os.setxattr(path, b"user.number", b"%d" % number)
        os.utime(path, ns=(10**18 + number, 10**18 + 10**9 * number + 7))
    odd = os.path.join(top, b"odd")
    os.mkdir(odd)
    for name in ODD_NAMES:
        write(os.path.join(odd, name), name)
    for name, size in ((b"big", 9 * MIB + 77), (b"middle", MIB), (b"overwritten", 5 * MIB)):
        write(os.path.join(top, name), rng.randbytes(size))
    with open(os.path.join(top, b"overwritten"), "r+b") as f:
        f.seek(3 * MIB - 100)
        f.write(rng.randbytes(5000))
        f.truncate(4 * MIB + 5)
    sparse(os.path.join(top, b"sparse"), rng)
    links(top)
    deep = os.path.join(top, b"deep")
    for depth in range(40):
        deep = os.path.join(deep, b"level%d" % depth)
    os.makedirs(deep)
    write(os.path.join(deep, b"bottom"), b"far down")
    acls(top)
    for name in (b"many/000", b"odd"):
        os.rename(os.path.join(top, name), os.path.join(top, name + b" renamed"))
    os.sync()


def sparse(path, rng):
    with open(path, "wb") as f:
        for offset in (0, 100 * 1024, 4 * MIB - 10, 30 * MIB):
            f.seek(offset)
            f.write(rng.randbytes(3000))
        f.truncate(50 * MIB)


def links(top):
    os.symlink(b"../nowhere at all", os.path.join(top, b"symlink"))
    os.link(os.path.join(top, b"middle"), os.path.join(top, b"odd", b"second name"))
    os.link(os.path.join(top, b"middle"), os.path.join(top, b"third name"))
    os.mkfifo(os.path.join(top, b"fifo"), 0o640)
    os.mknod(os.path.join(top, b"device"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(top)
        s.bind("socket")
        os.chdir(here)


def acls(top):
    folder = os.path.join(top, b"acl")
    os.mkdir(folder)
    subprocess.run(["setfacl", "-d", "-m", "u:1001:rwx,g:1002:r", folder], check=True)
    write(os.path.join(folder, b"inherits"), b"acl")
    subprocess.run(["setfacl", "-m", "u:1003:r", os.path.join(folder, b"inherits")], check=True)


def look(top, without=()):
    """What is to be seen: path -> type and mode, owner, time, content and attributes, other names of the same."""
    seen, names = {}, {}
    top = os.fsencode(top)
    for folder, folders, files in os.walk(top):
        if folder == top:
            folders[:] = [f for f in folders if f not in without]
        for name in sorted(folders + files) + ([b"."] if folder == top else []):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            relative = os.path.relpath(path, top)
            names.setdefault(info.st_ino, []).append(relative)
            seen[relative] = [oct(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns, content(path, info)]
    for same in names.values():
        for name in same:
            seen[name].append(sorted(same) if len(same) > 1 else None)
    return seen


def content(path, info):
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(path)
    attributes = {n: os.getxattr(path, n) for n in sorted(os.listxattr(path))} if stat.S_ISREG(info.st_mode) or \
        stat.S_ISDIR(info.st_mode) else None
    if not stat.S_ISREG(info.st_mode):
        return [info.st_rdev, attributes]
    digest = hashlib.blake2b()
    with open(path, "rb") as f:
        while part := f.read(MIB):
            digest.update(part)
    return [info.st_size, digest.hexdigest(), attributes]


def differences(wanted, found, limit=10):
    """Lines that say what differs; none when nothing does."""
    lines = [f"missing: {p!r}" for p in sorted(wanted.keys() - found.keys())]
    lines += [f"too much: {p!r}" for p in sorted(found.keys() - wanted.keys())]
    lines += [f"{p!r}: {wanted[p]} became {found[p]}" for p in sorted(wanted.keys() & found.keys())
              if wanted[p] != found[p]]
    return lines[:limit]
