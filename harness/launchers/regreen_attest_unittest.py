"""The attested run of unittest: what `regreen_unittest.py` does, with beacons, raw outcomes and a look at whether
the runner is still what it was.
"""

import os
import sys
import unittest

import regreen_unittest
from regreen_beacons import Beacons, Originals, install, watch
from regreen_records import import_path

CHECKS = """
assertAlmostEqual assertCountEqual assertDictEqual assertEqual assertFalse assertGreater assertGreaterEqual
assertIn assertIs assertIsInstance assertIsNone assertIsNot assertIsNotNone assertLess assertLessEqual
assertListEqual assertMultiLineEqual assertNotEqual assertNotIn assertRaises assertRaisesRegex assertRegex
assertSequenceEqual assertSetEqual assertTrue assertTupleEqual fail _baseAssertEqual _getAssertEqualityFunc
run _callSetUp _callTestMethod _callTearDown doCleanups __call__
""".split()

RUNNER = [
    *(f"unittest.case:TestCase.{name}" for name in CHECKS),
    "unittest.case:TestCase",
    "unittest.case:TestCase.failureException",
    "unittest.case:_Outcome",
    "unittest.case:_Outcome.testPartExecutor",
    "unittest.case:_AssertRaisesContext.__exit__",
    "unittest.result:TestResult.startTest",
    "unittest.result:TestResult.addError",
    "unittest.result:TestResult.addFailure",
    "unittest.result:TestResult.addSuccess",
    "unittest.suite:TestSuite.run",
    "unittest.suite:BaseTestSuite.run",
    "unittest.loader:TestLoader",
]


class Witness(regreen_unittest.Result):
    """A result that also says what it saw of each test with its own eyes."""

    def __init__(self, channel, folder, beacons):
        super().__init__(channel, folder)
        self.beacons = beacons
        self.well = None

    def startTest(self, test):
        super().startTest(test)
        self.well = None
        self.beacons.begin()

    def addSuccess(self, test):
        super().addSuccess(test)
        # Comes after set-up, body and clean-up, where none of them raised anything.
        self.well = self.well is None

    def fail(self, test, error, label=""):
        self.well = False
        super().fail(test, error, label)

    def write(self, test, outcome, messages, frames):
        self.records.extra = {"raw": self.well is True, **self.evidence(test)}
        super().write(test, outcome, messages, frames)

    def evidence(self, test):
        """The token whose beacon must have been seen, or why there is none."""
        kind, method = type(test), getattr(test, "_testMethodName", "")
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        path = os.path.realpath(file) if file else ""
        own = getattr(test, method, None)
        token = self.beacons.token_of(path, "::".join([*kind.__qualname__.split("."), method]), own)
        if token is None and method in vars(kind) and path not in self.beacons.files:
            return {"lost": f"{path or kind.__module__} was not loaded by the launcher"}
        if token is None:
            return {"why": "its body stands in no test file of the base"}
        return {"token": token, "loose": token in self.beacons.loose}


def run(channel, assignment):
    originals = Originals(RUNNER)
    beacons = Beacons(channel, lambda name: name.startswith("test"))
    install(beacons, assignment)
    import_path()
    sys.argv[:] = ["python3 -m unittest"]
    result = Witness(channel, os.getcwd(), beacons)
    watch(channel, originals, result)
    channel.send("begin", {})
    regreen_unittest.run_all(result, assignment["ids"] or [])
    status = 0 if result.wasSuccessful() else 1
    channel.send("finish", {"status": status})
    channel.end(status)
    return status
