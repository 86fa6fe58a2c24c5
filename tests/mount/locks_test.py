#!/usr/bin/env python3
"""Locks of fcntl(2) and flock(2) between programs of two mounts of one cluster: who is refused, who comes next, what
frees a lock (unlocking, closing, dying), deadlocks, signals, and the loss of a mount or of the leader."""
import errno
import fcntl
import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import AnotherMount, Cluster, await_gone, kill, wait_for  # noqa: E402

GETLK, SETLK, SETLKW = fcntl.F_GETLK, fcntl.F_SETLK, fcntl.F_SETLKW
OFD_SETLK, OFD_SETLKW = 37, 38
TYPES = {"shared": fcntl.F_RDLCK, "exclusive": fcntl.F_WRLCK, "none": fcntl.F_UNLCK}
FLOCKS = {"shared": fcntl.LOCK_SH, "exclusive": fcntl.LOCK_EX, "none": fcntl.LOCK_UN}
LAYOUT = "hhqqi4x"  # struct flock
PROMPT_SECONDS = 2  # what must not wait for a time-out; the longest there is in the way of a lock is 5 s
INCREMENTS = 25  # of each of eight programs
PROGRAMS, BYTES, CONTEND_SECONDS = 8, 12, 5  # that lock ranges of a file at random


class Ledger:
    """Who has locked which byte, beside the file system: each program writes its own line and looks at the others'."""

    def __init__(self, path, line):
        with open(path, "r+b") as f:
            self.lines = mmap.mmap(f.fileno(), PROGRAMS * BYTES)
        self.line = line * BYTES

    def mine(self, first, count):
        return bytearray(self.lines[self.line + first:self.line + first + count])

    def set(self, first, levels):
        self.lines[self.line + first:self.line + first + len(levels)] = bytes(levels)

    def check(self, first, count):
        for byte in range(first, first + count):
            levels = sorted(self.lines[line * BYTES + byte] for line in range(PROGRAMS))
            assert levels[-1] < 2 or levels[-2] == 0, f"byte {byte} is locked by two: {levels}"


def contend(path, ledger, line, command):
    """Locks, converts and unlocks ranges, and now and then closes the file. Returns how many locks it had."""
    ledger, chance, had = Ledger(ledger, line), random.Random(line), 0
    end = time.monotonic() + CONTEND_SECONDS
    while time.monotonic() < end:
        fd = os.open(path, os.O_RDWR)
        for _ in range(chance.randrange(1, 12)):
            first = chance.randrange(BYTES)
            count = chance.randrange(1, BYTES - first + 1)
            level = chance.choice([0, 1, 1, 2, 2])
            before = ledger.mine(first, count)
            ledger.set(first, [min(old, level) for old in before])
            try:
                fcntl.fcntl(fd, command, struct.pack(LAYOUT, [fcntl.F_UNLCK, fcntl.F_RDLCK, fcntl.F_WRLCK][level],
                                                     os.SEEK_SET, first, count, 0))
            except OSError as e:
                assert e.errno in (errno.EDEADLK, errno.EAGAIN), e
                ledger.set(first, before)
                if e.errno == errno.EDEADLK:
                    break
                continue
            ledger.set(first, [level] * count)
            ledger.check(first, count)
            had += level > 0
        ledger.set(0, [0] * BYTES)
        os.close(fd)
    return had


class Alarm(Exception):
    pass


def serve():
    """The program under test: does what it reads, line by line, and says what came of it."""
    def on_alarm(*_):
        raise Alarm
    signal.signal(signal.SIGALRM, on_alarm)
    files = {}

    def lock(name, command, kind, first=0, length=0):
        answer = fcntl.fcntl(files[name], command, struct.pack(LAYOUT, TYPES[kind], os.SEEK_SET, first, length, 0))
        kind, _, first, length, pid = struct.unpack(LAYOUT, answer)
        return [{v: k for k, v in TYPES.items()}[kind], first, length, pid]

    def increment(locked, counter, times):
        """The counter is read and written anew each time; only the lock keeps two from doing so at once."""
        for _ in range(times):
            fd = os.open(locked, os.O_RDWR)
            fcntl.lockf(fd, fcntl.LOCK_EX)
            with open(counter, "r+b") as f:
                number = int(f.read()) + 1
                f.seek(0)
                f.write(b"%d" % number)
                f.flush()
                os.fsync(f.fileno())
            os.close(fd)
    calls = {"open": lambda name, path, flags: files.__setitem__(name, os.open(path, flags)),
             "dup": lambda name, new: files.__setitem__(new, os.dup(files[name])),
             "close": lambda name: os.close(files.pop(name)), "lock": lock,
             "read": lambda name, size: len(os.pread(files[name], size, 0)),
             "flock": lambda name, kind, flags=0: fcntl.flock(files[name], FLOCKS[kind] | flags),
             "alarm": lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds), "increment": increment,
             "contend": contend}
    for line in sys.stdin:
        words = json.loads(line)
        began = time.monotonic()
        try:
            answer = calls[words[0]](*words[1:])
            reply = [0, answer if isinstance(answer, (list, int)) else None]
        except Alarm:
            reply = [-1, None]
        except OSError as e:
            reply = [e.errno, None]
        print(json.dumps([*reply, time.monotonic() - began]), flush=True)


