"""Tells which of several edits of a function behave alike, on inputs made from those that the tests give it; for
`regreen_repair.py`. Agreement is a sign that a plausible edit is right, and no proof."""

import copy
import json
import random
import re
import signal
import sys

MOST_RECORDED = 12
MOST_INPUTS = 60
SECONDS = 0.05
LARGEST = 20_000


class TooLong(BaseException):
    """Not an Exception, so that the code under test does not catch it."""


def recorded(codes, run):
    """Arguments of the calls that `run` makes of functions, by code object."""
    found = {code: [] for code in codes}

    def note(frame, event, _):
        code = frame.f_code
        if event != "call" or code not in found or len(found[code]) >= MOST_RECORDED:
            return
        given = [frame.f_locals[name] for name in code.co_varnames[: code.co_argcount]]
        try:
            text = shown(given)
            if len(text) < LARGEST and all(text != shown(other) for other in found[code]):
                found[code].append(copy.deepcopy(given))
        except Exception:
            pass

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return found


def shown(value):
    """A value as text, without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def bent(value, dice):
    """A value much like another one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + dice.choice([-2, -1, 1, 2, 3])
    if isinstance(value, float):
        return value + dice.choice([-1.5, -0.5, 0.5, 1.0])
    if isinstance(value, str):
        if not value:
            return dice.choice(["a", "ab", "b a"])
        at = dice.randrange(len(value))
        return dice.choice([value[:at] + value[at + 1 :], value[:at] + value[at] + value[at:], value[::-1]])
    if type(value) in (list, tuple):
        items = list(value)
        at = dice.randrange(len(items)) if items else 0
        kind = dice.choice(["drop", "twice", "bend", "turn"]) if items else "none"
        if kind == "drop":
            del items[at]
        elif kind == "twice":
            items.insert(at, items[at])
        elif kind == "bend":
            items[at] = bent(items[at], dice)
        elif kind == "turn":
            items.reverse()
        return type(value)(items)
    if type(value) is dict and value:
        key = dice.choice(list(value))
        return {**value, key: bent(value[key], dice)}
    return value


def inputs(given):
    """The arguments that were recorded, and many like them."""
    dice, made = random.Random(7), [copy.deepcopy(each) for each in given]
    while given and len(made) < MOST_INPUTS:
        arguments = copy.deepcopy(dice.choice(given))
        for _ in range(dice.choice([1, 1, 2])):
            if arguments:
                at = dice.randrange(len(arguments))
                arguments[at] = bent(arguments[at], dice)
        made.append(arguments)
    return made


def outcomes(function, arguments):
    """What a function makes of each of many arguments: its value and what became of them; `None` when it fails."""

    def late(*_):
        raise TooLong

    signal.signal(signal.SIGVTALRM, late)
    found = []
    for given in arguments:
        try:
            given = copy.deepcopy(given)
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
            value = function(*given)
            if hasattr(value, "__next__"):
                value = [item for item, _ in zip(value, range(1000))]
            found.append(shown([value, given])[:LARGEST])
        except (Exception, TooLong):
            found.append(None)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return found


def alike(answers, arguments):
    """For each candidate, how many others do the same wherever all have a result; and an input that parts them."""
    useful = [at for at in range(len(arguments)) if all(answer[at] is not None for answer in answers.values())]
    keys = {n: tuple(answer[at] for at in useful) for n, answer in answers.items()}
    told = {}
    for n, key in keys.items():
        other = next((each for each in keys.values() if each != key), None)
        parts = None
        if other is not None:
            at = next(at for at, (one, two) in zip(useful, zip(key, other)) if one != two)
            parts = shown(arguments[at])[1:-1][:200]
        told[n] = {"agree": sum(each == key for each in keys.values()), "parts": parts, "inputs": len(useful)}
    return told
