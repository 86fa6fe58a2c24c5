"""Where a mount test runs: over a cluster of the real daemons, or, with CAIRN_MOUNT=memory, over dfs-mount-memory
(the FUSE adapter over files in memory: no cluster, for the adapter alone). Both unmount and end what they started
on every way out.
"""
import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import BIN, PATIENCE, Cluster, require_environment, wait_for  # noqa: E402

MEMORY = os.environ.get("CAIRN_MOUNT") == "memory"
FULL = os.environ.get("CAIRN_FULL") == "1"
CLUSTER_TEXT = """cluster = "0123456789abcdef0123456789abcdef"
[[master]]
name = "m1"
address = "127.0.0.1:1"
"""


class MemoryMount:
    """The part of Cluster's face that mount tests use."""

    def __init__(self, options=""):
        require_environment()
        self.base = tempfile.mkdtemp(prefix="cairn-memory-")
        self.mnt = os.path.join(self.base, "mnt")
        self.file = os.path.join(self.base, "cluster.toml")
        self.log = os.path.join(self.base, "mount.log")
        self.options = options
        self.process = None

    def __enter__(self):
        os.mkdir(self.mnt)
        with open(self.file, "w") as f:
            f.write(CLUSTER_TEXT)
        atexit.register(self.close)
        words = [os.path.join(BIN, "dfs-mount-memory"), "--foreground", *(["-o", self.options] if self.options else [])]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([*words, self.file, self.mnt], stdin=subprocess.DEVNULL, stderr=log)
        wait_for("the mount", lambda: os.path.ismount(self.mnt) or self.process.poll() is not None)
        if self.process.poll() is not None:
            with open(self.log) as log:
                raise AssertionError(f"dfs-mount-memory ended with {self.process.returncode}: {log.read()}")
        return self

    def __exit__(self, *_):
        self.close()

    def path(self, *names):
        return os.path.join(self.mnt, *names)

    def close(self):
        atexit.unregister(self.close)
        if self.process is None:
            return
        subprocess.run(["fusermount3", "-uz", self.mnt], stderr=subprocess.DEVNULL)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        status, self.process = self.process.returncode, None
        shutil.rmtree(self.base, ignore_errors=True)
        assert status >= 0 or status == -signal.SIGKILL, f"dfs-mount-memory ended by signal {-status}"


def a_mount():
    return MemoryMount() if MEMORY else Cluster()


def drop_caches():
    """Makes the kernel forget clean pages, names and inodes."""
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")
