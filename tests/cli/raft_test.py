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
# Why a change may be refused, or not be made, when an election or a stall of the machine comes in between.
PASSING = ("it isn't so", "under way", "no majority", "not the leader", "leads no longer", "another master led",
           "hasn't caught up", "handed over already", "stopped answering")


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

    def change(self, *words, done=None):
        """A change of the group, asked for again when something passing was in its way; what it said. `done`: the
        refusal that says that an earlier try of ours was successful after all."""
        tries = []

        def made():
            tries.append(self.cluster.admin("raft", *words, check=False))
            said = tries[-1].stdout + tries[-1].stderr
            if tries[-1].returncode == 0 or (len(tries) > 1 and done is not None and done in said):
                return said
            self.assertTrue(any(text in said for text in PASSING), f"{words}\n{said}")
            return None
        return wait_for(f"raft {' '.join(words)} to succeed", made)

    def remove(self, name):
        """Until that member is gone, by its id: another of its name may have joined a moment later."""
        member = next(m["id"] for m in self.group()["members"] if m["name"] == name)

        def removed():
            done = self.cluster.admin("raft", "remove", name, check=False)
            if done.returncode == 0:
                self.assertIn("--join", done.stdout)
            else:
                self.assertTrue(any(text in done.stderr for text in (*PASSING, f"no master {name}")), done.stderr)
            return member not in [m["id"] for m in self.group()["members"]]
        wait_for(f"{name} to be out of the group", removed)

    def refuses(self, words, *texts, seems_done=False):
        """A change is refused with these texts, however often it has to be asked for. `seems_done`: when the answer is
        lost it looks as if it were made."""
        def refused():
            done = self.cluster.admin("raft", *words, check=False)
            if done.returncode == REFUSED and all(text.lower() in done.stderr.lower() for text in texts):
                return True
            passing = done.returncode == REFUSED and any(text in done.stderr for text in PASSING)
            self.assertTrue(passing or (seems_done and done.returncode == 0), f"{words}\n{done.stdout}{done.stderr}")
            return False
        wait_for(f"the refusal of raft {' '.join(words)}", refused)

    def transfer(self, name):
        """Until it leads, as all know."""
        def leads():
            self.assertIn(f"{name} leads", self.change("transfer", name, done=f"{name} leads already"))
            return self.roles().get(name) == "leader"  # and hasn't lost it at once
        wait_for(f"{name} to lead", leads)

    def group(self):
        return json.loads(self.cluster.admin("-o", "json", "raft", "status").stdout)

    def roles(self):
        return {m["name"]: m["role"] for m in self.group()["members"]}

    def leader_and_followers(self):
        """When all of them answer the leader: one that has just been started again may not yet."""
        def answering():
            members = self.group()["members"]
            return members if all(m["reachable"] and m["matchIndex"] > 0 for m in members) else None
        roles = {m["name"]: m["role"] for m in wait_for("all masters to answer", answering)}
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

        def of_all():
            compared = json.loads(self.cluster.admin("-o", "json", "raft", "digest").stdout)
            self.assertTrue(compared["equal"] or compared["index"] == 0, compared)
            all_known = len(compared["members"]) == 3 and all(m["digest"] for m in compared["members"])
            return compared["index"] > 0 and all_known

        def in_words():
            done = self.cluster.admin("raft", "digest")
            self.assertNotIn("NOT EQUAL", done.stdout)
            return done.returncode == 0 and "are equal" in done.stdout
        wait_for("a checkpoint, and all masters' digests of it", of_all)
        wait_for("the same in words", in_words)

    def test_status(self):
        self.write_through_the_mount("seen")
        self.leader_and_followers()
        group = self.group()
        self.assertEqual(set(group), {"term", "commitIndex", "appliedIndex", "digest", "members"})
        self.assertEqual([m["name"] for m in group["members"]], NAMES)
        self.assertEqual(sorted(m["role"] for m in group["members"]), ["follower", "follower", "leader"])
        self.assertGreaterEqual(group["commitIndex"], group["appliedIndex"])

        def in_one_term():
            """Both forms of it, and the status of the cluster: no election came in between."""
            before, table = self.group()["term"], self.raft("status").stdout
            masters, roles = self.cluster.status()["masters"], self.roles()
            seen = {m["name"]: m["role"] for m in masters}
            steady = self.group()["term"] == before and "unreachable" not in seen.values()
            return (before, table, masters, seen, roles) if steady else None
        term, table, masters, seen, roles = wait_for("a time without an election", in_one_term)
        for text in (f"Term {term}", "MASTER", "ROLE", "leader", "follower", *NAMES):
            self.assertIn(text, table)
        self.assertEqual(seen, roles)
        self.assertEqual(len({m["address"] for m in masters}), 3)

    def test_leadership_is_handed_over_under_the_mount(self):
        for _ in NAMES:
            leader, followers = self.leader_and_followers()
            term = self.group()["term"]
            self.transfer(followers[0])
            self.assertGreater(self.group()["term"], term)
            self.write_through_the_mount(f"led-by-{followers[0]}")

        def refused():
            leader, _ = self.leader_and_followers()
            done = self.cluster.admin("raft", "transfer", leader)
            return done.returncode == REFUSED and f"{leader} leads already" in done.stderr
        wait_for("the refusal to hand over to the leader", refused)
        self.refuses(["transfer", "m9"], "no master m9")

    def test_a_snapshot_is_made(self):
        def snapshots(name):
            data = os.path.join(self.cluster.dir, name)
            return {name for _, _, names in os.walk(data) for name in names if name.endswith(".snapshot")}
        asked = {}  # leader: what it had before

        def made():
            leader, _ = self.leader_and_followers()
            if leader not in asked:  # the first one, or another meanwhile
                asked[leader] = snapshots(leader)
                self.write_through_the_mount("something-new-for-" + leader)
                self.change("snapshot")
            return any(snapshots(name) - before for name, before in asked.items())
        wait_for("a new snapshot", made)

    def test_what_would_leave_no_majority_is_refused(self):
        leader, (away, other) = self.leader_and_followers()
        self.cluster.play("kill", away)
        down = wait_for("the loss to be seen", lambda: [
            r for r in self.cluster.status()["reasons"] if r["code"] == "master-down"])
        self.assertEqual(len(down), 1, down)
        self.assertIn(f"master {away}", down[0]["text"])
        self.assertIn(f"raft remove {away}", down[0]["action"])
        self.refuses(["remove", other], f"without master {other}", "no majority", "start the others first",
                     "dfsadmin raft status")
        self.assertEqual(sorted(self.roles()), NAMES)
        self.write_through_the_mount("two-are-a-majority")
        self.cluster.play("start", away)
        self.cluster.wait_healthy()

    def test_a_member_is_removed_and_another_of_its_name_joins(self):
        leader, (gone, _) = self.leader_and_followers()
        self.remove(gone)
        self.assertNotIn(gone, self.roles())
        self.refuses(["remove", gone], "no master " + gone, seems_done=True)
        self.assertIn("master-missing", [r["code"] for r in self.cluster.status()["reasons"]])
        self.write_through_the_mount("without-" + gone)
        self.cluster.play("kill", gone)
        self.wipe(gone)
        self.cluster.play("start", gone)
        self.cluster.wait_healthy()
        self.assertIn(self.roles()[gone], ("follower", "leader"))
        # It has a vote, and what was written meanwhile.
        self.transfer(gone)
        self.assertIn("without-" + gone, os.listdir(self.cluster.mnt))

    def test_a_leader_that_is_removed_hands_over(self):
        leader, followers = self.leader_and_followers()
        self.remove(leader)
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
        wait_for("the refusal in its log", lambda: self.log_has(wiped, f"run `dfsadmin raft remove {wiped}`"))
        wait_for("the refusal to join", lambda: self.log_has(wiped, "with another data directory"))
        expected = {**dict.fromkeys(NAMES, True), wiped: False}
        wait_for("the old one to count as lost", lambda: expected == {
            m["name"]: m["reachable"] for m in self.group()["members"]})
        self.remove(wiped)
        self.cluster.wait_healthy()  # it keeps asking, and is let in now
        self.assertEqual(sorted(self.roles()), NAMES)


if __name__ == "__main__":
    unittest.main(verbosity=2)
