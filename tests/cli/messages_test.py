#!/usr/bin/env python3
"""Wrong words and wrong files: every program names thing, cause and next step, and ends with the right code."""
import os
import unittest

from support import REFUSED, UNREACHABLE, USAGE, CommandTest, free_port

DAEMONS = ("dfs-master", "dfs-chunkserver")


class WrongWords(CommandTest):
    def test_wrong_flag(self):
        for name in ("dfs-master", "dfs-chunkserver", "dfs-mount", "dfsadmin"):
            with self.subTest(name):
                self.refused(USAGE, ["--frobnicate", "--help"], name, "--frobnicate")

    def test_no_words(self):
        for name in ("dfs-master", "dfs-chunkserver", "dfs-mount", "dfsadmin"):
            with self.subTest(name):
                self.refused(USAGE, [name, "help"], name)

    def test_help(self):
        for name in ("dfs-master", "dfs-chunkserver", "dfs-mount", "dfsadmin", "dfs"):
            with self.subTest(name):
                done = self.run_program(name, "--help")
                self.assertEqual(done.returncode, 0)
                self.assertIn("xample" if name != "dfs" else "Begin with", done.stdout)

    def test_every_verb_of_dfsadmin_has_an_example(self):
        for words in ("status", "wait", "node list", "node show", "shard list", "shard show", "file locate",
                      "file check", "session list", "session evict", "df", "raft status", "raft promote", "raft remove",
                      "raft transfer", "raft snapshot", "cluster init", "cert token", "cert issue", "cert list",
                      "cert revoke", "cert join"):
            with self.subTest(words):
                done = self.run_program("dfsadmin", *words.split(), "--help")
                self.assertEqual(done.returncode, 0)
                self.assertIn("Example:\n  dfsadmin " + words, done.stdout)

    def test_dfs(self):
        for words, says in [
                (["frob"], ["frob", "--help"]), (["up", "--frob"], ["--frob", "--help"]), (["up", "--dir"], ["--dir"]),
                (["up", "--chunkservers", "many"], ["--chunkservers", "many"]), (["build", "fast"], ["fast", "asan"]),
                (["test", "frob"], ["frob", "unit"]), (["play", "frob"], ["frob"]), (["play", "kill"], ["name"]),
                (["down", "--frob"], ["--frob"])]:
            with self.subTest(words):
                self.refused(USAGE, says, "dfs", *words)

    def test_dfs_refuses_what_cannot_be(self):
        self.refused(REFUSED, ["no cluster", "cluster.toml", "tools/dfs up"], "dfs", "down", "--dir", "d")
        self.refused(REFUSED, ["no cluster", "tools/dfs up"], "dfs", "play", "--dir", "d", "list")
        self.refused(REFUSED, ["3 copies", "2 chunkservers", "lower --replicas"],
                     "dfs", "up", "--dir", "d", "--chunkservers", "2", "--replicas", "3")
        self.assertEqual(os.listdir(self.base), [])

    def test_dfs_up_into_something_else(self):
        os.makedirs(self.path("full", "d"))
        self.refused(REFUSED, ["full", "something else", "--dir"], "dfs", "up", "--dir", "full")
        self.write("file", "x")
        self.refused(REFUSED, ["file", "not a directory", "--dir"], "dfs", "up", "--dir", "file")
        self.refused(REFUSED, ["file", "not a directory", "--mount"], "dfs", "up", "--dir", "new", "--mount", "file")
        self.refused(REFUSED, ["not empty", "hide", "--mount"], "dfs", "up", "--dir", "new", "--mount", "full")
        self.refused(REFUSED, ["inside the mount point", "--mount"], "dfs", "up", "--dir", "a/b", "--mount", "a")
        self.assertEqual(sorted(os.listdir(self.base)), ["file", "full"])


