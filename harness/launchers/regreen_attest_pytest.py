"""The attested run of pytest: what `regreen_pytest.py` does, with beacons, raw outcomes and a look at whether the
runner is still what it was.
"""

import fnmatch
import functools
import importlib
import os
import sys
import tempfile
from importlib import metadata

import pytest
from _pytest.assertion import rewrite
from regreen_beacons import Beacons, Originals, install, packages_of, watch
from regreen_pytest import Recorder, files_of
from regreen_records import import_path

RUNNER = [
    "_pytest.runner:runtestprotocol",
    "_pytest.runner:call_and_report",
    "_pytest.runner:call_runtest_hook",
    "_pytest.runner:pytest_runtest_protocol",
    "_pytest.runner:pytest_runtest_setup",
    "_pytest.runner:pytest_runtest_call",
    "_pytest.runner:pytest_runtest_makereport",
    "_pytest.runner:CallInfo",
    "_pytest.runner:CallInfo.from_call",
    "_pytest.python:pytest_pyfunc_call",
    "_pytest.python:Function",
    "_pytest.python:Function.runtest",
    "_pytest.python:Function.setup",
    "_pytest.reports:TestReport",
    "_pytest.reports:TestReport.from_item_and_call",
    "_pytest.reports:TestReport.__init__",
    "_pytest.reports:BaseReport.passed",
    "_pytest.reports:BaseReport.failed",
    "_pytest.reports:BaseReport.skipped",
    "_pytest.skipping:pytest_runtest_makereport",
    "_pytest.unittest:TestCaseFunction.runtest",
    "_pytest.unittest:TestCaseFunction.addError",
    "_pytest.unittest:TestCaseFunction.addFailure",
    "_pytest.unittest:pytest_runtest_makereport",
    "_pytest.python_api:raises",
    "_pytest.raises:raises",
    "_pytest.raises:RaisesExc.__exit__",
    "_pytest.outcomes:fail",
    "_pytest.assertion.rewrite:rewrite_asserts",
    "_pytest.main:Session",
    "_pytest.main:pytest_runtestloop",
    "_pytest.main:wrap_session",
    "pluggy._callers:_multicall",
    "pluggy._hooks:HookCaller.__call__",
    "pluggy._manager:PluginManager._hookexec",
    "unittest.case:TestCase.failureException",
    "unittest.case:TestCase.run",
    "unittest.case:TestCase._callTestMethod",
    "unittest.case:TestCase.assertEqual",
    "unittest.case:TestCase.assertTrue",
    "unittest.case:TestCase.fail",
    "unittest.case:_Outcome.testPartExecutor",
]


