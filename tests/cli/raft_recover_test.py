#!/usr/bin/env python3
"""dfsadmin raft recover and raft add on real daemons: two of three masters are lost for good and the third begins the
group anew; the lost ones come back and count for nobody; further masters are taken in."""
import json
import os
import shutil
import subprocess
import sys
import threading
import unittest

from support import HERE, REFUSED, CommandTest, free_port, program, check_schema

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import PATIENCE, UNREACHABLE, Cluster, wait_for  # noqa: E402

NAMES = ["m1", "m2", "m3"]
DEGRADED = 1


class Background:
    """A call in a thread of its own: whether it is done, and that it went well."""

    def __init__(self, call, *arguments):
        self.error = None
        self.thread = threading.Thread(target=self.run, args=(call, *arguments), daemon=True)
        self.thread.start()

    def run(self, call, *arguments):
        try:
            call(*arguments)
        except BaseException as e:  # noqa: B902
            self.error = e

    def done(self):
        return not self.thread.is_alive()

    def join(self):
        self.thread.join(PATIENCE)
        assert self.done(), "it hangs"
        if self.error is not None:
            raise self.error


class GroupTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.c = Cluster(chunkservers=1, masters=3)
        self.addCleanup(self.c.close)
        self.c.up()
        self.c.wait_healthy()
        self.file = os.path.join(self.c.dir, "cluster.toml")
        self.processes = []
        self.addCleanup(self.end_processes)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before and os.path.isdir(self.c.dir):
            self.c.show_logs()

    def end_processes(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def raft(self, *words, code=0):
        done = self.c.admin("raft", *words, check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def await_words(self, code, words, *texts):
        """Until `raft` with these words ends with `code` and says all the texts: a master has a second to answer, and
        on a machine that stands still for longer it isn't heard in time."""
        def said():
            done = self.c.admin("raft", *words, check=False, patient=False)
            output = done.stdout + done.stderr
            return output if done.returncode == code and all(text in output for text in texts) else None
        return wait_for(f"raft {' '.join(words)} to end with {code} and to say {texts}", said)

    def transfer(self, name):
        """Until it leads: an election may come in between."""
        def leads():
            self.c.admin("raft", "transfer", name, check=False)
            return self.roles().get(name) == "leader"
        wait_for(f"{name} to lead", leads)

    def says(self, output, *texts):
        for text in texts:
            self.assertIn(text, output)

    def roles(self):
        group = json.loads(self.c.admin("-o", "json", "raft", "status").stdout)
        return {m["name"]: m["role"] for m in group["members"]}

    def write(self, name):
        with open(self.c.path(name), "w") as f:
            f.write(name)
            f.flush()
            os.fsync(f.fileno())

    def read(self, name):
        with open(self.c.path(name)) as f:
            return f.read()

    def data(self, name):
        return os.path.join(self.c.dir, name)

    def start_master(self, name, file, *more):
        """With the cluster file of its own; its words end up in its log."""
        if not os.path.exists(os.path.join(self.c.dir, "tls", f"master.{name}.pem")):
            self.c.admin("cert", "issue", "--role", "master", "--name", name)
        words = [program("dfs-master"), "--cluster", file, "--name", name, "--dir", self.data(name), *more]
        with open(os.path.join(self.c.dir, "log", name + ".log"), "a") as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def log(self, name):
        with open(os.path.join(self.c.dir, "log", name + ".log"), errors="replace") as f:
            return f.read()

    def wipe(self, name):
        shutil.rmtree(self.data(name))
        os.mkdir(self.data(name))


class Recover(GroupTest):
    def test_a_lost_majority(self):
        for number in range(20):
            self.write(f"before{number}")
        old = os.path.join(self.c.dir, "old.toml")
        shutil.copy(self.file, old)
        roles = self.roles()
        survivor = next(name for name in NAMES if roles[name] == "follower")
        lost = [name for name in NAMES if name != survivor]
        self.check_refusals(survivor, lost)
        waiting = Background(self.write, "meanwhile")
        self.recover(survivor, lost)
        self.c.play("start", survivor)
        waiting.join()
        self.assertEqual(self.roles(), {survivor: "leader"})
        self.write("after")
        for name in [f"before{n}" for n in range(20)] + ["meanwhile", "after"]:
            self.assertEqual(self.read(name), name)
        self.refuse_the_lost(survivor, lost, old)
        for name in lost:
            self.wipe(name)
            self.c.play("start", name)
        self.c.wait_healthy()
        self.assertEqual(sorted(self.roles()), NAMES)
        self.write("three again")
        self.assertEqual(self.read("before0"), "before0")

    def check_refusals(self, survivor, lost):
        command = ("recover", survivor, "--dir", self.data(survivor))
        self.says(self.raft(*command, code=REFUSED), "in use by process")
        self.c.play("kill", survivor)
        self.await_words(REFUSED, command, "isn't lost", " and ".join(lost), f"Start {survivor}")
        self.c.play("start", survivor)
        self.c.wait_healthy()
        self.write("seen by all")
        for name in lost + [survivor]:
            self.c.play("kill", name)
        self.says(self.raft("recover", survivor, "--dir", self.base, code=REFUSED), "no master's data directory")
        self.says(self.raft("recover", lost[0], "--dir", self.data(survivor), code=REFUSED), f'master "{survivor}"')

    def recover(self, survivor, lost):
        command = ("recover", survivor, "--dir", self.data(survivor))
        text = self.raft(*command)
        self.says(text, f"master {survivor} begins the group anew", "its log ends with", ", ".join(lost), "UTC",
                  "Nothing has been changed", "--apply")
        plan = json.loads(self.c.admin("-o", "json", "raft", *command).stdout)
        check_schema("raft-recover", plan)
        self.assertEqual(plan["givenUp"], lost)
        self.assertGreaterEqual(plan["lastIndex"], plan["committedIndex"])
        self.assertIn(plan["plan"], text, "planning changes nothing")
        self.says(self.raft(*command, "--apply", "00000000", code=REFUSED), "is not that of this directory",
                  plan["plan"])
        self.says(self.raft(*command, "--apply", plan["plan"]), "is a group of its own now", "epoch 1-", "--join")
        self.says(self.raft(*command, "--apply", plan["plan"], code=REFUSED), "is not that of this directory")
        with open(self.file) as f:
            self.assertIn('epoch = "1-', f.read())

    def refuse_the_lost(self, survivor, lost, old):
        """They are a majority of the old group. Everybody else knows better, even while the new one is away."""
        name = lost[0]
        words = ("--cluster", self.file, "--name", name, "--dir", self.data(name))
        self.refused(REFUSED, [f"master {name}", "raft recover", "epoch 1-", "--join"], "dfs-master", *words)
        self.c.play("kill", survivor)
        before = {name: len(self.log(name)) for name in lost}
        masters = [self.start_master(name, old) for name in lost]
        wait_for("the lost ones to lead", lambda: any(
            " leads in term" in self.log(name)[before[name]:] for name in lost))
        waiting = Background(self.write, "to the right ones")
        self.await_words(UNREACHABLE, ["status"], "raft recover", "epoch 1-")  # all say why they don't count
        waiting.thread.join(3)
        self.assertFalse(waiting.done(), "the mount took the replaced group for the masters")
        self.c.play("start", survivor)
        waiting.join()
        self.assertEqual(self.roles(), {survivor: "leader"})
        for name, master in zip(lost, masters):
            self.assertNotEqual(master.wait(PATIENCE), 0)
            self.says(self.log(name)[-3000:], "this master ends", f"master {name} is of the group as it was before",
                      "start it with --join")
        self.assertEqual(self.read("to the right ones"), "to the right ones")


class Add(GroupTest):
    def test_a_fourth_master(self):
        self.write("before")
        port = free_port()
        self.says(self.raft("add", "m4", "--timeout", "0", code=REFUSED), "doesn't name master m4", "--address")
        self.says(self.raft("add", "m1", "--timeout", "0", code=REFUSED), "with a vote", "raft remove m1")
        self.says(self.raft("add", "m4", "--address", "nowhere", "--timeout", "0", code=REFUSED), "host:port")
        address = f"127.0.0.1:{port}"
        said = self.raft("add", "m4", "--address", address, "--timeout", "0")
        self.says(said, "--name m4", "--join", f"--listen {address}")
        self.says(self.raft("add", "m4", "--address", "127.0.0.1:1", "--timeout", "0", code=REFUSED), address)
        self.says(self.raft("add", "m4", "--timeout", "0.5", code=DEGRADED), "waiting for master m4 to be started")
        outputs = []
        watching = Background(lambda: outputs.append(self.raft("add", "m4")))
        os.mkdir(self.data("m4"))
        # The other masters, the chunkserver and the mount have never read of it.
        self.start_master("m4", self.file, "--listen", address, "--socket", "", "--join")
        watching.join()
        self.says(outputs[0], "master m4 is there", "master m4 has a vote")
        self.assertIn(self.roles()["m4"], ("follower", "leader"))
        self.transfer("m4")
        self.write("led by m4")
        self.assertEqual(self.read("before"), "before")
        self.c.wait_healthy()
        self.transfer("m1")

        def removed():
            self.c.admin("raft", "remove", "m4", check=False)
            return "m4" not in self.roles()
        wait_for("m4 to be removed", removed)
        self.write("without m4")


if __name__ == "__main__":
    unittest.main(verbosity=2)
