#!/usr/bin/env python3
"""A mount whose process is replaced while programs use it: handed over as planned, and after it was killed. No program
may notice, but where bytes that only the dead process had are lost: then fsync or close says so, once."""
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import PATIENCE, Cluster, run, wait_for  # noqa: E402
from supervised import SupervisedMount  # noqa: E402

FULL = os.environ.get("CAIRN_FULL") == "1"


def fails_with(code, call):
    try:
        call()
    except OSError as e:
        assert e.errno == code, f"{errno.errorcode.get(e.errno)} instead of {errno.errorcode[code]}"
        return True
    raise AssertionError(f"went well instead of {errno.errorcode[code]}")


class Every:
    """Replaces the mount's process now and then while the block runs."""

    def __init__(self, replace, pause):
        self.replace = replace
        self.pause = pause
        self.times = 0
        self.over = threading.Event()
        self.failed = None
        self.thread = threading.Thread(target=self.work)

    def work(self):
        try:
            while not self.over.wait(self.pause):
                self.replace()
                self.times += 1
        except BaseException as e:  # told to the test by __exit__
            self.failed = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        self.thread.join()
        if kind is None:
            assert self.failed is None, f"the mount's process couldn't be replaced: {self.failed}"
            assert self.times > 0, "the mount's process was never replaced"


# ---- what is open --------------------------------------------------------------------------------


