"""Disks that a test can break: ext4 images on loop devices, mounted where a cluster has its data. Unmounted and
detached on every way out.

A bit is flipped in the image, beneath the file system's page cache. A device that can't read is one whose image ends
too early: the loop driver answers EIO beyond the end, until something is written there. A slow one is throttled by its
block device's cgroup.
"""
import fcntl
import os
import random
import re
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "mount"))
from cluster import Cluster, await_gone, kill, run, wait_for  # noqa: E402

EXT4_IOC_SHUTDOWN = 0x8004587D
# How the file system goes down: with all data written first, with its journal written first, or as it stands.
DEFAULT, LOGFLUSH, NOLOGFLUSH = 0, 1, 2
WAYS = [NOLOGFLUSH] * 6 + [LOGFLUSH] * 2 + [DEFAULT]


class LoopDisk:
    def __init__(self, image, at, size):
        self.image = image
        self.at = at
        self.size = size

    def make(self):
        with open(self.image, "wb") as f:
            f.truncate(self.size)  # thin
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-E", "packed_meta_blocks=1", self.image)
        os.makedirs(self.at, exist_ok=True)
        self.mount()
        os.rmdir(os.path.join(self.at, "lost+found"))

    def mount(self, at=None):
        run("mount", "-o", "loop,nodiratime,errors=remount-ro", self.image, at or self.at)

    def devices(self):
        found = subprocess.run(["losetup", "-j", self.image], stdout=subprocess.PIPE, text=True).stdout
        return [line.split(":")[0] for line in found.splitlines()]

    def try_unmount(self, at=None):
        """Whether it is unmounted everywhere: a mount namespace that somebody made meanwhile has it too for a while."""
        if os.path.ismount(at or self.at):
            subprocess.run(["umount", at or self.at], stderr=subprocess.DEVNULL)
        return not os.path.ismount(at or self.at) and not self.devices()

    def unmount(self, at=None):
        wait_for(f"{at or self.at} to be free", lambda: self.try_unmount(at), 20, 0.01)

    def vanish(self):
        """From the tree, under those who use it."""
        run("umount", "-l", self.at)

    def discard(self):
        for _ in range(3):  # one may lie over the other
            if os.path.ismount(self.at):
                if subprocess.run(["umount", self.at], stderr=subprocess.DEVNULL).returncode != 0:
                    subprocess.run(["umount", "-l", self.at], stderr=subprocess.DEVNULL)
        if os.path.exists(self.image):
            for device in self.devices():
                subprocess.run(["losetup", "-d", device], stderr=subprocess.DEVNULL)

    def shut_down(self, way):
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", way))
        finally:
            os.close(fd)

    def give_up_writing(self):
        """What ext4 does after an error of its device: from now on it is read-only."""
        device = os.path.basename(self.devices()[0])
        with open(f"/sys/fs/ext4/{device}/trigger_fs_error", "w") as f:
            f.write("a test")

    def check(self):
        """After an error: as it is done before a disk is mounted again."""
        done = subprocess.run(["e2fsck", "-p", self.image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode > 1:
            raise AssertionError(f"e2fsck ended with {done.returncode}: {done.stdout}")

    # ---- where a file's bytes are in the image

    def extents(self, path):
        """(offset in the file, offset in the image, bytes), in order."""
        out = []
        for line in run("filefrag", "-v", "-b1", path).splitlines():
            found = re.match(r"\s*\d+:\s*(\d+)\.\.\s*(\d+):\s*(\d+)\.\.", line)
            if found and "unwritten" not in line and "delalloc" not in line:
                first, last, physical = map(int, found.groups())
                out.append((first, physical, last + 1 - first))
        return out

    def place(self, path, offset):
        for first, physical, size in self.extents(path):
            if first <= offset < first + size:
                return physical + offset - first
        return None

    def flip(self, path, offset, bit):
        """Whether there was a byte on the disk whose bit could be flipped."""
        at = self.place(path, offset)
        if at is None:
            return False
        with open(self.image, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 1 << bit]))
        return True

    def cut_image(self, size):
        os.truncate(self.image, size)

    def restore_image(self):
        """What was cut off reads as zeros now, unless it was written since."""
        os.truncate(self.image, self.size)


