"""Installs what a Python repository declares and this machine lacks, into a `.venv` of the suite's folder.

    python3 regreen_python_setup.py [--tree FOLDER] [--need PACKAGE]...

Nothing is done where everything declared is there, so plain projects need no set-up and no network. The
environment sees the machine's packages, and the launchers prefer it to the machine's Python. Read are
pyproject.toml (project, test extras, dependency groups, Poetry), setup.cfg, and the usual requirements files;
a setup.py that names requirements is asked by installing the project.
"""

import configparser
import glob
import os
import re
import subprocess
import sys

try:
    import tomllib
except ImportError:
    try:
        from pip._vendor import tomli as tomllib
    except ImportError:
        tomllib = None
try:
    from packaging.requirements import InvalidRequirement, Requirement
except ImportError:
    from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
from importlib import metadata

TEST_GROUPS = ["test", "tests", "testing"]
REQUIREMENTS = [
    "requirements.txt",
    "requirements{-,_,/,.}{test,tests,testing,dev}.txt",
    "{test,tests,dev}{-,_}requirements.txt",
    "{test,tests}/requirements.txt",
    "requirements/{base,main}.txt",
]


def braces(pattern):
    """The patterns that `{a,b}` stands for; `glob` knows no braces."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if not found:
        return [pattern]
    words = found.group(1).split(",")
    return [more for word in words for more in braces(pattern[: found.start()] + word + pattern[found.end() :])]


class Wants:
    """What the repository asks for: requirements, files of them, and the project itself."""

    def __init__(self):
        self.requirements = []
        self.files = []
        self.project = False

    def add(self, lines):
        self.requirements.extend(line for line in lines if isinstance(line, str) and line.strip())


def read_pyproject(wants):
    if tomllib is None or not os.path.exists("pyproject.toml"):
        return
    try:
        with open("pyproject.toml", "rb") as file:
            data = tomllib.load(file)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"pyproject.toml is left out: {error}\n")
        return
    project, tool = data.get("project", {}), data.get("tool", {})
    wants.add(project.get("dependencies", []))
    wants.add(chosen_group(project.get("optional-dependencies", {})))
    wants.add(expanded(data.get("dependency-groups", {})))
    wants.add(tool.get("uv", {}).get("dev-dependencies", []))
    wants.add(poetry(tool.get("poetry", {})))
    backend = data.get("build-system", {}).get("build-backend", "")
    compiled = re.search(r"maturin|scikit_build|mesonpy|cython", backend, re.I)
    wants.project = bool(compiled or project.get("scripts") or project.get("entry-points"))


def chosen_group(groups):
    """The groups for tests; the larger one for development only where there is none."""
    lines = [line for name in TEST_GROUPS for line in groups.get(name, [])]
    return lines or groups.get("dev", [])


def expanded(groups):
    """Dependency groups may include each other (PEP 735)."""

    def lines(name, depth):
        for line in groups.get(name, []):
            if isinstance(line, dict) and depth:
                yield from lines(line.get("include-group"), depth - 1)
            elif isinstance(line, str):
                yield line

    return chosen_group({name: list(lines(name, 8)) for name in groups})


def poetry(table):
    """Poetry's table of versions as requirements; a caret keeps the first digit that is not zero."""
    groups = {name: group.get("dependencies", {}) for name, group in table.get("group", {}).items()}
    groups["dev"] = {**table.get("dev-dependencies", {}), **groups.get("dev", {})}
    chosen = dict(table.get("dependencies", {}))
    for name in TEST_GROUPS + ["dev"]:
        chosen.update(groups.get(name, {}))
    for name, version in chosen.items():
        optional = isinstance(version, dict) and version.get("optional")
        version = version.get("version", "*") if isinstance(version, dict) else version
        if name.lower() != "python" and not optional and isinstance(version, str):
            yield name + poetry_version(version)


