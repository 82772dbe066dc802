"""The environment of a command: its arguments, its Python and packages, its git repository and the machine.

It is read within a short time, and what isn't available by then is omitted: nothing here fails or delays the command.
No environment variable is recorded.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import gpus
from .queries import Query
from .secrets import mask_command, strip_user_info

#: Seconds for everything together, before the command is started.
SECONDS = 2.0
MAX_DIFF_BYTES = 1_000_000
#: Bytes of the object as JSON: a little less than the server accepts.
_MAX_BYTES = 60_000
_MAX_WORD_CHARACTERS = 2000
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*\Z")

_ABOUT_PYTHON = (
    "import json, platform, sys; print(json.dumps({'version': platform.python_version(), "
    "'implementation': platform.python_implementation(), 'executable': sys.executable}))"
)
_OUR_PYTHON = {
    "version": platform.python_version(),
    "implementation": platform.python_implementation(),
    "executable": sys.executable,
}
#: Prints the packages as `pip freeze` does, from the interpreter's own metadata: pip may be missing, and takes ten
#: times as long.
_PACKAGES = """
import importlib.metadata, json, re, sys
left_out = {"pip"} | ({"setuptools", "wheel", "distribute"} if sys.version_info < (3, 12) else set())
lines = {}
for package in importlib.metadata.distributions():
    name = package.metadata["Name"]
    key = re.sub(r"[-_.]+", "-", name or "").lower()
    if not key or key in left_out or key in lines:
        continue
    line = f"{name}=={package.version}"
    try:
        origin = json.loads(package.read_text("direct_url.json") or "{}")
    except ValueError:
        origin = {}
    if "vcs_info" in origin:
        line = f"{name} @ {origin['vcs_info']['vcs']}+{origin['url']}@{origin['vcs_info']['commit_id']}"
    elif origin.get("dir_info", {}).get("editable"):
        line = f"# Editable install of {line}\\n-e {origin['url']}"
    elif "url" in origin:
        line = f"{name} @ {origin['url']}"
    lines[key] = line
sys.stdout.reconfigure(encoding="utf-8", errors="replace")
print("\\n".join(lines[key] for key in sorted(lines)))
"""


@dataclass(frozen=True)
class Environment:
    """The recorded environment: `values` are part of the run, the others become artifacts if they aren't None."""

    values: dict[str, Any]
    diff: bytes | None
    #: Still running: many packages take a while.
    packages: Query | None

    def requirements(self, deadline: float) -> bytes | None:
        """Return the packages of the command's Python as `pip freeze` prints them, waiting until `deadline`."""
        text = None if self.packages is None else self.packages.text(deadline)
        return None if text is None else (strip_user_info(text) + "\n").encode()


class EnvironmentReading:
    """Reads the environment of a command about to run in `folder`, or of a job without a command."""

    def __init__(self, command: Sequence[str] | None, folder: Path, seconds: float = SECONDS) -> None:
        """Start reading in the background. A job's packages are not listed: it installs them later."""
        self._deadline = time.monotonic() + seconds
        self._command = command
        self._repository = _Repository(folder)
        self._program = _find_python(command)
        self._is_our_python = self._program == sys.executable  # no need to start it
        self._python: Query | None = None
        if self._program is not None and not self._is_our_python:
            self._python = Query([self._program, "-I", "-c", _ABOUT_PYTHON])
        self._gpus = _InBackground(_read_gpus)

    def finish(self) -> Environment:
        """Return the environment, at the deadline at the latest."""
        deadline = self._deadline
        values: dict[str, Any] = {} if self._command is None else {"command": mask_command(self._command)}
        values |= {"host": platform.node() or None, "user": _user_name(), "platform": platform.platform()}
        values["cpu_count"] = os.cpu_count()
        if self._is_our_python:
            values["python"] = _OUR_PYTHON
        elif self._python is not None:
            values["python"] = _parse_last_line(self._python.text(deadline))
        values |= self._gpus.result(deadline) or {}
        values |= self._repository.values(deadline)
        packages = None
        if self._program is not None and self._command is not None:
            # Last, while the command runs: it takes the longest. Not in its folder: a json.py there would be imported.
            packages = Query([self._program, "-c", _PACKAGES], Path("/"))
        recorded = _to_utf8({name: value for name, value in values.items() if value is not None})
        return Environment(_truncate_command(recorded), self._repository.diff(deadline), packages)


