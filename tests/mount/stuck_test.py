#!/usr/bin/env python3
"""No mount hangs or is dead. While the servers are away, stopped or killed, a program in any call can be killed or
asked to stop, the mount tells what each call waits for, it can be taken down in each way, and a soft mount fails in
time.
`dfsadmin why` names what a call waits for: a master, a chunkserver, a lock."""
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import calls  # noqa: E402
from cluster import PATIENCE, AnotherMount, Cluster, is_gone, wait_for  # noqa: E402

AT_ONCE = 5  # seconds; what takes longer doesn't go at once on any machine
BIG = b"b" * (2 << 20)


def read_all(path):
    with open(path, "rb") as f:
        return f.read()


def opened(path, flags=os.O_RDWR):
    return os.open(path, flags)


# Each way into the file system: what is done before the servers go, and the call that then waits for them. Names are
# fresh ones, so that nothing is answered from what the mount believes: leases have ended by then anyway.
def table():
    def each(prepare, call):
        return prepare, call
    plain = lambda top: None  # noqa: E731
    file = lambda top: calls.write(top + "/f", b"x" * 100)  # noqa: E731
    handle = lambda top: (calls.write(top + "/f", b"x" * 100), opened(top + "/f"))[1]  # noqa: E731
    two = lambda top: (handle(top), (calls.write(top + "/g", BIG), opened(top + "/g"))[1])  # noqa: E731
    folder = lambda top: opened(top, os.O_RDONLY)  # noqa: E731
    return {
        "stat": each(plain, lambda top, _: os.stat(top + "/none")),
        "getattr": each(handle, lambda top, fd: os.fstat(fd)),
        "mkdir": each(plain, lambda top, _: os.mkdir(top + "/d")),
        "mknod": each(plain, lambda top, _: os.mkfifo(top + "/fifo")),
        "create": each(plain, lambda top, _: opened(top + "/new", os.O_CREAT | os.O_RDWR)),
        "tmpfile": each(plain, lambda top, _: opened(top, os.O_TMPFILE | os.O_RDWR)),
        "symlink": each(plain, lambda top, _: os.symlink("x", top + "/s")),
        "readlink": each(lambda top: os.symlink("x", top + "/s"), lambda top, _: os.readlink(top + "/s")),
        "link": each(file, lambda top, _: os.link(top + "/f", top + "/l")),
        "rename": each(file, lambda top, _: os.rename(top + "/f", top + "/r")),
        "unlink": each(file, lambda top, _: os.unlink(top + "/f")),
        "rmdir": each(lambda top: os.mkdir(top + "/d"), lambda top, _: os.rmdir(top + "/d")),
        "chmod": each(file, lambda top, _: os.chmod(top + "/f", 0o600)),
        "truncate": each(handle, lambda top, fd: os.ftruncate(fd, 10)),
        "open": each(file, lambda top, _: opened(top + "/f")),
        "read": each(two, lambda top, fds: os.pread(fds[1], 4096, 1 << 20)),
        "write": each(handle, lambda top, fd: os.pwrite(fd, b"y", 0)),
        "fsync": each(handle, lambda top, fd: (os.pwrite(fd, BIG, 0), os.fsync(fd))),
        "close": each(handle, lambda top, fd: (os.pwrite(fd, BIG, 0), os.close(fd))),
        "fallocate": each(handle, lambda top, fd: calls.fallocate(fd, 0, 0, 1 << 20)),
        "lseek": each(two, lambda top, fds: os.lseek(fds[1], 0, os.SEEK_HOLE)),
        "copy_file_range": each(two, lambda top, fds: os.copy_file_range(fds[1], fds[0], 1 << 20, 0, 0)),
        "readdir": each(folder, lambda top, fd: os.listdir(fd)),
        "fsyncdir": each(folder, lambda top, fd: (os.stat(top + "/none"), os.fsync(fd))),
        "lock": each(handle, lambda top, fd: fcntl.lockf(fd, fcntl.LOCK_EX)),
        "flock": each(handle, lambda top, fd: fcntl.flock(fd, fcntl.LOCK_EX)),
        "getxattr": each(file, lambda top, _: os.getxattr(top + "/f", "user.x")),
        "setxattr": each(file, lambda top, _: os.setxattr(top + "/f", "user.x", b"1")),
        "listxattr": each(file, lambda top, _: os.listxattr(top + "/f")),
        "removexattr": each(file, lambda top, _: os.removexattr(top + "/f", "user.x")),
        "statfs": each(folder, lambda top, fd: os.fstatvfs(fd)),
    }