class WrongFiles(CommandTest):
    def start(self, name, cluster, *more):
        if name == "dfs-mount":
            os.makedirs(self.path("mnt"), exist_ok=True)
            return name, cluster, self.path("mnt"), "--foreground"
        if name == "dfsadmin":
            return name, "--cluster", cluster, "status"
        os.makedirs(self.path("data"), exist_ok=True)
        port = free_port()
        member = "m1" if name == "dfs-master" else "c1"
        return (name, "--insecure", "--cluster", cluster, "--name", member, "--dir", self.path("data"), "--listen",
                f"127.0.0.1:{port}", "--socket", self.path("sock"), *more)

    def test_missing_cluster_file(self):
        for name in (*DAEMONS, "dfs-mount", "dfsadmin"):
            with self.subTest(name):
                says = ["nowhere.toml", "no such file", "tools/dfs up"]
                self.refused(REFUSED, says, *self.start(name, "nowhere.toml"))

    def test_malformed_cluster_file(self):
        cases = {"not TOML [": ["cluster.toml:1", "toml"],
                 'cluster = "12"\n': ["cluster.toml:1", "cluster id", "dfsadmin cluster init"],
                 'cluster = "0123456789abcdef0123456789abcdef"\n': ["master", "[[master]]"],
                 'cluster = "0123456789abcdef0123456789abcdef"\nfrob = 1\n': ["cluster.toml:2", "frob"]}
        for text, says in cases.items():
            cluster = self.write("cluster.toml", text)
            for name in (*DAEMONS, "dfs-mount", "dfsadmin"):
                with self.subTest(name=name, text=text):
                    self.refused(REFUSED, says, *self.start(name, cluster))

    def test_a_directory_for_a_cluster_file(self):
        for name in (*DAEMONS, "dfs-mount", "dfsadmin"):
            with self.subTest(name):
                self.refused(REFUSED, [self.base, "regular file"], *self.start(name, self.base))

    def test_no_master_answers(self):
        cluster = self.cluster_file()
        self.refused(UNREACHABLE, ["no master answers", "127.0.0.1", "start it"], *self.start("dfsadmin", cluster))
        self.refused(UNREACHABLE, ["no master answers"], "dfsadmin", "--cluster", cluster, "wait", "healthy",
                     "--timeout", "1")

    def test_data_directory_that_is_not_there(self):
        cluster = self.cluster_file()
        for name in DAEMONS:
            with self.subTest(name):
                words = list(self.start(name, cluster))
                words[words.index("--dir") + 1] = self.path("file", "sub")
                self.write("file", "x")
                self.refused(REFUSED, ["file/sub"], *words)

    def test_unknown_master_name(self):
        cluster = self.cluster_file()
        words = list(self.start("dfs-master", cluster, "--init"))
        words[words.index("--name") + 1] = "m7"
        self.refused(REFUSED, ["m7", "cluster.toml", "m1"], *words)

    def test_master_without_init_in_an_empty_directory(self):
        self.refused(REFUSED, ["data", "--init"], *self.start("dfs-master", self.cluster_file()))

    def test_cluster_init_refuses_to_replace(self):
        cluster = self.cluster_file()
        self.refused(REFUSED, ["cluster.toml", "there already", "--file"],
                     "dfsadmin", "cluster", "init", "--file", cluster)
        self.refused(USAGE, ["127.0.0.1", "port"], "dfsadmin", "cluster", "init", "--file", "new.toml",
                     "--master", "127.0.0.1")
        self.assertEqual(os.listdir(self.base), ["cluster.toml"])

    def test_daemons_want_certificates(self):
        for name in DAEMONS:
            with self.subTest(name):
                words = [word for word in self.start(name, self.cluster_file()) if word != "--insecure"]
                self.refused(REFUSED, ["no certificates", "dfsadmin cluster init", "--insecure"], *words)

    def test_insecure_is_for_loopback_alone(self):
        words = list(self.start("dfs-master", self.cluster_file(), "--init"))
        words[words.index("--listen") + 1] = f"0.0.0.0:{free_port()}"
        self.refused(REFUSED, ["0.0.0.0", "without certificates", "loopback"], *words)
        self.assertEqual(os.listdir(self.path("data")), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
