"""What the tests of messages share: run a program, look at what it said, at what it left behind."""
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
sys.path.append("/usr/lib/python3/dist-packages")  # Debian's, whichever python3 comes first in the PATH
import jsonschema  # noqa: E402
from cluster import BIN, DFS, ROOT, kill, require_environment, wait_for  # noqa: E402

SCHEMAS = os.path.join(ROOT, "tools", "admin", "schema")

REFUSED, UNREACHABLE, USAGE = 2, 3, 64
CLUSTER_TOML = """cluster = "{id}"
[[master]]
name = "m1"
address = "127.0.0.1:{port}"
socket = "run/m1.sock"
[defaults]
copies = 1
min_copies = 1
servers = 1
"""


def program(name):
    return DFS if name == "dfs" else os.path.join(BIN, name)


def processes_naming(text):
    """Processes (pid, command line) with this text among their arguments; our own excepted."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        if text in line and int(pid) != os.getpid():
            found.append((int(pid), line))
    return found


def free_port():
    """Below the range from which the system gives ports to outgoing connections: nobody gets it by chance meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue  # taken: another one


def check_schema(name, value):
    """What dfsadmin has printed with -o json against tools/admin/schema/NAME.json."""
    with open(os.path.join(SCHEMAS, name + ".json")) as f:
        schema = json.load(f)
    resolver = jsonschema.RefResolver(f"file://{SCHEMAS}/{name}.json", schema)
    jsonschema.Draft202012Validator(schema, resolver=resolver).validate(value)


class CommandTest(unittest.TestCase):
    """A temporary directory for each test; at its end no process may be left that was started in it."""

    def setUp(self):
        require_environment()
        self.base = tempfile.mkdtemp(prefix="cairn-cli-")
        self.addCleanup(self.remove_base)

    def run(self, result=None):
        self.result = result
        self.failed_before = len(result.failures) + len(result.errors)
        return super().run(result)

    def show_logs_of(self, cluster):
        """When the test has failed. Call it after what closes the cluster was added to the cleanups."""
        def show():
            if len(self.result.failures) + len(self.result.errors) > self.failed_before:
                cluster.show_logs()
        self.addCleanup(show)

    def remove_base(self):
        left = self.left_running()
        for pid, _ in left:
            kill(pid)
        for name in os.listdir(self.base):
            subprocess.run(["fusermount3", "-uz", os.path.join(self.base, name)], stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", self.base], check=True)
        self.assertEqual(left, [], "processes were left running")

    def left_running(self):
        """Processes that don't end by themselves: what was unmounted or told to end just now may be at it."""
        try:
            wait_for("the last process to end", lambda: not processes_naming(self.base))
        except AssertionError:
            pass  # they are named by the caller
        return processes_naming(self.base)

    def path(self, *names):
        return os.path.join(self.base, *names)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def cluster_file(self, name="cluster.toml", port=None, cluster="0123456789abcdef0123456789abcdef"):
        return self.write(name, CLUSTER_TOML.format(id=cluster, port=port or free_port()))

    def run_program(self, name, *words, timeout=300, env=None):
        return subprocess.run([program(name), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout, cwd=self.base,
                              env=dict(os.environ, **(env or {})))

    def refused(self, code, says, name, *words, **options):
        """The program must end with `code` and, on standard error, say each of `says`: thing, cause, next step."""
        done = self.run_program(name, *words, **options)
        where = f"{name} {' '.join(words)}\nstdout: {done.stdout}\nstderr: {done.stderr}"
        self.assertEqual(done.returncode, code, where)
        for part in says:
            self.assertIn(part.lower(), done.stderr.lower(), where)
        for bad in ("terminate called", "traceback", "kj/", "stack:", "core dumped"):
            self.assertNotIn(bad, done.stderr.lower(), where)
        self.assertLess(len(done.stderr.splitlines()), 12, where)
        return done
