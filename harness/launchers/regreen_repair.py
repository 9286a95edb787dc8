"""Judges many small edits of Python files by their tests, in warm processes; for the embedded repair engine.

    python3 regreen_repair.py pytest|unittest --plan FILE --out FILE --tree FOLDER

Tests are collected once; each candidate is a fork in which the functions that it edits get their new code. What it
says is a proposal and no verdict: whatever passes here is judged again by the ordinary run.

The plan is JSON: `mode` is `trace` (run `tests`, or all, and say which lines of the repository each of them runs) or `judge`
(run `targets`, then `guards` for each of `candidates`: `[number, file, [[start, end, text], …], level]`, offsets in bytes; the
level is the first of `limits` that it is given).
The answer is a JSON object a line.
"""

import gc
import json
import os
import re
import resource
import select
import signal
import sys
import time
import unittest

import regreen_compare
from regreen_records import FOREIGN, enter_environment, import_path
from regreen_swap import Files, edited, pairs, pretend, swap

HARD_FACTOR = 3
TRACED_SECONDS = 0.6
MOST_TRACED = 400
MOST_TESTS = 20
COMPARED_SECONDS = 5
COMPARED_TESTS = 40
MOST_COMPARED = 12
STEADY_TESTS = 40
EXAMPLE = "example of "
MOST_EXAMPLES = 200
RESTLESS = 4
RESTLESS_SECONDS = 20
GUARD_SECONDS = 5
EXAMPLE_SECONDS = 1
SPARE_BYTES = 1 << 30


def options():
    words = sys.argv[1:]
    return words[0], dict(zip(words[1::2], words[2::2]))


class Pytest:
    """Collects with pytest and runs items one by one: whether they pass, or `None` when they are skipped."""

    def __init__(self):
        import pytest
        from _pytest import runner
        from regreen_pytest import Recorder

        self.pytest, self.name_of = pytest, Recorder.name
        self.protocol = runner.runtestprotocol

    def collect_and(self, serve):
        recorder = _recorder(self, serve)
        sys.argv[:] = ["pytest"]
        words = ["-s", "-q", "--continue-on-collection-errors", "-p", "no:cacheprovider", "--tb=no", "-p", "no:warnings"]
        self.pytest.main(words, plugins=[recorder])

    def run(self, item, following):
        if isinstance(item, unittest.TestCase):
            return run_case(item)
        self.red = False
        following = None if isinstance(following, unittest.TestCase) else following
        reports = self.protocol(item, nextitem=following, log=False)
        if any(report.skipped for report in reports):
            return None
        passed = any(report.when == "call" and report.passed for report in reports)
        return passed and not self.red and not any(report.failed for report in reports)


def _recorder(runner, serve):
    class Plugin:
        """Takes the place of pytest's own loop."""

        folder = os.getcwd()
        root = folder
        name = runner.name_of

        @runner.pytest.hookimpl(tryfirst=True)
        def pytest_configure(self, config):
            self.root = str(getattr(config, "rootpath", None) or config.rootdir)

        @runner.pytest.hookimpl(hookwrapper=True)
        def pytest_cmdline_main(self, config):
            for name, value in {"numprocesses": None, "tx": [], "dist": "no", "maxfail": 0, "stepwise": False}.items():
                if hasattr(config.option, name):
                    setattr(config.option, name, value)
            yield

        @runner.pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(self, session):
            serve({self.name(item.nodeid): item for item in session.items})
            os._exit(0)

        def pytest_runtest_logreport(self, report):
            # Subtests report here, and only here.
            runner.red = runner.red or report.failed

    return Plugin()


class Unittest:
    """Collects with unittest and runs tests one by one."""

    def __init__(self):
        import regreen_unittest

        self.launcher = regreen_unittest

    def collect_and(self, serve):
        launcher = self.launcher
        sys.argv[:] = ["python3 -m unittest"]
        folder, items = os.getcwd(), {}
        for pattern in launcher.PATTERNS:
            for top in (folder, *launcher.plain_folders(folder)):
                for test in launcher.discover(top, pattern):
                    items.setdefault(launcher.name_of(test, folder), test)
            if items:
                break
        serve(items)
        os._exit(0)

    def run(self, item, following):
        return run_case(item)


