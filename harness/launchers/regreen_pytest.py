"""Runs pytest and writes what it says as records.

    python3 regreen_pytest.py --records FILE [--tree FOLDER] -- [IDS]

The repository's own configuration, conftest files and plug-ins hold, except what would hide results: stopping
at the first failure, other processes, the memory of earlier runs. Without ids everything runs; otherwise the
chosen tests only, where an id may also name a whole file.
"""

import os
import re
import sys
import tempfile

from regreen_records import Records, arguments, clip, enter_environment, frames_of, import_path, own_words, relative

if __name__ == "__main__":
    enter_environment(arguments()[1])
try:
    import pytest
except ImportError:
    sys.exit(f"pytest is not installed for {sys.executable}: python3 -m pip install pytest")

CAPTURED_BYTES = 1024


class Recorder:
    """A pytest plug-in that merges a test's phases and subtests into one record."""

    def __init__(self, records, chosen):
        self.records = records
        self.chosen = set(chosen)
        self.folder = os.getcwd()
        self.root = self.folder
        self.tests = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config):
        self.root = str(getattr(config, "rootpath", None) or config.rootdir)
        # Values are shown whole in assertion messages; the bound is ours.
        config.option.verbose = max(config.option.verbose, 2)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_cmdline_main(self, config):
        # A wrapper runs before xdist's own hook, which turns these options into worker processes.
        for name, value in {"numprocesses": None, "tx": [], "dist": "no", "maxfail": 0, "stepwise": False}.items():
            if hasattr(config.option, name):
                setattr(config.option, name, value)
        yield

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        if not self.chosen:
            return
        kept = [item for item in items if self.is_chosen(self.name(item.nodeid))]
        left = [item for item in items if not self.is_chosen(self.name(item.nodeid))]
        items[:] = kept
        config.hook.pytest_deselected(items=left)

    def is_chosen(self, test):
        return not self.chosen.isdisjoint((test, test.split("[", 1)[0], test.split("::", 1)[0]))

    def name(self, nodeid):
        """A node id relative to the suite's folder; pytest's own is relative to its rootdir."""
        file, colons, rest = nodeid.partition("::")
        return (relative(os.path.join(self.root, file), self.folder) or file) + colons + rest

    def pytest_exception_interact(self, call, report):
        # Comes before the report of a collection, but after the report of a phase.
        if call.excinfo is None:
            return
        frames = frames_of(call.excinfo.value, self.folder)
        test = self.tests.get(report.nodeid)
        if test is not None:
            test["frames"] = test["frames"] or frames
        else:
            report.regreen_frames = frames

    def pytest_collectreport(self, report):
        if report.failed:
            test = self.name(report.nodeid) if report.nodeid else "."
            frames = getattr(report, "regreen_frames", ())
            message = own_words(text_of(report), self.folder)
            self.records.test(test, "failed", message, file_of(test, self.folder), 0, frames)

    def pytest_runtest_logstart(self, nodeid, location):
        file, line, _ = location
        self.records.start(self.name(nodeid))
        self.tests[nodeid] = {
            "outcome": "passed",
            "messages": [],
            "frames": [],
            "file": relative(os.path.join(self.root, file), self.folder),
            "line": (line or 0) + 1,
            "seconds": 0.0,
        }

    def pytest_runtest_logreport(self, report):
        test = self.tests.get(report.nodeid)
        if test is None:
            return
        part = subtest_of(report)
        if part is None:
            test["seconds"] += getattr(report, "duration", 0.0)
        if report.failed:
            # A subtest that fails fails its test, whatever the test's own report says.
            test["outcome"] = "failed"
            where = part or ("" if report.when == "call" else report.when)
            test["messages"].append((f"[{where}]\n" if where else "") + text_of(report))
        elif report.skipped and part is None and test["outcome"] == "passed":
            test["outcome"] = "skipped"
            test["messages"] = [reason_of(report)]

    def pytest_runtest_logfinish(self, nodeid):
        # Written a moment later than the last report, when the frames are known too.
        test = self.tests.pop(nodeid, None)
        if test is not None:
            message = "" if test["outcome"] == "passed" else "\n".join(test["messages"])
            self.records.test(
                self.name(nodeid),
                test["outcome"],
                message,
                test["file"],
                test["line"],
                test["frames"],
                test["seconds"],
            )


def text_of(report):
    """What failed, with the tail of what the test printed."""
    text = report.longreprtext if hasattr(report, "longreprtext") else str(report.longrepr)
    for title, content in report.sections:
        if content.strip():
            text += f"\n[{title}]\n" + clip(content, CAPTURED_BYTES)
    return text


def reason_of(report):
    if getattr(report, "wasxfail", None) is not None:
        return f"expected to fail: {report.wasxfail}"
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return text_of(report)


def subtest_of(report):
    """The description of a subtest, or None for a report of the test itself."""
    context = getattr(report, "context", None)
    if context is None:
        return None
    words = [f"{key}={value}" for key, value in (getattr(context, "kwargs", None) or {}).items()]
    return " ".join(["subtest", *([context.msg] if context.msg else []), *words])


def file_of(test, folder):
    file = test.split("::", 1)[0]
    return file if os.path.isfile(os.path.join(folder, file)) else None


class Tee:
    """stderr, of which the head is also kept: pytest says there, and only there, that a conftest is broken."""

    def __init__(self, stream):
        self.stream = stream
        self.kept = ""

    def write(self, text):
        if len(self.kept) < 1 << 16:
            self.kept += text
        return self.stream.write(text)

    def __getattr__(self, name):
        return getattr(self.stream, name)


def record_broken_conftest(records, said):
    """A conftest that does not load keeps every test file beside and below it from loading."""
    broken = re.search(r"ImportError while loading conftest '(.+)'", said)
    if broken is None:
        return False
    for folder, folders, files in os.walk(os.path.dirname(broken.group(1))):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "node_modules"]
        for file in files:
            test = relative(os.path.join(folder, file), os.getcwd())
            if test and re.fullmatch(r"test_.*\.py|.*_test\.py", file):
                records.test(test, "failed", said, relative(broken.group(1), os.getcwd()), 0)
    return True


def files_of(ids):
    files = dict.fromkeys(test.split("::", 1)[0] for test in ids)
    return [file for file in files if os.path.exists(file)]


def main():
    path, _, ids = arguments()
    records = Records(path)
    import_path()
    # The code under test may look at its arguments, and ours are none of its business.
    sys.argv[:] = ["pytest"]
    options = ["--tb=short", "--continue-on-collection-errors", "-o", f"cache_dir={tempfile.mkdtemp()}"]
    files = files_of(ids)
    if ids and not files:
        records.end(5)
        return 5
    sys.stderr = tee = Tee(sys.stderr)
    status = int(pytest.main([*options, *files], plugins=[Recorder(records, ids)]))
    sys.stderr = tee.stream
    # Interrupted (2), internal error (3) and wrong usage (4) leave a report that is not whole.
    whole = status in (0, 1, 5) or (status == 4 and record_broken_conftest(records, tee.kept))
    if whole:
        records.end(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
