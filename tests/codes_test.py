#!/usr/bin/env python3
"""Every code that the status or a refusal of dfsadmin can show is explained, and every explained one is used. Reads the
sources, so that no server has to get into each of these states."""
import glob
import os
import re
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CODE = r'"([a-z]+(?:-[a-z]+)*)"'


def text_of(*patterns):
    paths = [path for pattern in patterns for path in glob.glob(os.path.join(ROOT, pattern))]
    texts = []
    for path in sorted(paths):
        with open(path) as f:
            texts.append(f.read())
    return "\n".join(texts)


def explained(file):
    """The first text of each entry of a table."""
    return re.findall(r"^    \{" + CODE + ",", text_of(file), re.M)


def used_by_status():
    text = text_of("master/health*.cc")
    codes = set(re.findall(r"\badd\(" + CODE, text)) | set(re.findall(r"push_back\(\{" + CODE, text))
    for level in ("rack", "zone"):  # a failure domain's name is a part of these
        codes |= {level + rest for rest in re.findall(r'what \+ "(s?-[a-z]+)"', text)}
    return codes


def used_by_refusals():
    """Calls of complain(), whose second argument is a code, or `condition ? code : other code`."""
    found = set()
    calls = 0
    for path in glob.glob(os.path.join(ROOT, "tools/admin/*.cc")):
        text = text_of(os.path.relpath(path, ROOT))
        for call in re.finditer(r"\bcomplain\((?!int )([^;]*);", text):
            one = re.match(r"[^\"]*?" + CODE + ",", call.group(1))
            two = re.match(r"[^\"]*?\? " + CODE + " : " + CODE + ",", call.group(1))
            assert one or two, f"{path}: a refusal without a code: {call.group(0)[:120]}"
            found |= set((two or one).groups())
            calls += 1
    assert calls > 60, calls
    return found


class Codes(unittest.TestCase):
    def test_status(self):
        codes = explained("tools/admin/codes_health.cc")
        self.assertEqual(len(codes), len(set(codes)))
        self.assertEqual(set(codes), used_by_status())

    def test_refusals(self):
        codes = explained("tools/admin/codes_errors.cc")
        self.assertEqual(len(codes), len(set(codes)))
        # What a new master is waited for with is a reason of the status too.
        self.assertEqual(set(codes), used_by_refusals() - used_by_status())


if __name__ == "__main__":
    unittest.main()
