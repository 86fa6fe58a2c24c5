#!/usr/bin/env python3
"""A running cluster and what may be thrown at it: garbage on its ports, rivals for its ports and directories, mount
points that can't be, a disk that fills up. Every daemon lives on, every message helps, nothing is lost or left behind.
"""
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import unittest

from support import HERE, REFUSED, CommandTest, free_port, processes_naming, program

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, run, wait_for  # noqa: E402

GARBAGE = {"ones": b"\xff\xff\xff\xff", "more ones": b"\xff" * 4096, "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
           "huge message": b"\0\0\0\0\xff\xff\xff\x7f", "many segments": b"\xff\xff\0\0" + b"\0" * 64,
           "no root": b"\0" * 8, "half a frame": b"\0\0\0\0\2\0\0\0\1", "random": os.urandom(65536), "nothing": b"",
           "a tall message": b"\0\0\0\0\4\0\0\0" + b"\x01\0\0\0\xff\xff\xff\xff" * 4}


def throw(address, data, family=socket.AF_INET):
    """Sends bytes and waits until the other side has closed, or shows that it doesn't want to."""
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(60)
        s.connect(address)
        s.settimeout(2)
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
        except OSError:
            pass  # how it is refused is its own affair; that it lives on is asserted


class Hostile(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.up()
        cls.cluster.wait_healthy()

    def setUp(self):
        super().setUp()
        self.pids = self.cluster.pids()
        with open(self.cluster.path("witness"), "w") as f:
            f.write(self.id())
            f.flush()
            os.fsync(f.fileno())

    def tearDown(self):
        """The same daemons run, they serve, and what was written is there."""
        self.assertEqual(self.cluster.pids(), self.pids)
        for name, pid in self.pids.items():
            self.assertTrue(os.path.exists(f"/proc/{pid}"), f"{name} is gone")
        with open(self.cluster.path("witness")) as f:
            self.assertEqual(f.read(), self.id())
        wait_for("the file to be sound in all its copies", self.sound)

    def sound(self):
        """A server that stood still may be out of reach for a while. Bytes that are wrong are wrong at once."""
        done = self.cluster.admin("-o", "json", "file", "check", self.cluster.path("witness"))
        problems = json.loads(done.stdout)["problems"]
        self.assertEqual([p for p in problems if p["kind"] in ("corrupt", "differs")], [])
        return done.returncode == 0

    def toml(self):
        return os.path.join(self.cluster.dir, "cluster.toml")

    def addresses(self):
        status = self.cluster.status()
        return {n["name"]: n["address"] for n in status["masters"] + status["servers"]}

    def daemon(self, name, directory, listen, sock, *more, cluster=None):
        kind = "dfs-master" if name.startswith("m") else "dfs-chunkserver"
        return (kind, "--cluster", cluster or self.toml(), "--name", name, "--dir", directory, "--listen", listen,
                "--socket", sock, *more)

    # ---- garbage

    def test_garbage_on_every_port(self):
        for name, address in self.addresses().items():
            host, port = address.rsplit(":", 1)
            for what, data in GARBAGE.items():
                with self.subTest(name=name, what=what):
                    throw((host, int(port)), data)

    def test_garbage_on_every_socket(self):
        for name in ("m1", "c1", "c2", "c3"):
            for what, data in GARBAGE.items():
                with self.subTest(name=name, what=what):
                    throw(os.path.join(self.cluster.dir, "run", name + ".sock"), data, socket.AF_UNIX)

    def test_many_silent_connections(self):
        for name, address in self.addresses().items():
            host, port = address.rsplit(":", 1)
            with self.subTest(name):
                crowd = [socket.create_connection((host, int(port)), 60) for _ in range(200)]
                self.cluster.status()
                for s in crowd:
                    s.close()

    # ---- rivals

    def test_port_in_use(self):
        for name, address in self.addresses().items():
            with self.subTest(name):
                os.makedirs(self.path(name))
                more = ["--init"] if name == "m1" else []
                self.refused(REFUSED, [address, "in use", "--listen"],
                             *self.daemon(name, self.path(name), address, self.path(name + ".sock"), *more))

    def test_data_directory_in_use(self):
        for name in ("m1", "c1"):
            with self.subTest(name):
                directory = os.path.join(self.cluster.dir, name)
                self.refused(REFUSED, [directory, str(self.pids[name])],
                             *self.daemon(name, directory, f"127.0.0.1:{free_port()}", self.path("sock")))

    def test_socket_in_use(self):
        os.makedirs(self.path("data"))
        sock = os.path.join(self.cluster.dir, "run", "c1.sock")
        self.refused(REFUSED, [sock, "in use"],
                     *self.daemon("c9", self.path("data"), f"127.0.0.1:{free_port()}", sock, "--insecure"))

    def test_cluster_file_of_another_cluster(self):
        with open(self.toml()) as f:
            text = f.read().split("\n")
        text = ["cluster = \"%032x\"" % 7 if line.startswith("cluster") else line for line in text]
        text = [line.replace('"run/', f'"{self.cluster.dir}/run/') for line in text]
        foreign = self.write("foreign.toml", "\n".join(text))
        self.refused(REFUSED, ["m1", "belongs to cluster", "cluster.toml"], "dfsadmin", "--cluster", foreign, "status")
        os.makedirs(self.path("mnt"))
        self.refused(REFUSED, ["cluster"], "dfs-mount", "--foreground", foreign, self.path("mnt"))
        self.assertFalse(os.path.ismount(self.path("mnt")))

    # ---- mount points

    def test_mount_point_that_cannot_be(self):
        os.makedirs(self.path("full", "of"))
        self.write("file", "x")
        for point, says in [("full", ["full", "empty"]), ("file", ["file", "not a directory"]),
                            ("nowhere", ["nowhere", "does not exist", "mkdir"])]:
            with self.subTest(point):
                self.refused(REFUSED, says, "dfs-mount", "--foreground", self.toml(), self.path(point))
        self.refused(REFUSED, [self.cluster.mnt], "dfs-mount", "--foreground", self.toml(), self.cluster.mnt)

    def test_unknown_mount_option(self):
        os.makedirs(self.path("mnt"))
        done = self.run_program("dfs-mount", "-o", "frobnicate=7", self.toml(), self.path("mnt"))
        self.assertEqual(done.returncode, 64, done.stderr)
        self.assertIn("frobnicate", done.stderr)
        self.assertFalse(os.path.ismount(self.path("mnt")))

    def test_no_dev_fuse(self):
        os.makedirs(self.path("mnt"))
        # A private mount namespace whose /dev has no fuse.
        script = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"'
        hidden = ["unshare", "--mount", "sh", "-c", script, "sh"]
        mount = subprocess.run([*hidden, program("dfs-mount"), "--foreground", self.toml(), self.path("mnt")],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        self.assertIn(mount.returncode, (1, REFUSED), mount.stdout)
        for says in ("/dev/fuse", "modprobe fuse"):
            self.assertIn(says, mount.stdout)
        up = subprocess.run([*hidden, program("dfs"), "up", "--dir", self.path("dir"), "--mount", self.path("mnt")],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        self.assertEqual(up.returncode, REFUSED, up.stdout)
        for says in ("/dev/fuse", "modprobe fuse"):
            self.assertIn(says, up.stdout)
        self.assertEqual(processes_naming(self.path("dir")), [])

    def test_up_again_changes_nothing(self):
        self.cluster.up()  # tearDown compares the pids


class AnotherCluster(CommandTest):
    def test_data_directory_of_another_cluster(self):
        with Cluster(chunkservers=1) as c:
            with open(c.path("kept"), "w") as f:
                f.write("kept")
            c.down()
            other = self.cluster_file()
            for name in ("m1", "c1"):
                with self.subTest(name):
                    directory = os.path.join(c.dir, name)
                    before = run("find", directory, "-type", "f")
                    kind = "dfs-master" if name == "m1" else "dfs-chunkserver"
                    self.refused(REFUSED, [directory, "cluster"], kind, "--cluster", other, "--name", name, "--dir",
                                 directory, "--listen", f"127.0.0.1:{free_port()}", "--socket", self.path("sock"),
                                 "--insecure")
                    self.assertEqual(run("find", directory, "-type", "f"), before)
            c.up()
            with open(c.path("kept")) as f:
                self.assertEqual(f.read(), "kept")

    def test_failed_up_leaves_nothing_running(self):
        # A file stands where c1's store wants a directory.
        with Cluster(chunkservers=1) as c:
            c.down()
            directory = os.path.join(c.dir, "c1")
            os.rename(directory, directory + ".away")
            os.makedirs(directory)
            with open(os.path.join(directory, "v1"), "w") as f:
                f.write("no such thing")
            done = c.dfs("up", "--dir", c.dir, "--mount", c.mnt, check=False)
            self.assertEqual(done.returncode, REFUSED, done.stdout)
            for says in ("c1", "not a directory", "log"):
                self.assertIn(says, done.stdout)
            wait_for("the mount point to be free", lambda: not os.path.ismount(c.mnt))
            self.assertEqual(processes_naming(c.dir), [])
            shutil.rmtree(directory)
            os.rename(directory + ".away", directory)
            c.up()

    def test_stale_pid_files_are_not_believed(self):
        with Cluster(chunkservers=1) as c:
            c.kill_all()
            for name in ("m1", "c1", "mount"):
                with open(os.path.join(c.dir, "run", name + ".pid"), "w") as f:
                    f.write(f"{os.getpid()}\n")  # a living process, but not ours
            c.up()
            self.assertNotIn(os.getpid(), c.pids().values())
            with open(c.path("x"), "w") as f:
                f.write("x")


class FullDisk(unittest.TestCase):
    """The whole cluster on one small disk: warned at 90 %, new data refused at 95 %, everything else works."""

    SIZE_MIB = 768

    def setUp(self):
        self.files = 0
        self.block = os.urandom(1 << 20)
        self.base = run("mktemp", "-d", "/tmp/cairn-full-XXXXXX").strip()
        self.disk = os.path.join(self.base, "disk")
        os.makedirs(self.disk)
        image = os.path.join(self.base, "image")
        run("truncate", "-s", f"{self.SIZE_MIB}M", image)
        run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        run("mount", "-o", "loop", image, self.disk)
        self.addCleanup(run, "rm", "-rf", self.base)
        self.addCleanup(run, "umount", "-l", self.disk)

    def used(self):
        s = os.statvfs(self.disk)
        return 1 - s.f_bavail / s.f_blocks

    def fill(self, c, stop):
        """Writes files until `stop()` or ENOSPC; returns the names of those that were written and synced."""
        names = []
        while not stop():
            self.files += 1
            name = c.path(f"fill{self.files}")
            try:
                with open(name, "wb", buffering=0) as f:
                    for _ in range(4):
                        f.write(self.block)
                    os.fsync(f.fileno())
            except OSError as e:
                self.assertEqual(e.errno, errno.ENOSPC, e)
                if os.path.exists(name):
                    os.unlink(name)
                return names
            names.append(name)
        return names

    def test_nearly_full(self):
        with Cluster(base=self.disk) as c:
            first = self.fill(c, lambda: self.used() > 0.91)
            self.assertGreater(len(first), 10)
            wait_for("the warning at 90 %", lambda: self.warned(c.status()))
            self.assertNotEqual(c.status()["health"], "healthy")
            more = self.fill(c, lambda: self.used() > 0.99)
            self.assertLess(self.used(), 0.99, "new data was taken until the disk was full")
            self.everything_else_works(c, first)
            for name in (first + more)[4:]:
                with open(name, "rb") as f:
                    self.assertEqual(f.read(), self.block * 4)
            for name in (first + more)[4:]:
                os.unlink(name)
            # What was deleted stays on the disk for a while, and gives way to what is written.
            wait_for("the space to be free again", lambda: self.takes(c, len(first) // 2), every=0.5)
            c.wait_healthy()

    def takes(self, c, count):
        end = self.files + count
        names = self.fill(c, lambda: self.files == end)
        for name in names if len(names) < count else []:
            os.unlink(name)
        return len(names) == count

    def warned(self, status):
        return any(word in reason["text"].lower() for reason in status["reasons"] for word in ("full", "space"))

    def everything_else_works(self, c, names):
        os.mkdir(c.path("dir"))
        os.rename(names[0], c.path("dir", "renamed"))
        os.truncate(c.path("dir", "renamed"), 100)
        os.truncate(names[1], 0)
        os.unlink(names[2])
        os.symlink("x", c.path("link"))
        os.chmod(names[3], 0o600)
        os.unlink(c.path("dir", "renamed"))
        os.rmdir(c.path("dir"))
        os.unlink(names[3])
        os.unlink(names[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