def run_case(case):
    """Whether a test of unittest passes, or `None` when it is skipped."""
    result = unittest.TestResult()
    unittest.TestSuite([case]).run(result)
    return None if result.skipped else result.testsRun == 1 and result.wasSuccessful()


def examples(files):
    """The examples in the docstrings of modules that are loaded, as tests."""
    if not files:
        return {}
    # Not before the tests are loaded: it loads modules by whose names a repository may have its own.
    try:
        import doctest
    except Exception:
        return {}
    wanted, found = {os.path.realpath(file) for file in files}, {}
    for module in list(sys.modules.values()):
        try:
            if os.path.realpath(module.__file__) in wanted:
                cases = [doctest.DocTestCase(test) for test in doctest.DocTestFinder().find(module) if test.examples]
                found.update((EXAMPLE + case.id(), case) for case in cases)
        except Exception:
            # Not every module can be looked at, and some say what is not so.
            continue
    return dict(list(found.items())[:MOST_EXAMPLES])


# Processes.


def bound(seconds, most):
    """Ends this process after so much CPU time, unless it is given more, and before it has all the memory."""
    whole = int(most) + 2
    used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (used + whole, used + whole))
    with open("/proc/self/statm") as stream:
        pages = int(stream.read().split()[0])
    most = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    signal.setitimer(signal.ITIMER_PROF, seconds)


def time_for(request):
    """CPU seconds of the first test, and the most that all may take: whatever passes is given more."""
    return request["limit"], request["limit"] * min(len(request["tests"]), MOST_TESTS)


