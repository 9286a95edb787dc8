"""One job: its steps in order, in folders of their own, and what came of them."""

import hashlib
import os
import platform
import shlex
import shutil
import threading
import uuid
from pathlib import Path

from . import builtin, expressions, process, workflow
from .commands import SUMMARY_LIMIT, CommandError, Listener, pairs
from .expressions import CaseSensitive, ExpressionError, to_text, truthy
from .workflow import WorkflowError

# What a step has of the environment in which this program was started: what toolchains need, and nothing that could
# be a secret.
PASSED = [
    "PATH", "HOME", "USER", "LANG", "RUSTUP_HOME", "CARGO_HOME", "PYENV_ROOT", "JAVA_HOME", "GOPATH", "GOPROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE",
]  # fmt: skip
SHELLS = {
    None: "bash -e {0}",
    "bash": "bash --noprofile --norc -eo pipefail {0}",
    "sh": "sh -e {0}",
    "python": "python3 {0}",
}
FILES = {
    "GITHUB_PATH": "add_path",
    "GITHUB_ENV": "set_env",
    "GITHUB_OUTPUT": "set_output",
    "GITHUB_STATE": "save_state",
    "GITHUB_STEP_SUMMARY": "step_summary",
}


class Step:
    """A step while it runs and what is kept of it."""

    def __init__(self, job, definition, name):
        self.definition, self.name = definition, name
        self.outputs, self.state, self.annotations = {}, {}, []
        self.outcome = self.conclusion = "success"
        self.summary = ""
        self.inner = []
        self.listener = Listener(job, self)
        self.post = None

    def report(self):
        keys = ("name", "outcome", "conclusion", "outputs", "annotations", "summary")
        shown = {key: getattr(self, key) for key in keys}
        inner = {"steps": [step.report() for step in self.inner]} if self.inner else {}
        return {"id": self.definition.get("id"), **shown, **inner}


class Scope:
    """Where steps see each other: a job, or one use of a composite action."""

    def __init__(self, inputs, environment=None, action=None, spared=False):
        self.inputs = inputs
        self.environment = environment or {}
        self.action = action or {}
        self.spared = spared
        self.status = "success"
        self.steps = {}


