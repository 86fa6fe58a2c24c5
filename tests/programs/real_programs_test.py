#!/usr/bin/env python3
"""Programs that people use, in a real mount. CAIRN_FULL=1: at full size (nightly); else about a tenth."""
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import ROOT, Cluster, run  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"


def metadata(top):
    """Every name under `top` with what `cp -a` must keep."""
    out = {}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            s = os.lstat(path)
            size = s.st_size if not os.path.isdir(path) or os.path.islink(path) else 0
            target = os.readlink(path) if os.path.islink(path) else ""
            out[os.path.relpath(path, top)] = (s.st_mode, s.st_uid, s.st_gid, size, s.st_mtime_ns, target)
    return out


def a_tree(top, limit):
    """A copy of real files of this system at `top`: all of them, or the first `limit` per source."""
    for source in ("/usr/include", "/usr/share/doc"):
        target = os.path.join(top, source.strip("/").replace("/", "-"))
        if FULL:
            run("cp", "-a", source, target)
            continue
        os.makedirs(target)
        names = run("sh", "-c", f"cd {source} && find . -type f -o -type l | LC_ALL=C sort | head -{limit}")
        subprocess.run(["cpio", "-pdm", "--quiet", target] if shutil.which("cpio") else
                       ["sh", "-c", f"tar --format=posix -C {source} -cf - -T - | tar -C {target} -xpf -"],
                       input=names, text=True, cwd=source, check=True)