class Witness(Recorder):
    """A recorder that also says what it saw of each test with its own eyes."""

    def __init__(self, channel, chosen, beacons, finder, originals):
        super().__init__(channel, chosen)
        self.beacons = beacons
        self.finder = finder
        self.originals = originals
        self.functions = []
        self.items = {}
        self.raw = {}
        self.status = None
        self.settle = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self, early_config):
        # Plug-ins are loaded, and nothing of the tree that the base does not name as one.
        self.originals.take()
        registered = early_config.pluginmanager.get_plugins
        self.settle = lambda: self.originals.settle(self.finder.is_ours, lambda: packages_of(registered()))
        self.finder.before_product = self.settle

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session):
        metadata.distributions = getattr(metadata.distributions, "func", metadata.distributions)
        self.settle()
        self.originals.adopt()
        self.functions = session.config.getini("python_functions")
        self.finder.rewriting = lambda name, path: self.rewriting(session.config, name, path)
        # pytest put its own finder first; it still says which modules are rewritten, ours does it.
        sys.meta_path.remove(self.finder)
        sys.meta_path.insert(0, self.finder)

    def rewriting(self, config, name, path):
        hook = next((hook for hook in sys.meta_path if isinstance(hook, rewrite.AssertionRewritingHook)), None)
        spec = hook.find_spec(name, path) if hook is not None else None
        if spec is None:
            return None

        def rewritten(tree):
            with open(spec.origin, "rb") as file:
                rewrite.rewrite_asserts(tree, file.read(), spec.origin, config)

        return rewritten

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(self, module_path, parent):
        self.finder.tests.add(os.path.realpath(module_path))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        self.items[item.nodeid] = item

    def pytest_runtest_logstart(self, nodeid, location):
        super().pytest_runtest_logstart(nodeid, location)
        self.raw[nodeid] = {}
        self.beacons.begin()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item, call):
        before = call.excinfo
        outcome = yield
        report = outcome.get_result()
        raw = self.raw.setdefault(item.nodeid, {})
        if call.when == "setup":
            # Some plug-ins run a test more than once; the last time counts.
            raw.clear()
        # One that was expected to fail and did not has passed like any other.
        well = before is None and call.excinfo is None
        raw[call.when] = well and report.outcome == "passed" and report.when == call.when

    def pytest_runtest_logfinish(self, nodeid):
        item, raw = self.items.pop(nodeid, None), self.raw.pop(nodeid, {})
        if nodeid in self.tests:
            well = all(raw.get(when) for when in ("setup", "call", "teardown"))
            self.records.extra = {"raw": well, **self.evidence(item)}
        super().pytest_runtest_logfinish(nodeid)

    def evidence(self, item):
        """The token whose beacon must have been seen, or why there is none."""
        if item.get_closest_marker("forked") is not None:
            return {"why": "it runs in a process of its own"}
        if not isinstance(item, pytest.Function):
            return {"why": f"a test of the kind {type(item).__name__} has no body that can carry a beacon"}
        path = os.path.realpath(item.path)
        if path not in self.beacons.files:
            return {"lost": f"{self.name(item.nodeid)} was not loaded by the launcher"}
        parts = item.nodeid.split("::")[1:-1] + [getattr(item, "originalname", None) or item.name]
        token = self.beacons.token_of(path, "::".join(parts), item.function)
        if token is None:
            return {"why": "its body stands in no test file of the base"}
        return {"token": token, "loose": token in self.beacons.loose}

    def is_test(self, name):
        return name.startswith("test") or any(
            name.startswith(pattern) or fnmatch.fnmatch(name, pattern) for pattern in self.functions
        )

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session, exitstatus):
        yield
        self.status = int(session.exitstatus)
        self.records.send("finish", {"status": self.status})


def originals():
    """Taken before anything of the repository is loaded."""
    for name in RUNNER:
        try:
            importlib.import_module(name.partition(":")[0])
        except ImportError:
            # Another version of pytest has it elsewhere.
            pass
    return Originals(RUNNER)


def run(channel, assignment):
    if int(pytest.__version__.split(".", 1)[0]) < 7:
        channel.send("declined", {"why": f"pytest {pytest.__version__} is older than 7"})
        return 0
    ids = assignment["ids"] or []
    witness = Witness(channel, ids, None, None, originals())
    beacons = Beacons(channel, witness.is_test)
    finder = install(beacons, assignment)
    witness.beacons, witness.finder = beacons, finder
    watch(channel, witness.originals, witness)
    options = ["--tb=short", "--continue-on-collection-errors", "-o", f"cache_dir={tempfile.mkdtemp()}",]
    # Plug-ins are those that are installed: metadata in the tree names none.
    metadata.distributions = functools.partial(metadata.distributions, path=finder.site)
    import_path()
    sys.argv[:] = ["pytest"]
    files = files_of(ids)
    if ids and not files:
        channel.end(5)
        return 5
    main = pytest.main
    channel.send("begin", {})
    status = int(main([*options, *files], plugins=[witness]))
    if status != witness.status and status in (0, 1, 5):
        channel.contradict(f"the session ended with {witness.status}, and pytest returned {status}")
    channel.end(status)
    return status
