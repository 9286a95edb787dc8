"""Loads test files with a beacon at the end of every test body, and keeps new files of the tree from standing in
for modules of Python and of installed packages.

A beacon is a call in the compiled code, not in the source: a constant of the code is the function itself, so that
there is no name to overwrite. Early returns pass through it too.
"""

import ast
import functools
import importlib.machinery
import os
import sys
import types
import warnings
from hashlib import sha256

MARK = "\0beacon:"

# Decorators that run the body, or leave it out openly.
FAITHFUL = {
    *("pytest", "mark", "mock", "unittest", "parametrize", "parameterized", "patch", "given", "settings"),
    *("example", "skip", "skipIf", "skipUnless", "staticmethod", "classmethod", "expectedFailure", "usefixtures"),
    *("asyncio", "anyio", "trio", "hypothesis", "monkeypatch", "override", "final"),
}


class Beacons:
    """The test files that were loaded, and the beacons in them."""

    def __init__(self, channel, is_test):
        self.send = channel.send
        self.contradict = channel.contradict
        self.is_test = is_test
        # Tokens by file, and by the compiled code of each body.
        self.files = {}
        self.codes = {}
        self.loose = set()
        self.reached = set()
        # Digests of the files of the base, by their real paths.
        self.known = {}

    def begin(self):
        """A test begins: no body was run to its end since."""
        self.reached.clear()

    def check(self, path, data):
        """The bytes of a test file must be those that the parent knows."""
        known = self.known.get(os.path.realpath(path))
        if known is not None and sha256(data).hexdigest() != known:
            self.contradict(f"a test file was changed before it was loaded: {os.path.basename(path)}")

    def beacon(self, token, home):
        """What a body calls at its end. `home` is to hold the body's code: nobody else's call counts."""
        reached, send, caller = self.reached, self.send, sys._getframe

        def beacon(value):
            if token not in reached and caller(1).f_code in home:
                reached.add(token)
                send("body", {"token": token})
            return value

        return beacon

    def compile(self, source, path, rewrite):
        """The code of a test file with its beacons. `rewrite` is what pytest does to assertions, if it does."""
        tree = ast.parse(source, filename=path)
        tokens = []
        self.plant(tree.body, path, "", tokens)
        if rewrite is not None:
            rewrite(tree)
        with warnings.catch_warnings():
            # A beacon calls a constant.
            warnings.simplefilter("ignore", SyntaxWarning)
            code = compile(tree, path, "exec", dont_inherit=True)
        self.files[path] = set(tokens)
        return self.charge(code, tokens)

    def plant(self, body, path, prefix, tokens):
        for node in body:
            if isinstance(node, ast.ClassDef):
                self.plant(node.body, path, f"{prefix}{node.name}::", tokens)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if self.is_test(node.name) and not is_generator(node) and not is_fixture(node):
                    token = f"{path}::{prefix}{node.name}"
                    if not all(is_faithful(decorator) for decorator in node.decorator_list):
                        self.loose.add(token)
                    append_beacon(node, MARK + str(len(tokens)))
                    tokens.append(token)
            else:
                for part in ("body", "orelse", "handlers", "finalbody"):
                    inner = getattr(node, part, None)
                    if isinstance(inner, list):
                        self.plant(inner, path, prefix, tokens)

    def charge(self, code, tokens):
        """Puts the functions in the places of their marks."""
        constants, token, home = [], None, []
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                constant = self.charge(constant, tokens)
            elif isinstance(constant, str) and constant.startswith(MARK):
                token = tokens[int(constant[len(MARK) :])]
                constant = self.beacon(token, home)
            constants.append(constant)
        charged = code.replace(co_consts=tuple(constants))
        if token is not None:
            home.append(charged)
            # The objects themselves are the keys: equal code is not the same code.
            self.codes[id(charged)] = (charged, token)
        return charged

    def token_of(self, path, qualified, function):
        """The token of a test by its file and name, or by its function where it stands in another file."""
        token = f"{path}::{qualified}"
        if token in self.files.get(path, ()):
            return token
        code = getattr(plain(function), "__code__", None)
        return self.codes.get(id(code), (None, None))[1]


