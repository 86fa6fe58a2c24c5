#!/usr/bin/env python3
"""What the daemons tell of themselves: every one's metrics are in Prometheus' format and move with the work, the status
page's data is as tests/schemas/page.json says, from every master, and no name of a file is in any of it.
"""
import json
import os
import sys
import unittest
import urllib.error

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mount"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, run, wait_for  # noqa: E402
from exposition import check, get, metrics, page, port  # noqa: E402

SCHEMAS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "schemas")
SECRET = "a-name-that-nobody-else-has"
BYTES = 3 << 20
DAEMONS = ["m1", "m2", "m3", "c1", "c2", "c3", "mount"]


def schema(name):
    with open(os.path.join(SCHEMAS, name)) as f:
        return json.load(f)


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(masters=3)
        try:
            cls.cluster.up()
            cls.cluster.wait_healthy()
        except BaseException:
            cls.cluster.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def work(self, name):
        path = self.cluster.path(name)
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, SECRET), "wb", buffering=0) as f:
            f.write(os.urandom(BYTES))
            os.fsync(f.fileno())
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("1")
        with open(os.path.join(path, SECRET), "rb") as f:
            self.assertEqual(len(f.read()), BYTES)

    def scrape(self):
        return {name: metrics(self.cluster, name) for name in DAEMONS}

    def test_metrics_move_with_the_work(self):
        before = self.scrape()
        self.work("moves")
        after = self.scrape()

        def grown(names, sample, **labels):
            return sum(after[n].total(sample, **labels) - before[n].total(sample, **labels) for n in names)
        masters, servers = DAEMONS[:3], DAEMONS[3:6]
        self.assertGreaterEqual(grown(masters, "cairn_master_operation_seconds_count", operation="make"), 2)
        self.assertGreater(grown(masters, "cairn_master_operation_seconds_count", operation="heartbeat"), 0)
        self.assertGreaterEqual(grown(servers, "cairn_chunkserver_written_bytes_total"), BYTES)
        self.assertGreaterEqual(grown(servers, "cairn_chunkserver_forwarded_bytes_total"), 2 * BYTES)
        self.assertGreaterEqual(grown(servers, "cairn_chunkserver_read_bytes_total"), 0)
        self.assertGreater(grown(servers, "cairn_chunkserver_operation_seconds_count", operation="write"), 0)
        self.assertGreater(grown(servers, "cairn_chunkserver_operation_seconds_sum", operation="sync"), 0)
        self.assertGreaterEqual(grown(["mount"], "cairn_mount_written_bytes_total"), BYTES)
        self.assertGreater(grown(["mount"], "cairn_mount_operation_seconds_count", operation="create"), 0)
        for name in DAEMONS:
            self.assertGreater(grown([name], "process_cpu_seconds_total"), 0, name)
            self.assertGreater(after[name].total("cairn_event_loop_lag_seconds_count"), 0, name)
            self.assertEqual(after[name].total("cairn_log_dropped_lines_total"), 0, name)
        for name in servers:
            self.assertEqual(after[name].total("cairn_volume_usable"), 1)
            self.assertGreater(after[name].total("cairn_volume_bytes"), 0)

    def test_masters_tell_who_leads_and_how_the_cluster_is(self):
        found = self.scrape()
        leaders = [n for n in DAEMONS[:3] if found[n].total("cairn_raft_leader") == 1]
        self.assertEqual(len(leaders), 1)
        leader = found[leaders[0]]
        self.assertEqual(leader.total("cairn_cluster_health"), 0)
        self.assertEqual(leader.total("cairn_cluster_server_up"), 3)
        self.assertEqual(leader.total("cairn_cluster_sessions"), 1)
        self.assertGreater(leader.value("cairn_cluster_shards", state="healthy"), 0)
        self.assertEqual(leader.total("cairn_raft_member_reachable"), 3)
        for name in DAEMONS[:3]:
            self.assertGreater(found[name].total("cairn_raft_applied_index"), 0)
            if name not in leaders:
                self.assertNotIn("cairn_cluster_health", found[name].names())

    def test_every_master_shows_the_page_and_it_is_as_promised(self):
        self.work("shown")
        pages = {}
        for name in DAEMONS[:3]:
            pages[name] = page(self.cluster, name)
            check(pages[name], schema("page.json"))
            self.assertEqual(pages[name]["servedBy"], name)
        self.assertEqual(len({p["leader"] for p in pages.values()}), 1)

        def written():
            self.work("shown")  # a rate is of the last moments
            one = page(self.cluster, "m1")
            return sum(one["timeline"]["writeBytesPerSecond"]) > 0 and one["clients"][0]["load"]["operationsPerSecond"]
        wait_for("the page to show what was written", written)
        for file, text in (("/", "CairnFS"), ("/page.js", "refresh"), ("/page.css", "prefers-color-scheme"),
                           ("/icon.svg", "<svg"), ("/healthz", "alive")):
            self.assertIn(text, get(port(self.cluster, "m1", "http"), file))

    def test_no_name_of_a_file_is_shown(self):
        self.work("quiet")
        for name in DAEMONS:
            self.assertNotIn(SECRET, get(port(self.cluster, name, "metrics"), "/metrics"))
        self.assertNotIn(SECRET, json.dumps(page(self.cluster, "m1")))

    def test_a_page_of_somebody_else_cannot_read_along(self):
        with self.assertRaises(urllib.error.HTTPError) as refused:
            get(port(self.cluster, "m1", "http"), "/status.json", host="attacker.example")
        self.assertEqual(refused.exception.code, 403)

    def test_top(self):
        self.work("busy")
        shown = json.loads(self.cluster.admin("-o", "json", "top", "--once").stdout)
        check(shown, schema("top.json"), "top")
        self.assertEqual({server["name"] for server in shown["servers"]}, {"c1", "c2", "c3"})
        self.assertIn("CHUNKSERVER", self.cluster.admin("top", "--once").stdout)

    def test_z_a_lost_server_is_an_event_and_a_reason(self):
        self.cluster.play("kill", "c2")

        def told():
            one = page(self.cluster, "m2")
            texts = [event["text"] for event in one["events"]]
            return one if one["health"] != "healthy" and "chunkserver c2 is gone" in texts else None
        degraded = wait_for("the page to show that c2 is gone", told)
        check(degraded, schema("page.json"))
        self.assertIn("server-down", [reason["code"] for reason in degraded["reasons"]])
        self.assertFalse(next(s for s in degraded["servers"] if s["name"] == "c2")["online"])
        self.cluster.play("start", "c2")
        self.cluster.wait_healthy()

        def back():
            return "chunkserver c2 is back" in [event["text"] for event in page(self.cluster, "m3")["events"]]
        wait_for("the page to show that c2 is back", back)

    def test_z_log_files_begin_anew_at_a_hangup(self):
        # The mount's process writes to what it was started with: nothing to begin anew, and no harm.
        run("kill", "-HUP", str(self.cluster.pid("mount")), str(self.cluster.pid("c1")))
        self.work("goes-on")


if __name__ == "__main__":
    unittest.main(verbosity=2)
