"""Runs pytest or unittest so that what it says can be believed.

    python3 -I -B regreen_attest.py --records FILE --tree FOLDER < ASSIGNMENT

The assignment comes on stdin, as JSON, before any code of the repository is loaded, and stdin is /dev/null from
then on: the key of the record codes, the runner, the chosen tests, the test files, the names that the base's own
modules have. Records are those of README.md, each in a line `CODE NUMBER KIND DATA`: CODE is HMAC-SHA-256 over
number, kind and data. A beacon at the end of every test body says that the body was run to its end.

Whoever reads another's memory can read the key here too; controls are what finds that out.
"""

import fcntl
import hmac
import json
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from regreen_records import arguments, clip, enter_environment  # noqa: E402

# Where the private descriptor lies, out of the way of tests that close the low ones.
HIGH = 210


class Channel:
    """Writes records with their codes. What it needs is bound before the code under test is loaded."""

    def __init__(self, path, key):
        self.send, self.guard = sender(path, key)
        # What is known of the test whose record comes next, besides what the runner says.
        self.extra = {}

    def start(self, test):
        self.send("start", {"id": test})

    def test(self, test, outcome, message="", file=None, line=0, frames=(), seconds=0.0):
        extra, self.extra = self.extra, {}
        record = {"id": test, "outcome": outcome, "seconds": round(seconds, 6), **extra}
        if message:
            record["message"] = clip(message)
        if file:
            record["file"], record["line"] = file, line
        if frames:
            record["frames"] = [{"file": path, "line": number} for path, number in frames]
        self.send("test", record)

    def contradict(self, what):
        self.send("contradiction", {"what": clip(what, 500)})

    def end(self, status):
        self.send("end", {"status": status})


def sender(path, key):
    """A function that writes one record, the key being nowhere else; and one that says, once, what is to be asked
    before the record of a test is written, so that nobody has to think of it and nobody can talk it out of it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    first = os.open(path, flags, 0o600)
    try:
        descriptor = fcntl.fcntl(first, fcntl.F_DUPFD_CLOEXEC, HIGH + os.urandom(1)[0] % 40)
        os.close(first)
    except OSError:
        descriptor = first
    encode = json.JSONEncoder(ensure_ascii=True).encode
    blank = hmac.new(key, digestmod="sha256")
    write, getpid, reopen, lock = os.write, os.getpid, os.open, threading.RLock()
    owner, numbers = getpid(), iter(range(1 << 62))
    asked = None

    def guard(question):
        nonlocal asked
        asked = asked or question

    def send(kind, data):
        nonlocal descriptor
        # A child that was forked off speaks for itself.
        if getpid() != owner:
            return
        if asked is not None and kind in ("test", "finish"):
            asked(kind == "finish")
        with lock:
            number, text = next(numbers), encode(data)
            code = blank.copy()
            code.update(f"{number}\n{kind}\n{text}".encode())
            line = f"{code.hexdigest()} {number} {kind} {text}\n".encode()
            try:
                done = write(descriptor, line)
            except OSError:
                # Tests of daemons close every descriptor there is.
                descriptor, done = reopen(path, flags), 0
            while done < len(line):
                done += write(descriptor, line[done:])

    return send, guard


def read_assignment():
    text = b""
    while chunk := os.read(0, 1 << 16):
        text += chunk
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return json.loads(text)


def main():
    path, tree, _ = arguments()
    enter_environment(tree)
    assignment = read_assignment()
    channel = Channel(path, bytes.fromhex(assignment.pop("key")))
    leave = os._exit
    if assignment["runner"] == "pytest":
        from regreen_attest_pytest import run
    else:
        from regreen_attest_unittest import run
    status = run(channel, assignment)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    # What the code under test left for the end of the process has no say any more.
    leave(status)


if __name__ == "__main__":
    main()