def is_generator(function):
    return any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in own_nodes(function))


def own_nodes(function):
    """The nodes of a function without those of functions and classes in it."""
    left = list(function.body)
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            left.extend(ast.iter_child_nodes(node))


def is_fixture(function):
    return any("fixture" in ast.dump(decorator) for decorator in function.decorator_list)


def is_faithful(decorator):
    return any(
        (isinstance(node, ast.Name) and node.id in FAITHFUL)
        or (isinstance(node, ast.Attribute) and node.attr in FAITHFUL)
        for node in ast.walk(decorator)
    )


def append_beacon(function, mark):
    def call(value, at):
        made = ast.Call(ast.Constant(mark), [value or ast.Constant(None)], [])
        return ast.fix_missing_locations(ast.copy_location(made, at))

    for node in list(own_nodes(function)):
        if isinstance(node, ast.Return):
            node.value = call(node.value, node)
    last = function.body[-1]
    statement = ast.Expr(call(None, last))
    function.body.append(ast.copy_location(statement, last))


def unwrapped(function):
    """A function, a method or a partial call, and what is wrapped in it, outermost first."""
    for _ in range(31):
        yield function
        inner = getattr(function, "__wrapped__", None) or getattr(function, "__func__", None)
        function = function.func if inner is None and isinstance(function, functools.partial) else inner
        if function is None:
            return


def plain(function):
    """The function itself below what is wrapped around it."""
    return list(unwrapped(function))[-1]


def watch(channel, originals, witness):
    """Has the channel say, once of each, which parts of the runner or of the witness are not what they were."""
    told, contradict = set(), channel.contradict
    originals.own(witness)

    def look(whole):
        for name in originals.patched(whole):
            if name not in told:
                told.add(name)
                contradict(f"the runner was patched: {name}")

    channel.guard(look)


class Loader(importlib.machinery.SourceFileLoader):
    """Loads one test file."""

    def __init__(self, name, path, beacons, rewrite):
        super().__init__(name, path)
        self.beacons = beacons
        self.rewrite = rewrite

    def get_code(self, fullname):
        # Never from a cache: what lies there may be anything.
        path = self.get_filename(fullname)
        data = self.get_data(path)
        self.beacons.check(path, data)
        return self.beacons.compile(data, os.path.realpath(path), self.rewrite)


class Finder:
    """The first to be asked where a module is."""

    def __init__(self, beacons, tests, site, own):
        self.beacons = beacons
        self.tests = tests
        self.site = site
        self.own = own
        # Set by a runner that rewrites assertions: a function of name and path that gives the rewriting.
        self.rewriting = lambda name, path: None
        # Called before the first file of the tree that is no test is loaded.
        self.before_product = lambda: None
        self.find = importlib.machinery.PathFinder.find_spec

    def find_spec(self, name, path=None, target=None):
        if path is None and "." not in name and name not in self.own:
            spec = self.find(name, self.site)
            if spec is not None and spec.loader is not None:
                return spec
        spec = self.find(name, path)
        origin = os.path.realpath(spec.origin) if spec is not None and spec.has_location else None
        if origin in self.beacons.known and origin not in self.tests:
            # A conftest, which carries no beacons.
            with open(origin, "rb") as file:
                self.beacons.check(origin, file.read())
        if origin in self.tests:
            spec.loader = Loader(name, spec.origin, self.beacons, self.rewriting(name, path))
            spec.cached = None
            return spec
        if self.may_be_product(name, origin):
            before, self.before_product = self.before_product, lambda: None
            before()
        return None

    def may_be_product(self, name, origin):
        if origin is not None:
            return self.is_ours(origin) and origin not in self.beacons.known
        # An editable install leads to the tree by a finder of its own.
        ours = name.partition(".")[0] not in STANDARD
        return ours and any("__editable__" in str(getattr(each, "__module__", "")) for each in sys.meta_path)


