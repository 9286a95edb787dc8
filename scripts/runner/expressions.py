"""Expressions: what stands between `${{` and `}}`. Pure: text and contexts in, a value out."""

import json
import math
import re

TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[-+]?(?:0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))(?![\w.])
    | (?P<text>'(?:[^']|'')*')
    | (?P<name>[A-Za-z_][\w-]*)
    | (?P<sign>&&|\|\||==|!=|<=|>=|[()\[\].,!<>*])
    )""",
    re.VERBOSE,
)
STATUS_FUNCTIONS = {"success", "failure", "always", "cancelled"}


class ExpressionError(Exception):
    """The expression cannot be read, or names what is not there."""


class CaseSensitive(dict):
    """A context whose names keep their case: `env`."""


class Filtered(list):
    """What `.*` gives: names after it are looked up in each member."""


def parse(text):
    """The expression as nested tuples."""
    tokens = []
    at = 0
    while text[at:].strip():
        found = TOKEN.match(text, at)
        if not found:
            raise ExpressionError(f"unexpected symbol in `{text.strip()}` at {text[at:].strip()[:20]!r}")
        tokens.append((found.lastgroup, found.group(found.lastgroup)))
        at = found.end()
    parser = _Parser(tokens, text)
    tree = parser.either()
    if parser.left:
        raise ExpressionError(f"`{text.strip()}` goes on after its end: {parser.left[0][1]!r}")
    return tree


class _Parser:
    """Recursive descent, one method a level of precedence, weakest first."""

    def __init__(self, tokens, text):
        self.left, self.text = tokens, text

    def take(self, *signs):
        if self.left and self.left[0][0] == "sign" and self.left[0][1] in signs:
            return self.left.pop(0)[1]
        return None

    def need(self, sign):
        if not self.take(sign):
            raise ExpressionError(f"`{self.text.strip()}` lacks a {sign!r}")

    def chain(self, lower, *signs):
        tree = lower()
        while sign := self.take(*signs):
            tree = (sign, tree, lower())
        return tree

    def either(self):
        return self.chain(self.both, "||")

    def both(self):
        return self.chain(self.equal, "&&")

    def equal(self):
        return self.chain(self.order, "==", "!=")

    def order(self):
        return self.chain(self.negation, "<", "<=", ">", ">=")

    def negation(self):
        return ("!", self.negation()) if self.take("!") else self.path()

    def path(self):
        tree = self.atom()
        while True:
            if self.take("."):
                if self.take("*"):
                    tree = ("*", tree)
                elif self.left and self.left[0][0] == "name":
                    tree = ("at", tree, ("literal", self.left.pop(0)[1]))
                else:
                    raise ExpressionError(f"`{self.text.strip()}` lacks a name after a dot")
            elif self.take("["):
                tree = ("*", tree) if self.take("*") else ("at", tree, self.either())
                self.need("]")
            else:
                return tree

    def atom(self):
        if self.take("("):
            tree = self.either()
            self.need(")")
            return tree
        kind, value = self.left.pop(0) if self.left else ("end", "")
        if kind == "number":
            return ("literal", _number(value))
        if kind == "text":
            return ("literal", value[1:-1].replace("''", "'"))
        if kind != "name":
            raise ExpressionError(f"`{self.text.strip()}` lacks a value before {value!r}")
        if self.take("("):
            arguments = []
            while not self.take(")"):
                if arguments:
                    self.need(",")
                arguments.append(self.either())
            return ("call", value.lower(), arguments)
        constants = {"true": True, "false": False, "null": None, "nan": math.nan, "infinity": math.inf}
        lower = value.lower()
        return ("literal", constants[lower]) if lower in constants else ("context", value)


def uses_status(tree):
    """Whether one of `success()`, `failure()`, `always()`, `cancelled()` is called."""
    if isinstance(tree, list):
        return any(map(uses_status, tree))
    if not isinstance(tree, tuple):
        return False
    return (tree[0] == "call" and tree[1] in STATUS_FUNCTIONS) or any(map(uses_status, tree[1:]))


def evaluate(tree, contexts, functions):
    """The value of a tree: None, bool, number, str, list or dict."""
    kind = tree[0]
    if kind == "literal":
        return tree[1]
    if kind == "context":
        found, value = _look_up(contexts, tree[1])
        if not found:
            raise ExpressionError(f"unrecognized named-value: '{tree[1]}'")
        return value
    if kind == "call":
        if tree[1] not in functions and tree[1] not in FUNCTIONS:
            raise ExpressionError(f"unrecognized function: '{tree[1]}'")
        arguments = [evaluate(argument, contexts, functions) for argument in tree[2]]
        try:
            return (functions.get(tree[1]) or FUNCTIONS[tree[1]])(*arguments)
        except TypeError as wrong:
            raise ExpressionError(f"{tree[1]} was called with {len(arguments)} arguments") from wrong
    if kind in ("&&", "||"):
        left = evaluate(tree[1], contexts, functions)
        return left if truthy(left) == (kind == "||") else evaluate(tree[2], contexts, functions)
    values = [evaluate(part, contexts, functions) for part in tree[1:]]
    if kind == "!":
        return not truthy(values[0])
    if kind == "*":
        members = values[0].values() if isinstance(values[0], dict) else values[0]
        return Filtered(members) if isinstance(values[0], (dict, list)) else Filtered()
    if kind == "at":
        return _at(*values)
    return _compare(kind, *values)


def _at(value, key):
    if isinstance(value, Filtered) and isinstance(key, str):
        inner = [_look_up(member, key) for member in value if isinstance(member, dict)]
        return Filtered(member for found, member in inner if found)
    if isinstance(value, dict):
        return _look_up(value, to_text(key))[1]
    if isinstance(value, list):
        number = to_number(key)
        whole = not math.isnan(number) and number == int(number) and 0 <= number < len(value)
        return value[int(number)] if whole else None
    return None


def _look_up(context, name):
    if name in context:
        return True, context[name]
    if not isinstance(context, CaseSensitive):
        for key, value in context.items():
            if key.lower() == name.lower():
                return True, value
    return False, None


def truthy(value):
    if isinstance(value, (dict, list)):
        return True
    return bool(value) and value == value


def to_text(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        if value != value:
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.15g}"
    if isinstance(value, str):
        return value
    return "Object" if isinstance(value, dict) else "Array"


def _number(text):
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    return sign * (int(digits, 16) if digits.lower().startswith("0x") else float(digits))


def to_number(value):
    if value is None:
        return 0
    if isinstance(value, (bool, int, float)):
        return value + 0
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return 0
        number = re.fullmatch(r"[-+]?(0x[0-9a-fA-F]+|(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)", text)
        return _number(text) if number else math.nan
    return math.nan


def _compare(sign, left, right):
    if isinstance(left, (dict, list)) or isinstance(right, (dict, list)):
        same = left is right
        return same if sign == "==" else not same if sign == "!=" else False
    if isinstance(left, str) and isinstance(right, str):
        left, right = left.upper(), right.upper()
    elif type(left) is not type(right):
        left, right = to_number(left), to_number(right)
    elif left is None:
        left = right = 0
    return {
        "==": left == right,
        "!=": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }[sign]


def _contains(search, item):
    if isinstance(search, list):
        return any(_compare("==", member, item) for member in search)
    if isinstance(search, dict) or isinstance(item, (dict, list)):
        return False
    return to_text(item).upper() in to_text(search).upper()


def _format(pattern, *values):
    def replace(found):
        if found.group(0) in ("{{", "}}"):
            return found.group(0)[0]
        if found.group(1) is None or int(found.group(1)) >= len(values):
            raise ExpressionError(f"format string is invalid: {to_text(pattern)}")
        return to_text(values[int(found.group(1))])

    return re.sub(r"\{\{|\}\}|\{(\d+)\}|[{}]", replace, to_text(pattern))


def _from_json(text):
    try:
        return json.loads(to_text(text))
    except ValueError as wrong:
        raise ExpressionError(f"fromJSON: {wrong}") from wrong


def _join(values, separator=","):
    return to_text(separator).join(map(to_text, values)) if isinstance(values, list) else to_text(values)


FUNCTIONS = {
    "contains": _contains,
    "startswith": lambda text, start: to_text(text).upper().startswith(to_text(start).upper()),
    "endswith": lambda text, end: to_text(text).upper().endswith(to_text(end).upper()),
    "format": _format,
    "join": _join,
    "tojson": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
    "fromjson": _from_json,
}


def split_template(text):
    """`text` as parts: literal strings and ("expression", TEXT) pairs."""
    parts, at = [], 0
    while (start := text.find("${{", at)) >= 0:
        end, quoted = start + 3, False
        while quoted or text[end : end + 2] != "}}":
            if end >= len(text):
                raise ExpressionError(f"`{text[start:start + 40]}` is never closed")
            quoted ^= text[end] == "'"
            end += 1
        parts += [text[at:start], ("expression", text[start + 3 : end])]
        at = end + 2
    return [part for part in [*parts, text[at:]] if part != ""]


def interpolate(value, contexts, functions):
    """A value of the workflow file with its expressions replaced; a lone expression keeps its type."""
    if isinstance(value, dict):
        return {key: interpolate(member, contexts, functions) for key, member in value.items()}
    if isinstance(value, list):
        return [interpolate(member, contexts, functions) for member in value]
    if not isinstance(value, str):
        return value
    parts = split_template(value)
    done = [
        evaluate(parse(part[1]), contexts, functions) if isinstance(part, tuple) else part for part in parts
    ]
    if len(parts) == 1 and isinstance(parts[0], tuple):
        return done[0]
    return "".join(map(to_text, done))


def condition(text, contexts, functions):
    """An `if:`. Without a status function of its own it means `success() && (…)`."""
    if text is None or text == "":
        text = "success()"
    parts = split_template(text) if isinstance(text, str) and "${{" in text else None
    if parts and not (len(parts) == 1 and isinstance(parts[0], tuple)):
        # Text around an expression makes a text of the whole, which is true unless it is empty: a well-known trap.
        trees = [parse(part[1]) for part in parts if isinstance(part, tuple)]
        asked = any(map(uses_status, trees))
        value = interpolate(text, contexts, functions)
    else:
        tree = parse(parts[0][1] if parts else to_text(text))
        asked = uses_status(tree)
        if not asked and not functions["success"]():
            return False
        return truthy(evaluate(tree, contexts, functions))
    return truthy(value) and (asked or functions["success"]())