def open_files(cluster, mount, replace, synced):
    """What a program has open goes on as it was."""
    path = mount.path
    os.mkdir(path("open"))
    kept = os.open(path("open/kept"), os.O_RDWR | os.O_CREAT)
    os.write(kept, b"before ")
    log = os.open(path("open/log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, b"one\n")
    removed = os.open(path("open/removed"), os.O_RDWR | os.O_CREAT)
    os.write(removed, b"nameless")
    os.unlink(path("open/removed"))
    temporary = os.open(path("open"), os.O_RDWR | os.O_TMPFILE)
    os.write(temporary, b"never named")
    for i in range(50):
        os.mkdir(path(f"open/d{i}"))
    listing = os.scandir(path("open"))
    seen = [next(listing).name]
    if synced:
        for fd in (kept, log, removed, temporary):
            os.fsync(fd)
    replace()
    os.write(kept, b"after")
    os.write(log, b"two\n")
    with open(cluster.path("log-of-others"), "w") as f:
        f.write("x")
    os.unlink(cluster.path("log-of-others"))
    assert os.pread(kept, 100, 0) == b"before after"
    assert os.pread(removed, 100, 0) == b"nameless" and os.fstat(removed).st_nlink == 0
    assert os.pread(temporary, 100, 0) == b"never named"
    seen += [entry.name for entry in listing]
    assert sorted(seen) == sorted(os.listdir(path("open"))), "a listing lost or doubled names"
    with open(cluster.path("open/log")) as f:
        assert f.read() == "one\ntwo\n"
    for fd in (kept, log, removed, temporary):
        os.fsync(fd)
        os.close(fd)
    run("rm", "-r", path("open"))


def locks(cluster, mount, replace):
    """Locks stay, a wait for one goes on, and closing still frees them."""
    def wants(name):
        return os.open(cluster.path(name), os.O_RDWR)
    mine = os.open(mount.path("locked"), os.O_RDWR | os.O_CREAT)
    fcntl.lockf(mine, fcntl.LOCK_EX, 10, 0)
    whole = os.open(mount.path("flocked"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(whole, fcntl.LOCK_EX)
    theirs = wants("locked")
    fcntl.lockf(theirs, fcntl.LOCK_EX, 10, 100)
    waiting = subprocess.Popen([sys.executable, "-c", "import fcntl, sys; f = open(sys.argv[1], 'r+');"
                                "fcntl.lockf(f, fcntl.LOCK_EX, 10, 100); print('has it', flush=True)",
                                mount.path("locked")], stdout=subprocess.PIPE, text=True)
    try:
        wait_for("the program to wait for its lock", lambda: "wait" in open(f"/proc/{waiting.pid}/wchan").read())
        replace()
        fails_with(errno.EAGAIN, lambda: fcntl.lockf(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0))
        flocked = wants("flocked")
        fails_with(errno.EAGAIN, lambda: fcntl.flock(flocked, fcntl.LOCK_EX | fcntl.LOCK_NB))
        os.close(mine)
        os.close(whole)
        fcntl.lockf(theirs, fcntl.LOCK_EX, 10, 0)
        fcntl.flock(flocked, fcntl.LOCK_EX)
        fcntl.lockf(theirs, fcntl.LOCK_UN, 10, 100)
        assert waiting.communicate(timeout=PATIENCE)[0] == "has it\n"
        os.close(theirs)
        os.close(flocked)
    finally:
        waiting.kill()
        waiting.wait()


def unsynced(cluster, mount):
    """Bytes that nobody synced: a hand-over keeps them; a death is told once, to whoever has the file open."""
    fd = os.open(mount.path("unsynced"), os.O_RDWR | os.O_CREAT)
    safe = os.open(mount.path("safe"), os.O_RDWR | os.O_CREAT)
    os.write(safe, b"y" * 5000)
    os.fsync(safe)
    os.write(fd, b"x" * 3_000_000)
    mount.hand_over()
    os.fsync(fd)
    with open(cluster.path("unsynced"), "rb") as f:
        assert f.read() == b"x" * 3_000_000
    os.pwrite(fd, b"z" * 100, 0)
    mount.crash()
    fails_with(errno.EIO, lambda: os.fsync(fd))
    os.fsync(fd)
    os.fsync(safe)
    os.close(safe)
    os.pwrite(fd, b"w" * 100, 0)
    os.fsync(fd)
    os.close(fd)
    with open(cluster.path("unsynced"), "rb") as f:
        assert f.read(101) == b"w" * 100 + b"x"


def coherent(cluster, mount, replace):
    """What the kernel believed under the old process is not believed any more when others have changed it since."""
    with open(cluster.path("shared"), "w") as f:
        f.write("old")
    reader = os.open(mount.path("shared"), os.O_RDONLY)
    assert os.pread(reader, 10, 0) == b"old" and not os.path.exists(mount.path("absent"))
    replace()
    with open(cluster.path("shared"), "w") as f:
        f.write("newer")
    with open(cluster.path("absent"), "w"):
        pass
    assert os.pread(reader, 10, 0) == b"newer" and os.path.exists(mount.path("absent"))
    os.close(reader)
    os.unlink(cluster.path("absent"))


# ---- exactly once --------------------------------------------------------------------------------

NAMES = """
import os, sys, time
base, seconds = sys.argv[1], float(sys.argv[2])
os.mkdir(base)
end = time.monotonic() + seconds
n = 0
while time.monotonic() < end:
    a, b, c = (os.path.join(base, f"{kind}{n}") for kind in "abc")
    os.mkdir(a)
    os.rename(a, b)
    os.rmdir(b)
    os.close(os.open(a, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.link(a, b)
    os.rename(a, c)
    os.setxattr(c, "user.x", b"1", os.XATTR_CREATE)
    os.removexattr(c, "user.x")
    os.unlink(b)
    os.symlink("x", a)
    os.unlink(a)
    n += 1
assert sorted(os.listdir(base)) == sorted(f"c{i}" for i in range(n)), os.listdir(base)
print(n)
"""


def names_once(mount, replace, pause, seconds, programs=4):
    """Programs that use names of their own see each change happen exactly once."""
    began = time.monotonic()
    with Every(replace, pause) as every:
        running = [subprocess.Popen([sys.executable, "-c", NAMES, mount.path(f"names{i}"), str(seconds)],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                   for i in range(programs)]
        said = [process.communicate(timeout=PATIENCE + seconds)[0] for process in running]
    for process, text in zip(running, said):
        assert process.returncode == 0, f"a program saw its own change twice, or never:\n{text}"
    rounds = sum(int(text) for text in said)
    for i in range(programs):
        run("rm", "-r", mount.path(f"names{i}"))
    print(f"  {rounds} rounds of 11 changes, {every.times} other processes in {time.monotonic() - began:.1f} s")


def synced_once(cluster, mount, pause, seconds):
    """What fsync returned for is there, however often the process died; what it failed for can be written again."""
    fd = os.open(mount.path("synced"), os.O_RDWR | os.O_CREAT)
    failures = n = 0
    end = time.monotonic() + seconds
    with Every(mount.crash, pause) as every:
        while time.monotonic() < end:
            try:
                os.pwrite(fd, n.to_bytes(8, "big") * 640, n * 5120)
                os.fsync(fd)
                n += 1
            except OSError as e:
                assert e.errno == errno.EIO, e
                failures += 1
    try:
        os.close(fd)
    except OSError as e:  # of the last one, which nothing was written after
        assert e.errno == errno.EIO, e
    with open(cluster.path("synced"), "rb") as f:
        for i in range(n):
            assert f.read(5120) == i.to_bytes(8, "big") * 640, f"block {i} of {n} was synced, and is not there"
    print(f"  {n} blocks, {failures} failures told, {every.times} other processes")


# ---- programs ------------------------------------------------------------------------------------


def make_sources(path, files):
    os.mkdir(path)
    for i in range(files):
        with open(os.path.join(path, f"f{i}.c"), "w") as f:
            f.write(f"int f{i}(int x) {{ return x + {i}; }}\n")
    with open(os.path.join(path, "main.c"), "w") as f:
        f.writelines(f"int f{i}(int);\n" for i in range(files))
        f.write("int main(void) { return " + " + ".join(f"f{i}(0)" for i in range(files)) +
                f" == {files * (files - 1) // 2} ? 0 : 1; }}\n")
    with open(os.path.join(path, "Makefile"), "w") as f:
        f.write("OBJECTS = $(patsubst %.c,%.o,$(wildcard *.c))\nprogram: $(OBJECTS)\n\tcc -o $@ $^\n"
                "%.o: %.c\n\tcc -c -o $@ $<\n")
    run("git", "init", "-q", path)
    run("git", "-C", path, "add", ".")
    run("git", "-C", path, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "x")


def programs_under(mount, replace, pause, rounds):
    """git clone, make and a checked random writer while the process changes all the time."""
    sources = os.path.join(os.path.dirname(mount.mnt), "sources")
    if not os.path.exists(sources):
        make_sources(sources, 60)
    with Every(replace, pause) as every:
        for n in range(rounds):
            clone = mount.path(f"clone{n}")
            run("git", "clone", "-q", "--no-local", sources, clone)
            run("make", "-s", "-j4", "-C", clone)
            run(os.path.join(clone, "program"))
            run("git", "-C", clone, "fsck", "--strict")
            assert run("git", "-C", clone, "status", "--porcelain", "-uno") == ""
            run("rm", "-r", clone)
    print(f"  {rounds} clones made and built, {every.times} other processes")


def fio_under(mount, replace, pause, seconds):
    with Every(replace, pause) as every:
        run("fio", "--name=x", f"--directory={mount.mnt}", "--rw=randrw", "--bs=4k-64k", "--size=8m", "--numjobs=2",
            "--time_based", f"--runtime={seconds}", "--fsync=16", "--verify=crc32c", "--verify_backlog=64",
            "--ioengine=psync", "--group_reporting", "--minimal", "--verify_state_save=0")
    print(f"  fio verified, {every.times} other processes")


# ---- the processes themselves --------------------------------------------------------------------


def upgrades(cluster):
    """What takes over is what is installed by then; what doesn't work there doesn't end the mount."""
    program = os.path.join(cluster.base, "dfs-mount")
    run("cp", os.path.join(os.environ.get("CAIRN_BIN", ""), "dfs-mount"), program)

    def install(how):
        how(program + ".new")
        os.chmod(program + ".new", 0o755)
        os.rename(program + ".new", program)

    def broken(path):
        with open(path, "w") as f:
            f.write("#!/bin/false\n")
    with SupervisedMount(cluster, program) as mount:
        with open(mount.path("upgraded"), "w") as f:
            f.write("1")
            install(broken)
            mount.hand_over()
            assert os.readlink(f"/proc/{mount.worker()}/exe") != program
            install(lambda path: run("cp", os.path.join(os.environ["CAIRN_BIN"], "dfs-mount"), path))
            mount.hand_over()
            assert os.readlink(f"/proc/{mount.worker()}/exe") == program
            f.write("2")
        assert mount.process.poll() is None
        mount.process.send_signal(signal.SIGTERM)
        assert mount.process.wait(PATIENCE) == 0
        assert not os.path.ismount(mount.mnt)
    with open(cluster.path("upgraded")) as f:
        assert f.read() == "12"


def ends(cluster):
    """An unmount ends both processes; a killed holder takes its worker and the mount with it."""
    with SupervisedMount(cluster) as mount:
        worker = mount.worker()
        run("umount", mount.mnt)
        assert mount.process.wait(PATIENCE) == 0
        wait_for("the worker to end", lambda: not os.path.exists(f"/proc/{worker}"))
    with SupervisedMount(cluster) as mount:
        worker = mount.worker()
        mount.process.kill()
        mount.process.wait()
        wait_for("the worker to end", lambda: not os.path.exists(f"/proc/{worker}"))
        fails_with(errno.ENOTCONN, lambda: os.listdir(mount.mnt))


def main():
    began = time.monotonic()

    def step(name, *args):
        print(f"{time.monotonic() - began:6.1f} s  {name.__name__} {name.__doc__ or ''}".split("\n")[0], flush=True)
        name(*args)
    with Cluster() as cluster:
        with SupervisedMount(cluster) as mount:
            for replace in (mount.hand_over, mount.crash):
                print(f"-- {replace.__name__}")
                step(open_files, cluster, mount, replace, replace == mount.crash)
                step(locks, cluster, mount, replace)
                step(coherent, cluster, mount, replace)
            step(unsynced, cluster, mount)
            step(names_once, mount, mount.hand_over, 0.5, 60 if FULL else 4)
            step(names_once, mount, mount.crash, 1.0 if FULL else 0.3, 120 if FULL else 6)
            step(synced_once, cluster, mount, 1.0 if FULL else 0.3, 60 if FULL else 3)
            step(programs_under, mount, mount.hand_over, 1.0, 20 if FULL else 1)
            step(fio_under, mount, mount.hand_over, 1.0, 60 if FULL else 5)
        step(upgrades, cluster)
        step(ends, cluster)
    print(f"done in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
