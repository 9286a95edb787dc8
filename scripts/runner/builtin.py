"""Substitutes for the three actions of GitHub that the workflows use: checkout, upload-artifact, download-artifact.

Each takes the inputs that it knows and refuses the rest, so that nothing is passed over in silence. Behaviour follows
checkout 7, upload-artifact 7 and download-artifact 8.
"""

import base64
import glob
import hashlib
import os
import re
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path


class ActionError(Exception):
    """The action fails with this message."""


def _inputs(given, known, action):
    if unknown := set(given) - set(known):
        raise ActionError(f"{action}: the substitute does not know the input {', '.join(sorted(unknown))}")
    return {name: given.get(name, "") or default for name, default in known.items()}


def _true(text):
    return str(text).lower() == "true"


def _git(folder, *words, check=True):
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_TERMINAL_PROMPT": "0"}
    environment["GIT_CONFIG_NOSYSTEM"] = "1"
    done = subprocess.run(
        ["git", "-c", f"safe.directory={folder}", "-c", "protocol.version=2", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise ActionError(f"git {' '.join(words[:2])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def _refuse_fork_heads(job, inputs, commit):
    """checkout's own guard against the code of a fork in a privileged workflow."""
    event, payload = job.github["event_name"], job.github["event"]
    if _true(inputs["allow-unsafe-pr-checkout"]) or event not in ("pull_request_target", "workflow_run"):
        return
    if event == "workflow_run":
        run = payload.get("workflow_run", {})
        if not str(run.get("event", "")).startswith("pull_request"):
            return
        head, commits = run.get("head_repository") or {}, [run.get("head_sha")]
    else:
        pull = payload.get("pull_request", {}).get("head", {})
        head, commits = pull.get("repo") or {}, [pull.get("sha")]
    ours = payload.get("repository", {}).get("id")
    if head.get("id") in (None, ours):
        return
    if (
        inputs["repository"].lower() == str(head.get("full_name", "")).lower()
        or re.fullmatch(r"refs/pull/\d+/(head|merge)", inputs["ref"])
        or commit in commits
    ):
        raise ActionError(f"Refusing to check out fork pull request code from a '{event}' workflow.")


def _fetch_first(folder, fetch, names):
    for name in names[:-1]:
        try:
            _git(folder, *fetch, "origin", name)
            return name
        except ActionError:
            continue
    _git(folder, *fetch, "origin", names[-1])
    return names[-1]


def checkout(job, step, given):
    inputs = _inputs(
        given,
        {
            "repository": job.github["repository"],
            "ref": "",
            "token": job.token,
            "path": ".",
            "fetch-depth": "1",
            "persist-credentials": "true",
            "clean": "true",
            "submodules": "false",
            "allow-unsafe-pr-checkout": "false",
        },
        "actions/checkout",
    )
    if _true(inputs["submodules"]):
        raise ActionError("actions/checkout: the substitute fetches no submodules")
    folder = (job.workspace / inputs["path"]).resolve()
    if folder != job.workspace and job.workspace not in folder.parents:
        raise ActionError(f"Repository path '{folder}' is not under '{job.workspace}'")
    folder.mkdir(parents=True, exist_ok=True)
    source = job.run.clone_url(inputs["repository"])
    ref = inputs["ref"] or job.github["sha"]
    _refuse_fork_heads(job, inputs, ref)
    if not (folder / ".git").exists():
        _git(folder, "init", "-q")
        _git(folder, "remote", "add", "origin", source)
    elif _true(inputs["clean"]):
        _git(folder, "clean", "-qffdx")
        _git(folder, "reset", "-q", "--hard", check=False)
    header = []
    if source.startswith("http"):
        basic = base64.b64encode(f"x-access-token:{inputs['token']}".encode()).decode()
        job.masks.add(basic)
        header = [f"http.{job.github['server_url']}/.extraheader=AUTHORIZATION: basic {basic}"]
    fetch = [*(["-c", *header] if header else []), "fetch", "-q", "--no-tags"]
    if inputs["fetch-depth"] == "0":
        _git(folder, *fetch, "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    else:
        fetch.append(f"--depth={inputs['fetch-depth']}")
    exact = re.fullmatch(r"[0-9a-f]{40}", ref) or ref.startswith("refs/")
    name = _fetch_first(folder, fetch, [ref] if exact else [f"refs/heads/{ref}", f"refs/tags/{ref}"])
    commit = _git(folder, "rev-parse", "FETCH_HEAD^{commit}")
    if name.startswith("refs/heads/"):
        _git(folder, "checkout", "-q", "--force", "-B", name.removeprefix("refs/heads/"), commit)
    else:
        _git(folder, "checkout", "-q", "--force", "--detach", commit)
    if header and _true(inputs["persist-credentials"]):
        _git(folder, "config", *header[0].split("=", 1))
        step.post = lambda: _git(folder, "config", "--unset-all", header[0].split("=", 1)[0], check=False)
    step.outputs.update(ref=inputs["ref"], commit=commit)
    job.log(f"{folder.name} is at {commit}")


def _hidden(path, root):
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _files(job, patterns, hidden):
    """The files to upload, and the folder that their names are told from."""
    roots, files = [], []
    for pattern in filter(None, map(str.strip, patterns.splitlines())):
        out = pattern.startswith("!")
        absolute = str(job.workspace / os.path.expanduser(pattern.removeprefix("!")))
        found = [Path(name) for name in glob.glob(absolute, recursive=True, include_hidden=True)]
        below = {inner for path in found if path.is_dir() for inner in path.rglob("*")}
        matched = {path for path in {*found, *below} if path.is_file()}
        if out:
            files = [path for path in files if path not in matched]
            continue
        plain = absolute if not glob.has_magic(absolute) else absolute[: re.search(r"[*?\[]", absolute).start()]
        start = Path(plain) if plain.endswith("/") or Path(plain).is_dir() else Path(plain).parent
        roots.append(start)
        files += [path for path in sorted(matched) if hidden or not _hidden(path, start)]
    root = Path(os.path.commonpath(roots)) if roots else job.workspace
    return sorted(set(files)), root


def upload_artifact(job, step, given):
    inputs = _inputs(
        given,
        {
            "name": "artifact",
            "path": "",
            "if-no-files-found": "warn",
            "retention-days": "0",
            "include-hidden-files": "false",
            "overwrite": "false",
            "compression-level": "6",
        },
        "actions/upload-artifact",
    )
    if not inputs["path"]:
        raise ActionError("Input required and not supplied: path")
    if re.search(r'[\r\n\\/":<>|*?]', inputs["name"]):
        raise ActionError(f"The artifact name is not valid: {inputs['name']}")
    files, root = _files(job, inputs["path"], _true(inputs["include-hidden-files"]))
    if not files:
        message = f"No files were found with the provided path: {inputs['path']}. No artifacts will be uploaded."
        if inputs["if-no-files-found"] == "error":
            raise ActionError(message)
        step.listener.annotate("warning", {}, message)
        return
    target = job.run.artifacts / f"{inputs['name']}.zip"
    if target.exists() and not _true(inputs["overwrite"]):
        raise ActionError(f"an artifact with the name {inputs['name']} already exists on the workflow run")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            # Permissions and links are not kept: the file that a link leads to is sent under the link's name.
            archive.writestr(str(path.relative_to(root)), path.read_bytes())
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    step.outputs["artifact-digest"] = digest
    step.outputs["artifact-id"] = str(int(digest[:8], 16))
    job.log(f"artifact {inputs['name']}: {len(files)} files, sha256 {digest}")


def download_artifact(job, step, given):
    inputs = _inputs(
        given,
        {"name": "", "path": "", "pattern": "", "merge-multiple": "false", "digest-mismatch": "error"},
        "actions/download-artifact",
    )
    where = job.workspace / os.path.expanduser(inputs["path"])
    if inputs["name"]:
        names = [inputs["name"]]
    else:
        names = sorted(path.stem for path in job.run.artifacts.glob(f"{inputs['pattern'] or '*'}.zip"))
    for name in names:
        source = job.run.artifacts / f"{name}.zip"
        if not source.exists():
            raise ActionError(f"Unable to download artifact(s): Artifact not found for name: {name}")
        folder = where if inputs["name"] or _true(inputs["merge-multiple"]) else where / name
        _unpack(source, folder)
        job.log(f"artifact {name} downloaded to {folder}")
    step.outputs["download-path"] = str(where)


def _unpack(source, folder):
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            target = (folder / member.filename).resolve()
            link = stat.S_ISLNK(member.external_attr >> 16)
            if link or folder.resolve() not in target.parents:
                raise ActionError(f"the artifact holds a name that leads out of its folder: {member.filename}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as content, target.open("wb") as out:
                shutil.copyfileobj(content, out)


ACTIONS = {
    "actions/checkout": checkout,
    "actions/upload-artifact": upload_artifact,
    "actions/download-artifact": download_artifact,
}