ANSWERED = {"statfs"}  # from what is known, while the cluster is away


class Program:
    """A process that prepares, says so, waits for a word, makes one call, and ends with its errno."""

    def __init__(self, prepare, call, top):
        self.ready, said = os.pipe()
        heard, self.go = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 0
            try:
                signal.signal(signal.SIGTERM, self.stop)
                prepared = prepare(top)
                os.write(said, b"r")
                os.read(heard, 1)
                call(top, prepared)
            except OSError as e:
                code = e.errno
            except BaseException as e:  # the process ends here, whatever it is
                print(f"a program failed: {e!r}", file=sys.stderr)
                code = 255
            finally:
                os._exit(code)
        os.close(said)
        os.close(heard)
        assert os.read(self.ready, 1) == b"r", "a program can't prepare"

    @staticmethod
    def stop(*_):
        raise InterruptedError(errno.EINTR, "asked to stop")  # else Python makes some calls again

    def start(self):
        os.write(self.go, b"g")

    def is_over(self):
        return self.pid is None or is_gone(self.pid)

    def ended(self):
        """Its exit code, or None."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        self.pid = None
        return os.waitstatus_to_exitcode(status)

    def kill(self):
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    def close(self):
        os.close(self.ready)
        os.close(self.go)
        if self.pid is not None:
            os.waitpid(self.pid, 0)


class Stuck(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        os.chmod(cls.cluster.base, 0o755)  # for other users
        cls.servers = ["m1", "c1", "c2", "c3"]

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def setUp(self):
        self.top = self.cluster.path(self.id().split(".")[-1])
        os.mkdir(self.top)
        self.folder = os.open(self.top, os.O_RDONLY)  # while there is a cluster
        self.addCleanup(os.close, self.folder)
        # Who is killed may still stand behind another one's call, where the kernel lets in one at a time.
        self.started = []
        self.addCleanup(lambda: [program.close() for program in self.started])
        self.addCleanup(self.bring_back)
        self.addCleanup(lambda: [program.kill() for program in self.started])

    def program(self, prepare, call, top=""):
        self.started.append(Program(prepare, call, top))
        return self.started[-1]

    # ---- the servers

    def take_away(self, how):
        for name in self.servers:
            os.kill(self.cluster.pid(name), signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
        self.away = how

    def bring_back(self):
        for name in self.servers:
            pid = self.cluster.pid(name)
            if pid and not is_gone(pid):
                os.kill(pid, signal.SIGCONT)
            else:
                self.cluster.play("start", name)
        self.cluster.wait_healthy()

    def a_mkdir(self):
        """A program that makes a directory: it asks for the name, then for the directory. The way there is open."""
        program = self.program(lambda _: None, lambda *_: os.mkdir("d", dir_fd=self.folder))
        program.start()
        return program

    def programs(self, at, names):
        out = {}
        for name in names:
            prepare, call = table()[name]
            top = os.path.join(at, name)
            os.mkdir(top)
            out[name] = self.program(prepare, call, top)
        return out

    def stuck(self, programs):
        """Starts them; those whose call waits after a while. What can be answered without the cluster has been."""
        for program in programs.values():
            program.start()
        answered = [programs[name] for name in ANSWERED if name in programs]
        wait_for("what needs no cluster", lambda: all(program.is_over() for program in answered))
        time.sleep(1)  # nothing happens that could be waited for
        left = {name: program for name, program in programs.items() if program.ended() is None}
        return left

    def ends(self, programs, number):
        """Sends the signal to all; how long it takes until all have ended, and how they did."""
        began = time.monotonic()
        for program in programs.values():
            os.kill(program.pid, number)
        codes = {}

        def over():
            for name, program in programs.items():
                code = None if name in codes else program.ended()
                if code is not None:
                    codes[name] = code
            return len(codes) == len(programs)
        try:
            wait_for("the programs to end", over)
        except AssertionError:
            raise AssertionError(f"calls that go on: {sorted(set(programs) - set(codes))}") from None
        return time.monotonic() - began, codes

    def check_every_call(self, how, number):
        programs = self.programs(self.top, table())
        self.take_away(how)
        left = self.stuck(programs)
        if number != signal.SIGKILL:
            del left["read"]  # waits for a page, and not for this file system's answer: the kernel lets it be killed
        # What the mount may answer by itself, as a write into its buffer, it does; nearly all must wait.
        self.assertGreater(len(left), 20, sorted(set(table()) - set(left)))
        self.assertFalse(ANSWERED & set(left), "answered from what is known")
        seconds, codes = self.ends(left, number)
        print(f"{how}, {signal.Signals(number).name}: {len(left)} calls ended after {seconds:.1f} s")
        self.assertLess(seconds, AT_ONCE)
        wanted = {-signal.SIGKILL} if number == signal.SIGKILL else {errno.EINTR}
        self.assertEqual({name: code for name, code in codes.items() if code not in wanted}, {})

    def test_every_call_can_be_killed_while_all_stand_still(self):
        self.check_every_call("stopped", signal.SIGKILL)

    def test_every_call_can_be_killed_while_all_are_dead(self):
        self.check_every_call("killed", signal.SIGKILL)

    def test_every_call_hears_that_it_is_to_stop(self):
        self.check_every_call("stopped", signal.SIGTERM)

    def test_a_soft_mount_fails_in_time(self):
        soft = AnotherMount(self.cluster, "soft,timeout=2")
        self.addCleanup(soft.close)
        top = os.path.join(soft.mnt, os.path.basename(self.top))
        programs = self.programs(top, table())
        self.take_away("stopped")
        began = time.monotonic()
        left = self.stuck(programs)
        codes = {}

        def over():
            for name, program in left.items():
                code = None if name in codes else program.ended()
                if code is not None:
                    codes[name] = code
            return len(codes) == len(left)
        wait_for("all calls to fail", over)
        # What makes two calls, as a write and its fsync, may wait twice.
        self.assertLess(time.monotonic() - began, 4 + AT_ONCE)
        self.assertEqual({name: code for name, code in codes.items() if code != errno.EIO}, {})
        self.bring_back()
        # A change whose program was told EIO has happened once or not at all.
        made = [name for name in ("mkdir", "create", "symlink") if os.listdir(os.path.join(self.top, name))]
        for name in made:
            self.assertEqual(len(os.listdir(os.path.join(self.top, name))), 1)
        wait_for("the soft mount to work again", lambda: not os.system(f"mkdir -p {top}/again 2>/dev/null"))

    # ---- the mount's own files

    def test_own_files(self):
        own = self.cluster.path(".dfs")
        self.assertNotIn(".dfs", os.listdir(self.cluster.mnt))
        self.assertEqual(sorted(os.listdir(own)), ["config", "leader", "stats", "why"])
        self.assertIn("attached yes", read_all(own + "/leader").decode())
        self.assertIn("policy hard", read_all(own + "/config").decode())
        self.assertIn("masterCalls ", read_all(own + "/stats").decode())
        self.assertEqual(os.stat(own + "/why").st_size, 0)
        root = self.cluster.mnt
        for name, call, code in (
                ("mkdir", lambda: os.mkdir(own), errno.EEXIST),
                ("create", lambda: os.open(own, os.O_CREAT | os.O_EXCL | os.O_WRONLY), errno.EEXIST),
                ("make within", lambda: os.mkdir(own + "/x"), errno.EPERM),
                ("rmdir", lambda: os.rmdir(own), errno.EPERM),
                ("unlink", lambda: os.unlink(own + "/why"), errno.EPERM),
                ("rename", lambda: os.rename(own, root + "/away"), errno.EPERM),
                ("rename onto", lambda: os.rename(self.top, own), errno.EPERM),
                ("chmod", lambda: os.chmod(own + "/why", 0o777), errno.EPERM),
                ("write", lambda: os.open(own + "/why", os.O_WRONLY), errno.EACCES)):
            with self.subTest(name):
                with self.assertRaises(OSError) as caught:
                    call()
                self.assertEqual(caught.exception.errno, code)
        self.assertTrue(os.path.isdir(self.top))

    def test_own_files_while_all_are_away(self):
        self.take_away("stopped")
        waiting = self.a_mkdir()
        time.sleep(2)  # until the mount knows that it is cut off
        own = self.cluster.path(".dfs")
        for words in (["cat", own + "/why"], ["ls", "-la", own], ["cp", own + "/stats", self.cluster.base + "/copy"],
                      ["stat", "-f", own], ["stat", "-f", self.cluster.mnt], ["stat", self.cluster.mnt]):
            began = time.monotonic()
            done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertLess(time.monotonic() - began, AT_ONCE, words)
        mine = [line for line in map(json.loads, read_all(own + "/why").splitlines()) if line["pid"] == waiting.pid]
        self.assertEqual(mine[0]["name"], "d")
        self.assertEqual(mine[0]["waits"][0]["for"], "master")

    def test_others_calls_are_roots_to_see(self):
        self.take_away("stopped")
        waiting = self.a_mkdir()
        own = self.cluster.path(".dfs/why")
        wait_for("the call to be there", lambda: f'"pid":{waiting.pid},'.encode() in read_all(own))
        self.assertEqual(calls.as_user(1234, 1234, [], lambda: read_all(own)), b"")

    # ---- why

    def why(self, subject, code=None):
        done = self.cluster.admin("-o", "json", "why", str(subject), patient=False)
        if code is not None:
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def waits_of(self, pid, what):
        """Waits until a call of this process waits for `what`; that call."""
        def found():
            all_calls = self.why(pid)["calls"]
            return next((c for c in all_calls for w in c["waits"] if w["for"] == what and w["seconds"] >= 0), None)
        return wait_for(f"a call that waits for a {what}", found)

    def test_why_a_master(self):
        self.take_away("killed")
        waiting = self.a_mkdir()
        call = self.waits_of(waiting.pid, "master")
        # What the kernel asks first depends on what it still believes.
        self.assertIn(call["operation"], ("getattr", "lookup", "mkdir"))
        about = self.top if call["operation"] == "getattr" else self.top + "/d"
        self.assertIn("m1", call["waits"][0]["text"])
        wait_for("it to take long", lambda: self.why(waiting.pid)["calls"][0]["seconds"] >= 1)
        self.why(waiting.pid, code=1)
        self.assertTrue(self.why(about, code=1)["calls"], "by its path")
        text = self.cluster.admin("why", str(waiting.pid), patient=False).stdout
        self.assertIn("until: a majority of the masters being back", text)

    def test_why_a_chunkserver(self):
        with open(self.top + "/f", "wb", buffering=0) as f:  # made after the last eviction: no lease waits for that
            f.write(b"x")
            os.fsync(f.fileno())
            for name in self.servers[1:]:
                os.kill(self.cluster.pid(name), signal.SIGSTOP)
            program = self.program(lambda _: None, lambda *_: (os.pwrite(f.fileno(), BIG, 0), os.fsync(f.fileno())))
            program.start()
            call = self.waits_of(program.pid, "chunkserver")
            self.assertEqual(call["operation"], "fsync")
            self.assertEqual(call["file"], "f")
            self.bring_back()  # else the close would wait

    def test_why_a_lock(self):
        calls.write(self.top + "/f", b"x")
        with open(self.top + "/f", "r+b") as mine:
            fcntl.lockf(mine, fcntl.LOCK_EX)
            program = self.program(lambda _: opened(self.top + "/f"), lambda _, fd: fcntl.lockf(fd, fcntl.LOCK_EX))
            program.start()
            call = self.waits_of(program.pid, "lock")
            held = [lock for lock in call["locks"] if not lock["waiting"]]
            self.assertEqual(held[0]["pid"], os.getpid())
            path = self.why(self.top + "/f")
            self.assertEqual(len(path["locks"]), 2)

    def test_why_a_lease(self):
        calls.write(self.top + "/f", b"x")
        other = AnotherMount(self.cluster)
        self.addCleanup(other.close)
        # Not opened here: each program that is started would close it too, and wait for that.
        self.program(lambda top: os.write(opened(top + "/f"), b"y"), lambda *_: None,
                     os.path.join(other.mnt, os.path.basename(self.top)))
        os.kill(other.process.pid, signal.SIGSTOP)
        try:
            reading = self.program(lambda _: None, lambda *_: os.read(os.open(self.top + "/f", os.O_RDONLY), 2))
            reading.start()
            found = wait_for("the lease to be named", lambda: [
                lease for call in self.why(reading.pid)["calls"] for lease in call["leases"]])
            self.assertEqual(len(found), 1)
            self.assertTrue(found[0]["write"])
            self.assertTrue(found[0]["sessionName"].endswith(other.mnt), found)
            self.assertIn("eviction in", found[0]["end"])
            wait_for("the eviction", lambda: reading.ended() is not None)
        finally:
            os.kill(other.process.pid, signal.SIGCONT)

    def test_why_nothing(self):
        calls.write(self.top + "/f", b"x")
        answer = self.why(self.top + "/f", code=0)
        self.assertEqual(answer["calls"], [])
        self.assertEqual([lease["write"] for lease in answer["leases"]], [True])
        self.assertEqual(self.cluster.admin("why", "999999999", patient=False).returncode, 2)

    # ---- taking it down

    def taken_down(self, *words, program=None, code=0):
        other = AnotherMount(self.cluster)
        self.addCleanup(other.close)
        if program:
            program = self.program(*program, os.path.join(other.mnt, os.path.basename(self.top)))
        self.take_away("killed")
        if program:
            program.start()
            time.sleep(0.5)
        began = time.monotonic()
        done = subprocess.run([*words, other.mnt], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=PATIENCE)
        self.assertLess(time.monotonic() - began, AT_ONCE, words)
        self.assertEqual(done.returncode == 0, code == 0, done.stdout)
        return other, program

    def gone(self, other):
        began = time.monotonic()
        other.process.wait(PATIENCE)
        self.assertLess(time.monotonic() - began, AT_ONCE, "dfs-mount goes on")
        self.assertFalse(os.path.ismount(other.mnt))
        self.assertEqual(os.listdir(other.mnt), [])

    def test_unmounting_an_idle_mount(self):
        for words in (["fusermount3", "-u"], ["umount"], ["umount", "-f"], ["umount", "-l"]):
            with self.subTest(words):
                other, _ = self.taken_down(*words)
                self.gone(other)
                self.bring_back()

    def test_unmounting_a_busy_mount_is_refused_at_once(self):
        self.taken_down("fusermount3", "-u", program=table()["mkdir"], code=1)

    def test_unmounting_by_force(self):
        """Every call ends, and so do the mount and its process, even if umount finds the mount still busy."""
        other = AnotherMount(self.cluster)
        self.addCleanup(other.close)
        at = os.path.join(other.mnt, os.path.basename(self.top))
        programs = self.programs(at, ["mkdir", "create", "stat", "fsync", "read", "lock"])
        self.take_away("killed")
        left = self.stuck(programs)
        self.assertGreater(len(left), 3)
        began = time.monotonic()
        subprocess.run(["umount", "-f", other.mnt], stderr=subprocess.DEVNULL, timeout=PATIENCE)
        for program in left.values():
            wait_for("the calls to end", lambda one=program: one.ended() is not None)
        self.assertLess(time.monotonic() - began, AT_ONCE)
        wait_for("the mount to be gone", lambda: not os.path.ismount(other.mnt) and not is_mounted(other.mnt))

    def test_unmounting_lazily(self):
        other, program = self.taken_down("umount", "-l", program=table()["mkdir"])
        self.assertFalse(is_mounted(other.mnt))
        self.assertIsNone(program.ended())
        self.ends({"mkdir": program}, signal.SIGKILL)
        self.gone(other)


def is_mounted(path):
    with open("/proc/self/mountinfo") as mounts:
        return any(line.split()[4] == path for line in mounts)


if __name__ == "__main__":
    unittest.main(verbosity=2)