def poetry_version(version):
    found = re.fullmatch(r"\s*([\^~])\s*(\d+(?:\.\d+)*)\S*\s*", version)
    if not found:
        return "" if version.strip() in ("", "*") else re.sub(r"^\s*(?=\d)", "==", version)
    numbers = [int(part) for part in found.group(2).split(".")]
    if found.group(1) == "~":
        at = min(1, len(numbers) - 1)
    else:
        at = next((i for i, number in enumerate(numbers) if number), len(numbers) - 1)
    upper = [*numbers[:at], numbers[at] + 1]
    return f">={found.group(2)},<{'.'.join(map(str, upper))}"


def read_setup(wants):
    """setup.cfg is data; setup.py has to be run, which installing the project does."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read("setup.cfg", encoding="utf-8")
        wants.add(config.get("options", "install_requires", fallback="").splitlines())
        extras = "options.extras_require"
        if config.has_section(extras):
            wants.add(chosen_group({name: text.splitlines() for name, text in config.items(extras)}))
        with open("setup.py", encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 20)
        if re.search(r"install_requires|ext_modules|entry_points", text):
            wants.project = True
    except (OSError, configparser.Error, UnicodeDecodeError) as error:
        if not isinstance(error, FileNotFoundError):
            sys.stderr.write(f"setup.cfg or setup.py is left out: {error}\n")


def read_requirements(wants):
    for pattern in REQUIREMENTS:
        for one in braces(pattern):
            for path in sorted(glob.glob(one)):
                if path not in wants.files and os.path.isfile(path):
                    wants.files.append(path)


def lines_of(path, depth=8):
    """Requirement lines of a file and of those it includes; None for a line that only pip understands."""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read(1 << 20).replace("\\\n", " ")
    for line in text.splitlines():
        line = re.sub(r"(^|\s)#.*|\s--hash=\S+", "", line).strip()
        included = re.fullmatch(r"(?:-r|--requirement)[ =]?\s*(.+)", line)
        if included and depth:
            yield from lines_of(os.path.join(os.path.dirname(path), included.group(1)), depth - 1)
        elif line.startswith("-") and not re.match(r"-e|--editable", line):
            continue
        elif line:
            yield line


def satisfied(line):
    """Whether the machine has what a requirement asks for."""
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return False
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return True
    if requirement.url:
        return False
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def file_satisfied(path):
    try:
        return all(satisfied(line) for line in lines_of(path))
    except OSError:
        return False


def run(*argv):
    sys.stdout.write("+ " + " ".join(argv) + "\n")
    sys.stdout.flush()
    # A project without its history cannot tell its version.
    versions = {"SETUPTOOLS_SCM_PRETEND_VERSION": "0.0.0", "PDM_BUILD_SCM_VERSION": "0.0.0"}
    return subprocess.call(argv, env={**versions, **os.environ})


def make_environment(folder):
    python = os.path.join(folder, "bin", "python")
    if not os.access(python, os.X_OK) or subprocess.call([python, "-c", ""]) != 0:
        if run(sys.executable, "-m", "venv", "--clear", "--system-site-packages", folder) != 0:
            sys.exit("the virtual environment cannot be made: is the package python3-venv installed?")
        # Younger versions of venv do this themselves: nothing in it belongs to the repository.
        with open(os.path.join(folder, ".gitignore"), "w", encoding="utf-8") as file:
            file.write("*\n")
    return python


def main():
    words = sys.argv[1:]
    needs = [words[at + 1] for at in range(len(words) - 1) if words[at] == "--need"]
    wants = Wants()
    read_pyproject(wants)
    read_setup(wants)
    read_requirements(wants)
    missing = [line for line in [*wants.requirements, *needs] if not satisfied(line)]
    files = [path for path in wants.files if not file_satisfied(path)]
    if not (missing or files or wants.project):
        return 0
    python = make_environment(os.path.join(os.getcwd(), ".venv"))
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    if missing or files:
        listed = [word for path in files for word in ("-r", path)]
        if run(*pip, "install", *listed, *missing) != 0:
            return 1
    if wants.project:
        # Editable, for its metadata, commands and compiled parts; what the tests import is the tree itself.
        declared = [] if os.path.exists("setup.py") else ["--no-deps"]
        if run(*pip, "install", *declared, "-e", ".") != 0:
            sys.stderr.write("the project itself could not be installed; its tests run from the tree\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
