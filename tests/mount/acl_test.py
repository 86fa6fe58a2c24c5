#!/usr/bin/env python3
"""POSIX ACLs and files without a name, over two mounts of one cluster. What setfacl, chmod and creating come to is the
same as on the kernel's own tmpfs: lists, modes, and what each user may."""
import errno
import os
import random
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import AnotherMount, Cluster, run, wait_for  # noqa: E402

USERS = [(1001, 1001), (1002, 1002), (1003, 2000), (1000, 1000)]  # uid, gid; the last one owns the files
GROUPS = [1002, 2000]
PERMISSIONS = ["---", "r--", "rw-", "r-x", "rwx", "-w-"]
STEPS = 60


def as_user(user, call, *arguments):
    """The errno of a call made by another user, 0 when it went well."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            os.setgroups([])
            os.setgid(user[1])
            os.setuid(user[0])
            call(*arguments)
            code = 0
        except OSError as e:
            code = e.errno
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def lists(path):
    return [line for line in run("getfacl", "--absolute-names", "--numeric", path).splitlines()
            if not line.startswith("# file")]


def name_it(fd, path):
    """link(2) doesn't follow the symlink that stands for the descriptor; given a directory, Python calls linkat(2)."""
    top = os.open("/", os.O_RDONLY)
    try:
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=top, follow_symlinks=True)
    finally:
        os.close(top)


