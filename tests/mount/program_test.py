#!/usr/bin/env python3
"""dfs-mount as a program: what it refuses and how it says so, the background, signals, unmounting, being killed while
it waits. Over files in memory (dfs-mount-memory is the same program but for the client library)."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import BIN, CLUSTER_TEXT, PATIENCE, MemoryMount, require_environment, wait_for  # noqa: E402

PROGRAM = os.path.join(BIN, "dfs-mount-memory")
REAL_PROGRAM = os.path.join(BIN, "dfs-mount")


class Program(unittest.TestCase):
    def setUp(self):
        require_environment()
        self.base = tempfile.mkdtemp(prefix="cairn-program-")
        os.chmod(self.base, 0o755)
        self.mnt = os.path.join(self.base, "mnt")
        self.file = os.path.join(self.base, "cluster.toml")
        os.mkdir(self.mnt)
        with open(self.file, "w") as f:
            f.write(CLUSTER_TEXT)

    def tearDown(self):
        subprocess.run(["fusermount3", "-uz", self.mnt], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.base, ignore_errors=True)

    def run_program(self, *words, program=PROGRAM, shell=None):
        command = [program, *words] if shell is None else ["unshare", "-m", "sh", "-c", shell, program, *words]
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=300, cwd=self.base)

    def refused(self, code, said, *words, **how):
        """It ends with `code` and one message with all of `said` in it, and mounts nothing."""
        done = self.run_program(*words, **how)
        self.assertEqual(done.returncode, code, done.stderr)
        for text in said:
            self.assertIn(text, done.stderr)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("Try:")]
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("dfs-mount: "), done.stderr)
        self.assertFalse(os.path.ismount(self.mnt))

    # ---- what it refuses

    def test_usage(self):
        self.refused(64, ["--nonsense"], "--nonsense", self.file, self.mnt)
        self.refused(64, ["'nonsense'", "-o"], "-o", "nonsense", self.file, self.mnt)
        self.refused(64, ["CLUSTER_FILE"])

    def test_cluster_file(self):
        self.refused(2, ["none.toml"], "none.toml", self.mnt)
        for text in ("", "cluster = 3\n", "][", CLUSTER_TEXT.replace("0123", "xyz"), CLUSTER_TEXT.split("[[")[0]):
            with open(self.file, "w") as f:
                f.write(text)
            self.refused(2, ["cluster.toml"], self.file, self.mnt)

    def test_mount_point(self):
        self.refused(2, ["absent", "does not exist", "mkdir"], self.file, os.path.join(self.base, "absent"))
        self.refused(2, ["not a directory"], self.file, self.file)
        self.refused(2, ["/proc", "mounted here already"], self.file, "/proc")
        with open(os.path.join(self.mnt, "something"), "w"):
            self.refused(2, ["not empty", "something", "nonempty"], self.file, self.mnt)
        done = self.run_program("-o", "nonempty", self.file, self.mnt)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(os.listdir(self.mnt), [])
        second = self.run_program(self.file, self.mnt)
        self.assertEqual(second.returncode, 2, second.stderr)
        self.assertIn("mounted here already (fuse.dfs", second.stderr)

    def test_no_fuse_device(self):
        self.refused(1, ["/dev/fuse", "modprobe fuse"], self.file, self.mnt,
                     shell='mount -t tmpfs none /dev && exec "$0" "$@"')

    def test_no_permission_for_the_device(self):
        shell = ('mount -t tmpfs none /dev && mknod /dev/fuse c 10 229 && chmod 600 /dev/fuse && '
                 'exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" "$@"')
        os.chown(self.mnt, 65534, 65534)
        self.refused(1, ["/dev/fuse", "Permission denied"], self.file, self.mnt, shell=shell)

    def test_an_ordinary_user_without_fusermount3(self):
        shell = ('mount -t tmpfs none /dev && mknod -m 666 /dev/fuse c 10 229 && touch /tmp/empty.$$ && '
                 'mount --bind /tmp/empty.$$ /usr/bin/fusermount3 && rm /tmp/empty.$$ 2>/dev/null; '
                 'exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" "$@"')
        os.chown(self.mnt, 65534, 65534)
        self.refused(1, ["fusermount3", "install"], self.file, self.mnt, shell=shell)

    def test_no_master_answers(self):
        if not os.path.exists(REAL_PROGRAM):
            self.skipTest("dfs-mount is not built")
        silent = socket.socket()
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes connections and says nothing
        for address in ("127.0.0.1:1", "127.0.0.1:%d" % silent.getsockname()[1]):
            with open(self.file, "w") as f:
                f.write(CLUSTER_TEXT.replace("127.0.0.1:1", address))
            began = time.monotonic()
            self.refused(3, [address, "no master"], "--connect-timeout", "1", "--log-level", "error", self.file,
                         self.mnt, program=REAL_PROGRAM)
            self.assertLess(time.monotonic() - began, 60)
        silent.close()

    # ---- life and end

    def test_background(self):
        done = self.run_program("--log", os.path.join(self.base, "log"), self.file, self.mnt)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(os.stat(self.mnt).st_ino, 1)
        self.assertTrue(os.path.ismount(self.mnt))
        with open(os.path.join(self.mnt, "f"), "w") as f:
            f.write("x")
        subprocess.run(["umount", self.mnt], check=True)

        def log():
            with open(os.path.join(self.base, "log")) as f:
                return f.read()
        wait_for("the log to say that it was mounted", lambda: "mounted" in log())

    def test_called_by_mount(self):
        helper = os.path.join(self.base, "mount.fuse.dfs")
        os.symlink(PROGRAM, helper)
        done = self.run_program(self.file, self.mnt, "-o", "rw,noatime,_netdev,x-test=1", program=helper)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open("/proc/self/mounts") as f:
            line = next(line for line in f if self.mnt in line)
        self.assertIn(" fuse.dfs rw,", line)
        self.assertIn("noatime", line)
        self.assertTrue(line.startswith(self.file + " "))

    def test_read_only(self):
        with MemoryMount("ro") as mount:
            with self.assertRaises(OSError) as caught:
                os.mkdir(mount.path("d"))
            self.assertEqual(caught.exception.errno, 30)

    def test_ends_when_unmounted(self):
        for words in (["umount"], ["fusermount3", "-u"]):
            with MemoryMount() as mount:
                with open(mount.path("f"), "w") as f:
                    f.write("x")
                subprocess.run([*words, mount.mnt], check=True)
                self.assertEqual(mount.process.wait(PATIENCE), 0)

    def test_signals_end_it(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with MemoryMount() as mount:
                mount.process.send_signal(number)
                self.assertEqual(mount.process.wait(PATIENCE), 0)
                self.assertFalse(os.path.ismount(mount.mnt))

    def test_a_signal_while_files_are_open_and_mapped(self):
        with MemoryMount() as mount:
            script = ("import mmap, os, sys, time\n"
                      f"fd = os.open({mount.path('f')!r}, os.O_CREAT | os.O_RDWR)\n"
                      "os.ftruncate(fd, 1 << 20)\nm = mmap.mmap(fd, 1 << 20)\nm[5000:5005] = b'dirty'\n"
                      "print('ready', flush=True)\ntime.sleep(900)\n")
            user = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
            try:
                self.assertEqual(user.stdout.readline(), b"ready\n")
                mount.process.send_signal(signal.SIGTERM)
                mount.process.wait(PATIENCE)
                self.assertFalse(os.path.ismount(mount.mnt))
            finally:
                user.kill()
                user.wait()
                user.stdout.close()

    def test_a_broken_connection_is_not_hidden(self):
        with MemoryMount() as mount:
            mount.process.kill()
            mount.process.wait()
            with self.assertRaises(OSError) as caught:
                os.stat(mount.path("x"))
            self.assertEqual(caught.exception.errno, 107)
            done = self.run_program(self.file, mount.mnt)
            self.assertEqual(done.returncode, 2)
            self.assertIn("fusermount3 -uz", done.stderr)

    # ---- waiting for a cluster that does not answer

    def test_a_waiting_program_can_be_killed(self):
        with MemoryMount() as mount:
            # Each in a directory of its own: the kernel lets one wait for another within a directory.
            users = []
            for i in range(20):
                os.mkdir(mount.path(f"d{i}"))
                users.append(subprocess.Popen(["stat", mount.path(f"d{i}", "stuck")], stderr=subprocess.DEVNULL))
            time.sleep(0.3)
            self.assertEqual([user.poll() for user in users], [None] * 20)
            os.mkdir(mount.path("others go on"))
            for user, number in zip(users, [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT] * 5):
                user.send_signal(number)
            # What they wait for never comes: whoever ends was released.
            self.assertEqual([user.wait(PATIENCE) for user in users], [-9, -15, -2, -3] * 5)
            os.mkdir(mount.path("and after"))

    def test_killed_after_an_earlier_signal(self):
        """The kernel tells of the first signal only; it must not take the later one's effect."""
        with MemoryMount() as mount:
            script = ("import os, signal\nsignal.signal(signal.SIGUSR1, lambda *_: None)\n"
                      f"print('ready', flush=True)\nos.stat({mount.path('stuck')!r})\n")
            user = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
            self.assertEqual(user.stdout.readline(), b"ready\n")
            time.sleep(0.2)
            user.send_signal(signal.SIGUSR1)
            time.sleep(0.5)
            self.assertIsNone(user.poll())
            user.kill()
            self.assertEqual(user.wait(PATIENCE), -9)
            user.stdout.close()

    def test_a_handled_signal_disturbs_nothing(self):
        with MemoryMount() as mount:
            ticks = []
            old = signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            try:
                self.assertFalse(os.path.exists(mount.path("slow")))
                body = os.urandom(1 << 20) * 64
                with open(mount.path("f"), "wb", buffering=0) as f:
                    self.assertEqual(f.write(body), len(body))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, old)
            self.assertGreater(len(ticks), 0)
            with open(mount.path("f"), "rb") as f:
                self.assertEqual(f.read(), body)

    def test_an_exception_becomes_eio(self):
        with MemoryMount() as mount:
            for _ in range(3):
                with self.assertRaises(OSError) as caught:
                    os.stat(mount.path("broken"))
                self.assertEqual(caught.exception.errno, 5)
            os.mkdir(mount.path("lives"))

            def log():
                with open(mount.log) as f:
                    return f.read()
            wait_for("the failure in the log", lambda: "lookup of inode 1: " in log())

    def test_ends_with_programs_waiting(self):
        with MemoryMount() as mount:
            user = subprocess.Popen(["stat", mount.path("stuck")], stderr=subprocess.DEVNULL)
            time.sleep(0.2)
            mount.process.send_signal(signal.SIGTERM)
            mount.process.wait(PATIENCE)
            self.assertNotEqual(user.wait(PATIENCE), 0)
            self.assertFalse(os.path.ismount(mount.mnt))


if __name__ == "__main__":
    unittest.main(verbosity=2)
