#!/usr/bin/env python3
"""Two mounts of one cluster are one machine: what a call on one has changed, every call on the other sees that begins
after it returned. Programs on both mounts work on the same bytes and names at once; what they saw is checked to be one
order of what they did. SQLite, whose locks and bytes must agree, loses no transaction, also when one mount stands still
until its session has ended.
"""
import json
import os
import random
import signal
import sqlite3
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import AnotherMount, Cluster, wait_for  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
PROGRAMS = 3  # on each mount
BLOCK = 4096
BLOCKS = 4
NAMES = 3
STEPS = 20000 if FULL else 400  # of each program
TRANSACTIONS = 200 if FULL else 25  # of each program, in each journal mode
RACES = 300 if FULL else 60
DIRECTORIES = 1000 if FULL else 150
NEVER = float("inf")


def programs(works):
    """Runs each of `works` in a process of its own; their results. A failure in one fails the test."""
    started = []
    for work in works:
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(out)
                with os.fdopen(into, "w") as pipe:
                    json.dump(work(), pipe)
                code = 0
            except BaseException as e:  # the process ends here, whatever it is
                print(f"a program failed: {e!r}", file=sys.stderr)
            finally:
                os._exit(code)
        os.close(into)
        started.append((pid, out))
    results, codes = [], []
    for pid, out in started:
        with os.fdopen(out) as pipe:
            text = pipe.read()
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        results.append(json.loads(text) if codes[-1] == 0 else None)
    if any(codes):
        raise AssertionError(f"programs ended with {codes}")
    return results


def problem_of(history):
    """What no order of the operations on one register explains; empty: nothing. After Gibbons and Korach (1997), as in
    tests/sim/cluster/registers.h. Each write has a value of its own; 0 was there before."""
    values = {0: {"end": -1.0, "begin": -1.0, "written": -1.0}}
    for kind, value, begin, end in history:
        if kind == "w":
            entry = values.setdefault(value, {"end": NEVER, "begin": begin})
            entry["written"] = begin
        else:
            entry = values.setdefault(value, {"end": NEVER, "begin": begin})
            if end < entry.get("written", -NEVER):
                return f"{value} was read before it was written"
        entry["end"] = min(entry["end"], end)
        entry["begin"] = max(entry["begin"], begin)
    for value, entry in values.items():
        if "written" not in entry:
            return f"{value} was read and never written"
    spans = sorted((e["end"], e["begin"], v) for v, e in values.items() if e["end"] < e["begin"])
    moments = [(e["begin"], e["end"], v) for v, e in values.items() if e["end"] >= e["begin"]]
    for i, (begin, end, value) in enumerate(spans):
        if i > 0 and begin < spans[i - 1][1]:
            return f"{spans[i - 1][2]} was seen again after {value}"
        for inner_begin, inner_end, inner in moments:
            if begin < inner_begin and inner_end < end:
                return f"{inner} came and went while {value} was seen before and after"
    return ""


