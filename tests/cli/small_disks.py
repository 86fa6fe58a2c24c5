"""A cluster whose chunkservers each have a small ext4 of their own, on a loop device, so that it can fill up."""
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "mount"))
from cluster import Cluster, run  # noqa: E402

MIB = 1 << 20


class SmallDisks(Cluster):
    def __init__(self, chunkservers, replicas, mib, config=""):
        super().__init__(chunkservers=chunkservers, extra=("--replicas", str(replicas)))
        self.names = [f"c{number + 1}" for number in range(chunkservers)]
        self.mib = mib
        self.config = config  # goes to the end of cluster.toml, which is [defaults]

    def up(self):
        super().up()
        self.down()
        with open(self.disk("cluster.toml"), "a") as f:
            f.write(self.config)
        for name in ["m1", *self.names]:  # begun anew
            shutil.rmtree(self.disk(name))
            os.mkdir(self.disk(name))
        for name in self.names:
            with open(self.image(name), "wb") as f:
                f.truncate(self.mib * MIB)
            run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-J", "size=4",
                self.image(name))
            run("mount", "-o", "loop", self.image(name), self.disk(name))
            os.rmdir(self.disk(name, "lost+found"))
        return super().up()

    def write(self, name, megabytes):
        """The bytes, on the disks now. When that fails nothing of the file stays."""
        data = os.urandom(megabytes * MIB)
        try:
            with open(self.path(name), "wb", buffering=0) as f:
                f.write(data)
                os.fsync(f.fileno())
        except OSError:
            os.unlink(self.path(name))
            raise
        return data

    def image(self, name):
        return os.path.join(self.base, name + ".ext4")

    def disk(self, *names):
        return os.path.join(self.dir, *names)

    def free(self, name):
        found = os.statvfs(self.disk(name))
        return found.f_bavail * found.f_frsize

    def fill_disk(self, name, leave=0):
        """With something that isn't the chunkserver's. Nothing at all is left unless `leave` says so."""
        with open(self.disk(name, "foreign"), "ab", buffering=0) as f:
            for size in (MIB, 4096):
                try:
                    while self.free(name) > leave:
                        f.write(b"x" * min(size, max(4096, self.free(name) - leave)))
                except OSError:
                    pass  # that was all there was
            try:
                os.fsync(f.fileno())
            except OSError:
                pass

    def empty_disk(self, name):
        os.unlink(self.disk(name, "foreign"))

    def close(self):
        self.dfs("down", "--dir", self.dir, check=False, timeout=60)
        self.kill_all()
        for name in self.names:
            if os.path.ismount(self.disk(name)):
                subprocess.run(["umount", "-l", self.disk(name)], stderr=subprocess.DEVNULL)
        super().close()
