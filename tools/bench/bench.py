#!/usr/bin/env python3
"""tools/dfs bench: a small benchmark of the whole system, the same for every file system.

    tools/dfs bench                        a fresh cluster in a temporary directory
    tools/dfs bench --beside DIR ...       the same workloads in other directories too (a local disk, another mount)
    tools/dfs bench --on DIR               only there, e.g. in a mount that is up already

Each workload counts until its data is synced; cold reads come after the kernel's caches are dropped. Values are medians
of --runs runs. --json FILE adds one line for each workload and system.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DFS = os.path.join(ROOT, "tools", "dfs")
MIB = 1 << 20


def drop_caches():
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def sync_file(fd):
    os.fsync(fd)
    os.close(fd)


class Workloads:
    """Each method returns (unit, value) for one run in `at`, an empty directory."""

    def __init__(self, scale):
        self.file_mib = max(16, int(256 * scale))
        self.files = max(100, int(2000 * scale))
        self.writes = max(50, int(500 * scale))

    def sequential_write(self, at):
        block = os.urandom(MIB)
        begin = time.monotonic()
        fd = os.open(os.path.join(at, "big"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        for _ in range(self.file_mib):
            os.write(fd, block)
        sync_file(fd)
        return "MiB/s", self.file_mib / (time.monotonic() - begin)

    def sequential_read_cold(self, at):
        self.sequential_write(at)
        drop_caches()
        begin = time.monotonic()
        with open(os.path.join(at, "big"), "rb", buffering=0) as f:
            while f.read(MIB):
                pass
        return "MiB/s", self.file_mib / (time.monotonic() - begin)

    def random_write_fsync(self, at):
        fd = os.open(os.path.join(at, "random"), os.O_CREAT | os.O_RDWR)
        os.ftruncate(fd, 64 * MIB)
        block = os.urandom(4096)
        begin = time.monotonic()
        for i in range(self.writes):
            os.pwrite(fd, block, (i * 7919) % 16384 * 4096)
            os.fsync(fd)
        rate = self.writes / (time.monotonic() - begin)
        os.close(fd)
        return "ops/s", rate

    def small_files_write(self, at):
        data = os.urandom(4096)
        begin = time.monotonic()
        for i in range(self.files):
            with open(os.path.join(at, f"f{i}"), "wb", buffering=0) as f:
                f.write(data)
        os.sync()
        return "files/s", self.files / (time.monotonic() - begin)

    def small_files_read_cold(self, at):
        self.small_files_write(at)
        drop_caches()
        begin = time.monotonic()
        for i in range(self.files):
            with open(os.path.join(at, f"f{i}"), "rb", buffering=0) as f:
                f.read()
        return "files/s", self.files / (time.monotonic() - begin)

    def create_empty(self, at):
        begin = time.monotonic()
        for i in range(self.files):
            os.close(os.open(os.path.join(at, f"e{i}"), os.O_CREAT | os.O_WRONLY))
        return "ops/s", self.files / (time.monotonic() - begin)

    def stat_again(self, at):
        self.create_empty(at)
        begin = time.monotonic()
        for i in range(self.files):
            os.stat(os.path.join(at, f"e{i}"))
        return "ops/s", self.files / (time.monotonic() - begin)

    def rename(self, at):
        self.create_empty(at)
        begin = time.monotonic()
        for i in range(self.files):
            os.rename(os.path.join(at, f"e{i}"), os.path.join(at, f"r{i}"))
        return "ops/s", self.files / (time.monotonic() - begin)

    def unlink(self, at):
        self.create_empty(at)
        begin = time.monotonic()
        for i in range(self.files):
            os.unlink(os.path.join(at, f"e{i}"))
        return "ops/s", self.files / (time.monotonic() - begin)

    def all(self):
        return [self.sequential_write, self.sequential_read_cold, self.random_write_fsync, self.small_files_write,
                self.small_files_read_cold, self.create_empty, self.stat_again, self.rename, self.unlink]


def measure(system, directory, workloads, runs):
    rows = []
    for workload in workloads:
        values, unit = [], ""
        for _ in range(runs):
            at = tempfile.mkdtemp(prefix="bench-", dir=directory)
            try:
                unit, value = workload(at)
                values.append(value)
            finally:
                shutil.rmtree(at, ignore_errors=True)
        name = workload.__name__.replace("_", "-")
        rows.append({"system": system, "workload": name, "unit": unit, "median": statistics.median(values),
                     "runs": values})
        print(f"  {system}: {name} {rows[-1]['median']:,.0f} {unit}", file=sys.stderr, flush=True)
    return rows


def print_table(rows):
    systems = list(dict.fromkeys(r["system"] for r in rows))
    cells = {(r["workload"], r["system"]): r for r in rows}
    print("| workload | unit | " + " | ".join(systems) + " |")
    print("|" + " --- |" * (len(systems) + 2))
    for name in dict.fromkeys(r["workload"] for r in rows):
        unit = next(r["unit"] for r in rows if r["workload"] == name)
        print(f"| {name} | {unit} | " + " | ".join(f"{cells[name, s]['median']:,.0f}" for s in systems) + " |")


class OwnCluster:
    """A cluster of its own for the time of the benchmark."""

    def __enter__(self):
        self.base = tempfile.mkdtemp(prefix="cairn-bench-")
        self.dir, self.mnt = os.path.join(self.base, "cluster"), os.path.join(self.base, "mnt")
        done = subprocess.run([DFS, "up", "--dir", self.dir, "--mount", self.mnt], stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            shutil.rmtree(self.base, ignore_errors=True)
            sys.exit(done.returncode)
        return self.mnt

    def __exit__(self, *_):
        subprocess.run([DFS, "down", "--dir", self.dir, "--wipe"])
        shutil.rmtree(self.base, ignore_errors=True)


def arguments():
    parser = argparse.ArgumentParser(prog="tools/dfs bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", nargs="*", default=[], metavar="DIR", help="measure there too")
    parser.add_argument("--on", metavar="DIR", help="measure only in this directory, start no cluster")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the amount of work; 0.1 for a quick look")
    parser.add_argument("--json", metavar="FILE")
    wanted = parser.parse_args()
    for directory in wanted.beside + ([wanted.on] if wanted.on else []):
        if not os.path.isdir(directory):
            parser.error(f"{directory} is not a directory; name one in the file system to measure")
    if os.geteuid() != 0:
        parser.error("cold reads need root, to drop the kernel's caches; run it as root")
    return wanted


def main():
    wanted = arguments()
    workloads = Workloads(wanted.scale).all()
    rows = []
    if wanted.on:
        rows += measure(os.path.basename(os.path.abspath(wanted.on)), wanted.on, workloads, wanted.runs)
    else:
        with OwnCluster() as mnt:
            rows += measure("cairnfs", mnt, workloads, wanted.runs)
    for directory in wanted.beside:
        rows += measure(os.path.basename(os.path.abspath(directory)), directory, workloads, wanted.runs)
    print_table(rows)
    if wanted.json:
        with open(wanted.json, "a") as f:
            f.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
