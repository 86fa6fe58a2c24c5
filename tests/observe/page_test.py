#!/usr/bin/env python3
"""By hand, or nightly: the status page in a real browser and the metrics in a real Prometheus, Debian's chromium and
prometheus: healthy, with a chunkserver killed, while copies are made again; on a desk and 390 pixels wide. The pictures
are for people to look at: CAIRN_SHOTS=DIRECTORY keeps them.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mount"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, wait_for  # noqa: E402
from exposition import page, port  # noqa: E402

SIZES = {"desk": "1280,2600", "phone": "390,5200"}
BROWSER_SECONDS = 120
SERVER_MIB = 64


def programs():
    missing = [name for name in ("chromium", "prometheus") if shutil.which(name) is None]
    if missing:
        sys.exit(f"this test needs {' and '.join(missing)}: apt-get install {' '.join(missing)}")


class Page(unittest.TestCase):
    def setUp(self):
        self.shots = os.environ.get("CAIRN_SHOTS") or tempfile.mkdtemp(prefix="cairn-shots-")
        os.makedirs(self.shots, exist_ok=True)

    def browse(self, address, *words):
        with tempfile.TemporaryDirectory(prefix="cairn-browser-", ignore_cleanup_errors=True) as profile:
            done = subprocess.run(
                ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--hide-scrollbars", f"--user-data-dir={profile}", *words, f"http://{address}/"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                timeout=BROWSER_SECONDS)
        return done.stdout

    def shoot(self, address, name):
        for size, pixels in SIZES.items():
            for theme, words in (("light", []), ("dark", ["--blink-settings=preferredColorScheme=0"])):
                if theme == "dark" and name != "healthy":
                    continue
                path = os.path.join(self.shots, f"{name}-{size}-{theme}.png")
                self.browse(address, f"--window-size={pixels}", "--virtual-time-budget=6000", *words,
                            f"--screenshot={path}")
                self.assertGreater(os.path.getsize(path), 10000, path)

    def dom(self, address):
        return self.browse(address, "--virtual-time-budget=6000", "--dump-dom")

    def fill(self, cluster):
        for i in range(SERVER_MIB // 8):
            with open(cluster.path(f"file{i}"), "wb") as f:
                f.write(os.urandom(8 << 20))

    def test_page(self):
        with Cluster(masters=3, chunkservers=4) as cluster:
            address = port(cluster, "m1", "http")
            self.fill(cluster)
            wait_for("some of the last hour", lambda: len(page(cluster, "m1")["timeline"]["writeBytesPerSecond"]) >= 4)
            healthy = self.dom(address)
            self.assertIn("All is well", healthy)
            self.assertNotIn("Looking", healthy)
            self.shoot(address, "healthy")
            cluster.play("kill", "c2")
            wait_for("a degraded cluster", lambda: page(cluster, "m1")["health"] == "degraded")
            self.assertIn("chunkserver c2", self.dom(address))
            self.shoot(address, "degraded")
            wait_for("a repair", lambda: page(cluster, "m1")["repair"]["bytesPerSecond"] > 0)
            self.shoot(address, "repair")

    def test_prometheus(self):
        with Cluster(masters=3) as cluster, tempfile.TemporaryDirectory(prefix="cairn-prometheus-") as data:
            listen = "127.0.0.1:39090"
            config = os.path.join(cluster.dir, "run", "prometheus.yml")
            with open(os.path.join(data, "log"), "w") as log:
                process = subprocess.Popen(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}/db",
                                            f"--web.listen-address={listen}"], stdout=log, stderr=log)
            try:
                def ask(path):
                    try:
                        with urllib.request.urlopen(f"http://{listen}{path}", timeout=10) as answer:
                            return json.load(answer)["data"]
                    except OSError:
                        return None

                def allUp():
                    found = ask("/api/v1/targets") or {"activeTargets": []}
                    up = [t for t in found["activeTargets"] if t["health"] == "up"]
                    return up if len(up) == 7 else None
                wait_for("all seven targets to be up", allUp)
                health = ask("/api/v1/query?query=cairn_cluster_health")["result"]
                self.assertEqual([sample["value"][1] for sample in health], ["0"])
                rate = "rate(cairn_master_operation_seconds_bucket%5B1m%5D)"
                latency = ask(f"/api/v1/query?query=histogram_quantile(0.99,sum({rate})by(le))")
                self.assertEqual(latency["resultType"], "vector")
            finally:
                process.terminate()
                process.wait()


if __name__ == "__main__":
    programs()
    unittest.main(verbosity=2)
