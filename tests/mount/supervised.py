"""A supervised mount beside the one that comes with a cluster: its process can be killed, or asked to hand over."""
import os
import signal
import subprocess
import tempfile

from cluster import BIN, kill, wait_for


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(word) for word in f.read().split()]


class SupervisedMount:
    def __init__(self, cluster, program=os.path.join(BIN, "dfs-mount")):
        self.mnt = tempfile.mkdtemp(prefix="supervised-", dir=cluster.base)
        self.log = self.mnt + ".log"
        words = [program, "--foreground", "--supervise", "--connect-timeout", "120",
                 os.path.join(cluster.dir, "cluster.toml"), self.mnt]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=log)
        wait_for("the mount to be served", lambda: self.times_served() == 1 or self.process.poll() is not None)
        assert self.process.poll() is None, "the mount ended"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.said()[-6000:])
        self.close()

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def times_served(self):
        said = self.said()
        return said.count("dfs-mount: mounted ") + said.count("dfs-mount: serving ")

    def path(self, *names):
        return os.path.join(self.mnt, *names)

    def worker(self):
        """The process that serves now; None between two."""
        found = children(self.process.pid)
        return found[0] if found else None

    def change(self, how):
        """Another process takes over: how() makes this one go. Waits until it serves."""
        before = self.times_served()
        how()
        wait_for("another process to serve", lambda: self.times_served() > before, every=0.01)

    def hand_over(self):
        self.change(lambda: os.kill(self.process.pid, signal.SIGUSR2))

    def crash(self):
        self.change(lambda: kill(self.worker()))

    def close(self):
        self.process.kill()
        self.process.wait()
        subprocess.run(["fusermount3", "-uz", self.mnt], stderr=subprocess.DEVNULL)