def install(beacons, assignment):
    """Puts the finder first. To be called before the tree is importable."""
    here = os.getcwd()
    tree = os.path.realpath(assignment["tree"])

    def is_ours(path):
        return is_below(path, tree) and ".venv" not in path

    site = [path for path in sys.path if not is_ours(os.path.realpath(path or here))]
    known = {os.path.realpath(os.path.join(tree, path)): digest for path, digest in assignment["tests"].items()}
    beacons.known.update(known)
    tests = {path for path in known if os.path.basename(path) != "conftest.py"}
    finder = Finder(beacons, tests, site, set(assignment["own"]))
    finder.is_ours = is_ours
    sys.meta_path.insert(0, finder)
    return finder


def is_below(path, folder):
    return path == folder or path.startswith(folder + os.sep)


# Modules whose functions are looked at, with those below them, and modules of which tests change something.
WATCHED = ("unittest", "_pytest", "pluggy")
UNWATCHED = ("unittest.mock", "_pytest.monkeypatch")
# What pytest itself replaces after it has loaded its plug-ins.
REPLACED = {"_getini_unknown_type"}
# So many of their functions are looked at after each test, and all of them at the end.
SLICE = 150
# Whose trace functions only count lines.
MEASURING = {"coverage"}
# What a type has that is not made by Python code.
HEAP_TYPE = 1 << 9
# Numbers that sys.monitoring has for tools.
TOOLS = 6
STANDARD = {*getattr(sys, "stdlib_module_names", ()), *sys.builtin_module_names}


class Originals:
    """What a runner consists of, as it was before the code under test was loaded."""

    def __init__(self, names):
        self.kept = {}
        for name in names:
            function = resolve(name)
            if function is not None:
                self.kept[name] = (function, layers_of(function))
        self.owned = []
        self.next = 0
        self.changed, self.resolve = changed, resolve
        self.tracers = (sys.gettrace, sys.getprofile)
        monitoring = getattr(sys, "monitoring", None)
        self.tool = monitoring.get_tool if monitoring is not None else lambda number: None
        self.tools = [self.tool(number) for number in range(TOOLS)]
        self.measuring = set()
        # By the key of what they may replace: codes of plug-ins, once product code may have been loaded.
        self.plugins = None
        self.take()

    def take(self):
        """Takes down all functions of the runner, as the plug-ins of the base have left them."""
        self.parts = [
            (name, vars(owner), key, value, layers_of(value))
            for module, found in sorted(sys.modules.items())
            if is_watched(module)
            for name, owner, key, value in parts_of(module, found)
            if key not in REPLACED
        ]

    def settle(self, is_ours, plugins):
        """Takes over what was replaced by code that is not the tree's, while nothing of the product is loaded. Later
        it is only believed of functions that plug-ins have now, and that replace what their own code speaks of.
        """
        if self.plugins is not None:
            return
        self.replace(lambda key, made: not is_ours(os.path.realpath(made.co_filename)))
        self.plugins, keys = {}, {part[2] for part in self.parts}
        for plugin in plugins():
            if not is_ours(file_of(plugin)):
                codes = list(codes_of(plugin))
                for key in keys.intersection(word for code in codes for word in words_of(code)):
                    self.plugins.setdefault(key, []).append(codes)
        self.tools = [self.tool(number) for number in range(TOOLS)]
        self.measuring = {
            kind
            for module in modules_of(MEASURING)
            if not is_ours(file_of(module))
            for kind in list(vars(module).values())
            if issubclass(type(kind), type)
        }

    def adopt(self):
        """Takes over what plug-ins replaced since."""
        self.replace(lambda key, made: any(made is code for codes in self.plugins.get(key, ()) for code in codes))

    def replace(self, may):
        def as_now(part):
            name, owner, key, value, _ = part
            now = owner.get(key)
            made = code_of(now)
            taken = now is not value and made is not None and may(key, made)
            return (name, owner, key, now, layers_of(now)) if taken else part

        self.parts = [as_now(part) for part in self.parts]

    def own(self, thing):
        """An object of ours whose methods nobody is to stand in for."""
        kind = type(thing)
        self.owned.append((vars(thing), {name for name in dir(kind) if callable(getattr(kind, name))}))

    def patched(self, whole=False):
        """The names of what is not what it was: of the most important ones, and of a part of the others."""
        for name, (function, layers) in self.kept.items():
            if self.resolve(name) is not function or self.changed(function, layers):
                yield name
        some = self.parts if whole else self.parts[self.next : self.next + SLICE]
        self.next = self.next + SLICE if self.next + SLICE < len(self.parts) else 0
        for name, owner, key, value, layers in some:
            if owner.get(key) is not value or self.changed(value, layers):
                yield name
        for attributes, methods in self.owned:
            if attributes.keys() & methods:
                yield "the launcher"
        for tracer in self.tracers:
            watcher = tracer()
            if watcher is not None and not self.is_measuring(type(watcher)):
                yield f"sys.{tracer.__name__}"
        if any(self.tool(number) not in (None, tool) for number, tool in enumerate(self.tools)):
            yield "sys.monitoring"

    def is_measuring(self, kind):
        """Whether a tracer is coverage's own: known before the product was, or made by no Python code."""
        return kind in self.measuring or (
            not kind.__flags__ & HEAP_TYPE and kind.__module__.partition(".")[0] in MEASURING
        )


