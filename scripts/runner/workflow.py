"""Workflow and action files: read as GitHub reads them, and refused where they use what this runner lacks."""

import re

import yaml


class WorkflowError(Exception):
    """The file is wrong, or asks for something that this runner does not do."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's words: `on` and `yes` are texts, only `true` and `false` are booleans."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))

WORKFLOW = {"name", "run-name", "on", "env", "defaults", "permissions", "concurrency", "jobs"}
JOB = {
    "name", "needs", "if", "runs-on", "permissions", "outputs", "env", "defaults", "steps", "timeout-minutes",
    "continue-on-error", "concurrency", "environment",
}  # fmt: skip
STEP = {
    "id", "name", "if", "uses", "with", "run", "shell", "env", "working-directory", "continue-on-error",
    "timeout-minutes",
}  # fmt: skip
SCOPES = {
    "actions", "attestations", "checks", "contents", "deployments", "discussions", "id-token", "issues", "packages",
    "pages", "pull-requests", "security-events", "statuses",
}  # fmt: skip


def read(path):
    with open(path, encoding="utf-8") as file:
        try:
            content = yaml.load(file, Loader=_Loader)
        except yaml.YAMLError as wrong:
            raise WorkflowError(f"{path}: {wrong}") from wrong
    if not isinstance(content, dict):
        raise WorkflowError(f"{path}: not a mapping")
    return content


def _only(mapping, known, where):
    if not isinstance(mapping, dict):
        raise WorkflowError(f"{where} is not a mapping")
    if unknown := set(map(str, mapping)) - known:
        raise WorkflowError(f"{where}: this runner does not know {', '.join(sorted(unknown))}")


def read_workflow(path):
    """A workflow file whose every key is one that this runner obeys (`concurrency` and `environment`: passes over)."""
    content = read(path)
    _only(content, WORKFLOW, path)
    if not content.get("jobs"):
        raise WorkflowError(f"{path}: there are no jobs")
    for name, job in content["jobs"].items():
        _only(job, JOB, f"job {name}")
        if "runs-on" not in job:
            raise WorkflowError(f"job {name}: runs-on is missing")
        check_steps(job.get("steps"), f"job {name}")
        for need in as_list(job.get("needs")):
            if need not in content["jobs"]:
                raise WorkflowError(f"job {name}: needs {need}, which there is not")
    content["on"] = _triggers(content.get("on"))
    return content


def check_steps(steps, where):
    if not steps:
        raise WorkflowError(f"{where}: there are no steps")
    ids = [step.get("id") for step in steps if isinstance(step, dict) and step.get("id")]
    if len(ids) != len(set(ids)):
        raise WorkflowError(f"{where}: an id is used twice")
    for number, step in enumerate(steps, 1):
        _only(step, STEP, f"{where}, step {number}")
        if ("run" in step) == ("uses" in step):
            raise WorkflowError(f"{where}, step {number}: one of run and uses")


def as_list(value):
    return [] if value is None else value if isinstance(value, list) else [value]


def _triggers(on):
    if isinstance(on, dict):
        return {name: details or {} for name, details in on.items()}
    return {name: {} for name in as_list(on)}


# Activity types that start a workflow when its file names none.
DEFAULT_TYPES = {
    "pull_request": ["opened", "synchronize", "reopened"],
    "pull_request_target": ["opened", "synchronize", "reopened"],
}


def is_triggered(on, event, payload):
    """Whether an event starts the workflow: its name, `types`, and a followed workflow's `workflows` and `branches`."""
    if event not in on:
        return False
    details = on[event]
    if isinstance(details, list):
        return True
    types = as_list(details.get("types")) or DEFAULT_TYPES.get(event, [])
    if types and payload.get("action") and payload["action"] not in types:
        return False
    if event == "workflow_run":
        run = payload.get("workflow_run", {})
        branches = as_list(details.get("branches"))
        ignored = as_list(details.get("branches-ignore"))
        head = run.get("head_branch") or ""
        return (
            run.get("name") in as_list(details.get("workflows"))
            and (not branches or matches(head, branches))
            and not (ignored and matches(head, ignored))
        )
    return True


def matches(name, patterns):
    """GitHub's filter patterns: `*` stops at a slash, `**` does not, `!` takes back."""
    found = False
    for pattern in map(str, patterns):
        text = re.escape(pattern.removeprefix("!"))
        text = text.replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", "?").replace(r"\+", "+")
        if re.fullmatch(text, name):
            found = not pattern.startswith("!")
    return found


def permissions_of(workflow, job, job_name):
    """What the job's token may do; without a word on it, read the contents: GitHub's restricted default."""
    asked = job.get("permissions", workflow.get("permissions", {"contents": "read"}))
    if asked in ("read-all", "write-all"):
        return {scope: asked.removesuffix("-all") for scope in SCOPES}
    granted = asked or {}
    if not isinstance(granted, dict) or set(granted) - SCOPES:
        raise WorkflowError(f"job {job_name}: permissions that this runner does not know: {asked}")
    if unknown := set(granted.values()) - {"read", "write", "none"}:
        raise WorkflowError(f"job {job_name}: permissions of a kind that there is not: {unknown}")
    return {scope: level for scope, level in granted.items() if level != "none"}


def order(jobs):
    """The jobs' names, each after those that it needs."""
    done = []
    while len(done) < len(jobs):
        ready = [
            name
            for name, job in jobs.items()
            if name not in done and all(need in done for need in as_list(job.get("needs")))
        ]
        if not ready:
            raise WorkflowError("jobs need each other in a circle")
        done += ready
    return done


def ancestors(jobs, name):
    """Every job that `name` needs, directly or not."""
    found = set()
    left = as_list(jobs[name].get("needs"))
    while left:
        need = left.pop()
        if need not in found:
            found.add(need)
            left = left + as_list(jobs[need].get("needs"))
    return found
