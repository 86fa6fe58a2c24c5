"""A cluster of the real daemons and a real mount, for tests: started through tools/dfs in a directory of its own,
and taken down on every way out. Standard library only.

    with Cluster() as c:
        open(c.path("file"), "w").write("x")
"""
import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DFS = os.path.join(ROOT, "tools", "dfs")
BIN = os.environ.get("CAIRN_BIN", os.path.join(ROOT, "build", "release"))
# Nothing is given up earlier: the machine may be ten times slower than the one on which a test was written, or stand
# still for seconds. How long something may take at most is measured and asserted, not waited for.
PATIENCE = 120.0
UNREACHABLE = 3  # exit code of dfsadmin
ABOUT_THE_MACHINE = {"volume-slow"}  # codes of reasons that say nothing about the cluster
_live = []


def require_environment():
    """CI must fail, not skip, where a mount can't be tested."""
    if os.geteuid() != 0:
        sys.exit("this test needs root: it mounts a file system; run it as root")
    if not os.path.exists("/dev/fuse"):
        sys.exit("this test needs /dev/fuse: load the fuse module or allow the device in this container")


def wait_for(what, condition, seconds=PATIENCE, every=0.05):
    """Waits until condition() is true and returns its value; fails by name after `seconds`, PATIENCE at least."""
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > began + max(seconds, PATIENCE):
            raise AssertionError(f"waited {time.monotonic() - began:.0f} s in vain for: {what}")
        time.sleep(every)


def is_gone(pid):
    """Ended, whether somebody has asked how or not. One that is killed in the middle of a slow sync lives on for it."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def await_gone(*pids):
    """tools/dfs takes what is still there for a daemon that runs, and starts none in its place."""
    for pid in pids:
        wait_for(f"process {pid} to end", lambda: is_gone(pid), every=0.005)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # already gone, as wanted


class Cluster:
    def __init__(self, chunkservers=3, base=None, mount=True, extra=(), masters=1):
        require_environment()
        self.base = tempfile.mkdtemp(prefix="cairn-test-", dir=base)
        self.dir = os.path.join(self.base, "cluster")
        self.mnt = os.path.join(self.base, "mnt")
        self.chunkservers = chunkservers
        self.masters = masters
        self.extra = list(extra)
        _live.append(self)

    def __enter__(self):
        try:
            self.up()
            self.wait_healthy()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.show_logs()
        self.close()

    # ---- life of the cluster

    def dfs(self, *words, check=True, timeout=600):
        done = subprocess.run([DFS, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"dfs {' '.join(words)} ended with {done.returncode}:\n{done.stdout}")
        return done

    def up(self):
        return self.dfs("up", "--dir", self.dir, "--mount", self.mnt, "--masters", str(self.masters),
                        "--chunkservers", str(self.chunkservers), *self.extra).stdout

    def down(self):
        return self.dfs("down", "--dir", self.dir).stdout

    def play(self, *words):
        return self.dfs("play", "--dir", self.dir, *words).stdout

    def pid(self, name):
        try:
            with open(os.path.join(self.dir, "run", name + ".pid")) as f:
                return int(f.read())
        except (FileNotFoundError, ValueError):
            return None

    def pids(self):
        run = os.path.join(self.dir, "run")
        names = [n[:-4] for n in os.listdir(run) if n.endswith(".pid")] if os.path.isdir(run) else []
        return {name: self.pid(name) for name in names}

    def is_ours(self, pid):
        """A pid file may be older than the process that has the number now."""
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                return os.fsencode(self.dir) in f.read()
        except (FileNotFoundError, ProcessLookupError):
            return False

    def kill_all(self):
        """SIGKILL to every daemon at once, the mount's process too. They are gone then."""
        pids = [pid for pid in self.pids().values() if pid and self.is_ours(pid)]
        for pid in pids:
            kill(pid)
        subprocess.run(["fusermount3", "-uz", self.mnt], stderr=subprocess.DEVNULL)
        await_gone(*pids)

    def close(self):
        if self in _live:
            _live.remove(self)
        subprocess.run(["fusermount3", "-uz", self.mnt], stderr=subprocess.DEVNULL)
        try:
            self.dfs("down", "--dir", self.dir, "--wipe", check=False)
        finally:
            self.kill_all()
            shutil.rmtree(self.base, ignore_errors=True)

    def show_logs(self, lines=30):
        log = os.path.join(self.dir, "log")
        for name in sorted(os.listdir(log)) if os.path.isdir(log) else []:
            with open(os.path.join(log, name), errors="replace") as f:
                tail = f.readlines()[-lines:]
            sys.stderr.write(f"--- {name}\n{''.join(tail)}")

    # ---- looking at it

    def path(self, *names):
        return os.path.join(self.mnt, *names)

    def admin(self, *words, check=True, patient=True, timeout=300):
        """`patient`: asked again when no master answers. Any moment may be one of an election."""
        end = time.monotonic() + PATIENCE
        while True:
            done = self.admin_once(*words, timeout=timeout)
            if done.returncode != UNREACHABLE or not patient or time.monotonic() > end:
                break
        if check and done.returncode not in (0, 1, 2):
            output = done.stdout + done.stderr
            raise AssertionError(f"dfsadmin {' '.join(words)} ended with {done.returncode}:\n{output}")
        return done

    def admin_once(self, *words, timeout):
        cluster = os.path.join(self.dir, "cluster.toml")
        return subprocess.run([os.path.join(BIN, "dfsadmin"), "--cluster", cluster, *words],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout)

    def status(self):
        return json.loads(self.admin("-o", "json", "status").stdout)

    def wait_healthy(self, seconds=240.0):
        """Until nothing is wrong but, perhaps, with the machine that the test runs on. Returns that status."""
        reasons = []

        def healthy():
            nonlocal reasons
            status = self.status()
            reasons = [reason for reason in status["reasons"] if reason["code"] not in ABOUT_THE_MACHINE]
            return status if not reasons else None
        try:
            return wait_for("the cluster to be healthy", healthy, seconds, 0.2)
        except AssertionError as e:
            raise AssertionError(f"{e}; the last reasons: {reasons}") from None


def run(*words, cwd=None, timeout=600, env=None):
    """Runs a command; fails with its output unless it ends with 0. Returns what it printed."""
    done = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=timeout, env=env)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def _close_all(*_):
    for cluster in list(_live):
        cluster.close()


def _on_signal(number, _):
    _close_all()
    sys.exit(128 + number)


atexit.register(_close_all)
for _number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(_number, _on_signal)


class AnotherMount:
    """A dfs-mount of the same cluster beside the one that came with it. `options`: as after -o."""

    def __init__(self, cluster, options=""):
        self.mnt = tempfile.mkdtemp(prefix="another-", dir=cluster.base)
        words = [os.path.join(BIN, "dfs-mount"), "--foreground", "--connect-timeout", "120",
                 *(["-o", options] if options else []), os.path.join(cluster.dir, "cluster.toml"), self.mnt]
        with open(os.path.join(cluster.base, "another.log"), "a") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=log)
        wait_for("another mount", lambda: os.path.ismount(self.mnt) or self.process.poll() is not None)
        assert self.process.poll() is None, "the other mount ended"

    def close(self):
        self.process.kill()
        self.process.wait()
        subprocess.run(["fusermount3", "-uz", self.mnt], stderr=subprocess.DEVNULL)