def in_fork(work, wall):
    """What `work` writes into its descriptor in a fork: the bytes, the wait status, CPU seconds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            os.setpgid(0, 0)
            work(writer)
        except BaseException:
            os._exit(3)
        finally:
            os._exit(0)
    os.close(writer)
    said, deadline = b"", time.monotonic() + wall
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            kill(child)
            break
        part = os.read(reader, 1 << 16)
        if not part:
            break
        said += part
    os.close(reader)
    # It closed its end; it may live on all the same.
    ended = time.monotonic() + 0.2
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() > ended:
            kill(child)
            _, status, usage = os.wait4(child, 0)
            break
        time.sleep(0.0005)
    kill(child)
    return said, status, usage.ru_utime + usage.ru_stime


def asked(work, wall=COMPARED_SECONDS):
    """What `work` gives in a fork that may take some CPU seconds, `None` when it fails; and the seconds it took."""

    def quietly(writer):
        silence()
        bound(COMPARED_SECONDS, COMPARED_SECONDS)
        write_all(writer, json.dumps(work()).encode())

    said, _, cpu = in_fork(quietly, wall)
    try:
        return json.loads(said), cpu
    except ValueError:
        return None, cpu


def kill(group):
    for target in (os.killpg, os.kill):
        try:
            target(group, signal.SIGKILL)
        except OSError:
            pass


def silence():
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def write_all(writer, data):
    while data:
        data = data[os.write(writer, data) :]


def run_tests(runner, items, ids, limit, writer, whole=False):
    """Writes `p` or `f` for each test; unless all are wanted, the third test without a pass is enough, or a failure
    after that."""
    passed = 0
    for number, test in enumerate(ids):
        signal.setitimer(signal.ITIMER_PROF, limit)
        item = items.get(test)
        following = items.get(ids[number + 1]) if number + 1 < len(ids) else None
        good = item is not None and bool(runner.run(item, following))
        passed += good
        os.write(writer, b"p" if good else b"f")
        if not good and not whole and (number >= 2 or passed == number):
            break
    os.write(writer, b".")


class Server:
    """Serves requests in a process that has collected the tests."""

    def __init__(self, runner, items, requests, replies):
        self.runner, self.items = runner, items
        self.requests, self.replies = requests, replies
        self.files = Files()

    def serve(self):
        for line in self.requests:
            answer = self.answer(json.loads(line))
            self.replies.write(json.dumps(answer) + "\n")
            self.replies.flush()

    def answer(self, request):
        if "list" in request:
            return [test for test in self.items if test.startswith(EXAMPLE) == (request["list"] == "examples")]
        if "trace" in request:
            return self.traced(request["trace"])
        if "compare" in request:
            return self.compared(request["compare"], request["tests"])
        if "weigh" in request:
            return self.weighed(request["weigh"], request["targets"], request["guards"])
        if "hold" in request:
            return self.held(request["hold"], request["limit"], request["most"])
        self.files.of(request["file"])

        def work(writer):
            silence()
            bound(*time_for(request))
            try:
                fits = swap(self.files, request["file"], request["edits"])
            except (SyntaxError, ValueError, RecursionError):
                os.write(writer, b"x")
                return
            if not fits:
                os.write(writer, b"c")
                return
            run_tests(self.runner, self.items, request["tests"], request["limit"], writer)

        return told(*in_fork(work, time_for(request)[1] * 4 + 2))

    def held(self, tests, limit, most):
        """What tests do on the base, one after the other, until one takes too long."""

        def work(writer):
            silence()
            bound(limit, most)
            run_tests(self.runner, self.items, tests, limit, writer, whole=True)

        return told(*in_fork(work, most * 2 + 1))

    def compared(self, candidates, tests):
        """How the candidates that edit one function behave on inputs like those of the tests."""

        def work():
            place = self.edited_function(candidates)
            ids = [test for test in tests if test in self.items]
            run = lambda: [self.runner.run(self.items[test], None) for test in ids]
            arguments = regreen_compare.inputs(regreen_compare.recorded([place.__code__], run)[place.__code__])
            answers = {}
            for n, file, edits, _ in candidates:
                # What cannot be swapped fails, and all with it.
                outcomes = lambda: swap(self.files, file, edits) and regreen_compare.outcomes(place, arguments) or None
                answers[n], _ = asked(outcomes, COMPARED_SECONDS * 2)
            return regreen_compare.alike(answers, arguments)

        for file in {file for _, file, _, _ in candidates}:
            self.files.of(file)
        answer, cpu = asked(work, COMPARED_SECONDS * 4)
        return {"cpu": cpu, "told": answer or {}}

    def weighed(self, candidate, targets, guards):
        """What else is known of a candidate that passes: whether it does so by an error of its own, and for how many of
        the inputs that passing tests give the edited functions it still does what the base does."""
        _, file, edits, _ = candidate
        path, text, old, functions, _ = self.files.of(file)
        run = lambda ids: [self.runner.run(self.items[test], None) for test in ids if test in self.items]

        def errors(lines):
            fits = lines is None or swap(self.files, file, edits)
            return raised(path, lines, lambda: run(targets)) if fits else []

        def steady():
            changed = pairs(old, compile(edited(text, edits), path, "exec", dont_inherit=True)) or []
            alive = [each for one, _ in changed for each in functions.get((one.co_name, one.co_firstlineno), [])[:1]]
            # An example is about one function.
            names = {function.__name__ for function in alive}
            about = [test for test in guards if not test.startswith(EXAMPLE) or test.rpartition(".")[2] in names]
            known = regreen_compare.recorded([function.__code__ for function in alive], lambda: run(about))
            given = [(function, known[function.__code__]) for function in alive]
            answers = lambda: [answer for function, inputs in given for answer in regreen_compare.outcomes(function, inputs)]
            patched, _ = asked(lambda: answers() if swap(self.files, file, edits) else [])
            both = [(one, two) for one, two in zip(answers(), patched or []) if one is not None]
            return [len(both), sum(one == two for one, two in both)]

        # What raises on purpose may be right, and what comes upon no other error than the base does.
        on_purpose = any("raise" in re.findall(r"\w+", new) for _, _, new in edits)
        found, spent = ([], 0.0) if on_purpose else asked(lambda: errors(new_lines(text, edits)))
        if found:
            known, cpu = asked(lambda: errors(None))
            spent += cpu
            if not set(found) <= set(known or []):
                return {"astray": True, "cpu": spent}
        kept, cpu = asked(steady)
        return {"steady": kept, "cpu": spent + cpu}

    def edited_function(self, candidates):
        """The live function that all candidates edit; fails when there is none."""
        found = set()
        for _, file, edits, _ in candidates:
            path, text, old, functions, _ = self.files.of(file)
            for code, _ in pairs(old, compile(edited(text, edits), path, "exec", dont_inherit=True)):
                found.add((file, code.co_name, code.co_firstlineno))
        ((file, name, line),) = found
        return self.files.of(file)[3][name, line][0]

    def traced(self, test):
        def work(writer):
            silence()
            bound(TRACED_SECONDS * HARD_FACTOR * 2, TRACED_SECONDS * HARD_FACTOR * 2)
            lines, folder = {}, os.path.realpath(os.getcwd()) + os.sep
            tracer = line_tracer(lines, folder)

            def stop(*_):
                raise TimeoutError("it takes too long")

            signal.signal(signal.SIGVTALRM, stop)
            signal.setitimer(signal.ITIMER_VIRTUAL, TRACED_SECONDS)
            began = time.process_time()
            sys.settrace(tracer)
            try:
                passed = self.runner.run(self.items[test], None)
            except BaseException:
                passed = False
            finally:
                sys.settrace(None)
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            seen = {file[len(folder) :]: sorted(found) for file, found in lines.items() if found}
            answer = {"passed": passed, "lines": seen, "seconds": time.process_time() - began}
            write_all(writer, json.dumps(answer).encode())

        if test not in self.items:
            return {"id": test, "passed": None, "lines": {}}
        said, _, cpu = in_fork(work, TRACED_SECONDS * 20)
        try:
            answer = json.loads(said)
        except ValueError:
            answer = {"passed": False, "lines": {}}
        return {"id": test, "cpu": cpu, **answer}


def new_lines(text, edits):
    """The lines that edits make, from 1."""
    found, grown = set(), 0
    for start, end, new in edits:
        first = text[:start].count(b"\n") + grown + 1
        found.update(range(first, first + new.count("\n") + 1))
        grown += new.count("\n") - text[start:end].count(b"\n")
    return found


def raised(path, lines, run):
    """What `run` says of names and attributes that it misses in a file, in certain lines of it or anywhere."""
    found = set()

    def local(frame, event, argument):
        if event == "exception" and issubclass(argument[0], (AttributeError, NameError)):
            # Only where it is raised: further out the traceback is longer.
            innermost = argument[2] is not None and argument[2].tb_next is None
            if innermost and (lines is None or frame.f_lineno in lines):
                found.add(str(argument[1])[:200])
        return local

    def tracer(frame, event, _):
        own = frame.f_code.co_filename == path and frame.f_code.co_name != "__getattr__"
        return local if own else None

    sys.settrace(tracer)
    try:
        run()
    finally:
        sys.settrace(None)
    return sorted(found)


def told(said, status, cpu):
    words = said.decode("ascii", "replace")
    whole = words.endswith(".")
    results = words.rstrip(".")
    if words == "x":
        how = "broken"
    elif words == "c":
        how = "cold"
    elif whole:
        how = "failed" if "f" in results else "passed"
    elif os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGKILL, signal.SIGXCPU):
        how = "timeout"
    else:
        how = "failed"
    return {"how": how, "passed": results.count("p"), "results": results, "cpu": cpu}


def line_tracer(lines, folder):
    known = {}

    def of(file):
        if file not in known:
            path = os.path.realpath(file) if not file.startswith("<") else ""
            own = path.startswith(folder) and not FOREIGN.intersection(path[len(folder) :].split(os.sep))
            known[file] = lines.setdefault(path, set()) if own else None
        return known[file]

    def tracer(frame, event, _):
        found = of(frame.f_code.co_filename)
        if found is None:
            return None
        # The line of `def` is no line of the body.
        def local(frame, event, _):
            if event == "line":
                found.add(frame.f_lineno)
            return local

        return local

    return tracer


class Pool:
    """Warm processes, and a cold one that collects anew for what cannot be swapped."""

    def __init__(self, runner, size, files=()):
        self.runner, self.files = runner, files
        self.ends = []
        pipes = [(os.pipe(), os.pipe()) for _ in range(size)]
        self.child = os.fork()
        if self.child == 0:
            try:
                silence()
                self.warm(pipes)
            finally:
                os._exit(1)
        for requests, replies in pipes:
            os.close(requests[0])
            os.close(replies[1])
            self.ends.append((os.fdopen(requests[1], "w"), os.fdopen(replies[0], "r")))

    def warm(self, pipes):
        def serve(items):
            items.update(examples(self.files))
            for own in pipes[1:]:
                if os.fork() == 0:
                    self.serve(items, pipes, own)
            self.serve(items, pipes, pipes[0])

        for requests, replies in pipes:
            os.close(requests[1])
            os.close(replies[0])
        self.runner.collect_and(serve)

    def serve(self, items, pipes, own):
        # That a process died is told by the end of its pipe, if nobody else holds it.
        for requests, replies in (each for each in pipes if each is not own):
            os.close(requests[0])
            os.close(replies[1])
        requests, replies = own
        gc.freeze()
        Server(self.runner, items, os.fdopen(requests[0], "r"), os.fdopen(replies[1], "w")).serve()
        # Whoever counts CPU time sees that of processes that were waited for.
        try:
            while True:
                os.wait()
        except ChildProcessError:
            os._exit(0)

    def send(self, worker, request):
        try:
            self.ends[worker][0].write(json.dumps(request) + "\n")
            self.ends[worker][0].flush()
            return True
        except OSError:
            return False

    def receive(self, worker):
        line = self.ends[worker][1].readline()
        return json.loads(line) if line else None

    def end(self):
        for requests, _ in self.ends:
            try:
                requests.close()
            except OSError:
                pass
        until = time.monotonic() + 1
        while os.waitpid(self.child, os.WNOHANG)[0] == 0:
            if time.monotonic() > until:
                kill(self.child)
            time.sleep(0.002)

    def cold(self, request):
        """Collects anew, with the candidate in place."""

        def work(writer):
            silence()
            bound(request["limit"] + 2, time_for(request)[1] + 2)
            with open(request["file"], "rb") as stream:
                text = edited(stream.read(), request["edits"])
            pretend(os.path.realpath(request["file"]), text)
            tests, limit = request["tests"], request["limit"]

            def run(items):
                shown = examples(self.files) if any(test.startswith(EXAMPLE) for test in tests) else {}
                run_tests(self.runner, {**items, **shown}, tests, limit, writer)

            self.runner.collect_and(run)

        return told(*in_fork(work, time_for(request)[1] * 4 + 10))


class Judge:
    """Puts candidates before the tests, in order, until enough of them pass or the CPU time is used up."""

    def __init__(self, plan, pool, out):
        self.plan, self.pool, self.out = plan, pool, out
        self.targets, self.guards = plan["targets"], plan["guards"]
        self.cpu, self.tried, self.plausible, self.first = 0.0, 0, 0, None
        self.passed, self.found, self.until = {}, [], None
        # Tests that say what the base does right, the same for all candidates; known when the first one needs it.
        self.steady = None
        # A guard that failed with a candidate, and passes alone on the base.
        self.broken = []
        # Examples that the base keeps to.
        self.examples = []
        # CPU seconds until the first plausible candidate, and whether one is known to do as the base does for most of what
        # they ask.
        self.found_at, self.calm = 0.0, False
        self.began = time.monotonic()

    def say(self, **record):
        record["at"] = round(time.monotonic() - self.began, 3)
        self.out.write(json.dumps(record) + "\n")
        self.out.flush()

    def over(self):
        if self.cpu >= self.plan["cpu"] or time.monotonic() - self.began >= self.plan["wall"]:
            return True
        if self.first is None:
            return False
        restless = not self.calm and self.cpu < self.found_at + max(RESTLESS_SECONDS, self.found_at)
        more = max(self.plan["after"] * (RESTLESS if restless else 1), self.first // 2)
        return self.tried >= self.first + more or self.plausible >= self.plan["enough"]

    def run(self):
        levels = range(len(self.plan["limits"]))
        queues = [[each for each in self.plan["candidates"] if each[3] == level] for level in levels]
        fresh = bool(queues[0])
        for level, queue in enumerate(queues):
            before = self.cpu
            # What passed some tests before it took too long is worth waiting for.
            queue.sort(key=lambda each: -self.passed.get(each[0], 0))
            late = self.round(queue, level)
            if level + 1 < len(queues):
                queues[level + 1] += late
            if self.over() or self.first is not None:
                break
            # Slow candidates get a part of what the quick ones took, and the rest when no quick ones are left.
            self.until = self.cpu + max(2.0, (self.cpu - before) / 2) if fresh else None
        self.compare()
        self.say(end=True, tried=self.tried, cpu=round(self.cpu, 3))

    def compare(self):
        """Says of plausible candidates how many of them behave alike, where that can be told."""
        if not 2 <= len(self.found) <= MOST_COMPARED:
            return
        tests = (self.targets + (self.steady or []))[:COMPARED_TESTS]
        answer = self.pool.receive(0) if self.pool.send(0, {"compare": self.found, "tests": tests}) else None
        if answer:
            self.cpu += answer.get("cpu", 0.0)
            for n, told in answer.get("told", {}).items():
                self.say(n=int(n), how="passed", **told)

    def round(self, queue, level):
        waiting, busy, late = iter(queue), {}, []
        idle, limit = list(range(len(self.pool.ends))), self.plan["limits"][level]
        while True:
            while idle and not self.over() and (self.until is None or self.cpu < self.until):
                candidate = next(waiting, None)
                if candidate is None:
                    break
                worker = idle.pop()
                request = self.request(candidate, self.targets, limit + self.plan["seconds"])
                if self.pool.send(worker, request):
                    busy[worker] = (candidate, request)
                else:
                    self.finish(candidate, request, {"how": "cold", "passed": 0, "cpu": 0.0}, worker, late, level)
                    idle.append(worker)
                    break
            if not busy:
                return late
            # Each answers when its fork may take no longer.
            longest = max(time_for(request)[1] for _, request in busy.values()) * 4 + 60
            ready, _, _ = select.select([self.pool.ends[worker][1] for worker in busy], [], [], longest)
            for worker in [worker for worker in busy if self.pool.ends[worker][1] in ready]:
                candidate, request = busy.pop(worker)
                answer = self.pool.receive(worker) or {"how": "cold", "passed": 0, "cpu": 0.0}
                self.finish(candidate, request, answer, worker, late, level)
                idle.append(worker)
            if not ready:
                return late

    def request(self, candidate, tests, limit):
        _, file, edits, _ = candidate
        return {"file": file, "edits": edits, "tests": tests, "limit": limit}

    def finish(self, candidate, request, answer, worker, late, level):
        self.cpu += answer["cpu"]
        cold = answer["how"] == "cold"
        if cold:
            answer = self.pool.cold(request)
            self.cpu += answer["cpu"]
        if candidate[3] == level:
            self.tried += 1
        passed = answer["passed"]
        if answer["how"] == "passed":
            if self.steady is None:
                self.hold(worker)
            answer = self.guarded(candidate, cold, worker) if self.guards else answer
        if answer["how"] == "timeout":
            late.append(candidate)
            self.passed[candidate[0]] = passed
        known = {}
        if answer["how"] == "passed":
            if self.is_against(candidate, cold, worker):
                known = {"against": True}
            else:
                known = {} if cold else self.weight(candidate, worker)
                if known.pop("astray", False):
                    answer["how"] = "failed"
                else:
                    self.keep(candidate, known.get("steady") or (0, 0))
        self.say(n=candidate[0], how=answer["how"], passed=passed, level=level + 1, cpu=round(answer["cpu"], 4), **known)

    def keep(self, candidate, steady):
        """Notes a plausible candidate."""
        self.plausible += 1
        self.found.append(candidate)
        if self.first is None:
            self.first, self.found_at = self.tried, self.cpu
        inputs, same = steady
        self.calm = self.calm or 0 < inputs * 3 <= same * 4

    def weight(self, candidate, worker):
        """What else speaks for a candidate or against it, where that can be told."""
        left = self.plan["wall"] - (time.monotonic() - self.began)
        tests = {"targets": self.targets[:MOST_TESTS], "guards": self.steady}
        if left < 4 * COMPARED_SECONDS or not self.pool.send(worker, {"weigh": candidate, **tests}):
            return {}
        answer = self.pool.receive(worker) or {}
        self.cpu += answer.pop("cpu", 0.0)
        return {name: value for name, value in answer.items() if value}

    def hold(self, worker):
        """Keeps the guards that pass here on the base too, cheapest first, as far as a part of the time goes: one that fails
        here would refuse every candidate, and the verifier runs them all. Of examples, which nobody else runs, those that
        pass twice."""
        most = min(GUARD_SECONDS, max(0.5, (self.plan["cpu"] - self.cpu) / 4))
        self.guards = self.held(worker, self.guards, most, unknown=True)
        shown = self.pool.receive(worker) if self.pool.send(worker, {"list": "examples"}) else None
        self.examples = shown if isinstance(shown, list) else []
        for _ in range(2):
            self.examples = self.held(worker, self.examples, min(EXAMPLE_SECONDS, most))
        self.steady = self.guards[:STEADY_TESTS] + self.examples

    def held(self, worker, tests, most, unknown=False):
        """Those tests that pass on the base, as far as so many CPU seconds go; and where nothing can be asked, those of which
        nothing is known, if they are wanted."""
        limit = self.plan["limits"][0] * 3 + self.plan["guard_seconds"]
        kept, spent, until = [], 0.0, time.monotonic() + 3 * most
        while tests and spent < most and time.monotonic() < until:
            request = {"hold": tests, "limit": limit, "most": most - spent}
            answer = self.pool.receive(worker) if self.pool.send(worker, request) else None
            if answer is None:
                return kept + tests if unknown else kept
            spent += answer["cpu"]
            kept += [test for test, result in zip(tests, answer["results"]) if result == "p"]
            tests = tests[len(answer["results"]) + 1 :]
        self.cpu += spent
        # Candidates that take long have as much as before.
        self.until = self.until and self.until + spent
        return kept

    def is_against(self, candidate, cold, worker):
        """Whether an example says otherwise, which the fix may have to change: such a candidate is set aside."""
        return bool(self.examples) and "f" in self.asked_of(self.examples, candidate, cold, worker).get("results", "")

    def asked_of(self, tests, candidate, cold, worker):
        """What tests of what the base does right say of a candidate."""
        request = self.request(candidate, tests, self.plan["limits"][0] * 4 + self.plan["guard_seconds"])
        answer = self.pool.receive(worker) if not cold and self.pool.send(worker, request) else None
        answer = answer or self.pool.cold(request)
        self.cpu += answer["cpu"]
        return answer

    def guarded(self, candidate, cold, worker):
        """What the guards say of a candidate. What broke once breaks again, so it is asked first, alone: in another order
        the others may do otherwise."""
        for tests in filter(None, (self.broken, self.guards)):
            answer = self.asked_of(tests, candidate, cold, worker)
            if answer["how"] != "passed":
                break
        results = answer.get("results", "")
        if "f" in results and tests is self.guards:
            self.broken = self.held(worker, [tests[results.index("f")]], EXAMPLE_SECONDS)
        return answer


def trace(plan, pool, out):
    began = time.monotonic()
    tests = plan["tests"]
    if not tests and pool.send(0, {"list": "tests"}):
        tests = (pool.receive(0) or [])[:MOST_TRACED]
    for test in tests:
        if time.monotonic() - began > plan["wall"] or not pool.send(0, {"trace": test}):
            break
        answer = pool.receive(0)
        if answer is None:
            break
        out.write(json.dumps(answer) + "\n")
        out.flush()


def main():
    kind, named = options()
    enter_environment(named["--tree"])
    runner = Pytest() if kind == "pytest" else Unittest()
    import_path()
    with open(named["--plan"], encoding="utf-8") as stream:
        plan = json.load(stream)
    # A reader or a writer that went away is told by an error, not by a signal.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    out = open(named["--out"], "a", encoding="utf-8")
    size = 1 if plan["mode"] == "trace" else max(1, min(os.cpu_count() or 1, plan.get("workers", 2)))
    pool = Pool(runner, size, sorted({file for _, file, _, _ in plan.get("candidates", [])}))
    if plan["mode"] == "trace":
        trace(plan, pool, out)
    else:
        Judge(plan, pool, out).run()
    out.flush()
    pool.end()
    os._exit(0)


if __name__ == "__main__":
    main()