class Program:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--serve"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, *words):
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return self

    def result(self):
        """What the last start() came to: an errno, 0, or -1 when the alarm ended it."""
        code, self.answer, self.seconds = json.loads(self.process.stdout.readline())
        return code

    def do(self, *words):
        return self.start(*words).result()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Locks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(masters=3)
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.__enter__()
        cls.second, cls.mount = None, None
        cls.addClassCleanup(cls.end_second)
        cls.begin_second()

    @classmethod
    def begin_second(cls):
        cls.mount = AnotherMount(cls.cluster)
        cls.second = cls.mount.mnt

    @classmethod
    def end_second(cls):
        if cls.mount is not None:
            cls.mount.close()

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[-1]
        with open(self.cluster.path(self.name), "w") as f:
            f.write("0")

    def program(self, at=None, name=None, flags=os.O_RDWR):
        """One that has the test's file open, through the first mount (None) or the second."""
        program = Program()
        self.addCleanup(program.kill)
        path = os.path.join(at or self.cluster.mnt, name or self.name)
        self.assertEqual(program.do("open", "f", path, flags), 0)
        return program

    def locks(self, name=None):
        done = self.cluster.admin("-o", "json", "lock", "list", os.path.join(self.cluster.mnt, name or self.name))
        return json.loads(done.stdout)["locks"]

    def until_waiting(self, count=1):
        wait_for("a program to wait", lambda: sum(lock["waiting"] for lock in self.locks()) == count)

    def test_ranges_conflict_across_mounts(self):
        a, b = self.program(), self.program(self.second)
        self.assertEqual(a.do("lock", "f", SETLK, "exclusive", 0, 10), 0)
        self.assertEqual(b.do("lock", "f", SETLK, "shared", 9, 1), errno.EAGAIN)
        self.assertEqual(b.do("lock", "f", SETLK, "shared", 10, 0), 0)
        self.assertEqual(b.do("lock", "f", GETLK, "exclusive", 0, 0), 0)
        self.assertEqual(b.answer, ["exclusive", 0, 10, 0], "the pid means nothing on another machine")
        same = self.program()
        self.assertEqual(same.do("lock", "f", GETLK, "shared", 5, 1), 0)
        self.assertEqual(same.answer, ["exclusive", 0, 10, a.process.pid])
        self.assertEqual(a.do("lock", "f", SETLK, "none", 2, 3), 0)
        self.assertEqual(b.do("lock", "f", SETLK, "exclusive", 2, 3), 0)
        self.assertEqual(b.do("lock", "f", SETLK, "exclusive", 1, 1), errno.EAGAIN)
        self.assertEqual(same.do("lock", "f", GETLK, "shared", 7, 1), 0)
        self.assertEqual(same.answer, ["exclusive", 5, 5, a.process.pid])

    def test_who_waits_gets_it_in_order(self):
        a, b, c = self.program(), self.program(self.second), self.program()
        self.assertEqual(a.do("lock", "f", SETLKW, "exclusive"), 0)
        b.start("lock", "f", SETLKW, "exclusive")
        self.until_waiting(1)
        c.start("lock", "f", SETLKW, "shared")
        self.until_waiting(2)
        self.assertEqual(a.do("lock", "f", SETLK, "none"), 0)
        self.assertEqual(b.result(), 0)
        self.until_waiting(1)
        self.assertEqual(a.do("lock", "f", SETLK, "shared"), errno.EAGAIN)
        self.assertEqual(b.do("close", "f"), 0)
        self.assertEqual(c.result(), 0)
        self.assertEqual(a.do("lock", "f", SETLK, "shared"), 0)

    def test_flock(self):
        a, b = self.program(), self.program(self.second)
        self.assertEqual(a.do("flock", "f", "shared"), 0)
        self.assertEqual(b.do("flock", "f", "shared"), 0)
        self.assertEqual(b.do("lock", "f", SETLK, "exclusive"), 0, "fcntl's locks are others")
        self.assertEqual(a.do("flock", "f", "exclusive", fcntl.LOCK_NB), errno.EAGAIN)
        self.assertEqual(b.do("flock", "f", "exclusive", fcntl.LOCK_NB), 0, "A has lost its own")
        a.start("flock", "f", "exclusive")
        self.until_waiting()
        self.assertEqual(b.do("dup", "f", "g"), 0)
        self.assertEqual(b.do("close", "f"), 0)
        self.assertEqual([lock["waiting"] for lock in self.locks() if lock["kind"] == "flock"], [False, True],
                         "one descriptor of two is open")
        self.assertEqual(b.do("close", "g"), 0)
        self.assertEqual(a.result(), 0)

    def test_any_close_frees_what_fcntl_locked(self):
        a, b = self.program(), self.program(self.second)
        self.assertEqual(a.do("open", "other", self.cluster.path(self.name), os.O_RDONLY), 0)
        self.assertEqual(a.do("lock", "f", SETLK, "exclusive"), 0)
        self.assertEqual(b.do("lock", "f", SETLK, "exclusive"), errno.EAGAIN)
        self.assertEqual(a.do("close", "other"), 0)
        self.assertEqual(b.do("lock", "f", SETLK, "exclusive"), 0, "when close() has returned")
        a.start("lock", "f", SETLKW, "exclusive")
        self.until_waiting()
        b.kill()
        self.assertEqual(a.result(), 0)

    def test_an_open_file_description_has_locks_of_its_own(self):
        a, b = self.program(), self.program(self.second)
        self.assertEqual(a.do("open", "other", self.cluster.path(self.name), os.O_RDWR), 0)
        self.assertEqual(a.do("lock", "f", OFD_SETLK, "exclusive", 0, 10), 0)
        self.assertEqual(a.do("lock", "other", OFD_SETLK, "exclusive", 5, 1), errno.EAGAIN)
        self.assertEqual(b.do("lock", "f", SETLK, "shared", 9, 1), errno.EAGAIN)
        self.assertEqual(a.do("close", "other"), 0)
        self.assertEqual(b.do("lock", "f", SETLK, "shared", 9, 1), errno.EAGAIN, "another file description's close")
        b.start("lock", "f", OFD_SETLKW, "shared")
        self.until_waiting()
        self.assertEqual(a.do("close", "f"), 0)
        self.assertEqual(b.result(), 0)

    def test_deadlocks_are_seen_across_mounts(self):
        a, b = self.program(), self.program(self.second)
        self.assertEqual(a.do("lock", "f", SETLK, "exclusive", 0, 1), 0)
        self.assertEqual(b.do("lock", "f", SETLK, "exclusive", 1, 1), 0)
        a.start("lock", "f", SETLKW, "exclusive", 1, 1)
        self.until_waiting()
        self.assertEqual(b.do("lock", "f", SETLKW, "exclusive", 0, 1), errno.EDEADLK)
        self.assertEqual(b.do("lock", "f", SETLK, "none", 1, 1), 0)
        self.assertEqual(a.result(), 0)

    def test_a_signal_ends_a_wait(self):
        a, b = self.program(), self.program(self.second)
        self.assertEqual(a.do("lock", "f", SETLK, "exclusive"), 0)
        self.assertEqual(b.do("alarm", 0.3), 0)
        self.assertEqual(b.do("lock", "f", SETLKW, "exclusive"), -1)
        self.assertLess(b.seconds, PROMPT_SECONDS)
        self.assertEqual(b.do("alarm", 0.3), 0)
        self.assertEqual(b.do("flock", "f", "exclusive"), 0)
        b.start("lock", "f", SETLKW, "exclusive")
        self.assertEqual(b.result(), -1)
        self.assertEqual(a.do("lock", "f", SETLK, "none"), 0)
        c = self.program()
        self.assertEqual(c.do("lock", "f", SETLKW, "exclusive"), 0, "who gave up is in nobody's way")
        self.assertLess(c.seconds, PROMPT_SECONDS)

    def test_a_counter_loses_nothing(self):
        with open(self.cluster.path("counter"), "w") as f:
            f.write("0")
        programs = [self.program(at) for at in (None, self.second) for _ in range(4)]
        for i, program in enumerate(programs):
            at = self.cluster.mnt if i < 4 else self.second
            program.start("increment", os.path.join(at, self.name), os.path.join(at, "counter"), INCREMENTS)
        self.assertEqual([program.result() for program in programs], [0] * len(programs))
        with open(self.cluster.path("counter")) as f:
            self.assertEqual(int(f.read()), INCREMENTS * len(programs))

    def test_no_byte_is_locked_twice_though_a_leader_dies(self):
        ledger = os.path.join(self.cluster.base, "ledger")
        with open(ledger, "wb") as f:
            f.write(bytes(PROGRAMS * BYTES))
        programs = [self.program(at) for at in (None, self.second) for _ in range(PROGRAMS // 2)]
        for line, program in enumerate(programs):
            at = self.cluster.mnt if line < PROGRAMS // 2 else self.second
            command = [SETLKW, OFD_SETLKW, SETLKW, SETLK][line % 4]
            program.start("contend", os.path.join(at, self.name), ledger, line, command)
        self.lose_leader()
        self.assertEqual([program.result() for program in programs], [0] * PROGRAMS)
        self.assertGreater(min(program.answer for program in programs), 0)
        self.assertEqual(self.locks(), [])
        self.bring_back()

    def test_an_administrator_sees_and_breaks_locks(self):
        a, b = self.program(), self.program(self.second)
        self.assertEqual(a.do("lock", "f", SETLK, "exclusive", 5, 10), 0)
        b.start("lock", "f", SETLKW, "shared", 0, 0)
        self.until_waiting()
        held, waiting = self.locks()
        self.assertEqual((held["type"], held["kind"], held["first"], held["last"], held["pid"], held["waiting"]),
                         ("exclusive", "fcntl", 5, 14, a.process.pid, False))
        self.assertEqual((waiting["type"], waiting["last"], waiting["waiting"]), ("shared", None, True))
        self.assertNotEqual(held["session"], waiting["session"])
        path = self.cluster.path(self.name)
        plan = self.cluster.admin("lock", "break", path)
        self.assertEqual((plan.returncode, "Nothing was done" in plan.stdout), (0, True), plan.stdout)
        self.assertEqual(self.cluster.admin("lock", "break", path, "--session", str(waiting["session"])).returncode, 2)
        self.assertEqual(self.cluster.admin("lock", "break", path, "--apply").returncode, 0)
        self.assertEqual(b.result(), 0)

    def test_a_lost_mount_loses_its_locks(self):
        a, b = self.program(), self.program(self.second)
        self.assertEqual(b.do("lock", "f", SETLK, "exclusive"), 0)
        a.start("lock", "f", SETLKW, "exclusive")
        self.until_waiting()
        self.mount.process.kill()
        self.mount.process.wait()
        self.assertEqual(a.result(), 0)
        self.end_second()
        self.begin_second()

    def test_who_lost_its_locks_with_its_session_is_told(self):
        a, b = self.program(), self.program(self.second)
        self.assertEqual(b.do("lock", "f", SETLK, "exclusive"), 0)
        self.assertEqual(a.do("lock", "f", SETLK, "exclusive"), errno.EAGAIN)
        session, = {lock["session"] for lock in self.locks()}
        self.cluster.admin("session", "evict", str(session))
        self.assertEqual(a.do("lock", "f", SETLKW, "exclusive"), 0)
        wait_for("the mount to learn of it", lambda: b.do("read", "f", 1) == errno.EIO)
        self.assertEqual(b.do("lock", "f", SETLK, "exclusive"), errno.EIO)
        self.assertEqual(b.do("close", "f"), 0)
        self.assertEqual(b.do("open", "f", os.path.join(self.second, self.name), os.O_RDWR), 0)
        self.assertEqual(b.do("lock", "f", SETLK, "exclusive"), errno.EAGAIN)
        self.assertEqual(a.do("lock", "f", SETLK, "none"), 0)
        self.assertEqual(b.do("lock", "f", SETLK, "exclusive"), 0)

    def leader(self):
        masters = json.loads(self.cluster.admin("-o", "json", "status").stdout)["masters"]
        return next((master["name"] for master in masters if master["role"] == "leader"), None)

    def lose_leader(self):
        pid = self.cluster.pid(wait_for("a leader", self.leader))
        kill(pid)
        await_gone(pid)

    def bring_back(self):
        self.cluster.up()
        self.cluster.wait_healthy()

    def test_a_new_leader_knows_the_locks(self):
        a, b, c = self.program(), self.program(self.second), self.program(self.second)
        self.assertEqual(a.do("lock", "f", SETLK, "exclusive"), 0)
        b.start("lock", "f", SETLKW, "exclusive")
        self.until_waiting()
        self.lose_leader()
        self.assertEqual(c.do("lock", "f", SETLK, "shared"), errno.EAGAIN)
        self.until_waiting()
        self.assertEqual(c.do("lock", "f", GETLK, "shared"), 0)
        self.assertEqual(c.answer[0], "exclusive")
        self.assertEqual(a.do("lock", "f", SETLK, "none"), 0)
        self.assertEqual(b.result(), 0)
        self.bring_back()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        unittest.main()
