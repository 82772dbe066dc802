"""A small runner of GitHub Actions: the steps of a job, and those of composite actions in them, as they stand.

It does what the real one does and these actions rely on: each step in a fresh shell; variables, outputs, paths and
summaries by files; commands by what is printed; the contexts of expressions. What it can't run, other people's actions,
a test hands in. A step ends when nobody holds its output any more, so one that leaves a server behind with it hangs.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.github_expressions import evaluate_condition, interpolate
from support.servers import environment
from support.tools import NO_PACKAGE_INDEX, unavailable

ROOT = Path(__file__).resolve().parents[2]
#: What the documentation calls this repository's actions.
_OURS = re.compile(r"(?:\./|OWNER/chachaml-lite/?)(?P<path>[\w/]*)(?:@\S+)?\Z")
_SUMMARY_BYTES = 1024 * 1024
#: For a step that installs packages on a loaded machine.
_STEP_SECONDS = 500
Outputs = dict[str, str]
#: Stands for somebody else's action: gets its inputs, gives its outputs.
ActionStub = Callable[[Mapping[str, str]], Outputs]


@dataclass
class Step:
    """The outcome of a step."""

    name: str
    outcome: str
    log: str = ""
    outputs: Outputs = field(default_factory=dict)


@dataclass
class Annotation:
    kind: str
    title: str
    text: str


class Job:
    """A job on a runner of its own: its folders are made in `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        root: Path = ROOT,
        matrix: Mapping[str, Any] | None = None,
        uses: Mapping[str, ActionStub] | None = None,
        variables: Mapping[str, str] | None = None,
        shell_variables: Mapping[str, str] | None = None,
    ) -> None:
        """`root`: where this repository's actions are. `uses`: what stands for those of others, by name without @.

        `variables`: GitHub's, over the usual ones. `shell_variables`: the machine's.
        """
        self.workspace, self.temp, self._files = folder / "work space", folder / "te mp", folder / "files"
        for each in (self.workspace, self.temp, self._files):
            each.mkdir(parents=True)
        self.root = root
        self.uses = dict(uses or {})
        self._machine = dict(shell_variables or {})
        self.github: dict[str, Any] = {
            "job": "train",
            "run_id": "1234567890",
            "run_attempt": "1",
            "run_number": "42",
            "sha": "0123456789abcdef0123456789abcdef01234567",
            "ref": "refs/heads/main",
            "event_name": "push",
            "actor": "maria",
            "workflow": "training",
            "server_url": "https://github.com",
            "repository": "maria/iris",
            **(variables or {}),
        }
        self.matrix = matrix
        self.status = "success"
        self.env: dict[str, str] = {}
        self.steps: list[Step] = []
        self._by_id: dict[str, Step] = {}
        self._paths: list[str] = []
        self.annotations: list[Annotation] = []
        self.masks: list[str] = []
        #: What the job's page shows, step by step.
        self.summaries: list[str] = []

    def run(self, steps: str | Sequence[Mapping[str, Any]]) -> None:
        """Run steps of a workflow, in YAML or as read from it, one after the other. May be called again."""
        for step in yaml.safe_load(steps) if isinstance(steps, str) else steps:
            contexts = self._contexts()
            contexts["env"] = {**self.env, **self._values(step.get("env"), contexts)}
            self._take(self._done(step, contexts, self.status, {}, self._by_id))

    @property
    def home(self) -> Path:
        """The folder in which this repository's action stores its results."""
        return self.temp / "chachaml-lite"

    def end_server(self) -> None:
        """End the server that a job has left behind, as GitHub does with every process at a job's end."""
        try:
            pid = int(json.loads((self.home / "server.json").read_text())["pid"])
        except FileNotFoundError:
            return
        shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
        if str(self.home) in shown.stdout:
            os.kill(pid, signal.SIGKILL)

    def get_outputs(self, step_id: str) -> Outputs:
        """The outputs of a step of the workflow."""
        return self._by_id[step_id].outputs

    @property
    def log(self) -> str:
        return "".join(step.log for step in self.steps)

    def list_annotations(self, kind: str) -> list[str]:
        """The texts of the annotations of one kind."""
        return [each.text for each in self.annotations if each.kind == kind]

    # -- steps

    def _take(self, step: Step) -> None:
        self.steps.append(step)
        if step.outcome == "failure" and self.status == "success":
            self.status = "failure"

    def _done(
        self,
        step: Mapping[str, Any],
        contexts: Mapping[str, Any],
        status: str,
        variables: Mapping[str, str],
        scope: dict[str, Step],
    ) -> Step:
        """Run one step, of the workflow or of a composite action."""
        name = str(step.get("name") or step.get("uses") or step.get("run"))
        if not evaluate_condition(str(step.get("if", "true")), contexts, status):
            found = Step(name, "skipped")
        elif "run" in step:
            found = self._shell(name, step, contexts, variables)
        else:
            with_ = self._values(step.get("with"), contexts)
            found = self._used(name, str(step["uses"]), with_, self._values(step.get("env"), contexts), contexts)
        if "id" in step:
            scope[step["id"]] = found
        return found

    def _used(
        self, name: str, uses: str, given: Mapping[str, str], env: Mapping[str, str], contexts: Mapping[str, Any]
    ) -> Step:
        ours = _OURS.match(uses)
        if ours:
            return self._composite(name, self.root / ours["path"], given, env)
        stand = self.uses.get(uses.partition("@")[0])
        assert stand, f"{uses} is not to be run here; hand in what stands for it"
        try:
            return Step(name, "success", "", stand(given))
        except AssertionError as fault:
            return Step(name, "failure", str(fault))

    def _composite(self, name: str, folder: Path, given: Mapping[str, str], env: Mapping[str, str]) -> Step:
        action = yaml.safe_load((folder / "action.yml").read_text())
        unknown = given.keys() - action["inputs"].keys()
        assert not unknown, f"{folder} has no inputs {unknown}"
        outer = self._contexts()
        inputs = {
            key: given[key] if key in given else interpolate(str(each.get("default", "")), outer)
            for key, each in action["inputs"].items()
        }
        scope: dict[str, Step] = {}
        status, log = "success", ""
        for step in action["runs"]["steps"]:
            contexts = {**self._contexts(scope), "inputs": inputs}
            # The job's status is not the action's: what failed before it is no reason to skip its steps.
            done = self._done(step, contexts, status, {"GITHUB_ACTION_PATH": str(folder), **env}, scope)
            log += done.log
            if done.outcome == "failure":
                status = "failure"
        contexts = {**self._contexts(scope), "inputs": inputs}
        outputs = {key: interpolate(each["value"], contexts) for key, each in action.get("outputs", {}).items()}
        return Step(name, status, log, outputs)

    def _contexts(self, scope: Mapping[str, Step] | None = None) -> dict[str, Any]:
        steps = self._by_id if scope is None else scope
        return {
            "github": self.github,
            "matrix": self.matrix,
            "strategy": {"job-index": 0, "job-total": 1},
            "job": {"status": self.status},
            "runner": {"temp": str(self.temp), "os": "Linux"},
            "env": self.env,
            "steps": {key: {"outputs": step.outputs, "outcome": step.outcome} for key, step in steps.items()},
        }

    def _values(self, mapping: Mapping[str, Any] | None, contexts: Mapping[str, Any]) -> dict[str, str]:
        return {
            key: interpolate(value if isinstance(value, str) else yaml.safe_dump(value).split("\n")[0], contexts)
            for key, value in (mapping or {}).items()
        }

    # -- a shell

    def _shell(
        self, name: str, step: Mapping[str, Any], contexts: Mapping[str, Any], variables: Mapping[str, str]
    ) -> Step:
        files = {
            key: self._files / f"{key}_{uuid.uuid4()}" for key in ("env", "output", "path", "step_summary", "script")
        }
        for file in files.values():
            file.touch()
        files["script"].write_text(interpolate(step["run"], contexts))
        shell = ["bash", "-e"] if "shell" not in step else ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"]
        assert step.get("shell", "bash") == "bash"
        done = subprocess.run(
            [*shell, str(files["script"])],
            cwd=self.workspace / step.get("working-directory", "."),
            env={**self._variables(files), **variables, **self._values(step.get("env"), contexts)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_STEP_SECONDS,
        )
        log = done.stdout.decode(errors="replace")
        found = Step(name, "success" if done.returncode == 0 else "failure", log, _pairs(files["output"]))
        self.env.update(_pairs(files["env"]))
        self._paths = [*files["path"].read_text().splitlines(), *self._paths]
        self._obey(log)
        if files["step_summary"].exists() and files["step_summary"].stat().st_size:
            assert files["step_summary"].stat().st_size <= _SUMMARY_BYTES, "GitHub would show nothing of this summary"
            self.summaries.append(files["step_summary"].read_text())
        return found

    def _variables(self, files: Mapping[str, Path]) -> dict[str, str]:
        """A step's environment before its own `env:`."""
        machine = {**environment(), **self._machine}
        machine = {key: value for key, value in machine.items() if not key.startswith(("GITHUB_", "RUNNER_"))}
        path = ":".join([*self._paths, machine["PATH"]])
        return {
            **machine,
            "PATH": path,
            "CI": "true",
            **{f"GITHUB_{key.upper()}": value for key, value in self.github.items() if isinstance(value, str)},
            **{f"GITHUB_{key.upper()}": str(files[key]) for key in ("env", "output", "path", "step_summary")},
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(self.temp),
            **self.env,
        }

    def _obey(self, log: str) -> None:
        """Carry out the commands in what a step printed, in both spellings that GitHub knows."""
        resume: str | None = None
        for line in log.splitlines():
            found = re.match(r"\s*::(?P<command>[\w-]+)(?: (?P<properties>.*?))?::(?P<data>.*)", line) or re.search(
                r"##\[(?P<command>[\w-]+)(?: (?P<properties>.*?))?\](?P<data>.*)", line
            )
            if not found or (resume is not None and found["command"] != resume):
                continue
            if found["command"] == resume:
                resume = None
                continue
            data = _unescaped(found["data"])
            pairs = (pair.partition("=") for pair in (found["properties"] or "").split(",") if pair)
            properties = {key: _unescaped(value).replace("%3A", ":").replace("%2C", ",") for key, _, value in pairs}
            if found["command"] == "stop-commands":
                resume = data
            elif found["command"] == "add-mask":
                self.masks.append(data)
            elif found["command"] in ("error", "warning", "notice"):
                self.annotations.append(Annotation(found["command"], properties.get("title", ""), data))
            else:
                assert found["command"] in ("group", "endgroup", "debug"), f"the runner would be told: {line}"
        assert resume is None, "commands stay switched off for the rest of the job"


def _unescaped(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def _pairs(file: Path) -> Outputs:
    """The names and values in a file for them: name=value, or name<<END, lines, END."""
    found = {}
    lines = iter(file.read_text().split("\n"))
    for line in lines:
        if re.match(r"[^=]*<<", line):
            name, _, end = line.partition("<<")
            value = []
            while (line := next(lines)) != end:
                value.append(line)
            found[name] = "\n".join(value)
        elif line:
            name, equals, text = line.partition("=")
            assert equals, f"not of a form that GitHub reads: {line}"
            found[name] = text
    return found


@pytest.fixture(scope="session")
def installed_action(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job in which this repository's action was run once, as it stands: it has installed what it needs.

    Once for all processes that run these tests: to install it takes as long as twenty of them.
    """
    if shutil.which("bash") is None:
        unavailable("bash is not installed")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "action.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = shared / "installed-action.pickle"
        if not installed.exists():
            installed.write_bytes(pickle.dumps(_install_action(tmp_path_factory)))
        job: Job = pickle.loads(installed.read_bytes())
    return job


def _install_action(tmp_path_factory: pytest.TempPathFactory) -> Job:
    root = tmp_path_factory.mktemp("actions") / "chachaml-lite"  # a copy, as GitHub makes one
    for name in ("action.yml", "pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        root.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root)
    for name in ("finish", ".github", "chachaml_lite"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    job = Job(tmp_path_factory.mktemp("installed"), root=root)
    job.run("- uses: ./\n- uses: ./finish")
    if NO_PACKAGE_INDEX.search(job.log):
        unavailable("the package index can't be reached")
    assert job.status == "success", job.log
    return job


@pytest.fixture
def github_job(installed_action: Job, tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """A new job of GitHub Actions, in which the action finds itself installed; its server is ended with the test."""
    with ExitStack() as stack:
        count = 0

        def start(**settings: Any) -> Job:
            nonlocal count
            count += 1
            job = Job(tmp_path / f"job-{count}", root=installed_action.root, **settings)
            job.home.mkdir()
            (job.home / "venv").symlink_to(installed_action.home / "venv")
            stack.callback(job.end_server)
            return job

        yield start
