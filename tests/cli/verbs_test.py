#!/usr/bin/env python3
"""Every verb of dfsadmin against a live cluster: what it prints with -o json fits the schema in tools/admin/schema,
what it refuses ends with the right exit code and a code that `explain` knows, and what it does is in the history.
About 40 s."""
import fcntl
import json
import os
import re
import subprocess
import sys
import tarfile
import unittest

from support import HERE, REFUSED, UNREACHABLE, USAGE, CommandTest, check_schema

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import BIN, ROOT, AnotherMount, Cluster, wait_for  # noqa: E402

EXPLAIN = re.compile(r"^more of this: dfsadmin explain ([a-z-]+)$", re.M)


class Verbs(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.c = Cluster(chunkservers=3, masters=3)
        cls.addClassCleanup(cls.c.close)
        cls.c.up()
        cls.c.wait_healthy()
        os.makedirs(cls.c.path("d", "e"))
        with open(cls.c.path("d", "file"), "wb") as f:
            f.write(os.urandom(3 << 20))
            os.fsync(f.fileno())
        os.link(cls.c.path("d", "file"), cls.c.path("d", "e", "again"))

    def setUp(self):
        super().setUp()
        self.show_logs_of(self.c)

    def run_verb(self, *words, code=0):
        done = self.c.admin("-o", "json", *words, check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}{done.stderr}")
        return done

    def ask(self, schema, *words, code=0):
        """Runs a verb, for programs and for people. Returns its JSON."""
        value = json.loads(self.run_verb(*words, code=code).stdout)
        check_schema(schema, value)
        return value

    def also_for_people(self, *words):
        done = self.c.admin(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotEqual(done.stdout.strip(), "")

    def refused_with(self, code, *words, exit_code=REFUSED):
        done = self.run_verb(*words, code=exit_code)
        self.assertEqual(EXPLAIN.findall(done.stderr), [code], done.stderr)
        self.ask("explain", "explain", code)

    def test_looking(self):
        node = self.ask("node-list", "node", "list")["nodes"][0]["name"]
        shard = str(self.ask("shard-list", "shard", "list")["shards"][0]["id"])
        file = self.c.path("d", "file")
        located = self.ask("file-locate", "file", "locate", file)
        for schema, *words in [
                ("status", "status"), ("wait", "wait", "healthy", "--timeout", "60"),
                ("node-show", "node", "show", node),
                ("task-list", "task", "list"), ("shard-list", "shard", "list", "--unhealthy"),
                ("shard-show", "shard", "show", shard), ("file-check", "file", "check", file),
                ("replicas-show", "replicas", "show", file), ("session-list", "session", "list"),
                ("lock-list", "lock", "list"), ("why", "why", file), ("df", "df"), ("df", "df", "--explain"),
                ("removal-list", "removal", "list"), ("trash-list", "trash", "list"), ("quota-list", "quota", "list"),
                ("raft-status", "raft", "status"), ("scrub", "scrub", "status"), ("config", "config", "get"),
                ("config", "config", "get", "scrub_days"), ("config-log", "config", "log"), ("history", "history"),
                ("explain", "explain"), ("explain", "explain", "volume-full"), ("plan", "plan", "add-node", "c9")]:
            with self.subTest(words):
                self.ask(schema, *words)
                self.also_for_people(*words)
        # Exit code 1: it is too early to say of all.
        check_schema("raft-digest", json.loads(self.c.admin("-o", "json", "raft", "digest").stdout))
        paths = self.ask("inode-path", "inode", "path", str(located["inode"]))["paths"]
        self.assertEqual(sorted(paths), ["/d/e/again", "/d/file"])
        directory = self.ask("inode-path", "inode", "path", str(os.stat(self.c.path("d", "e")).st_ino))
        self.assertEqual(directory["paths"], ["/d/e"])

    def test_changing(self):
        d = self.c.path("d", "changing")
        os.mkdir(d)
        self.ask("quota-change", "quota", "set", d, "--bytes", "10G")
        self.ask("quota-change", "quota", "clear", d)
        self.ask("trash-set", "trash", "set", d, "1h")
        self.ask("replicas-set", "replicas", "set", d, "3", "--new-only")
        with open(os.path.join(d, "gone"), "w") as f:
            f.write("x")
        os.unlink(os.path.join(d, "gone"))
        items = wait_for("the deleted file in the trash",
                         lambda: self.ask("trash-list", "trash", "list", d)["items"])
        self.ask("trash-restore", "trash", "restore", str(items[0]["id"]))
        self.ask("trash-purge", "trash", "purge")
        self.ask("trash-purge", "trash", "purge", "--older-than", "1s", "--apply")
        self.ask("scrub", "scrub", "start")
        self.ask("raft-change", "raft", "snapshot")

        # Planned, and carried out only while it is as it was planned for.
        self.ask("node-change", "node", "maintenance", "c3", "--for", "5m")
        self.ask("node-change", "node", "resume", "c3")
        self.c.wait_healthy()
        self.ask("node-ok-to-stop", "node", "ok-to-stop", "c3")

    def test_what_is_taken_away(self):
        """A lock from a program that doesn't let go, a session from a mount; a cluster's file is made without one."""
        path = self.c.path("d", "locked")
        with open(path, "w") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            self.assertFalse(self.ask("lock-break", "lock", "break", path)["applied"])
            broken = self.ask("lock-break", "lock", "break", path, "--apply")
            self.assertEqual([lock["kind"] for lock in broken["locks"]], ["flock"])
            self.assertEqual(self.ask("lock-list", "lock", "list", path)["locks"], [])
        before = {s["id"] for s in self.ask("session-list", "session", "list")["sessions"]}
        other = AnotherMount(self.c)
        self.addCleanup(other.close)
        new = {s["id"] for s in self.ask("session-list", "session", "list")["sessions"]} - before
        self.ask("session-evict", "session", "evict", str(new.pop()))
        self.ask("cluster-init", "cluster", "init", "--file", self.path("new.toml"))

    def test_changed_settings_count(self):
        before = {s["name"]: s for s in self.ask("config", "config", "get")["settings"]}
        self.assertFalse(before["quarantine_seconds"]["set"])
        now = self.ask("config", "config", "set", "quarantine_seconds", "2d")["settings"]
        self.assertEqual(now, [{"name": "quarantine_seconds", "value": 2 * 86400, "set": True}])
        self.ask("config", "config", "set", "repair_mib_per_second", "200")
        # Another leader knows them, for they are in the replicated state.
        leader = next(m["name"] for m in self.c.status()["masters"] if m["role"] == "leader")
        other = next(m["name"] for m in self.c.status()["masters"] if m["name"] != leader)
        self.ask("raft-change", "raft", "transfer", other)
        after = {s["name"]: s for s in self.ask("config", "config", "get")["settings"]}
        self.assertEqual(after["quarantine_seconds"]["value"], 2 * 86400)
        now = self.ask("config", "config", "set", "quarantine_seconds", "default")["settings"]
        self.assertEqual(now, [before["quarantine_seconds"]])
        for wrong in (("config", "set", "scrub_days", "0"), ("config", "set", "scrub_days", "9999"),
                      ("config", "set", "frob", "1"), ("config", "get", "frob")):
            self.refused_with("setting-refused", *wrong)
        self.run_verb("config", "set", "scrub_days", "often", code=USAGE)

    def test_log_levels(self):
        daemons = self.ask("config-log", "config", "log", "c1", "debug")["daemons"]
        self.assertEqual([(d["name"], d["logLevel"]) for d in daemons], [("c1", "debug")])
        levels = {d["name"]: d["logLevel"] for d in self.ask("config-log", "config", "log")["daemons"]}
        self.assertEqual((levels["c1"], levels["m1"], len(levels)), ("debug", "info", 6))
        self.ask("config-log", "config", "log", "c1", "info")
        self.refused_with("daemon-not-found", "config", "log", "c7", "debug")
        self.run_verb("config", "log", "c1", "loud", code=USAGE)

    def test_history(self):
        """Who did what, and what came of it: done, and refused; what only looks isn't in it."""
        self.run_verb("node", "remove", "c1", code=REFUSED)
        self.ask("node-change", "node", "maintenance", "c2", "--for", "7m")
        self.ask("node-change", "node", "resume", "c2")
        self.run_verb("session", "evict", "4711", code=REFUSED)
        self.ask("status", "status")
        told = self.ask("history", "history", "--last", "4")["history"]
        self.assertEqual([(i["action"], i["outcome"]) for i in told],
                         [("node remove c1", "refused"), ("node maintenance c2 for 420 s", "done"),
                          ("node resume c2", "done"), ("session evict 4711", "refused")])
        self.assertIn("node maintenance c2 --for 7m", told[1]["command"])
        self.assertIn("@", told[1]["who"])
        self.assertIn("drain it first", told[0]["why"])
        # It is part of the replicated state: every master has it, also after a new election.
        leader = next(m["name"] for m in self.c.status()["masters"] if m["role"] == "leader")
        self.c.play("kill", leader)
        again = self.ask("history", "history", "--last", "4")["history"]
        self.assertEqual(again, told)
        self.c.play("start", leader)
        self.c.wait_healthy()

    def test_refusals(self):
        for code, *words in [
                ("node-not-found", "node", "show", "c9"), ("node-not-found", "node", "drain", "c9", "--force"),
                ("node-not-found", "node", "ok-to-stop", "c9"), ("node-not-changed", "node", "remove", "c1"),
                ("node-not-found", "plan", "drain", "c9"), ("node-not-found", "scrub", "start", "c9"),
                ("drain-refused", "node", "drain", "c1"), ("plan-refused", "plan", "drain", "c1"),
                ("plan-not-found", "apply", "frob"), ("plan-outdated", "apply", "drain:c1:000000000000"),
                ("task-not-found", "task", "show", "frob"), ("task-not-cancelled", "task", "cancel", "frob"),
                ("task-not-cancelled", "task", "cancel", "replicas-4711"),
                ("shard-not-found", "shard", "show", "99999999"),
                ("shard-not-found", "shard", "force", "99999999"), ("path-not-found", "file", "locate", "/nowhere"),
                ("path-not-found", "file", "check", "/d"), ("path-not-found", "replicas", "show", "/nowhere"),
                ("path-not-found", "quota", "set", "/nowhere", "--bytes", "1G"),
                ("quota-not-found", "quota", "clear", "/d"),
                ("quota-refused", "quota", "set", "/d/file", "--bytes", "1G"),
                ("replicas-refused", "replicas", "set", "/d", "9"), ("inode-not-found", "inode", "path", "4711"),
                ("session-not-evicted", "session", "evict", "4711"), ("lock-not-found", "lock", "break", "/d/file"),
                ("trash-not-restored", "trash", "restore", "4711"),
                ("trash-not-purged", "trash", "purge", "4711", "--apply"),
                ("trash-not-set", "trash", "set", "/d/file", "1h"), ("removal-not-found", "removal", "apply", "4711"),
                ("raft-refused", "raft", "promote", "m9"), ("raft-refused", "raft", "remove", "m9"),
                ("raft-refused", "raft", "transfer", "m9"), ("master-known", "raft", "add", "m1"),
                ("master-not-named", "raft", "add", "m9"), ("code-not-found", "explain", "frob"),
                ("subject-not-found", "why", "4194305"), ("bundle-not-written", "bundle", "--to", "/proc/nowhere/x"),
                ("force-refused", "shard", "force", "0", "--to", "c1")]:
            with self.subTest(words):
                self.refused_with(code, *words)
        says = ["no master answers", "dfsadmin explain no-master"]
        self.refused(UNREACHABLE, says, "dfsadmin", "--cluster", self.cluster_file(), "raft", "status")

    def test_y_plan_and_apply(self):
        """Three copies need three servers, so nothing can be drained before a fourth is there."""
        self.c.play("add", "chunkserver")
        self.c.wait_healthy()
        plan = self.ask("plan", "plan", "drain", "c4")
        self.assertIsNone(plan["refused"])
        self.ask("node-change", "node", "maintenance", "c4", "--for", "5m")
        self.refused_with("plan-outdated", "apply", plan["id"])
        self.ask("node-change", "node", "resume", "c4")
        wait_for("a plan that holds", self.applied)
        self.ask("task-list", "task", "list")
        wait_for("c4 to be drained",
                 lambda: self.ask("node-show", "node", "show", "c4")["state"] == "drained", every=0.2)
        self.ask("task-cancel", "task", "cancel", "drain-c4")
        self.assertEqual(self.ask("node-show", "node", "show", "c4")["state"], "in-service")

    def applied(self):
        """The map may change between the plan and its application: then it must be made again."""
        plan = self.ask("plan", "plan", "drain", "c4")
        done = self.c.admin("-o", "json", "apply", plan["id"], check=False)
        if done.returncode == 0:
            check_schema("apply", json.loads(done.stdout))
        return done.returncode == 0

    def test_z_a_shard_that_is_lost_for_now(self):
        """The only copy that is there is an old one: what going on with it would lose is said, and not done."""
        shard = str(self.ask("file-locate", "file", "locate", self.c.path("d", "file"))["chunks"][0]["shard"])

        def in_sync():
            return {m["server"] for m in self.ask("shard-show", "shard", "show", shard)["inSync"]}
        others = in_sync()
        old = others.pop()
        self.c.play("kill", old)
        wait_for("the others to go on without it", lambda: in_sync() == others, every=0.2)
        with open(self.c.path("d", "file"), "r+b") as f:
            f.write(b"newer")
            os.fsync(f.fileno())
        for name in others:
            self.c.play("kill", name)
        wait_for("all to be gone", lambda: not self.online(*others), every=0.2)
        self.c.play("start", old)
        wait_for(f"{old} to be back", lambda: self.online(old), every=0.2)
        told = self.ask("shard-force", "shard", "force", shard, "--to", old)
        self.assertEqual((told["applied"], told["goesOnWith"].partition("/")[0]), (False, old))
        for name in others:
            self.c.play("start", name)
        self.c.wait_healthy()

    def online(self, *names):
        return any(self.ask("node-show", "node", "show", name)["online"] for name in names)

    def test_bundle(self):
        self.ask("quota-change", "quota", "set", self.c.path("d"), "--files", "1000")
        self.ask("quota-change", "quota", "clear", self.c.path("d"))
        log = os.path.join(self.c.dir, "log", "m1.log")
        made = self.ask("bundle", "bundle", "--to", self.path("b.tar.gz"), "--log", log)
        self.assertEqual(made, {"file": self.path("b.tar.gz"), "lacking": []})
        with tarfile.open(made["file"]) as tar:
            texts = {os.path.basename(name): tar.extractfile(name).read().decode() for name in tar.getnames()}
        self.assertEqual(sorted(texts), ["README", "cluster.toml", "daemons.json", "history.json", "m1.log",
                                         "raft.json", "settings.json", "shards.json", "status.json"])
        check_schema("status", json.loads(texts["status.json"]))
        self.assertNotIn(self.c.mnt, texts["history.json"])
        self.assertIn("quota set (path)", texts["history.json"])

    def test_completion_and_manual(self):
        """The scripts are what their shells accept, and complete what is there; the page has every verb."""
        dfsadmin = os.path.join(BIN, "dfsadmin")
        bash = subprocess.run([dfsadmin, "completion", "bash"], capture_output=True, text=True, check=True).stdout
        asking = '\nCOMP_WORDS=(dfsadmin {words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n_dfsadmin\n' \
                        'printf "%s\\n" "${{COMPREPLY[@]}}"\n'
        for words, expected in [("sta", ["status"]), ("-o json node ok", ["ok-to-stop"]), ("wait he", ["healthy"]),
                                ("-o ''", ["table", "json"]), ("replicas set x 2 --level r", ["rack"]),
                                ("config log m1 deb", ["debug"]), ("node drain --fo", ["--force"])]:
            with self.subTest(words):
                done = subprocess.run(["bash", "-c", bash + asking.format(words=words)], capture_output=True, text=True)
                self.assertEqual((done.stdout.split(), done.stderr), (expected, ""))
        zsh = subprocess.run([dfsadmin, "completion", "zsh"], capture_output=True, text=True, check=True).stdout
        self.write("_dfsadmin", zsh)
        done = subprocess.run(["zsh", "-n", self.path("_dfsadmin")], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        page = subprocess.run([dfsadmin, "--man"], capture_output=True, text=True, check=True).stdout
        for verb in ("node drain", "config set", "bundle", "raft recover"):
            self.assertIn("dfsadmin " + verb, page.replace("\\-", "-"))

    def test_page_of_codes(self):
        """CODES.md is what `explain` says: tools/admin/codes_page.py makes it anew."""
        script = os.path.join(ROOT, "tools", "admin", "codes_page.py")
        made = subprocess.run([sys.executable, script, os.path.join(BIN, "dfsadmin")], capture_output=True, text=True)
        with open(os.path.join(ROOT, "tools", "admin", "CODES.md")) as f:
            self.assertEqual(made.stdout, f.read())

    def test_every_verb_has_an_example(self):
        seen = 0
        todo = [()]
        while todo:
            words = todo.pop()
            done = subprocess.run([os.path.join(BIN, "dfsadmin"), *words, "--help"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, words)
            self.assertIn("Example:\n  dfsadmin", done.stdout)
            verbs = done.stdout.partition("Subcommands:")[2].partition("Example:")[0]
            todo += [(*words, line.split()[0]) for line in verbs.splitlines() if re.match(r"  [a-z]", line)]
            seen += 1
        self.assertGreater(seen, 60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