def is_watched(module):
    if module.startswith("regreen_"):
        return True
    return module.split(".")[0] in WATCHED and not module.startswith(UNWATCHED)


def parts_of(module, found):
    """The functions of a module and the methods of its classes: name, owner, key, value."""
    for key, value in list(vars(found).items()):
        # Their real types: some things stand in for others, and mind being asked.
        function, kind = type(value) is types.FunctionType, issubclass(type(value), type)
        if not (function or kind) or getattr(value, "__module__", None) != module:
            continue
        if function:
            yield f"{module}.{key}", found, key, value
        else:
            yield f"{module}.{key}", found, key, value
            for name, method in list(vars(value).items()):
                if isinstance(method, (types.FunctionType, classmethod, staticmethod, property)):
                    yield f"{module}.{key}.{name}", value, name, method


def file_of(module):
    return os.path.realpath(getattr(module, "__file__", None) or os.devnull)


def packages_of(plugins):
    """The modules of plug-ins that are installed, the runner's own apart."""
    names = {plugin.__name__.partition(".")[0] for plugin in plugins if type(plugin) is types.ModuleType}
    return modules_of(names.difference(WATCHED))


def modules_of(packages):
    """What is loaded of packages."""
    return [
        found
        for name, found in list(sys.modules.items())
        if name.partition(".")[0] in packages and issubclass(type(found), types.ModuleType)
    ]


def codes_of(module):
    """The codes of a module's functions, with those of the functions in them."""
    left = [code_of(value) for _, _, _, value in parts_of(module.__name__, module)]
    while left:
        code = left.pop()
        if isinstance(code, types.CodeType):
            yield code
            left.extend(code.co_consts)


def words_of(code):
    return (*code.co_names, *(text for text in code.co_consts if isinstance(text, str)))


def code_of(function):
    """The code of a function, of a method, or of what a property asks."""
    return getattr(plain(asked_by(function)), "__code__", None)


def asked_by(function):
    return function.fget if isinstance(function, property) else function


def layers_of(function):
    """The functions that are wrapped around each other, outermost first, with their codes."""
    coded = ((layer, getattr(layer, "__code__", None)) for layer in unwrapped(asked_by(function)))
    return tuple((layer, code) for layer, code in coded if code is not None)


def changed(function, layers, kind=types.FunctionType):
    """Whether a function has other code than it had. What is none can be given another function in its place."""
    if type(function) is not kind:
        return layers_of(function) != layers
    for layer, code in layers:
        if layer.__code__ is not code:
            return True
    return False


def resolve(name):
    """`package.module:Class.method`, without what the attribute protocol makes of it."""
    module, _, path = name.partition(":")
    found = sys.modules.get(module)
    for part in path.split("."):
        if found is None:
            return None
        found = vars(found).get(part) if isinstance(found, (type, types.ModuleType)) else getattr(found, part, None)
    return found
