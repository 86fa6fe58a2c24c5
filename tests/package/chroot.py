"""A fresh Debian in a directory, with the Debian packages of this build installed, for tests of packaging."""
import glob
import os
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("CAIRN_BIN", os.path.join(ROOT, "build", "release"))
SUITE = "bookworm"


def run(*words, ends=(0,), **options):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **options)
    if done.returncode not in ends:
        raise AssertionError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def make_packages(directory):
    """The packages of what is built already. Their paths by name."""
    run("cpack", "-G", "DEB", "-B", directory, cwd=BIN)
    return {os.path.basename(path).partition("_")[0]: path for path in glob.glob(os.path.join(directory, "*.deb"))}


class Chroot:
    """Everything in it runs with mounts, and processes, of its own: they go with the `unshare` that began them."""

    def __init__(self):
        self.base = tempfile.mkdtemp(prefix="cairn-package-")
        self.root = os.path.join(self.base, "root")

    def close(self):
        shutil.rmtree(self.base, ignore_errors=True)

    def bootstrap(self):
        mirror = os.environ.get("CAIRN_MIRROR", "http://deb.debian.org/debian")
        run("debootstrap", "--variant=minbase", "--include=fuse3,procps", SUITE, self.root, mirror)

    def path(self, *names):
        return os.path.join(self.root, *(name.lstrip("/") for name in names))

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w") as f:
            f.write(text)

    def read(self, path):
        with open(self.path(path)) as f:
            return f.read()

    def run(self, script, timeout=600):
        """A script of bash in there, as root, with /proc and /dev. Whatever it starts ends with it."""
        inside = (f"mount -t proc proc {self.root}/proc && mount --rbind /dev {self.root}/dev && "
                  f"exec chroot {self.root} /bin/bash -euo pipefail -c \"$SCRIPT\"")
        env = dict(os.environ, SCRIPT=script, DEBIAN_FRONTEND="noninteractive", LC_ALL="C",
                   PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        return run("unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", inside, env=env,
                   timeout=timeout)

    def install(self, packages):
        os.makedirs(self.path("/packages"), exist_ok=True)
        for path in packages.values():
            shutil.copy(path, self.path("/packages"))
        return self.run("apt-get -q -y install --no-install-recommends /packages/*.deb")
