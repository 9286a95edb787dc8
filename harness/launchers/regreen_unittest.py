"""Discovers and runs unittest's tests and writes what they say as records.

    python3 regreen_unittest.py --records FILE [--tree FOLDER] -- [IDS]

Discovery is that of `python3 -m unittest discover`, in the suite's folder and in each folder of tests that is
no package. An id is the dotted path of the file, then class and method; an id may also name a whole file or
class. A file that cannot be imported is a failed test named after the file.
"""

import os
import re
import sys
import time
import unittest

from regreen_records import (
    FOREIGN,
    Records,
    arguments,
    enter_environment,
    frames_in,
    frames_of,
    import_path,
    own_words,
    relative,
)

PATTERNS = ("test*.py", "*_test.py")


class Result(unittest.TestResult):
    """unittest's own bookkeeping, and a record for each test."""

    def __init__(self, records, folder):
        super().__init__()
        self.records = records
        self.folder = folder
        self.names = {}
        self.current = None
        self.began = 0.0

    def startTest(self, test):
        super().startTest(test)
        self.current = {"outcome": None, "messages": [], "frames": []}
        self.began = time.perf_counter()
        self.records.start(name_of(test, self.folder))

    def stopTest(self, test):
        super().stopTest(test)
        current, self.current = self.current, None
        if current is None:
            return
        # A test whose subtests failed is told of no outcome of its own; neither is a pass that cleaned up badly.
        self.write(test, current["outcome"] or "passed", current["messages"], current["frames"])

    def write(self, test, outcome, messages, frames):
        file, line = place_of(test, self.folder)
        message = "" if outcome == "passed" else "\n".join(messages)
        seconds = time.perf_counter() - self.began
        self.records.test(name_of(test, self.folder), outcome, message, file, line, frames, seconds)

    def fail(self, test, error, label=""):
        message = label + own_words(self._exc_info_to_string(error, test), self.folder)
        frames = frames_of(error[1], self.folder) or frames_in(message, self.folder)
        if self.current is not None:
            self.current["outcome"] = "failed"
            self.current["messages"].append(message)
            self.current["frames"] = self.current["frames"] or frames
        else:
            self.fixture("failed", test, message, frames)

    def fixture(self, outcome, holder, message, frames=()):
        """What happens around a class or a module happens to each of its tests, or to itself when they are done."""
        described = re.fullmatch(r"(\w+) \((.*)\)", str(holder))
        phase, name = described.groups() if described else ("", str(holder))
        names = self.names.get(name, [name])
        if not phase.startswith("setUp"):
            levels = 2 if phase.endswith("Module") else 1
            names = [names[0].rsplit(".", levels)[0]] if name in self.names else [name]
        for test in names:
            self.records.test(test, outcome, f"{phase}: {message}", None, 0, frames)

    def addError(self, test, err):
        super().addError(test, err)
        self.fail(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.fail(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.fail(test, err, f"[subtest {subtest._subDescription()}]\n")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if self.current is None:
            self.fixture("skipped", test, reason)
        elif self.current["outcome"] is None and not isinstance(test, unittest.case._SubTest):
            self.current["outcome"] = "skipped"
            self.current["messages"].append(reason)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.current["outcome"] = "skipped"
        self.current["messages"].append("expected to fail")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.current["outcome"] = "failed"
        self.current["messages"].append("passes, but is marked as an expected failure")


def name_of(test, folder):
    """The dotted path of the file that holds the test, then class and method."""
    kind = type(test)
    if kind.__module__ == "unittest.loader":
        # A file that could not be imported, or that skips itself: its name is the method's.
        return prefix_of(test, folder) + test._testMethodName
    if isinstance(test, unittest.TestCase) and kind.__module__.split(".")[0] != "unittest":
        return f"{module_name(kind, folder)}.{kind.__qualname__}.{test._testMethodName}"
    return test.id()


def prefix_of(test, folder):
    top = getattr(test, "regreen_top", folder)
    return "" if top == folder else relative(top, folder).replace("/", ".") + "."


def module_name(kind, folder):
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    path = relative(file, folder) if file else None
    return path.removesuffix(".py").replace("/", ".") if path else kind.__module__


def place_of(test, folder):
    method = getattr(type(test), getattr(test, "_testMethodName", ""), None)
    while hasattr(method, "__wrapped__"):
        method = method.__wrapped__
    code = getattr(method, "__code__", None)
    file = relative(code.co_filename, folder) if code else None
    return (file, code.co_firstlineno) if file else (None, 0)


def discover(top, pattern):
    """The tests of a folder and its packages."""
    # A new loader each time: it remembers its top folder.
    suite = unittest.TestLoader().discover(top, pattern=pattern, top_level_dir=top)
    for test in flat(suite):
        test.regreen_top = top
        yield test


def forget(top):
    """Another folder may have a module of the same name as one of this folder."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and "." not in name and os.path.dirname(file) == top:
            del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path != top]


def plain_folders(folder):
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in FOREIGN and not name.startswith("."))
        if "__init__.py" in files:
            if path != folder:
                folders[:] = []
            continue
        if path != folder and any(re.fullmatch(r"test.*\.py|.*_test\.py", file) for file in files):
            yield path


def flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        elif test is not None:
            yield test


def is_chosen(name, ids):
    return not ids or any(name == test or name.startswith(test + ".") for test in ids)


def run(tests, result):
    for test in tests:
        kind = type(test)
        for owner in (kind.__module__, f"{kind.__module__}.{kind.__qualname__}"):
            result.names.setdefault(owner, []).append(name_of(test, result.folder))
    unittest.TestSuite(tests).run(result)


def run_all(result, ids):
    """Runs the chosen tests of the folder and of each folder of tests that is no package."""
    folder = result.folder
    for pattern in PATTERNS:
        found = 0
        for top in (folder, *plain_folders(folder)):
            tests = list(discover(top, pattern))
            found += len(tests)
            run([test for test in tests if is_chosen(name_of(test, folder), ids)], result)
            if top != folder:
                forget(top)
            result.names.clear()
        if found:
            break


def main():
    path, tree, ids = arguments()
    enter_environment(tree)
    records = Records(path)
    import_path()
    # The code under test may look at its arguments, and ours are none of its business.
    sys.argv[:] = ["python3 -m unittest"]
    result = Result(records, os.getcwd())
    run_all(result, ids)
    status = 0 if result.wasSuccessful() else 1
    records.end(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
