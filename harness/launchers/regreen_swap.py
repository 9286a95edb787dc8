"""Gives the functions of a running Python program the code of an edited file, without starting it anew; for
`regreen_repair.py`."""

import gc
import importlib.machinery
import os
import sys
import types

def edited(text, edits):
    """The bytes of a file with edits, which are in order."""
    parts, done = [], 0
    for start, end, new in edits:
        parts += [text[done:start], new.encode()]
        done = end
    return b"".join([*parts, text[done:]])


def nested(code):
    return [const for const in code.co_consts if isinstance(const, types.CodeType)]


def shape(code):
    """What a code object does itself, without the functions in it and without its place."""
    consts = tuple(repr(const) for const in code.co_consts if not isinstance(const, types.CodeType))
    return code.co_code, consts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars


def same(one, other):
    inner, others = nested(one), nested(other)
    return shape(one) == shape(other) and len(inner) == len(others) and all(map(same, inner, others))


class Files:
    """The edited files: their text, their code, and the functions that live from it."""

    def __init__(self):
        self.known = {}

    def of(self, file):
        if file not in self.known:
            path = os.path.realpath(file)
            with open(path, "rb") as stream:
                text = stream.read()
            try:
                code = compile(text, path, "exec", dont_inherit=True)
            except SyntaxError:
                code = None
            self.known[file] = (path, text, code, live(path), loaded(path))
        return self.known[file]


def loaded(path):
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return any(file and os.path.realpath(file) == path for file in files)


def live(path):
    """Functions that were made from a file, by name and line."""
    found, own = {}, {}
    # What is frozen, so that forks share its pages, is not listed.
    gc.unfreeze()
    for thing in gc.get_objects():
        if type(thing) is types.FunctionType:
            code = thing.__code__
            file = code.co_filename
            if file not in own:
                own[file] = os.path.realpath(file) == path
            if own[file]:
                found.setdefault((code.co_name, code.co_firstlineno), []).append(thing)
    gc.freeze()
    return found


def pairs(old, new):
    """Functions outside of functions, old and new; None when something else than functions changed."""
    if shape(old) != shape(new):
        return None
    inner, others = nested(old), nested(new)
    if [code.co_name for code in inner] != [code.co_name for code in others]:
        return None
    found = []
    for one, other in zip(inner, others):
        # A class body runs once, a function whenever it is called; only the latter has fast locals.
        if one.co_flags & 0x2:
            if not same(one, other):
                found.append((one, other))
        else:
            deeper = pairs(one, other)
            if deeper is None:
                return None
            found += deeper
    return found


def swap(files, file, edits):
    """Gives live functions their new code; False when that is not all there is to do."""
    path, text, old, functions, here = files.of(file)
    new = edited(text, edits)
    if not here:
        pretend(path, new)
        return True
    if old is None:
        return False
    code = compile(new, path, "exec", dont_inherit=True)
    changed = pairs(old, code)
    if changed is None:
        return renewed(path, code)
    for one, other in changed:
        alive = functions.get((one.co_name, one.co_firstlineno), [])
        if not alive:
            return False
        for function in alive:
            if one.co_freevars != other.co_freevars:
                return False
            function.__code__ = other
    return True


def renewed(path, code):
    """Runs a module's new code beside it and gives the old module what came of it; False when that is not possible."""
    modules = [each for each in list(sys.modules.values()) if os.path.realpath(getattr(each, "__file__", None) or "") == path]
    if len(modules) != 1:
        return False
    old = modules[0].__dict__
    new = {name: value for name, value in old.items() if name.startswith("__")}
    try:
        exec(code, new)
        for name, value in new.items():
            if not name.startswith("__"):
                renew(old, name, value)
    except Exception:
        return False
    return True


def renew(space, name, value):
    """Functions and classes stay what they are and get new insides; anything else takes the place of the old."""
    known = space.get(name)
    own = getattr(value, "__module__", None) == space.get("__name__")
    if own and type(value) is types.FunctionType and type(known) is types.FunctionType:
        known.__code__, known.__defaults__, known.__kwdefaults__ = value.__code__, value.__defaults__, value.__kwdefaults__
    elif own and isinstance(value, type) and isinstance(known, type):
        for part, inner in vars(value).items():
            outer = vars(known).get(part)
            if type(inner) is types.FunctionType and type(outer) is types.FunctionType:
                outer.__code__, outer.__defaults__, outer.__kwdefaults__ = inner.__code__, inner.__defaults__, inner.__kwdefaults__
            elif not part.startswith("__") and outer is not inner:
                setattr(known, part, inner)
    elif not isinstance(value, (types.ModuleType, types.FunctionType, type)) or known is None:
        for module in list(sys.modules.values()):
            other = getattr(module, "__dict__", None)
            if other is not None and other is not space and known is not None and other.get(name) is known:
                other[name] = value
        space[name] = value


def pretend(path, text):
    """Makes imports see another text of a file."""
    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(self, name):
        if os.path.realpath(self.path) == path:
            return compile(text, self.path, "exec", dont_inherit=True)
        return original(self, name)

    importlib.machinery.SourceFileLoader.get_code = get_code