def work_on_registers(root, number, seed):
    """Reads and writes of blocks of a file (through descriptors that stay open, and through new ones) and of names (a
    symlink that is replaced). Bytes are written through descriptors that can only write: of others, opened before
    anybody else used the file, the kernel shows written pages to programs of its own mount before they are written."""
    chance = random.Random(seed * 1000 + number)
    path = os.path.join(root, "bytes")
    kept = {os.O_RDONLY: os.open(path, os.O_RDONLY), os.O_WRONLY: os.open(path, os.O_WRONLY)}
    history, value = [], number * 10_000_000
    for _ in range(STEPS):
        value += 1
        register = f"b{chance.randrange(BLOCKS)}" if chance.random() < 0.7 else f"n{chance.randrange(NAMES)}"
        write, anew = chance.random() < 0.35, chance.random() < 0.3
        spare = os.path.join(root, f"spare{number}")
        if register[0] == "n" and write:
            os.symlink(str(value), spare)
        begin = time.monotonic()
        if register[0] == "b":
            how = os.O_WRONLY if write else os.O_RDONLY
            fd = os.open(path, how) if anew else kept[how]
            at = int(register[1:]) * BLOCK
            if write:
                os.pwrite(fd, value.to_bytes(8, "little") * (BLOCK // 8), at)
            else:
                data = os.pread(fd, BLOCK, at)
                if data != data[:8] * (BLOCK // 8):
                    raise AssertionError(f"block {register} is torn: {data[:8]!r}")
                value_read = int.from_bytes(data[:8], "little")
            if anew:
                os.close(fd)
        elif write:
            os.rename(spare, os.path.join(root, register))
        else:
            try:
                value_read = int(os.readlink(os.path.join(root, register)))
            except FileNotFoundError:
                value_read = 0
        history.append([register, "w" if write else "r", value if write else value_read, begin, time.monotonic()])
    for fd in kept.values():
        os.close(fd)
    return history


def append_records(root, number):
    """Appends whose size must be there at once, for every other program."""
    path = os.path.join(root, "log")
    told = []
    for i in range(STEPS // 4):
        record = f"{number}:{i}\n"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        begin = time.monotonic()
        os.write(fd, record.encode())
        told.append([record.strip(), begin, time.monotonic()])
        os.close(fd)
    return told


def transfer(database, number, mode, transactions=TRANSACTIONS, committed=None):
    """Transactions that move something from one row to another; how many were committed. Each is told to the file
    `committed` when it is."""
    connection = sqlite3.connect(database, timeout=120, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}").fetchall()
    done = 0
    for i in range(transactions):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE rows SET n = n - 1 WHERE id = ?", (i % 7,))
        connection.execute("UPDATE rows SET n = n + 1 WHERE id = ?", ((i + number) % 7,))
        connection.execute("INSERT INTO done VALUES (?, ?)", (number, i))
        connection.execute("COMMIT")
        done += 1
        if committed is not None:
            committed.write(f"{i}\n")
            committed.flush()
    connection.close()
    return done


class Coherence(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(masters=3)
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.__enter__()
        cls.second = AnotherMount(cls.cluster)
        cls.addClassCleanup(cls.second.close)

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[-1]
        os.mkdir(self.cluster.path(self.name))
        self.roots = [self.cluster.path(self.name), os.path.join(self.second.mnt, self.name)]

    def on_both(self, work, *arguments):
        """`work(root, number, ...)` by PROGRAMS programs on each mount."""
        return programs([lambda n=n, root=self.roots[n % 2]: work(root, n + 1, *arguments)
                         for n in range(2 * PROGRAMS)])

    def test_bytes_and_names_are_one_order_of_what_was_done(self):
        seed = int(os.environ.get("CAIRN_SEED", random.randrange(1 << 31)))
        print(f"seed {seed}")
        with open(os.path.join(self.roots[0], "bytes"), "wb") as f:
            f.truncate(BLOCKS * BLOCK)
        registers = {}
        for history in self.on_both(work_on_registers, seed):
            for register, *operation in history:
                registers.setdefault(register, []).append(operation)
        for register, history in sorted(registers.items()):
            self.assertEqual(problem_of(history), "", f"{register}, seed {seed}")
        print(f"{sum(map(len, registers.values()))} operations on {len(registers)} registers")

    def test_a_history_without_an_order_is_seen(self):
        good = [["w", 1, 0, 5], ["r", 1, 6, 7], ["w", 2, 8, 20], ["r", 1, 9, 12], ["r", 2, 10, 15]]
        self.assertEqual(problem_of(good), "")
        self.assertNotEqual(problem_of(good + [["r", 1, 21, 22]]), "")
        self.assertNotEqual(problem_of(good + [["r", 1, 16, 17]]), "")
        self.assertNotEqual(problem_of(good + [["r", 3, 16, 17]]), "")

    def test_appends_of_all_are_there_once_and_in_order(self):
        open(os.path.join(self.roots[0], "log"), "w").close()
        told = [record for records in self.on_both(append_records) for record in records]
        for root in self.roots:
            with open(os.path.join(root, "log")) as f:
                lines = f.read().splitlines()
            self.assertEqual(sorted(lines), sorted(record for record, *_ in told))
            place = {line: i for i, line in enumerate(lines)}
            told.sort(key=lambda item: item[1])
            last_end, last = -1.0, -1
            for record, begin, end in sorted(told, key=lambda item: item[2]):
                if begin > last_end:
                    self.assertGreater(place[record], last, "an append lies before one that had been answered")
                last_end, last = end, max(last, place[record])

    def test_seen_at_once(self):
        """How long until B sees what A's call has changed: the first look, always."""
        a, b = self.roots
        for i in range(RACES):
            name = f"f{i}"
            with open(os.path.join(a, name), "w") as f:
                f.write("x" * (i + 1))
            self.assertEqual(os.stat(os.path.join(b, name)).st_size, i + 1)
            os.chmod(os.path.join(b, name), 0o600 + i % 8)
            self.assertEqual(os.stat(os.path.join(a, name)).st_mode & 0o777, 0o600 + i % 8)
            with open(os.path.join(b, name), "r+") as f:
                f.write("y")
            with open(os.path.join(a, name)) as f:
                self.assertEqual(f.read(), "y" + "x" * i)
            os.truncate(os.path.join(b, name), 0)
            self.assertEqual(os.stat(os.path.join(a, name)).st_size, 0)
            os.rename(os.path.join(a, name), os.path.join(a, name + "x"))
            self.assertFalse(os.path.exists(os.path.join(b, name)))
            os.unlink(os.path.join(b, name + "x"))
            self.assertFalse(os.path.exists(os.path.join(a, name + "x")))
        # The same bytes with the time set back: only the kernel's own copy could be wrong.
        path = [os.path.join(root, "time") for root in self.roots]
        with open(path[0], "w") as f:
            f.write("1111")
        os.utime(path[0], ns=(10**18, 10**18))
        reader = os.open(path[1], os.O_RDONLY)
        for i in range(5):
            digit = str(i).encode()
            self.assertEqual(len(os.pread(reader, 4, 0)), 4)
            fd = os.open(path[0], os.O_WRONLY)
            os.pwrite(fd, digit * 4, 0)
            os.close(fd)
            os.utime(path[0], ns=(10**18, 10**18))
            self.assertEqual(os.pread(reader, 4, 0), digit * 4)
        os.close(reader)

    def test_exclusive_creation_has_one_winner(self):
        def race(root, number):
            won = []
            for i in range(RACES):
                try:
                    os.close(os.open(os.path.join(root, f"one{i}"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                    won.append(i)
                except FileExistsError:
                    pass
            return won
        won = sorted(i for winners in self.on_both(race) for i in winners)
        self.assertEqual(won, list(range(RACES)))

    def test_directories_made_by_all_in_one(self):
        def make(root, number):
            longest = 0.0
            for i in range(DIRECTORIES):
                began = time.monotonic()
                os.mkdir(os.path.join(root, f"d{number}-{i}"))
                longest = max(longest, time.monotonic() - began)
            return longest
        stalls = self.on_both(make)
        print(f"the longest mkdir took {max(stalls) * 1000:.0f} ms")
        for root in self.roots:
            self.assertEqual(len(os.listdir(root)), DIRECTORIES * 2 * PROGRAMS)
            self.assertEqual(os.stat(root).st_nlink, 2 + DIRECTORIES * 2 * PROGRAMS)

    def database(self, name):
        paths = [os.path.join(root, name) for root in self.roots]
        connection = sqlite3.connect(paths[0])
        connection.executescript("CREATE TABLE rows (id INTEGER PRIMARY KEY, n INTEGER);"
                                 "CREATE TABLE done (who INTEGER, what INTEGER);")
        connection.executemany("INSERT INTO rows VALUES (?, 100)", [(i,) for i in range(7)])
        connection.commit()
        connection.close()
        return paths

    def check(self, path, transactions):
        connection = sqlite3.connect(path, timeout=120)
        self.assertEqual(connection.execute("PRAGMA integrity_check").fetchone()[0], "ok")
        self.assertEqual(connection.execute("SELECT sum(n) FROM rows").fetchone()[0], 700)
        done = connection.execute("SELECT who, what FROM done").fetchall()
        connection.close()
        self.assertEqual(len(set(done)), len(done))
        self.assertGreaterEqual(len(done), transactions)
        return set(done)

    def test_sqlite_on_both(self):
        for mode in ("DELETE", "TRUNCATE", "PERSIST"):
            paths = self.database(mode)
            done = programs([lambda n=n: transfer(paths[n % 2], n + 1, mode) for n in range(4)])
            for path in paths:
                self.assertEqual(len(self.check(path, sum(done))), sum(done))

    def test_sqlite_when_one_mount_stands_still(self):
        paths = self.database("stopped")
        began = self.cluster.status()["sessions"]
        committed = os.path.join(self.cluster.base, "committed")
        pid = os.fork()
        if pid == 0:
            try:
                with open(committed, "w") as told:
                    transfer(paths[1], 1, "DELETE", 1 << 30, told)
            finally:  # with an error: what was begun before the mount stood still doesn't go on
                os._exit(7)
        self.addCleanup(lambda: os.kill(self.second.process.pid, signal.SIGCONT))

        def told():
            try:
                with open(committed) as lines:
                    return {(1, int(line)) for line in lines if line.endswith("\n")}
            except FileNotFoundError:
                return set()
        wait_for("some transactions", lambda: len(told()) > 5)
        os.kill(self.second.process.pid, signal.SIGSTOP)
        wait_for("the session to end", lambda: self.cluster.status()["sessions"] < began)
        done = transfer(paths[0], 2, "DELETE")
        self.assertEqual(done, TRANSACTIONS)
        os.kill(self.second.process.pid, signal.SIGCONT)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 7)
        present = self.check(paths[0], done)
        self.assertEqual(told() - present, set(), "a transaction that was committed is lost")
        self.assertLessEqual(len([who for who, _ in present if who == 1]), len(told()) + 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
