#!/usr/bin/env python3
"""A PostgreSQL data directory on the mount, under pgbench, while the leading master is killed, and then the database
itself. No transaction that it has committed may be lost, and no page be torn. CAIRN_FULL=1: ten times as long."""
import glob
import json
import os
import pwd
import re
import signal
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, await_gone, kill, run, wait_for  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"
SECONDS = 80 if FULL else 8
CLIENTS = 4
USER = "postgres"
# Each sums up, in another table, what all transactions have added: equal, unless one of them is there by halves.
SUMS = ["select sum(abalance) from pgbench_accounts", "select sum(bbalance) from pgbench_branches",
        "select sum(tbalance) from pgbench_tellers", "select coalesce(sum(delta), 0) from pgbench_history"]


def programs():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not found:
        sys.exit("PostgreSQL isn't installed: run tools/dfs deps")
    return found[-1]


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(word) for word in f.read().split()]


class Database:
    """A server on a directory of the mount. Runs as a user of its own, for it refuses to be root."""

    def __init__(self, top, base):
        self.data = os.path.join(top, "data")
        self.sockets = os.path.join(base, "sockets")
        self.log = os.path.join(base, "postgres.log")
        self.user = pwd.getpwnam(USER)
        self.server = None
        for folder in (self.data, self.sockets):
            os.mkdir(folder, 0o700)
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)

    def words(self, program, *words):
        return ["setpriv", "--reuid", str(self.user.pw_uid), "--regid", str(self.user.pw_gid), "--clear-groups",
                os.path.join(programs(), program), *words]

    def run(self, program, *words, timeout=600):
        return run(*self.words(program, *words), cwd="/", timeout=timeout,
                   env=dict(os.environ, PGHOST=self.sockets, PGUSER=USER, HOME="/"))

    def make(self):
        self.run("initdb", "-D", self.data, "--data-checksums", "-A", "trust", "-E", "UTF8", "--no-locale")

    def start(self):
        with open(self.log, "a") as log:
            self.server = subprocess.Popen(
                self.words("postgres", "-D", self.data, "-k", self.sockets, "-c", "listen_addresses=",
                           "-c", "checkpoint_timeout=30s", "-c", "shared_buffers=16MB"),
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("the database to answer", self.answers, every=0.2)

    def answers(self):
        if self.server.poll() is not None:
            raise AssertionError(f"the database ended:\n{self.last_lines()}")
        return subprocess.run(self.words("pg_isready", "-q", "-h", self.sockets), cwd="/").returncode == 0

    def last_lines(self):
        with open(self.log) as f:
            return "".join(f.readlines()[-30:])

    def stop(self):
        self.server.send_signal(signal.SIGINT)  # fast: clients are sent away, and a checkpoint is made
        self.server.wait(120)

    def kill(self):
        """With all that it has started, so that nobody cleans up behind it."""
        pids = children_of(self.server.pid)
        self.server.kill()
        for pid in pids:
            kill(pid)
        self.server.wait()
        await_gone(*pids)

    def ask(self, question):
        return self.run("psql", "-X", "-A", "-t", "-c", question, "postgres").strip()

    def pgbench(self, *words):
        return subprocess.Popen(
            self.words("pgbench", "-h", self.sockets, "-U", USER, "-n", "-c", str(CLIENTS), *words, "postgres"),
            cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def processed(output):
    """How many transactions pgbench was told to be committed."""
    found = re.search(r"number of transactions actually processed: (\d+)", output)
    if not found:
        raise AssertionError(f"pgbench says nothing of its transactions:\n{output}")
    return int(found[1])


class PostgreSql(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(masters=3)
        self.addCleanup(self.cluster.close)
        self.cluster.__enter__()
        os.chmod(self.cluster.base, 0o755)
        self.began = time.monotonic()
        self.db = Database(self.cluster.mnt, self.cluster.base)
        self.addCleanup(self.end)

    def end(self):
        if self.db.server is not None and self.db.server.poll() is None:
            self.db.kill()
        print(f"{self.id()}: {time.monotonic() - self.began:.1f} s", flush=True)

    def sound(self, least, most):
        """What is committed is there, as a whole; how many transactions that is."""
        count = int(self.db.ask("select count(*) from pgbench_history"))
        self.assertTrue(least <= count <= most, f"{count} transactions are there, of {least} to {most}")
        self.assertEqual(len({self.db.ask(question) for question in SUMS}), 1, "a transaction is there by halves")
        return count

    def leader(self):
        members = json.loads(self.cluster.admin("-o", "json", "raft", "status").stdout)["members"]
        return next((member["name"] for member in members if member["role"] == "leader"), None)

    def test_nothing_committed_is_lost(self):
        self.db.make()
        self.db.start()
        self.db.run("pgbench", "-i", "-q", "-s", "1", "postgres")
        count = self.without_its_leader()
        self.killed_itself(count)
        self.db.run("pg_amcheck", "--install-missing", "--heapallindexed", "--rootdescend", "postgres")
        self.db.stop()
        print(self.db.run("pg_checksums", "--check", "-D", self.data_checked()).splitlines()[-3:], flush=True)

    def data_checked(self):
        """As the disks have it: what the kernel remembers doesn't count."""
        subprocess.run(["sysctl", "-q", "vm.drop_caches=3"], check=True)
        return self.db.data

    def without_its_leader(self):
        bench = self.db.pgbench("-T", str(SECONDS))
        wait_for("transactions", lambda: int(self.db.ask("select count(*) from pgbench_history")) > 0, every=0.2)
        leader = wait_for("a leader", self.leader)
        pid = self.cluster.pid(leader)
        kill(pid)
        await_gone(pid)
        output, _ = bench.communicate(timeout=SECONDS + 300)
        self.assertEqual(bench.returncode, 0, output)
        done = processed(output)
        self.cluster.play("start", leader)
        print(f"{done} transactions in {SECONDS} s, with the leader killed", flush=True)
        return self.sound(done, done)

    def killed_itself(self, before):
        """Told to be committed counts; what was on its way may be there or not."""
        bench = self.db.pgbench("-T", "600")
        wait_for("transactions",
                 lambda: int(self.db.ask("select count(*) from pgbench_history")) > before + 20, every=0.2)
        self.db.kill()
        output, _ = bench.communicate(timeout=120)
        self.db.start()
        done = before + processed(output)
        self.sound(done, done + CLIENTS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
