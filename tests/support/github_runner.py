"""A small runner for GitHub Actions that runs the steps of a job, including those of composite actions, unchanged.

It imitates the real runner as far as these actions depend on it: each step has a shell of its own; variables, outputs,
paths and summaries are exchanged through files, commands through standard output; expressions have their contexts. For
other people's actions, which it can't run, a test passes stubs. A step ends when no process has its output open any
more, so a step that leaves a server behind with that output hangs.
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
#: The names of this repository's actions, in workflows and in the documentation.
_OWN_ACTION = re.compile(r"(?:\./|OWNER/chachaml-lite/?)(?P<path>[\w/]*)(?:@\S+)?\Z")
_SUMMARY_BYTES = 1024 * 1024
#: Enough for a step that installs packages on a loaded machine.
_STEP_SECONDS = 500
Outputs = dict[str, str]
#: A replacement for another project's action: takes its inputs and returns its outputs.
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
    """A job on a runner of its own, whose folders are created in `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        root: Path = ROOT,
        matrix: Mapping[str, Any] | None = None,
        stubs: Mapping[str, ActionStub] | None = None,
        variables: Mapping[str, str] | None = None,
        shell_variables: Mapping[str, str] | None = None,
    ) -> None:
        """Create the folders of a job.

        `root`: the folder of this repository's actions. `stubs`: stubs of other actions, by name without the version.
        `variables`: overrides for the `github` context. `shell_variables`: additions to the machine's environment.
        """
        self.workspace, self.temp, self._files = folder / "work space", folder / "te mp", folder / "files"
        for each in (self.workspace, self.temp, self._files):
            each.mkdir(parents=True)
        self.root = root
        self.stubs = dict(stubs or {})
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
        #: The summaries on the job's page, one per step.
        self.summaries: list[str] = []

    def run(self, steps: str | Sequence[Mapping[str, Any]]) -> None:
        """Run steps of a workflow, given as YAML or already parsed, in order. May be called more than once."""
        for step in yaml.safe_load(steps) if isinstance(steps, str) else steps:
            contexts = self._build_contexts()
            contexts["env"] = {**self.env, **self._interpolate_values(step.get("env"), contexts)}
            self._record_step(self._run_step(step, contexts, self.status, {}, self._by_id))

    @property
    def home(self) -> Path:
        """The folder in which this repository's action stores its results."""
        return self.temp / "chachaml-lite"

    def end_server(self) -> None:
        """Kill the server that a job has left running, as GitHub does with every process at the end of a job."""
        try:
            pid = int(json.loads((self.home / "server.json").read_text())["pid"])
        except FileNotFoundError:
            return
        # The id may belong to another process by now.
        result = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
        if str(self.home) in result.stdout:
            os.kill(pid, signal.SIGKILL)

    def get_outputs(self, step_id: str) -> Outputs:
        """Return the outputs of a step of the workflow."""
        return self._by_id[step_id].outputs

    @property
    def log(self) -> str:
        return "".join(step.log for step in self.steps)

    def list_annotations(self, kind: str) -> list[str]:
        """Return the texts of the annotations of one kind."""
        return [each.text for each in self.annotations if each.kind == kind]

    # -- steps

    def _record_step(self, step: Step) -> None:
        self.steps.append(step)
        if step.outcome == "failure" and self.status == "success":
            self.status = "failure"

    def _run_step(
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
            result = Step(name, "skipped")
        elif "run" in step:
            result = self._run_shell(name, step, contexts, variables)
        else:
            inputs = self._interpolate_values(step.get("with"), contexts)
            env = self._interpolate_values(step.get("env"), contexts)
            result = self._run_action(name, str(step["uses"]), inputs, env)
        if "id" in step:
            scope[step["id"]] = result
        return result

    def _run_action(self, name: str, uses: str, inputs: Mapping[str, str], env: Mapping[str, str]) -> Step:
        match = _OWN_ACTION.match(uses)
        if match:
            return self._run_composite_action(name, self.root / match["path"], inputs, env)
        stub = self.stubs.get(uses.partition("@")[0])
        assert stub, f"{uses} can't be run by this runner; pass a stub for it"
        try:
            return Step(name, "success", "", stub(inputs))
        except AssertionError as error:
            return Step(name, "failure", str(error))

    def _run_composite_action(self, name: str, folder: Path, values: Mapping[str, str], env: Mapping[str, str]) -> Step:
        action = yaml.safe_load((folder / "action.yml").read_text())
        unknown = values.keys() - action["inputs"].keys()
        assert not unknown, f"{folder} has no inputs {unknown}"
        job_contexts = self._build_contexts()
        inputs = {
            key: values[key] if key in values else interpolate(str(each.get("default", "")), job_contexts)
            for key, each in action["inputs"].items()
        }
        scope: dict[str, Step] = {}
        status, log = "success", ""
        for step in action["runs"]["steps"]:
            contexts = {**self._build_contexts(scope), "inputs": inputs}
            # The action's own status decides, not the job's: an earlier failure in the job doesn't skip its steps.
            result = self._run_step(step, contexts, status, {"GITHUB_ACTION_PATH": str(folder), **env}, scope)
            log += result.log
            if result.outcome == "failure":
                status = "failure"
        contexts = {**self._build_contexts(scope), "inputs": inputs}
        outputs = {key: interpolate(each["value"], contexts) for key, each in action.get("outputs", {}).items()}
        return Step(name, status, log, outputs)

    def _build_contexts(self, scope: Mapping[str, Step] | None = None) -> dict[str, Any]:
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

    def _interpolate_values(self, mapping: Mapping[str, Any] | None, contexts: Mapping[str, Any]) -> dict[str, str]:
        return {
            key: interpolate(value if isinstance(value, str) else yaml.safe_dump(value).split("\n")[0], contexts)
            for key, value in (mapping or {}).items()
        }

    # -- a shell

    def _run_shell(
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
        process = subprocess.run(
            [*shell, str(files["script"])],
            cwd=self.workspace / step.get("working-directory", "."),
            env={**self._build_environment(files), **variables, **self._interpolate_values(step.get("env"), contexts)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_STEP_SECONDS,
        )
        log = process.stdout.decode(errors="replace")
        result = Step(name, "success" if process.returncode == 0 else "failure", log, _read_pairs(files["output"]))
        self.env.update(_read_pairs(files["env"]))
        self._paths = [*files["path"].read_text().splitlines(), *self._paths]
        self._process_commands(log)
        if files["step_summary"].exists() and files["step_summary"].stat().st_size:
            assert files["step_summary"].stat().st_size <= _SUMMARY_BYTES, "GitHub would show nothing of this summary"
            self.summaries.append(files["step_summary"].read_text())
        return result

    def _build_environment(self, files: Mapping[str, Path]) -> dict[str, str]:
        """Return a step's environment without its own `env:`."""
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

    def _process_commands(self, log: str) -> None:
        """Carry out the workflow commands in a step's output, in both of GitHub's forms."""
        resume: str | None = None
        for line in log.splitlines():
            match = re.match(r"\s*::(?P<command>[\w-]+)(?: (?P<properties>.*?))?::(?P<data>.*)", line) or re.search(
                r"##\[(?P<command>[\w-]+)(?: (?P<properties>.*?))?\](?P<data>.*)", line
            )
            if not match or (resume is not None and match["command"] != resume):
                continue
            if match["command"] == resume:
                resume = None
                continue
            data = _unescape(match["data"])
            pairs = (pair.partition("=") for pair in (match["properties"] or "").split(",") if pair)
            properties = {key: _unescape(value).replace("%3A", ":").replace("%2C", ",") for key, _, value in pairs}
            if match["command"] == "stop-commands":
                resume = data
            elif match["command"] == "add-mask":
                self.masks.append(data)
            elif match["command"] in ("error", "warning", "notice"):
                self.annotations.append(Annotation(match["command"], properties.get("title", ""), data))
            else:
                assert match["command"] in ("group", "endgroup", "debug"), f"unexpected workflow command: {line}"
        assert resume is None, "workflow commands stay disabled for the rest of the job"


def _unescape(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def _read_pairs(file: Path) -> Outputs:
    """Parse a file of names and values: name=value, or name<<END, lines, END."""
    pairs = {}
    lines = iter(file.read_text().split("\n"))
    for line in lines:
        if re.match(r"[^=]*<<", line):
            name, _, end = line.partition("<<")
            value = []
            while (line := next(lines)) != end:
                value.append(line)
            pairs[name] = "\n".join(value)
        elif line:
            name, equals, text = line.partition("=")
            assert equals, f"not in a format that GitHub accepts: {line}"
            pairs[name] = text
    return pairs


@pytest.fixture(scope="session")
def installed_action(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job in which this repository's action has run once, unchanged, and has installed its packages.

    All test processes share it: the installation takes as long as twenty of these tests.
    """
    if shutil.which("bash") is None:
        unavailable("bash is not installed")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "action.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pickle_file = shared / "installed-action.pickle"
        if not pickle_file.exists():
            pickle_file.write_bytes(pickle.dumps(_install_action(tmp_path_factory)))
        job: Job = pickle.loads(pickle_file.read_bytes())
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
    """Create a job in which the action is already installed; its server is killed at the end of the test."""
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
