"""Commands: what a step tells the runner, by lines on its output and by files; and the masks over what is shown."""

import base64
import html
import json
import re
import urllib.parse

NAMES = {
    "add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "notice",
    "remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning",
}  # fmt: skip
# What is escaped in the data and in the properties of `::name key=value::data`, and in the older `##[name key=value]data`.
DATA = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
PROPERTY = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))
OLD = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%"))
LEVELS = ("error", "warning", "notice")
# GitHub shows no more annotations of one level than this for one step.
ANNOTATIONS_PER_LEVEL = 10
SUMMARY_LIMIT = 1024 * 1024


class CommandError(Exception):
    """A command or a command file that the runner refuses; the step fails."""


class Masks:
    """Secrets, and the forms in which they are likely to be shown."""

    def __init__(self):
        self.values = set()

    def add(self, value):
        for part in {value, *value.splitlines()}:
            if not part.strip():
                continue
            forms = {part, json.dumps(part)[1:-1], urllib.parse.quote(part, safe=""), html.escape(part)}
            if len(part) >= 8:
                data = part.encode()
                for shift in range(3):
                    rest = data[shift:]
                    forms.add(base64.b64encode(rest[: len(rest) // 3 * 3]).decode())
            self.values |= forms

    def hide(self, text):
        for value in sorted(self.values, key=len, reverse=True):
            text = text.replace(value, "***")
        return text

    def touches(self, text):
        return any(value in text for value in self.values)


def parse(line, known):
    """(name, properties, data) where the line is a command in one of the two forms, else None."""
    stripped = line.lstrip()
    found = re.match(r"::([^ :]+)(?: (.*?))?::(.*)", stripped, re.DOTALL)
    if found and found.group(1) in known:
        return found.group(1), _properties(found.group(2) or "", ","), _unescape(found.group(3), DATA)
    # The old form counts anywhere in a line.
    found = re.search(r"##\[([^ \]]+)(?: ([^\]]*))?\](.*)", line, re.DOTALL)
    if found and found.group(1) in known:
        return found.group(1), _properties(found.group(2) or "", ";"), _unescape(found.group(3), OLD)
    return None


def _properties(text, separator):
    pairs = (part.strip().split("=", 1) for part in text.split(separator))
    escapes = PROPERTY if separator == "," else OLD
    return {pair[0]: _unescape(pair[1], escapes) for pair in pairs if len(pair) == 2 and pair[1]}


def _unescape(text, escapes):
    for code, sign in escapes:
        text = text.replace(code, sign)
    return text


class Listener:
    """Reads one step's lines: commands are carried out, the rest is logged."""

    def __init__(self, job, step):
        self.job, self.step = job, step
        self.stopped_until = None
        self.failed = False

    def line(self, text):
        known = NAMES | ({self.stopped_until} if self.stopped_until else set())
        command = parse(text, known)
        if command is None:
            self.job.log(text)
            return
        name, properties, data = command
        if self.stopped_until:
            if name == self.stopped_until:
                self.stopped_until = None
            self.job.log(text)
            return
        try:
            self.carry_out(name, properties, data)
        except CommandError as wrong:
            self.failed = True
            self.annotate("error", {}, f"Unable to process command '{name}' successfully: {wrong}")

    def carry_out(self, name, properties, data):
        if name in LEVELS:
            self.annotate(name, properties, data)
        elif name == "add-mask":
            if not data.strip():
                raise CommandError("Can't add secret mask for empty string in ##[add-mask] command")
            self.job.masks.add(data)
        elif name == "stop-commands":
            if not data or data in NAMES or data.lower() == "pause-logging":
                raise CommandError("the token to stop with is empty or a command")
            self.stopped_until = data
        elif name in ("set-output", "save-state"):
            if not properties.get("name"):
                raise CommandError("a name is required")
            self.job.log(f"##[warning]The `{name}` command is deprecated")
            (self.step.outputs if name == "set-output" else self.step.state)[properties["name"]] = data
        elif name in ("set-env", "add-path"):
            raise CommandError(f"The `{name}` command is disabled")
        elif name in ("group", "endgroup", "debug"):
            self.job.log(f"##[{name}]{data}")

    def annotate(self, level, properties, message):
        self.job.log(f"##[{level}]{message}")
        mine = [old for old in self.step.annotations if old["level"] == level]
        if len(mine) < ANNOTATIONS_PER_LEVEL:
            shown = {key: self.job.masks.hide(value) for key, value in properties.items()}
            self.step.annotations.append({"level": level, "message": self.job.masks.hide(message), **shown})


def pairs(text):
    """The names and values of a GITHUB_ENV, GITHUB_OUTPUT or GITHUB_STATE file."""
    lines = text.split("\n")
    ended = lines and lines[-1] == ""
    if ended:
        lines.pop()
    found, at = {}, 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line:
            continue
        equals, here = line.find("="), line.find("<<")
        if equals >= 0 and (here < 0 or equals < here):
            name, value = line.split("=", 1)
        elif here >= 0:
            name, delimiter = line.split("<<", 1)
            if not name or not delimiter:
                raise CommandError(f"Invalid format '{line}'. Name and delimiter must not be empty")
            if delimiter not in lines[at:]:
                raise CommandError(f"Invalid value. Matching delimiter not found '{delimiter}'")
            end = lines.index(delimiter, at)
            value = "\n".join(lines[at:end])
            at = end + 1
        else:
            raise CommandError(f"Invalid format '{line}'")
        if not name:
            raise CommandError(f"Invalid format '{line}'. Name must not be empty")
        found[name] = value
    return found