class Acls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.__enter__()
        os.chmod(cls.cluster.base, 0o755)
        second = AnotherMount(cls.cluster, "allow_other")
        cls.addClassCleanup(second.close)
        cls.second = second.mnt
        cls.reference = tempfile.mkdtemp(prefix="cairn-acl-", dir="/dev/shm")
        os.chmod(cls.reference, 0o755)
        cls.addClassCleanup(lambda: subprocess.run(["rm", "-rf", cls.reference]))

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[-1]
        self.roots = [self.cluster.path(self.name), os.path.join(self.reference, self.name)]
        for root in self.roots:
            os.mkdir(root)
            os.chmod(root, 0o755)
            os.chown(root, *USERS[-1])

    def each(self, call):
        """The same on the cluster and beside it; it must come to the same."""
        got, expected = [call(root) for root in self.roots]
        self.assertEqual(got, expected)
        return got

    def compare(self, name):
        self.each(lambda root: lists(os.path.join(root, name)))
        self.each(lambda root: oct(os.stat(os.path.join(root, name)).st_mode))
        other = os.path.join(self.second, self.name, name)
        wait_for("the other mount to see it", lambda: lists(other) == lists(os.path.join(self.roots[0], name)))

    def test_what_each_user_may_is_what_it_is_on_tmpfs(self):
        chance = random.Random(4711)
        names = []

        def entry():
            named = [f"u:{u}" for u, _ in USERS[:3]] + [f"g:{g}" for g in GROUPS]
            who = chance.choice(named + ["u:", "g:", "o:", "m:"])
            return f"{who}:{chance.choice(PERMISSIONS)}"
        for step in range(STEPS):
            what = chance.choice(["make", "make", "set", "set", "set", "default", "chmod", "remove", "inherit"])
            if what == "make" or not names:
                name, mode, mask = f"n{step}", chance.choice([0o666, 0o777, 0o640]), chance.choice([0, 0o22, 0o77])
                directory = chance.random() < 0.4
                parent = chance.choice([""] + [n for n in names if n.endswith("d")])
                name = os.path.join(parent, name + ("d" if directory else ""))
                names.append(name)

                def make(root, name=name, mode=mode, mask=mask, directory=directory):
                    path, old = os.path.join(root, name), os.umask(mask)
                    try:
                        os.mkdir(path, mode) if directory else os.close(os.open(path, os.O_CREAT | os.O_EXCL, mode))
                    finally:
                        os.umask(old)
                    os.chown(path, *USERS[-1])
                self.each(make)
            else:
                name = chance.choice(names)
                words = {"set": ["-m", entry()], "default": ["-m", "d:" + entry()], "remove": ["-b"],
                         "inherit": ["-k"], "chmod": None}[what]
                mode = chance.choice([0o600, 0o664, 0o770, 0o701])

                def change(root, name=name, words=words, mode=mode):
                    path = os.path.join(root, name)
                    if words is None:
                        return os.chmod(path, mode)
                    return subprocess.run(["setfacl", *words, path], stderr=subprocess.DEVNULL).returncode
                self.each(change)
            self.compare(name)
            for user in USERS:
                for flag in (os.O_RDONLY, os.O_WRONLY):
                    self.each(lambda root: as_user(user, os.open, os.path.join(root, name), flag))

    def test_a_change_counts_on_the_other_mount(self):
        path, other = os.path.join(self.roots[0], "f"), os.path.join(self.second, self.name, "f")
        with open(path, "w") as f:
            f.write("secret")
        os.chmod(path, 0o600)
        bob = USERS[0]
        self.assertEqual(as_user(bob, os.open, other, os.O_RDONLY), errno.EACCES)
        run("setfacl", "-m", f"u:{bob[0]}:r", path)
        wait_for("the right to count", lambda: as_user(bob, os.open, other, os.O_RDONLY) == 0)
        run("setfacl", "-b", other)
        wait_for("the right to be gone", lambda: as_user(bob, os.open, path, os.O_RDONLY) == errno.EACCES)
        self.assertEqual(as_user(bob, os.open, other, os.O_RDONLY), errno.EACCES)

    # ---- files without a name

    def unnamed(self, root, mode=0o640, flags=0):
        return os.open(root, os.O_TMPFILE | os.O_RDWR | flags, mode)

    def test_a_file_without_a_name_can_get_one(self):
        def story(root):
            fd = self.unnamed(root)
            os.write(fd, b"hello")
            seen = [os.fstat(fd).st_nlink, os.listdir(root)]
            name_it(fd, os.path.join(root, "named"))
            seen += [os.fstat(fd).st_nlink, oct(os.fstat(fd).st_mode)]
            os.close(fd)
            with open(os.path.join(root, "named")) as f:
                return [*seen, f.read(), os.listdir(root)]
        self.each(story)

    def test_a_file_without_a_name_may_be_meant_to_have_none(self):
        def story(root):
            fd = self.unnamed(root, flags=os.O_EXCL)
            try:
                name_it(fd, os.path.join(root, "named"))
            except OSError as e:
                return e.errno
            finally:
                os.close(fd)
        self.assertEqual(self.each(story), errno.ENOENT)

    def test_a_file_without_a_name_is_gone_when_it_is_closed(self):
        def files():
            return os.statvfs(self.roots[0]).f_files - os.statvfs(self.roots[0]).f_ffree
        before = files()
        descriptors = [self.unnamed(self.roots[0]) for _ in range(5)]
        for fd in descriptors:
            os.write(fd, b"x" * 100000)
            self.assertEqual(os.fstat(fd).st_size, 100000)
        self.assertEqual(files(), before + 5)
        for fd in descriptors:
            os.close(fd)
        wait_for("them to be gone", lambda: files() == before)

    def test_a_file_without_a_name_is_gone_with_its_mount(self):
        def files():
            return os.statvfs(self.roots[0]).f_files - os.statvfs(self.roots[0]).f_ffree
        before = files()
        third = AnotherMount(self.cluster)
        try:
            fd = self.unnamed(os.path.join(third.mnt, self.name))
            os.write(fd, b"x")
            wait_for("it to count", lambda: files() == before + 1)
        finally:
            third.close()
        with self.assertRaises(OSError):
            os.write(fd, b"y")
        try:
            os.close(fd)
        except OSError as e:
            self.assertEqual(e.errno, errno.ENOTCONN)
        wait_for("it to be gone", lambda: files() == before)

    def test_who_may_not_add_a_name_makes_none(self):
        os.chmod(self.roots[0], 0o755)
        self.assertEqual(as_user(USERS[0], self.unnamed, self.roots[0]), errno.EACCES)
        self.assertTrue(stat.S_ISDIR(os.stat(self.roots[0]).st_mode))


if __name__ == "__main__":
    unittest.main()
