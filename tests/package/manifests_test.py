#!/usr/bin/env python3
"""docker/compose.yaml and docker/kubernetes/: every name that they use is defined, roles and ports fit the entrypoint,
budgets never take more away than three copies and three masters allow."""
import glob
import os
import re
import subprocess
import sys
import unittest

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's, whichever python3 comes first in the PATH
import yaml  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCKER = os.path.join(ROOT, "docker")


def load(path):
    with open(path) as f:
        return [document for document in yaml.safe_load_all(f) if document]


class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(DOCKER, "entrypoint.sh")) as f:
            cls.entrypoint = f.read()
        cls.roles = set(re.findall(r"^  (\w+)\)$", cls.entrypoint, re.M))
        paths = sorted(glob.glob(os.path.join(DOCKER, "kubernetes", "*.yaml")))
        cls.objects = [o for path in paths for o in load(path)]

    def of_kind(self, kind):
        return {o["metadata"]["name"]: o for o in self.objects if o["kind"] == kind}

    def check_variables(self, names):
        for name in names:
            self.assertIn(name, self.entrypoint)

    def test_compose(self):
        compose = load(os.path.join(DOCKER, "compose.yaml"))[0]
        services = compose["services"]
        self.assertEqual(sorted(services), ["c1", "c2", "c3", "m1", "m2", "m3", "mount"])
        for name, service in services.items():
            with self.subTest(name):
                role, *arguments = service["command"]
                self.assertIn(role, self.roles)
                self.assertEqual(len(arguments), 1)
                self.check_variables(service.get("environment", {}))
                for volume in service["volumes"]:
                    self.assertIn(volume.split(":")[0], compose["volumes"])
                self.assertLessEqual(set(service.get("depends_on", [])), set(services))
        masters = services["m2"]["environment"]["DFS_MASTERS"].split()
        self.assertEqual([m.split("=")[0] for m in masters], ["m1", "m2", "m3"])
        for master in masters:
            name, _, address = master.partition("=")
            self.assertEqual(address.partition(":")[0], services[name]["hostname"])

    def test_pods(self):
        for name, owner in {**self.of_kind("StatefulSet"), **self.of_kind("DaemonSet")}.items():
            with self.subTest(name):
                spec = owner["spec"]
                pod = spec["template"]["spec"]
                self.assertEqual(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"])
                volumes = {v["name"] for v in pod["volumes"]}
                volumes |= {c["metadata"]["name"] for c in spec.get("volumeClaimTemplates", [])}
                for container in pod["containers"]:
                    self.assertEqual({m["name"] for m in container["volumeMounts"]}, volumes)
                    self.assertIn(container["args"][0], self.roles)
                    self.assertIn("livenessProbe", container)
                    self.check_variables(v["name"] for v in container.get("env", []) if v["name"] != "POD_NAME")
                    ports = {p["name"] for p in container.get("ports", [])}
                    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                        wanted = container.get(probe, {}).get("tcpSocket", {}).get("port")
                        self.assertTrue(wanted is None or wanted in ports)

    def test_stateful_sets(self):
        services, budgets = self.of_kind("Service"), self.of_kind("PodDisruptionBudget")
        sets = self.of_kind("StatefulSet")
        self.assertEqual(len(sets), 2)
        for name, owner in sets.items():
            with self.subTest(name):
                labels = owner["spec"]["selector"]["matchLabels"]
                service = services[owner["spec"]["serviceName"]]
                self.assertEqual((service["spec"]["selector"], service["spec"]["clusterIP"]), (labels, "None"))
                budget = next(b for b in budgets.values() if b["spec"]["selector"]["matchLabels"] == labels)
                self.assertEqual(budget["spec"]["maxUnavailable"], 1)
                container = owner["spec"]["template"]["spec"]["containers"][0]
                address = next(v["value"] for v in container["env"] if v["name"] == "DFS_ADDRESS")
                port = container["ports"][0]["containerPort"]
                self.assertEqual(address, f"$(POD_NAME).{owner['spec']['serviceName']}:{port}")
                self.assertEqual(service["spec"]["ports"][0]["port"], port)

    def test_scripts(self):
        for path in (os.path.join(DOCKER, "entrypoint.sh"), os.path.join(ROOT, "tools", "package", "dfs-master-start"),
                     *glob.glob(os.path.join(ROOT, "tools", "package", "server", "*"))):
            self.assertEqual(subprocess.run(["sh", "-n", path]).returncode, 0, path)


if __name__ == "__main__":
    unittest.main()