class Job:
    """A job of a run on its clean machine."""

    def __init__(self, run, name, definition, needs):
        self.run, self.name, self.definition, self.needs = run, name, definition, needs
        self.folder = run.folder / "jobs" / name
        self.workspace = self.folder / "workspace"
        self.temp = self.folder / "temp"
        self.masks = run.new_masks()
        self.permissions = run.permissions(definition, name)
        self.token = run.new_token(name, self.permissions)
        self.masks.add(self.token)
        self.mark = f"github_{uuid.uuid4()}"
        self.cancel = process.Cancel()
        self.minutes = definition.get("timeout-minutes", 360)
        self.environment, self.path = {}, []
        self.steps, self.posts = [], []
        self.scope = Scope(run.inputs)
        self.github = {**run.github, "job": name, "token": self.token, "workspace": str(self.workspace)}

    def log(self, text):
        for line in text.split("\n"):
            hidden = self.masks.hide(line)
            print(f"[{self.name}] {hidden}", flush=True)
            with open(self.folder / "log.txt", "a", encoding="utf-8") as file:
                file.write(hidden + "\n")

    def carry_out(self):
        """Runs all and gives the report."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in (self.workspace, self.temp / "_runner_file_commands", self.folder / "tools"):
            folder.mkdir(parents=True)
        scope = self.scope
        try:
            for table in (self.run.workflow.get("env"), self.definition.get("env")):
                self.environment.update(self._texts(table, scope))
            timer = threading.Timer(float(self._value(self.minutes, scope)) * 60, self._expire)
            timer.daemon = True
            timer.start()
            for definition in self.definition["steps"]:
                self.steps.append(self.one_step(definition, scope))
            for post in reversed(self.posts):
                post()
            timer.cancel()
            outputs = self._outputs(scope)
        except (ExpressionError, WorkflowError) as wrong:
            self.log(f"##[error]{wrong}")
            scope.status, outputs = "failure", {}
        if orphans := process.end_orphans(self.mark):
            self.log(f"Terminated {orphans} orphan processes")
        result = "cancelled" if self.cancelled() else scope.status
        if result == "failure" and truthy(self._value(self.definition.get("continue-on-error", False), scope)):
            result = "success"
        summary = "\n".join(step.summary for step in self._all_steps(self.steps) if step.summary)
        (self.folder / "summary.md").write_text(summary, encoding="utf-8")
        shutil.rmtree(self.folder / "tools", ignore_errors=True)
        return {
            "result": result,
            "outputs": outputs,
            "permissions": self.permissions,
            "steps": [step.report() for step in self.steps],
            "log": str(self.folder / "log.txt"),
            "summary": str(self.folder / "summary.md"),
        }

    def _all_steps(self, steps):
        for step in steps:
            yield from self._all_steps(step.inner)
            yield step

    def cancelled(self):
        return self.cancel.asked

    def _expire(self):
        self.log(f"##[error]The job has exceeded the maximum execution time of {to_text(self.minutes)} minutes.")
        self.cancel.asked = True

    def _outputs(self, scope):
        """The job's outputs; GitHub drops one that holds a secret."""
        found = {}
        for name, value in self._texts(self.definition.get("outputs"), scope).items():
            if self.masks.touches(value):
                self.log(f"##[warning]Skip output '{name}' since it may contain secret.")
            else:
                found[name] = value
        return found

    # Expressions.

    def contexts(self, scope, step_environment=None):
        runner = {
            "os": "Linux",
            "arch": {"x86_64": "X64", "aarch64": "ARM64"}.get(platform.machine(), platform.machine()),
            "name": "local",
            "environment": "self-hosted",
            "temp": str(self.temp),
            "tool_cache": str(self.folder / "tools"),
            "debug": "",
        }
        steps = {
            name: {"outputs": step.outputs, "outcome": step.outcome, "conclusion": step.conclusion}
            for name, step in scope.steps.items()
        }
        found = {
            "github": {**self.github, **scope.action},
            "env": CaseSensitive({**self.environment, **scope.environment, **(step_environment or {})}),
            "job": {"status": "cancelled" if self.cancelled() else self.scope.status},
            "runner": runner,
            "steps": steps,
            "inputs": scope.inputs,
            "strategy": {},
            "matrix": None,
        }
        # An action has only what is handed to it.
        if not scope.action:
            found.update(needs=self.needs, vars=self.run.variables)
            found["secrets"] = {**self.run.secrets, "GITHUB_TOKEN": self.token}
        return found

    def functions(self, scope):
        return {
            "success": lambda: scope.status == "success" and not self.cancelled(),
            "failure": lambda: scope.status == "failure" and not self.cancelled(),
            "cancelled": self.cancelled,
            "always": lambda: True,
            "hashfiles": self._hash_files,
        }

    def _hash_files(self, *patterns):
        digest, seen = hashlib.sha256(), []
        for pattern in patterns:
            out = to_text(pattern).startswith("!")
            found = sorted(self.workspace.glob(to_text(pattern).removeprefix("!").removeprefix("./")))
            files = [path for path in found if path.is_file()]
            seen = [path for path in seen if path not in files] if out else seen + [f for f in files if f not in seen]
        for path in seen:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest() if seen else ""

    def _value(self, value, scope, step_environment=None):
        return expressions.interpolate(value, self.contexts(scope, step_environment), self.functions(scope))

    def _texts(self, table, scope, step_environment=None):
        values = self._value(table or {}, scope, step_environment)
        return {str(name): to_text(value) for name, value in values.items()}

    # Steps.

    def one_step(self, definition, scope):
        """Runs one step if its condition says so; its outcome is in the scope, whatever it was."""
        what = definition.get("uses") or definition.get("run", "").strip().split("\n")[0]
        step = Step(self, definition, definition.get("name") or f"Run {what}")
        try:
            environment = self._texts(definition.get("env"), scope)
            contexts, functions = self.contexts(scope, environment), self.functions(scope)
            step.name = to_text(expressions.interpolate(step.name, contexts, functions))
            if expressions.condition(definition.get("if"), contexts, functions):
                self._run(step, scope, environment)
            else:
                step.outcome = step.conclusion = "skipped"
        except (ExpressionError, WorkflowError, CommandError, builtin.ActionError, OSError) as wrong:
            step.listener.annotate("error", {}, str(wrong))
            step.outcome = step.conclusion = "failure"
        if step.conclusion == "failure":
            if truthy(self._value(definition.get("continue-on-error", False), scope)):
                step.conclusion = "success"
            else:
                scope.status = "failure"
        if definition.get("id"):
            scope.steps[definition["id"]] = step
        return step

    def _run(self, step, scope, environment):
        self.log(f"##[group]{step.name}")
        self.log("##[endgroup]")
        inner = {**scope.environment, **environment}
        if "run" in step.definition:
            self._script(step, scope, inner)
        else:
            self._uses(step, scope, inner)
        if step.listener.failed:
            step.outcome = "failure"
        step.conclusion = step.outcome

    def _script(self, step, scope, environment):
        definition = step.definition
        defaults = {}
        if not scope.action:
            for table in (self.run.workflow, self.definition):
                defaults.update((table.get("defaults") or {}).get("run") or {})
        elif "shell" not in definition:
            raise WorkflowError("a step of a composite action needs a shell")
        texts = self._texts(
            {key: definition.get(key, defaults.get(key, "")) for key in ("run", "shell", "working-directory")},
            scope,
            environment,
        )
        shell = SHELLS.get(texts["shell"] or None, texts["shell"])
        if "{0}" not in shell:
            raise WorkflowError(f"a shell that this runner does not know: {shell}")
        script = self.temp / f"{uuid.uuid4()}.sh"
        script.write_text(texts["run"], encoding="utf-8")
        words = [word.replace("{0}", str(script)) for word in shlex.split(shell)]
        self._process(step, scope, words, environment, self.workspace / texts["working-directory"])

    def _process(self, step, scope, words, environment, folder):
        """A process of a step, with command files of its own that are read whatever its end."""
        files = {name: self.temp / "_runner_file_commands" / f"{kind}_{uuid.uuid4()}" for name, kind in FILES.items()}
        for file in files.values():
            file.touch()
        given = self._environment(scope, environment)
        given.update({name: str(file) for name, file in files.items()})
        minutes = self._value(step.definition.get("timeout-minutes", 0), scope, environment)
        cancel = None if self.cancelled() or self._spared(step, scope, environment) else self.cancel
        status, how = process.run(words, folder, given, step.listener.line, cancel, float(minutes) * 60)
        self._read_files(step, files)
        if how == "timed out":
            step.listener.annotate("error", {}, f"The action '{step.name}' has timed out after {to_text(minutes)} minutes.")
            step.outcome = "failure"
        elif how == "cancelled":
            step.listener.annotate("error", {}, "The operation was canceled.")
            step.outcome = "cancelled"
        elif status:
            step.listener.annotate("error", {}, f"Process completed with exit code {status}.")
            step.outcome = "failure"

    def _spared(self, step, scope, environment):
        """Whether a cancel leaves the step running: its condition, or that of the action around it, holds all the same."""
        functions = self.functions(scope)
        functions.update(success=lambda: False, failure=lambda: False, cancelled=lambda: True)
        contexts = self.contexts(scope, environment)
        return scope.spared or expressions.condition(step.definition.get("if"), contexts, functions)

    def _environment(self, scope, environment):
        """The whole environment of a process: nobody's word can change what GitHub and the runner say of themselves."""
        found = {name: os.environ[name] for name in PASSED if name in os.environ}
        found.update(self.run.machine)
        found.update(CI="true")
        found.update(self.environment)
        found.update(environment)
        base = found.get("PATH", os.defpath)
        found["PATH"] = ":".join([*reversed(self.path), base])
        for name, value in {**self.github, **scope.action}.items():
            if name in self.run.UPPER and value is not None:
                found[f"GITHUB_{name.upper()}"] = to_text(value)
        for name, value in self.contexts(scope)["runner"].items():
            if value:
                found[f"RUNNER_{name.upper()}"] = value
        found.update(GITHUB_ACTIONS="true", RUNNER_TRACKING_ID=self.mark)
        return found

    def _read_files(self, step, files):
        texts = {name: file.read_text(encoding="utf-8", errors="replace") for name, file in files.items()}
        for line in filter(None, texts["GITHUB_PATH"].splitlines()):
            self.path = [old for old in self.path if old != line] + [line]
        for name, value in pairs(texts["GITHUB_ENV"]).items():
            if name.upper() == "NODE_OPTIONS":
                step.listener.annotate("error", {}, "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.")
            else:
                self.environment[name] = value
        step.outputs.update(pairs(texts["GITHUB_OUTPUT"]))
        step.state.update(pairs(texts["GITHUB_STATE"]))
        summary = texts["GITHUB_STEP_SUMMARY"]
        if len(summary.encode()) > SUMMARY_LIMIT:
            step.listener.annotate("error", {}, "$GITHUB_STEP_SUMMARY upload aborted, supports content up to 1024k")
        else:
            step.summary = self.masks.hide(summary)

    # Actions.

    def _uses(self, step, scope, environment):
        uses = step.definition["uses"]
        given = self._texts(step.definition.get("with"), scope, environment)
        name, _, ref = uses.partition("@")
        if name in builtin.ACTIONS:
            builtin.ACTIONS[name](self, step, given)
            if step.post:
                self.posts.append(step.post)
            return
        folder = self._action_folder(uses, name)
        file = next((folder / f for f in ("action.yml", "action.yaml") if (folder / f).exists()), None)
        if not file:
            raise WorkflowError(f"Can't find 'action.yml' under '{folder}'")
        action = workflow.read(file)
        inputs = self._action_inputs(step, action, given, scope)
        owner = "" if uses.startswith("./") else "/".join(name.split("/")[:2])
        says = {"action_path": str(folder), "action_repository": owner, "action_ref": ref}
        using = str(action.get("runs", {}).get("using", ""))
        if using == "composite":
            spared = self._spared(step, scope, environment)
            self._composite(step, action, Scope(inputs, environment, says, spared))
        elif using.startswith("node"):
            self._node(step, scope, action, inputs, environment, says)
        else:
            raise WorkflowError(f"this runner does not run actions of the kind {using!r}")

    def _action_folder(self, uses, name):
        if uses.startswith("./"):
            return self.workspace / uses
        owner_and_name, *below = ["/".join(name.split("/")[:2]), *name.split("/")[2:]]
        known = self.run.actions.get(owner_and_name.lower())
        if not known:
            raise WorkflowError(f"this runner has no action {name}; give --action {name}=FOLDER")
        return Path(known, *below)

    def _action_inputs(self, step, action, given, scope):
        declared = action.get("inputs") or {}
        for name in given:
            if name.lower() not in {known.lower() for known in declared}:
                message = f"Unexpected input(s) '{name}', valid inputs are {sorted(declared)}"
                step.listener.annotate("warning", {}, message)
        lower = {name.lower(): value for name, value in given.items()}
        found = {}
        for name, details in declared.items():
            default = self._texts({"default": (details or {}).get("default", "")}, scope)["default"]
            found[name] = lower.get(name.lower(), default)
        return found

    def _composite(self, step, action, scope):
        workflow.check_steps(action["runs"].get("steps"), "the composite action")
        for definition in action["runs"]["steps"]:
            if "timeout-minutes" in definition:
                raise WorkflowError("a step of a composite action has no timeout-minutes")
            step.inner.append(self.one_step(definition, scope))
        for name, details in (action.get("outputs") or {}).items():
            step.outputs[name] = to_text(self._value(details.get("value", ""), scope))
        cancelled = any(inner.outcome == "cancelled" for inner in step.inner)
        step.outcome = "cancelled" if cancelled else scope.status

    def _node(self, step, scope, action, inputs, environment, says):
        runs = action["runs"]
        if "pre" in runs:
            raise WorkflowError("this runner runs no `pre` of an action")
        given = {**environment}
        for name, value in inputs.items():
            given[f"INPUT_{name.replace(' ', '_').upper()}"] = value
        inner = Scope(scope.inputs, scope.environment, says)
        main = ["node", str(Path(says["action_path"], runs["main"]))]
        if "post" in runs:
            self.posts.append(lambda: self._node_post(step, inner, runs, given))
        self._process(step, inner, main, given, self.workspace)

    def _node_post(self, step, scope, runs, environment):
        condition = runs.get("post-if", "always()")
        if not expressions.condition(condition, self.contexts(self.scope), self.functions(self.scope)):
            return
        definition = {"name": f"Post {step.name}", "if": condition}
        post = Step(self, definition, definition["name"])
        self.log(f"##[group]{post.name}")
        self.log("##[endgroup]")
        state = {f"STATE_{name}": value for name, value in step.state.items()}
        words = ["node", str(Path(scope.action["action_path"], runs["post"]))]
        self._process(post, scope, words, {**environment, **state}, self.workspace)
        post.conclusion = post.outcome
        if post.outcome == "failure":
            self.scope.status = "failure"
        self.steps.append(post)
