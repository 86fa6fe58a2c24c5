#!/usr/bin/env python3
"""Every file operation, with its errors, in the mount and in a local directory (ext4): both must come to the same.

A scenario is a function name(top, see): it works below the empty directory `top` and reports what it saw with
see(what, value). It runs in both places; the reports are compared entry by entry.
"""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import scenarios_attributes  # noqa: E402
import scenarios_data  # noqa: E402
import scenarios_names  # noqa: E402
from fixture import a_mount  # noqa: E402


class ComparedWithLocal(unittest.TestCase):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.mount = a_mount()
        cls.mount.__enter__()
        os.chmod(cls.mount.base, 0o755)
        cls.local = os.path.join(cls.mount.base, "local")
        os.mkdir(cls.local)

    @classmethod
    def tearDownClass(cls):
        cls.mount.close()

    def compare(self, scenario):
        reports = []
        for place in (self.local, self.mount.mnt):
            top = os.path.join(place, scenario.__name__)
            os.mkdir(top)
            report = {}
            scenario(top, report.__setitem__)
            reports.append(report)
            shutil.rmtree(top)
        expected, got = reports
        self.assertEqual(expected.keys(), got.keys())
        different = {what: (value, expected[what]) for what, value in got.items() if value != expected[what]}
        self.assertEqual(different, {}, "(in the mount, on the local file system)")


def _add_tests():
    for module in (scenarios_names, scenarios_data, scenarios_attributes):
        for scenario in module.SCENARIOS:
            setattr(ComparedWithLocal, "test_" + scenario.__name__,
                    lambda self, scenario=scenario: self.compare(scenario))


_add_tests()

if __name__ == "__main__":
    unittest.main(verbosity=2)