class RealPrograms(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.local = os.path.join(cls.cluster.base, "local")
        os.mkdir(cls.local)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def setUp(self):
        self.top = self.cluster.path(self.id().split(".")[-1])
        os.mkdir(self.top)
        self.began = time.monotonic()

    def tearDown(self):
        print(f"{self.id()}: {time.monotonic() - self.began:.1f} s", flush=True)
        shutil.rmtree(self.top)

    def test_copy_a_tree(self):
        source = os.path.join(self.local, "tree")
        os.mkdir(source)
        a_tree(source, 1500)
        copy = os.path.join(self.top, "copy")
        run("cp", "-a", source, copy)
        run("diff", "-r", "--no-dereference", source, copy)
        self.assertEqual(metadata(source), metadata(copy))

    def test_tar_and_rsync_round_trips(self):
        source = os.path.join(self.local, "round")
        os.mkdir(source)
        a_tree(source, 400)
        there = os.path.join(self.top, "there")
        back = os.path.join(self.local, "back")
        os.mkdir(there)
        os.mkdir(back)
        run("sh", "-c", f"tar --format=posix -C {source} -cf - . | tar -C {there} -xpf -")
        run("diff", "-r", "--no-dereference", source, there)
        run("sh", "-c", f"tar --format=posix -C {there} -cf - . | tar -C {back} -xpf -")
        self.assertEqual(metadata(source), metadata(back))
        again = os.path.join(self.top, "again")
        run("rsync", "-aH", source + "/", again + "/")
        self.assertEqual(run("rsync", "-aHcni", "--delete", source + "/", again + "/"), "")
        self.assertEqual(metadata(source), metadata(again))

    def test_git(self):
        a_tree(self.top, 600)
        # A collection of git's own, in the background, would be in the way of the one below.
        git = ["git", "-C", self.top, "-c", "gc.auto=0", "-c", "user.name=t", "-c", "user.email=t@example.org"]
        run(*git, "init", "-q")
        run(*git, "add", ".")
        run(*git, "commit", "-qm", "first")
        with open(os.path.join(self.top, "extra"), "w") as f:
            f.write("more\n")
        run(*git, "add", "extra")
        run(*git, "commit", "-qm", "second")
        self.assertEqual(run(*git, "status", "--porcelain"), "")
        run(*git, "gc", "-q")
        run(*git, "fsck", "--full", "--strict")

    def test_git_day_by_day(self):
        """What people do with it all day; each command fails if the tree isn't as it expects."""
        bare, one, other = (os.path.join(self.top, name) for name in ("shared.git", "one", "other"))

        def git(where, *words):
            return run("git", "-C", where, "-c", "user.name=t", "-c", "user.email=t@example.org", *words)

        def change(where, name, text):
            with open(os.path.join(where, name), "w") as f:
                f.write(text)
            git(where, "add", name)
            git(where, "commit", "-qm", f"{name}: {text}")

        run("git", "init", "-q", "--bare", "-b", "main", bare)
        run("git", "clone", "-q", bare, one)
        for number in range(30 if FULL else 6):
            change(one, f"file{number % 3}", f"line {number}\n")
        git(one, "push", "-q", "origin", "HEAD:main")
        run("git", "clone", "-q", bare, other)
        git(other, "switch", "-qc", "topic")
        change(other, "topic", "of its own\n")
        change(one, "file0", "meanwhile\n")
        git(one, "push", "-q", "origin", "HEAD:main")
        git(other, "fetch", "-q")
        git(other, "rebase", "-q", "origin/main")
        git(other, "push", "-q", "origin", "topic")
        git(one, "pull", "-q", "--ff-only", "origin", "main")
        git(one, "fetch", "-q")
        git(one, "merge", "-q", "--no-ff", "-m", "joined", "origin/topic")
        with open(os.path.join(one, "topic"), "a") as f:
            f.write("not yet\n")
        git(one, "stash")
        git(one, "worktree", "add", "-q", os.path.join(self.top, "beside"), "HEAD~1")
        git(one, "stash", "pop")
        self.assertEqual(git(one, "status", "--porcelain"), " M topic\n")
        git(one, "checkout", "-q", "--", "topic")
        git(one, "mv", "topic", "renamed")
        git(one, "commit", "-qm", "renamed")
        git(one, "reset", "-q", "--hard", "HEAD~1")
        self.assertEqual(len(git(one, "grep", "-n", "meanwhile").splitlines()), 1)
        for where in (bare, one, other):
            git(where, "gc", "-q", "--prune=now")
            git(where, "fsck", "--full", "--strict")

    def test_ccache_keeps_its_store_here(self):
        env = dict(os.environ, CCACHE_DIR=os.path.join(self.top, "store"), CCACHE_NOHASHDIR="1")
        env.pop("CCACHE_DISABLE", None)
        count = 60 if FULL else 8
        for number in range(count):
            with open(os.path.join(self.top, f"{number}.c"), "w") as f:
                f.write(f"#include <stdio.h>\nint f{number}(void) {{ return puts(\"{number}\"); }}\n")
        for _ in range(2):
            for number in range(count):
                run("ccache", "gcc", "-O1", "-c", f"{number}.c", "-o", f"{number}.o", cwd=self.top, env=env)
        figures = dict(line.split("\t") for line in
                       run("ccache", "--print-stats", cwd=self.top, env=env).splitlines() if "\t" in line)
        self.assertEqual(int(figures["direct_cache_hit"]), count, figures)
        self.assertEqual(int(figures["cache_miss"]), count, figures)
        run("ccache", "--clear", cwd=self.top, env=env)

    @unittest.skipUnless(FULL and shutil.which("npm"), "nightly: fetches from the package registry")
    def test_npm_install(self):
        with open(os.path.join(self.top, "package.json"), "w") as f:
            f.write('{"name": "t", "version": "1.0.0", "dependencies": {"eslint": "^8.57.0"}}')
        npm = ["npm", "--no-audit", "--no-fund", "--cache", os.path.join(self.top, "cache")]
        run(*npm, "install", cwd=self.top)
        before = metadata(os.path.join(self.top, "node_modules"))
        self.assertGreater(len(before), 500)
        run(os.path.join(self.top, "node_modules", ".bin", "eslint"), "--version", cwd=self.top)
        run(*npm, "ls", "--all", cwd=self.top)
        run(*npm, "ci", "--prefer-offline", cwd=self.top)  # all of it away, and made anew, mostly from the cache
        self.assertEqual(before.keys(), metadata(os.path.join(self.top, "node_modules")).keys())

    def test_sqlite(self):
        database = os.path.join(self.top, "test.db")
        rows = 10000 if FULL else 500
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute("create table t(id integer primary key, body text)")
        for i in range(rows):
            connection.execute("begin")
            connection.execute("insert into t values(?, ?)", (i, "x" * (i % 700)))
            connection.execute("commit")
        self.assertEqual(connection.execute("pragma integrity_check").fetchone(), ("ok",))
        connection.close()
        connection = sqlite3.connect(database)
        self.assertEqual(connection.execute("select count(*), sum(length(body)) from t").fetchone(),
                         (rows, sum(i % 700 for i in range(rows))))
        connection.close()

    def test_fio_verifies_random_writes(self):
        size = "256m" if FULL else "24m"
        run("fio", "--name=verify", f"--directory={self.top}", "--numjobs=4", "--rw=randwrite", "--bsrange=512-64k",
            "--bs_unaligned=1", f"--size={size}", "--verify=xxhash", "--verify_fatal=1", "--do_verify=1",
            "--ioengine=psync", "--fallocate=none", "--group_reporting", "--end_fsync=1", cwd=self.top)

    def test_sparse_file(self):
        path = os.path.join(self.top, "sparse")
        size = 4 << 30
        with open(path, "wb") as f:
            f.truncate(size)
            f.seek(1 << 30)
            f.write(b"middle")
            f.seek(size - 3)
            f.write(b"end")
        self.assertEqual(os.stat(path).st_size, size)
        self.assertLess(os.stat(path).st_blocks * 512, 1 << 20)
        with open(path, "rb") as f:
            fd = f.fileno()
            self.assertEqual(os.lseek(fd, 0, os.SEEK_DATA), 1 << 30)
            self.assertEqual(os.pread(fd, 6, 1 << 30), b"middle")
            self.assertEqual(os.pread(fd, 10, size - 3), b"end")
            self.assertEqual(os.pread(fd, 4096, 2 << 30), bytes(4096))
        run("cp", "--sparse=always", path, os.path.join(self.top, "copy"))
        run("cmp", path, os.path.join(self.top, "copy"))

    def test_many_files_in_one_directory(self):
        count = 100000 if FULL else 10000
        folder = os.path.join(self.top, "many")
        os.mkdir(folder)
        for i in range(count):
            os.close(os.open(os.path.join(folder, f"f{i}"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        self.assertEqual(sorted(os.listdir(folder)), sorted(f"f{i}" for i in range(count)))
        for i in range(0, count, 2):
            os.unlink(os.path.join(folder, f"f{i}"))
        self.assertEqual(len(os.listdir(folder)), count // 2)
        shutil.rmtree(folder)
        self.assertEqual(os.listdir(self.top), [])

    @unittest.skipUnless(FULL, "nightly: takes as long as a build")
    def test_build_this_project(self):
        source = os.path.join(self.top, "source")
        run("git", "clone", "-q", ROOT, source)
        env = dict(os.environ, CCACHE_DISABLE="1")
        run("cmake", "-S", source, "-B", os.path.join(source, "build"), "-G", "Ninja", timeout=600, env=env)
        programs = ["dfs-master", "dfs-chunkserver", "dfs-mount", "dfsadmin"]
        run("ninja", "-C", os.path.join(source, "build"), "-j2", *programs, timeout=3600, env=env)
        run(os.path.join(source, "build", "dfsadmin"), "--help")

    def test_persists_over_down_and_up(self):
        blobs = {}
        for i in range(200 if FULL else 50):
            body = os.urandom(1 + (i * 7919) % 300000)
            with open(os.path.join(self.top, f"b{i}"), "wb") as f:
                f.write(body)
            blobs[f"b{i}"] = hashlib.sha256(body).hexdigest()
        os.chmod(os.path.join(self.top, "b0"), 0o4711)
        os.symlink("b1", os.path.join(self.top, "link"))
        before = metadata(self.top)
        self.cluster.down()
        self.assertFalse(os.path.ismount(self.cluster.mnt))
        self.cluster.up()
        self.assertEqual(metadata(self.top), before)
        for name, digest in blobs.items():
            with open(os.path.join(self.top, name), "rb") as f:
                self.assertEqual(hashlib.sha256(f.read()).hexdigest(), digest, name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
