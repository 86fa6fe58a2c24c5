#!/usr/bin/env python3
"""The Debian packages in a fresh Debian: they install with all that they need, their units' lines start a cluster as an
unprivileged user, fstab mounts it, what is stored outlives restarts and the removal of the packages. About 3 minutes;
needs a Debian mirror (CAIRN_MIRROR)."""
import os
import re
import shutil
import unittest

from chroot import Chroot, make_packages, run

CLUSTER = """
dfsadmin cluster init --file /etc/cairnfs/cluster.toml --copies 1 --min-copies 1 --servers 1 \\
  --master m1=127.0.0.1:{master}
sed -i 's#"run/#"/run/cairnfs/#' /etc/cairnfs/cluster.toml
"""
# The units as systemd would start them: user, directories, environment, the line of ExecStart.
START = """
install -d -o cairnfs -g cairnfs /run/cairnfs
start() {{
  name=$1; shift
  set -a; . /etc/cairnfs/$name.env; set +a
  eval "setpriv --reuid cairnfs --regid cairnfs --clear-groups --no-new-privs --bounding-set -all $*" \\
    2>> /var/log/$name.log &
}}
start m1 '{master}'
start c1 '{chunkserver}'
dfsadmin wait healthy --timeout 120 || {{ cat /var/log/m1.log /var/log/c1.log; exit 1; }}
dfsadmin -o json status > /status.json
mkdir -p /mnt/cairn
"""
STOP = "umount /mnt/cairn; kill $(pgrep -x 'dfs-(master|chunks.*)'); wait"


def exec_start(text, name):
    line = re.search(r"^ExecStart=(.*)$", text, re.M).group(1)
    return line.replace("%i", name)


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.chroot = Chroot()
        cls.addClassCleanup(cls.chroot.close)
        cls.packages = make_packages(os.path.join(cls.chroot.base, "packages"))
        cls.chroot.bootstrap()
        cls.installed = cls.chroot.install(cls.packages)

    def unit(self, kind, name):
        return exec_start(self.chroot.read(f"/usr/lib/systemd/system/{kind}@.service"), name)

    def start(self):
        return START.format(master=self.unit("dfs-master", "m1"), chunkserver=self.unit("dfs-chunkserver", "c1"))

    def test_1_what_is_in_them(self):
        self.assertEqual(sorted(self.packages), ["cairnfs-client", "cairnfs-server", "cairnfs-tools"])
        for path in ("/usr/bin/dfs-master", "/usr/bin/dfs-chunkserver", "/usr/bin/dfs-mount", "/usr/bin/dfs",
                     "/usr/bin/dfsadmin", "/usr/share/bash-completion/completions/dfsadmin",
                     "/usr/share/zsh/vendor-completions/_dfsadmin", "/usr/share/man/man8/dfsadmin.8.gz",
                     "/usr/share/man/man8/dfs-mount.8.gz", "/usr/share/man/man1/dfs.1.gz",
                     "/usr/lib/cairnfs/dfs-master-start"):
            self.assertTrue(os.path.exists(self.chroot.path(path)), path)
        helper = self.chroot.path("/usr/sbin/mount.fuse.dfs")
        self.assertEqual(os.readlink(helper), "../bin/dfs-mount")
        for component, needs in [("server", "adduser"), ("server", "libleveldb1d"), ("client", "fuse3"),
                                 ("tools", "libcapnp")]:
            fields = run("dpkg-deb", "-f", self.packages["cairnfs-" + component], "Depends")
            self.assertIn(needs, fields)
        owner = os.stat(self.chroot.path("/var/lib/cairnfs"))
        self.assertEqual(owner.st_mode & 0o777, 0o700)
        self.assertNotEqual(owner.st_uid, 0)

    def test_2_units_are_sound(self):
        if shutil.which("systemd-analyze"):
            for kind, name in (("dfs-master", "m1"), ("dfs-chunkserver", "c1")):
                units = self.chroot.path("/usr/lib/systemd/system")
                said = run("systemd-analyze", "verify", "--man=no", f"{units}/{kind}@{name}.service", ends=(0, 1))
                # The programs are in the chroot, not here.
                wrong = [line for line in said.splitlines() if "is not executable" not in line and kind in line]
                self.assertEqual(wrong, [])

    def test_3_a_cluster_from_the_units_and_fstab(self):
        self.chroot.run(CLUSTER.format(master=7907))
        self.chroot.write("/etc/cairnfs/c1.env", "OPTIONS='--listen 127.0.0.1:7908'\n")
        self.chroot.write("/etc/cairnfs/m1.env", "OPTIONS=\n")
        refused = self.chroot.run(self.unit("dfs-master", "m1") + " 2>&1 && exit 1 || [ $? = 2 ]")
        self.assertIn("FIRST=init", refused)
        self.chroot.write("/etc/cairnfs/m1.env", "FIRST=init\nOPTIONS=\n")
        with open(self.chroot.path("/etc/fstab"), "a") as f:
            f.write("/etc/cairnfs/cluster.toml /mnt/cairn fuse.dfs noatime,_netdev 0 0\n")
        said = self.chroot.run(self.start() + """
mount /mnt/cairn
grep ' /mnt/cairn fuse.dfs ' /proc/mounts
cp -a /usr/share/doc /mnt/cairn/
sync
ps -o user= -C dfs-master,dfs-chunkserver | sort -u
dfs du /mnt/cairn/doc
""" + STOP)
        self.assertIn("cairnfs", said.splitlines()[1:][0])
        # As after a boot: what was stored is there, and FIRST=init doesn't begin a new cluster.
        self.chroot.run(self.start() + "mount -a\ndiff -r /usr/share/doc /mnt/cairn/doc\n" + STOP)

    def test_4_removal_keeps_the_data(self):
        self.chroot.run("apt-get -q -y purge cairnfs-server cairnfs-client cairnfs-tools")
        self.assertFalse(os.path.exists(self.chroot.path("/usr/bin/dfs-master")))
        self.assertTrue(os.listdir(self.chroot.path("/var/lib/cairnfs/m1")))
        self.assertTrue(os.path.exists(self.chroot.path("/etc/cairnfs/cluster.toml")))
        self.chroot.install(self.packages)
        self.chroot.run(self.start() + "mount -a\ndiff -r /usr/share/doc /mnt/cairn/doc\n" + STOP)


if __name__ == "__main__":
    unittest.main(verbosity=2)
