"""What regreen's Python launchers share: the record file, bounded text, frames, and the interpreter.

The record format is described in README.md beside this file.
"""

import json
import os
import re
import sys
import traceback

MESSAGE_BYTES = 8192
MOST_FRAMES = 30
# Places of files that were asked for, by path and folder.
PLACES = {}
# Folders whose code is not the repository's, even where they lie inside it.
FOREIGN = {".venv", "venv", "env", "site-packages", "dist-packages", "node_modules", ".tox", ".nox", ".git"}


class Records:
    """The record file. Every line is flushed, so that a crash loses only the test it happened in."""

    def __init__(self, path):
        # os.open makes the descriptor one that child processes do not inherit.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.descriptor = os.open(path, flags, 0o644)

    def write(self, record):
        line = (json.dumps(record, ensure_ascii=True) + "\n").encode()
        while line:
            line = line[os.write(self.descriptor, line) :]

    def start(self, test):
        """Says that a test begins: it is to blame if the process ends before its record."""
        self.write({"start": test})

    def test(self, test, outcome, message="", file=None, line=0, frames=(), seconds=0.0):
        record = {"id": test, "outcome": outcome}
        if message:
            record["message"] = clip(message)
        if file:
            record["file"], record["line"] = file, line
        if frames:
            record["frames"] = [{"file": path, "line": number} for path, number in frames]
        record["seconds"] = round(seconds, 6)
        self.write(record)

    def end(self, status):
        """Says that the report is whole."""
        self.write({"end": True, "status": status})


def clip(text, limit=MESSAGE_BYTES):
    """Head and tail of a text; the bound counts bytes."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    head, tail = data[: limit // 2], data[-(limit - limit // 2) :]
    note = f"\n[… {len(data) - limit} bytes left out …]\n"
    return head.decode("utf-8", "ignore") + note + tail.decode("utf-8", "ignore")


def relative(path, folder):
    """A path as it is named in records: relative to the suite's folder, or None outside of it."""
    if path.startswith("<"):
        # Code without a file: `<string>`, `<frozen importlib._bootstrap>`.
        return None
    # Asked of the same few files for each test. What is not absolute may mean something else later.
    known = type(path) is str and type(folder) is str and os.path.isabs(path)
    if not known:
        return beneath(path, folder)
    if (path, folder) not in PLACES:
        PLACES[path, folder] = beneath(path, folder)
    return PLACES[path, folder]


def beneath(path, folder):
    try:
        path = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
    except (OSError, ValueError):
        return None
    parts = path.split(os.sep)
    if parts[0] == os.pardir or FOREIGN.intersection(parts):
        return None
    return "/".join(parts)


def frames_of(error, folder):
    """Frames of an exception in repository files, innermost first; those of its causes come before."""
    found = []
    for cause in reversed(list(chain(error))):
        if isinstance(cause, SyntaxError) and cause.filename:
            found.append((relative(cause.filename, folder), cause.lineno or 0))
        places = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(cause.__traceback__)]
        found.extend((relative(path, folder), line or 0) for path, line in reversed(places[-200:]))
    known = [place for place in dict.fromkeys(found) if place[0]]
    return known[:MOST_FRAMES]


def own_words(text, folder):
    """A traceback without the frames of foreign code, which would crowd out the others."""
    kept, foreign = [], False
    for line in text.split("\n"):
        header = re.match(r'  File "(.+)", line \d+|(\S.*):\d+: in ', line)
        if header:
            foreign = relative(header.group(1) or header.group(2), folder) is None
        elif not line.startswith("    "):
            foreign = False
        if not foreign:
            kept.append(line)
    return "\n".join(kept).rstrip()


def frames_in(text, folder):
    """Frames that are only known from a printed traceback, innermost first."""
    found = re.findall(r'File "(.+?)", line (\d+)', text)
    places = [(relative(path, folder), int(line)) for path, line in reversed(found)]
    return [place for place in dict.fromkeys(places) if place[0]][:MOST_FRAMES]


def chain(error, most=5):
    """The exception and what caused it, as a traceback would show them."""
    while error is not None and most:
        yield error
        most -= 1
        if error.__cause__ is not None:
            error = error.__cause__
        else:
            error = None if error.__suppress_context__ else error.__context__


def arguments():
    """Reads `--records FILE [--tree FOLDER] -- IDS`."""
    words = sys.argv[1:]
    options, ids = words, []
    if "--" in words:
        at = words.index("--")
        options, ids = words[:at], words[at + 1 :]
    pairs = dict(zip(options[::2], options[1::2]))
    if "--records" not in pairs:
        sys.exit("usage: --records FILE [--tree FOLDER] [-- IDS]")
    return pairs["--records"], pairs.get("--tree") or os.getcwd(), ids


def environments(tree):
    """The virtual environments that set-up may have made: in the suite's folder, or in one above it."""
    folder, tree = os.path.realpath(os.getcwd()), os.path.realpath(tree)
    while True:
        yield os.path.join(folder, ".venv")
        if folder == tree or not folder.startswith(tree + os.sep):
            return
        folder = os.path.dirname(folder)


def enter_environment(tree):
    """Goes on in the repository's virtual environment, if there is one."""
    for folder in environments(tree):
        python = os.path.join(folder, "bin", "python")
        if os.access(python, os.X_OK):
            if os.path.realpath(sys.prefix) != os.path.realpath(folder):
                os.execv(python, [python, *flags(), *sys.argv])
            return


def flags():
    """The options that this interpreter was started with, as far as launchers use them."""
    return (["-I"] if sys.flags.isolated else []) + (["-B"] if sys.flags.dont_write_bytecode else [])


def import_path():
    """Makes the repository importable as `python -m` would, and a `src` layout too, for children as well.

    To be called after the runner was imported: a file of the repository must not stand in for it.
    """
    here = os.getcwd()
    launchers = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or here) != launchers]
    source = os.path.join(here, "src")
    first = [here]
    if os.path.isdir(source) and not os.path.exists(os.path.join(source, "__init__.py")):
        first.append(source)
        inherited = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([source, *([inherited] if inherited else [])])
    sys.path[:0] = [path for path in first if path not in sys.path]