class _Repository:
    """The git repository of a folder, queried by concurrent processes."""

    def __init__(self, folder: Path) -> None:
        def git(*arguments: str, max_bytes: int = 1_000_000) -> Query:
            return Query(["git", *arguments], folder, max_bytes)

        self._prefix = git("rev-parse", "--show-prefix")
        self._commit = git("rev-parse", "--verify", "--quiet", "HEAD")
        self._branch = git("symbolic-ref", "--quiet", "--short", "HEAD")
        self._remotes = git("config", "--get-regexp", r"^remote\..*\.url$")
        # There may be millions of untracked files, so they are not listed.
        self._status = git("status", "--porcelain", "--untracked-files=no")
        self._diff = git(
            "diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD", "--", ":/", max_bytes=MAX_DIFF_BYTES
        )

    def values(self, deadline: float) -> dict[str, Any]:
        prefix, commit = self._prefix.output(deadline), self._commit.text(deadline)
        if prefix is None:
            return {}
        status = self._status.output(deadline)
        git = {
            "commit": commit,
            "branch": self._branch.text(deadline),
            "remote": _origin(self._remotes.text(deadline) or ""),
            "dirty": None if status is None else bool(status),
            "diff_cut": True if self._diff.output(deadline) and self._diff.is_cut else None,
        }
        inside = prefix.decode("utf-8", "surrogateescape").strip("\n/") or "."
        return {"directory": inside, "git": {name: value for name, value in git.items() if value is not None}}

    def diff(self, deadline: float) -> bytes | None:
        diff = self._diff.output(deadline)
        if diff and self._diff.is_cut:
            diff = diff[: diff.rfind(b"\n") + 1]
        return diff or None


def _origin(remotes: str) -> str | None:
    """Return the URL of the remote `origin`, else of the first remote, without credentials."""
    urls = [line.split(" ", 1) for line in remotes.splitlines() if " " in line]
    urls.sort(key=lambda pair: pair[0] != "remote.origin.url")
    return strip_user_info(urls[0][1]) if urls else None


def _find_python(command: Sequence[str] | None) -> str | None:
    """Find the Python of a command: the command itself, or that of its virtual environment, or the one on PATH."""
    program = shutil.which(command[0]) if command else None
    if program is not None:
        path = Path(program)
        if _PYTHON.match(path.name):
            return program
        if (path.parent.parent / "pyvenv.cfg").is_file() and (path.parent / "python").is_file():
            return str(path.parent / "python")
    return shutil.which("python") or shutil.which("python3")


def _read_gpus() -> dict[str, Any]:
    names, driver = [], None
    program = shutil.which("nvidia-smi")
    if program is not None:
        command = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
        for line in (Query(command).text(time.monotonic() + SECONDS) or "").splitlines():
            name, _, driver = (part.strip() for part in line.rpartition(","))
            names.append(name)
    elif gpus.is_installed():
        installed = gpus.Gpus()
        names, driver = installed.names(), installed.driver()
    return {"gpus": names, "gpu_driver": driver} if names else {}


class _InBackground:
    """Runs a function in its own thread: a driver that hangs must not keep the command from starting."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._result: Any = None
        self._function = function
        self._thread = threading.Thread(target=self._run, name="query", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(Exception):
            self._result = self._function()

    def result(self, deadline: float) -> Any:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return self._result


def _user_name() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id without a name, as in many containers
        return None


def _parse_last_line(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text.splitlines()[-1])
    except ValueError:
        return None


def _to_utf8(value: Any) -> Any:
    """Make the texts of a JSON value valid UTF-8: file names and arguments are arbitrary bytes."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, list):
        return [_to_utf8(each) for each in value]
    if isinstance(value, dict):
        return {key: _to_utf8(each) for key, each in value.items()}
    return value


def _truncate_command(values: dict[str, Any]) -> dict[str, Any]:
    """Truncate the command if the values together would be too long for a server."""
    if len(json.dumps(values)) <= _MAX_BYTES or "command" not in values:
        return values
    words: list[str] = []
    room = _MAX_BYTES - len(json.dumps({**values, "command": []}))
    for word in values["command"]:
        word = word if len(word) <= _MAX_WORD_CHARACTERS else word[: _MAX_WORD_CHARACTERS - 1] + "…"
        room -= len(json.dumps(word)) + 2
        if room < 20:
            words.append("…")
            break
        words.append(word)
    return {**values, "command": words}
