"""A cluster whose masters each have a network namespace of their own, so that nftables can cut one off in one way.

Chunkservers and the mount stay outside, behind the bridge. Only TCP is spoken with the masters.
"""
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import BIN, Cluster, run, wait_for  # noqa: E402

MASTER_PORT = 7000


class SplitCluster(Cluster):
    def __init__(self, masters=3, chunkservers=2):
        for tool in ("ip", "nft"):
            if shutil.which(tool) is None:
                sys.exit(f"this test needs {tool}: run tools/dfs deps")
        super().__init__(chunkservers=chunkservers, masters=masters)
        number = os.getpid()
        self.tag = f"cairn{number % 1000000}"
        self.network = f"10.{200 + number % 50}.{number // 50 % 250}"
        self.bridge = self.tag + "b"
        self.processes = {}

    # ---- life of the cluster

    def up(self):
        for name in ("", "run", "log", *self.master_names(), *self.server_names()):
            os.makedirs(os.path.join(self.dir, name))
        os.makedirs(self.mnt)
        self.write_cluster_file()
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", f"{self.network}.254/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        for name in self.master_names():
            self.make_namespace(name)
        for name in self.master_names():
            self.start_master(name, "--init" if name == "m1" else "--join")
            wait_for(f"{name} to be ready", lambda: "ready:" in self.log(name), 20)
        for number, name in enumerate(self.server_names()):
            self.start(name, "dfs-chunkserver", "--name", name, "--dir", os.path.join(self.dir, name), "--listen",
                       f"{self.network}.254:{MASTER_PORT + 1 + number}", "--socket", self.socket(name),
                       "--cluster", self.file())
        self.start("mount", "dfs-mount", "--foreground", "--connect-timeout", "120", self.file(), self.mnt)
        wait_for("the mount", lambda: os.path.ismount(self.mnt), 30)

    def close(self):
        subprocess.run(["fusermount3", "-uz", self.mnt], stderr=subprocess.DEVNULL)
        for process in self.processes.values():
            process.kill()
            process.wait()
        for name in self.master_names():
            subprocess.run(["ip", "netns", "delete", self.tag + name], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "delete", self.bridge], stderr=subprocess.DEVNULL)
        self.processes = {}
        super().close()

    def pid(self, name):
        return self.processes[name].pid

    # ---- the parts of it

    def master_names(self):
        return [f"m{number + 1}" for number in range(self.masters)]

    def server_names(self):
        return [f"c{number + 1}" for number in range(self.chunkservers)]

    def file(self):
        return os.path.join(self.dir, "cluster.toml")

    def socket(self, name):
        return os.path.join(self.dir, "run", name + ".sock")

    def address(self, master):
        return f"{self.network}.{master[1:]}"

    def log(self, name):
        with open(os.path.join(self.dir, "log", name + ".log"), errors="replace") as f:
            return f.read()

    def write_cluster_file(self):
        """No sockets: they would lead past what is cut off."""
        admin = os.path.join(BIN, "dfsadmin")
        masters = [word for name in self.master_names()
                   for word in ("--master", f"{name}={self.address(name)}:{MASTER_PORT}")]
        run(admin, "cluster", "init", "--file", self.file(), *masters, "--copies", str(self.chunkservers),
            "--min-copies", "1", "--servers", str(self.chunkservers))
        with open(self.file()) as f:
            text = "".join(line for line in f if not line.startswith("socket"))
        with open(self.file(), "w") as f:
            f.write(text)
        for name in self.server_names():
            run(admin, "--cluster", self.file(), "cert", "issue", "--role", "chunkserver", "--name", name)

    def make_namespace(self, name):
        space = outside = self.tag + name
        run("ip", "netns", "add", space)
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "link", "set", outside, "master", self.bridge, "up")
        for words in (["address", "add", self.address(name) + "/24", "dev", "eth0"],
                      ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            run("ip", "-n", space, *words)

    def start_master(self, name, *more):
        self.start(name, "dfs-master", "--cluster", self.file(), "--name", name, "--dir", os.path.join(self.dir, name),
                   *more, inside=["ip", "netns", "exec", self.tag + name])

    def start(self, name, program, *words, inside=()):
        with open(os.path.join(self.dir, "log", name + ".log"), "a") as log:
            self.processes[name] = subprocess.Popen([*inside, os.path.join(BIN, program), *words],
                                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    # ---- cutting off

    def cut(self, master, direction, only=()):
        """Drops what `master` sends ("output") or what is sent to it ("input"); `only`: these masters' share of it."""
        side, device = ("daddr", "oifname") if direction == "output" else ("saddr", "iifname")
        others = ", ".join(self.address(name) for name in only)
        which = f"ip {side} {{ {others} }}" if only else f'{device} "eth0"'
        run("ip", "netns", "exec", self.tag + master, "nft",
            f"table inet cut {{ chain only {{ type filter hook {direction} priority 0; {which} drop; }}; }}")

    def heal(self, master):
        run("ip", "netns", "exec", self.tag + master, "nft", "delete table inet cut")