class Throttle:
    """Holds a process to so many bytes a second of reads, and of writes, on a block device."""

    def __init__(self, device, bytes_a_second):
        with open(f"/sys/block/{os.path.basename(device)}/dev") as f:
            number = f.read().strip()
        self.group = None
        with open("/proc/mounts") as f:
            mounts = [line.split() for line in f]
        for _, at, kind, options, *_ in mounts:
            if kind == "cgroup" and "blkio" in options.split(","):
                self.group = self.make(at)
                for what in ("read", "write"):
                    self.set(f"blkio.throttle.{what}_bps_device", f"{number} {bytes_a_second}")
                return
        for _, at, kind, *_ in mounts:
            if kind == "cgroup2" and "io" in open(os.path.join(at, "cgroup.controllers")).read().split():
                with open(os.path.join(at, "cgroup.subtree_control"), "w") as f:
                    f.write("+io")
                self.group = self.make(at)
                self.set("io.max", f"{number} rbps={bytes_a_second} wbps={bytes_a_second}")
                return
        raise AssertionError("no cgroup controller that throttles a disk: mount blkio, or cgroup2 with io")

    def make(self, at):
        self.root = at
        group = os.path.join(at, f"cairn-test-{secrets.token_hex(4)}")
        os.mkdir(group)
        return group

    def set(self, name, text):
        with open(os.path.join(self.group, name), "w") as f:
            f.write(text)

    def hold(self, pid):
        self.set("cgroup.procs", str(pid))

    def release(self):
        with open(os.path.join(self.group, "cgroup.procs")) as f:
            for pid in f.read().split():
                with open(os.path.join(self.root, "cgroup.procs"), "w") as root:
                    root.write(pid)
        os.rmdir(self.group)


def free_ports(count):
    """Below the range from which the system gives ports to outgoing connections."""
    out = []
    while len(out) < count:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in out:
            out.append(port)
    return out


class DiskCluster(Cluster):
    """`disks`: which directories of the cluster ("m1", "c1/v2") are file systems of their own, and their sizes."""

    def __init__(self, disks, chunkservers=3, masters=1, volumes=1, defaults="", upkeep=""):
        super().__init__(chunkservers=chunkservers, masters=masters)
        self.disks = {name: LoopDisk(os.path.join(self.base, name.replace("/", "-") + ".ext4"),
                                     os.path.join(self.dir, name), size) for name, size in disks.items()}
        self.volumes = volumes
        self.defaults = defaults
        self.upkeep = upkeep

    def up(self):
        if not os.path.exists(self.dir):
            self.prepare()
        return super().up()

    def prepare(self):
        """A cluster as tools/dfs makes it, that has never run."""
        os.mkdir(self.dir)
        text = f'cluster = "{secrets.token_hex(16)}"\n'
        for number, port in enumerate(free_ports(self.masters), 1):
            os.mkdir(os.path.join(self.dir, f"m{number}"))
            text += f'\n[[master]]\nname = "m{number}"\naddress = "127.0.0.1:{port}"\nsocket = "run/m{number}.sock"\n'
        copies = min(3, self.chunkservers)
        text += f"\n[defaults]\ncopies = {copies}\nmin_copies = {(copies + 1) // 2}\nservers = {self.chunkservers}\n"
        text += self.defaults + "\n"
        text += f"\n[upkeep]\n{self.upkeep}\n"
        for number in range(1, self.chunkservers + 1):
            for volume in range(1, self.volumes + 1):
                os.makedirs(os.path.join(self.dir, f"c{number}", f"v{volume}"))
        for disk in self.disks.values():
            disk.make()
        with open(os.path.join(self.dir, "cluster.toml"), "w") as f:
            f.write(text)

    def users(self):
        """Process ids of the daemons that have a disk here."""
        names = {name.split("/")[0] for name in self.disks}
        return [pid for name, pid in self.pids().items() if name in names and pid]

    def close(self):
        for pid in self.users():
            kill(pid)
        for disk in self.disks.values():
            disk.discard()
        super().close()

    def kill(self, name):
        kill(self.pid(name))
        await_gone(self.pid(name))

    def cut_power(self, chance):
        """All disks go within a few milliseconds, in any order; the processes before, between or after."""
        order = chance.sample(sorted(self.disks), len(self.disks))
        way = chance.choice(WAYS)
        pids = self.users()
        for name in order:
            if chance.random() < 0.2 and pids:
                kill(pids.pop())
            self.disks[name].shut_down(way)
            time.sleep(chance.choice([0, 0, 0.001, 0.01]))
        for pid in self.users():
            kill(pid)
        await_gone(*self.users())
        for name in order:  # what a process held is given back a moment later
            self.disks[name].unmount()

    def mount_disks(self):
        for disk in self.disks.values():
            disk.mount()

    def path_of(self, name):
        return os.path.join(self.dir, name)

    def log(self, name):
        with open(os.path.join(self.dir, "log", name + ".log"), errors="replace") as f:
            return f.read()

    def room(self, name):
        return shutil.disk_usage(self.path_of(name)).free


def drop_caches():
    subprocess.run(["sysctl", "-q", "vm.drop_caches=3"], check=True)
