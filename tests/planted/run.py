#!/usr/bin/env python3
"""Planted bugs: each NAME.patch here removes one rule; the tests must notice. Those called raft_* are in the group of
masters: its log, its votes, its reads, its members.

usage: run.py --check              every patch applies to the tree as it is (CI)
       run.py --find [NAME...]     apply each to a copy, build its test program there, and see it fail (nightly)

A patch begins with lines that git ignores:
    Rule: what the code promises
    Program: the test program; sim_cluster when it isn't named
    Test: gtest filter of the test that must fail
    Says: a part of the failure's text
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SECONDS_MAX = 900


def patches(names):
    found = sorted(f[:-6] for f in os.listdir(HERE) if f.endswith(".patch"))
    unknown = set(names) - set(found)
    if unknown:
        sys.exit(f"no such planted bug: {', '.join(sorted(unknown))}; there are: {', '.join(found)}")
    return [n for n in found if not names or n in names]


def head(name):
    fields = {"Program": "sim_cluster"}
    with open(os.path.join(HERE, name + ".patch")) as f:
        for line in f:
            if line.startswith(("diff ", "--- ")):
                break
            if ": " in line:
                key, value = line.rstrip("\n").split(": ", 1)
                fields[key] = value
    for key in ("Rule", "Test", "Says"):
        if key not in fields:
            sys.exit(f"{name}.patch has no line '{key}: ...' before its first diff: add it")
    return fields


def apply(tree, name, *options):
    return subprocess.run(["git", "apply", *options, os.path.join(HERE, name + ".patch")], cwd=tree,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def check(names):
    bad = 0
    for name in names:
        head(name)
        done = apply(ROOT, name, "--check")
        if done.returncode != 0:
            bad += 1
            print(f"{name}: doesn't apply any more; make the patch anew:\n{done.stdout}")
    print(f"{len(names) - bad} of {len(names)} planted bugs apply")
    return 1 if bad or not names else 0


def programs(tree):
    return os.path.join(tree, "build", "release")  # as everywhere: ccache knows the objects


def build(tree, targets):
    subprocess.run(["cmake", "-S", tree, "-B", programs(tree), "-G", "Ninja"], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(["ninja", "-C", programs(tree), *targets], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-3000:])


def find_one(tree, name):
    """Empty when the bug was found, else what went wrong."""
    fields = head(name)
    done = apply(tree, name)
    if done.returncode != 0:
        return f"doesn't apply: {done.stdout}"
    try:
        build(tree, [fields["Program"]])
        program = os.path.join(programs(tree), fields["Program"])
        done = subprocess.run([program, f"--gtest_filter={fields['Test']}"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SECONDS_MAX)
        if done.returncode == 0:
            return "NOT FOUND: the test passed without the rule"
        if fields["Says"] not in done.stdout:
            return f"failed, but without saying '{fields['Says']}':\n{done.stdout[-2000:]}"
        return ""
    except subprocess.TimeoutExpired:
        return f"no result after {SECONDS_MAX} s"
    except RuntimeError as e:
        return f"doesn't build:\n{e}"
    finally:
        apply(tree, name, "--reverse")


def find(names):
    missed = 0
    os.makedirs(os.path.join(ROOT, "build"), exist_ok=True)
    # Not under /tmp: ccache may know objects only from around here.
    with tempfile.TemporaryDirectory(prefix="planted-", dir=os.path.join(ROOT, "build")) as tree:
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        for path in files.decode().split("\0")[:-1]:
            os.makedirs(os.path.dirname(os.path.join(tree, path)), exist_ok=True)
            shutil.copy2(os.path.join(ROOT, path), os.path.join(tree, path))
        subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
        build(tree, sorted({head(name)["Program"] for name in names}))
        for name in names:
            began = time.monotonic()
            problem = find_one(tree, name)
            missed += bool(problem)
            print(f"{name}: {problem or 'found'} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{len(names) - missed} of {len(names)} planted bugs found")
    return 1 if missed or not names else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--find", action="store_true")
    parser.add_argument("names", nargs="*")
    words = parser.parse_args()
    if words.check == words.find:
        parser.error("say --check or --find")
    chosen = patches(words.names)
    sys.exit(check(chosen) if words.check else find(chosen))


if __name__ == "__main__":
    main()
