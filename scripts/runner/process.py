"""Processes of steps: started, listened to, and ended as GitHub's runner ends them."""

import os
import queue
import signal
import subprocess
import threading
import time
from pathlib import Path

# As GitHub's runner has them: SIGINT to the step's own process alone, then SIGTERM, then the whole tree is killed.
AFTER_SIGINT = 7.5
AFTER_SIGTERM = 2.5
# How long a child that outlives the step may hold the output open.
STREAMS_LEFT_OPEN = 5.0


class Cancel:
    """Whether something was cancelled; asked while its processes run."""

    def __init__(self):
        self.asked = False


def run(words, folder, environment, on_line, cancel=None, seconds=None):
    """Runs a command and gives (exit status, how it ended): `done`, `cancelled` or `timed out`."""
    child = subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        encoding="utf-8",
        errors="replace",
        # With newline=None a lone carriage return ends a line, as it does for GitHub's runner.
    )
    lines = queue.Queue()
    for stream in (child.stdout, child.stderr):
        threading.Thread(target=_read, args=(stream, lines), daemon=True).start()
    open_streams, ended_at, how = 2, None, "done"
    deadline = time.monotonic() + seconds if seconds else None
    killer = None
    while open_streams:
        try:
            line = lines.get(timeout=0.05)
            if line is None:
                open_streams -= 1
            else:
                on_line(line)
            continue
        except queue.Empty:
            pass
        now = time.monotonic()
        if child.poll() is not None:
            ended_at = ended_at or now
            if now - ended_at > STREAMS_LEFT_OPEN:
                break
        elif how == "done":
            if cancel and cancel.asked:
                how = "cancelled"
            elif deadline and now > deadline:
                how = "timed out"
            if how != "done":
                killer = threading.Thread(target=_end, args=(child,), daemon=True)
                killer.start()
    status = child.wait()
    if killer:
        killer.join()
    _kill(_below(child.pid))
    return status, how


def _read(stream, lines):
    for line in stream:
        lines.put(line.rstrip("\n"))
    lines.put(None)


def _end(child):
    for number, patience in ((signal.SIGINT, AFTER_SIGINT), (signal.SIGTERM, AFTER_SIGTERM)):
        child.send_signal(number)
        try:
            child.wait(patience)
            return
        except subprocess.TimeoutExpired:
            pass
    _kill([*_below(child.pid), child.pid])


def _below(pid):
    """The processes whose ancestor is `pid`; only those that still have it as one."""
    children = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(folder.name))
    found, left = [], [pid]
    while left:
        mine = children.get(left.pop(), [])
        found += mine
        left += mine
    return found


def end_orphans(mark):
    """Kills what a job left behind: every process whose environment has the job's RUNNER_TRACKING_ID."""
    wanted = f"RUNNER_TRACKING_ID={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    _kill(found)
    return len(found)


def _kill(pids):
    for pid in pids:
        if pid != os.getpid():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
