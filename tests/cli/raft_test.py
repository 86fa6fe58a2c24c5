#!/usr/bin/env python3
"""dfsadmin raft on three masters: what it shows, leadership handed over, members removed, lost and taken in again."""
import json
import os
import shutil
import sys
import unittest

from support import HERE, REFUSED, CommandTest

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, wait_for  # noqa: E402

NAMES = ["m1", "m2", "m3"]


class Raft(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(chunkservers=1, masters=3)
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.up()
        cls.cluster.wait_healthy()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            self.cluster.show_logs()

    def raft(self, *words, code=0):
        done = self.cluster.admin("raft", *words, check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}{done.stderr}")
        return done

    def group(self):
        return json.loads(self.cluster.admin("-o", "json", "raft", "status").stdout)

    def roles(self):
        return {m["name"]: m["role"] for m in self.group()["members"]}

    def leader_and_followers(self):
        """When all of them answer the leader: one that has just been started again may not yet."""
        wait_for("all masters to answer", lambda: all(m["reachable"] for m in self.group()["members"]), 10)
        roles = self.roles()
        leaders = [name for name, role in roles.items() if role == "leader"]
        self.assertEqual(len(leaders), 1, roles)
        return leaders[0], [name for name in roles if name != leaders[0]]

    def log_has(self, name, text):
        with open(os.path.join(self.cluster.dir, "log", name + ".log"), errors="replace") as f:
            return text in f.read()

    def wipe(self, name):
        path = os.path.join(self.cluster.dir, name)
        shutil.rmtree(path)
        os.mkdir(path)

    def write_through_the_mount(self, name):
        with open(self.cluster.path(name), "w") as f:
            f.write(name)
            f.flush()
            os.fsync(f.fileno())

    def test_the_states_of_all_masters_are_equal(self):
        for i in range(100):
            self.write_through_the_mount(f"equal{i}")
        wait_for("a checkpoint", lambda: self.digests()["index"] > 0)
        wait_for("an answer of all masters", lambda: all(m["digest"] for m in self.digests()["members"]))
        compared = self.digests()
        self.assertTrue(compared["equal"], compared)
        self.assertEqual(len(compared["members"]), 3)
        self.assertIn("are equal", self.raft("digest").stdout)

    def digests(self):
        return json.loads(self.cluster.admin("-o", "json", "raft", "digest", check=False).stdout)

    def test_status(self):
        self.write_through_the_mount("seen")
        group = self.group()
        self.assertEqual(set(group), {"term", "commitIndex", "appliedIndex", "digest", "members"})
        self.assertEqual([m["name"] for m in group["members"]], NAMES)
        self.assertEqual(sorted(m["role"] for m in group["members"]), ["follower", "follower", "leader"])
        for member in group["members"]:
            self.assertTrue(member["reachable"], member)
            self.assertGreater(member["matchIndex"], 0)
        self.assertGreaterEqual(group["commitIndex"], group["appliedIndex"])
        table = self.raft("status").stdout
        for text in (f"Term {group['term']}", "MASTER", "ROLE", "leader", "follower", *NAMES):
            self.assertIn(text, table)
        masters = self.cluster.status()["masters"]
        self.assertEqual({m["name"]: m["role"] for m in masters}, self.roles())
        self.assertEqual(len({m["address"] for m in masters}), 3)

    def test_leadership_is_handed_over_under_the_mount(self):
        for _ in NAMES:
            leader, followers = self.leader_and_followers()
            term = self.group()["term"]
            self.assertIn(f"{followers[0]} leads", self.raft("transfer", followers[0]).stdout)
            self.assertEqual(self.leader_and_followers()[0], followers[0])
            self.assertGreater(self.group()["term"], term)
            self.write_through_the_mount(f"led-by-{followers[0]}")
        leader, _ = self.leader_and_followers()
        self.assertIn(f"{leader} leads already", self.raft("transfer", leader, code=REFUSED).stderr)
        self.assertIn("no master m9", self.raft("transfer", "m9", code=REFUSED).stderr)

    def test_a_snapshot_is_made(self):
        leader, _ = self.leader_and_followers()
        data = os.path.join(self.cluster.dir, leader)

        def snapshots():
            return {name for _, _, names in os.walk(data) for name in names if name.endswith(".snapshot")}
        before = snapshots()
        self.write_through_the_mount("something-new")
        self.raft("snapshot")
        wait_for("a new snapshot", lambda: snapshots() - before, 20)

    def test_what_would_leave_no_majority_is_refused(self):
        leader, (away, other) = self.leader_and_followers()
        self.cluster.play("kill", away)
        wait_for("the loss to be seen", lambda: self.cluster.status()["health"] == "degraded", 10)
        reasons = {r["code"]: r for r in self.cluster.status()["reasons"]}
        self.assertIn(f"master {away}", reasons["master-down"]["text"])
        self.assertIn(f"raft remove {away}", reasons["master-down"]["action"])
        refused = self.raft("remove", other, code=REFUSED).stderr
        for text in (f"without master {other}", "no majority", "start the others first", "dfsadmin raft status"):
            self.assertIn(text.lower(), refused.lower())
        self.assertEqual(sorted(self.roles()), NAMES)
        self.write_through_the_mount("two-are-a-majority")
        self.cluster.play("start", away)
        self.cluster.wait_healthy()

    def test_a_member_is_removed_and_another_of_its_name_joins(self):
        leader, (gone, _) = self.leader_and_followers()
        self.assertIn("--join", self.raft("remove", gone).stdout)
        self.assertNotIn(gone, self.roles())
        self.assertIn("no master " + gone, self.raft("remove", gone, code=REFUSED).stderr)
        self.assertIn("master-missing", [r["code"] for r in self.cluster.status()["reasons"]])
        self.write_through_the_mount("without-" + gone)
        self.cluster.play("kill", gone)
        self.wipe(gone)
        self.cluster.play("start", gone)
        self.cluster.wait_healthy()
        self.assertEqual(self.roles()[gone], "follower")
        # It has a vote, and what was written meanwhile.
        self.raft("transfer", gone)
        self.assertIn("without-" + gone, os.listdir(self.cluster.mnt))

    def test_a_leader_that_is_removed_hands_over(self):
        leader, followers = self.leader_and_followers()
        self.raft("remove", leader)
        self.assertIn(self.leader_and_followers()[0], followers)
        self.write_through_the_mount("without-" + leader)
        self.cluster.play("kill", leader)
        self.wipe(leader)
        self.cluster.play("start", leader)
        self.cluster.wait_healthy()

    def test_a_copied_directory_is_refused_under_its_old_name(self):
        leader, (copied, _) = self.leader_and_followers()
        self.cluster.play("kill", copied)
        data = os.path.join(self.cluster.dir, copied)
        os.rename(data, data + ".original")
        shutil.copytree(data + ".original", data)
        file = os.path.join(self.cluster.dir, "cluster.toml")
        words = ("dfs-master", "--cluster", file, "--name", copied, "--dir", data)
        self.refused(REFUSED, ["is a copy", copied, f"dfsadmin raft remove {copied}", "--join"], *words)
        shutil.rmtree(data)
        os.rename(data + ".original", data)  # which is only a move
        self.cluster.play("start", copied)
        self.cluster.wait_healthy()

    def test_a_wiped_directory_is_refused_under_its_old_name(self):
        leader, (wiped, _) = self.leader_and_followers()
        self.cluster.play("kill", wiped)
        self.wipe(wiped)
        file = os.path.join(self.cluster.dir, "cluster.toml")
        words = ("dfs-master", "--cluster", file, "--name", wiped, "--dir", os.path.join(self.cluster.dir, wiped))
        self.refused(REFUSED, [wiped, "is empty", "--join"], *words)
        self.refused(REFUSED, ["exists already", "--join"], *words, "--init")
        self.cluster.play("start", wiped)  # with --join
        wait_for("the refusal in its log", lambda: self.log_has(wiped, f"run `dfsadmin raft remove {wiped}`"), 20)
        wait_for("the refusal to join", lambda: self.log_has(wiped, "with another data directory"), 20)
        expected = {**dict.fromkeys(NAMES, True), wiped: False}
        wait_for("the old one to count as lost", lambda: expected == {
            m["name"]: m["reachable"] for m in self.group()["members"]}, 10)
        self.raft("remove", wiped)
        self.cluster.wait_healthy()  # it keeps asking, and is let in now
        self.assertEqual(sorted(self.roles()), NAMES)


if __name__ == "__main__":
    unittest.main(verbosity=2)
