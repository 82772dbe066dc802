"""Actions and workflows: valid, pinned and safe from injected text; and this project's CI, executed as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from conftest import open_app, run_logger
from support.github_artifacts import Artifacts
from support.github_runner import ROOT, Job
from support.readme import find_blocks
from support.snapshots import snapshot

pytest_plugins = "support.github_runner"

NewJob = Callable[..., Job]
ACTIONS = [ROOT / "action.yml", ROOT / "finish" / "action.yml"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXAMPLES = find_blocks("yaml")
#: Actions whose current commit could not be looked up; Dependabot keeps them up to date.
UNPINNED = {"pypa/gh-action-pypi-publish@release/v1"}
#: The permissions of a release's jobs beyond reading, by name.
JOB_PERMISSIONS = {
    "build": {"contents": "read", "id-token": "write", "attestations": "write"},
    "pypi": {"id-token": "write"},
    "image": {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"},
    "major": {"contents": "write"},
}


def to_workflow(example: str) -> Any:
    """Return an example of the README or the manual as a workflow, even if it has only steps; None if it isn't one."""
    content = yaml.safe_load(example)
    if isinstance(content, list):
        return {"on": "push", "jobs": {"train": {"runs-on": "ubuntu-latest", "steps": content}}}
    return content if "jobs" in content else None


@pytest.mark.parametrize("kind", ["github-actions", "github-workflows", "compose-spec"])
def test_each_file_is_valid_by_the_schema_of_its_kind(tmp_path: Path, kind: str) -> None:
    files = {"github-actions": ACTIONS, "github-workflows": WORKFLOWS, "compose-spec": []}[kind]
    for number, example in enumerate(EXAMPLES):
        workflow = to_workflow(example)
        if kind == ("github-workflows" if workflow else "compose-spec"):
            files = [*files, tmp_path / f"{number}.yml"]
            files[-1].write_text(yaml.safe_dump(workflow) if isinstance(yaml.safe_load(example), list) else example)
    assert files
    result = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{kind}", *files],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def iterate_steps() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every step that this repository runs or shows, with the name of its file or example."""
    for path in ACTIONS:
        for step in yaml.safe_load(path.read_text())["runs"]["steps"]:
            yield str(path.relative_to(ROOT)), step
    workflows = [(f"example, {example.splitlines()[0]}", to_workflow(example)) for example in EXAMPLES]
    workflows += [(path.name, yaml.safe_load(path.read_text())) for path in WORKFLOWS]
    for name, workflow in workflows:
        for job in workflow["jobs"].values() if workflow else ():
            for step in job["steps"]:
                yield name, step


def test_no_script_contains_an_expression() -> None:
    """The name of a branch would be executed as a command; scripts get values from environment variables."""
    all_steps = list(iterate_steps())
    assert len(all_steps) > 15
    for name, step in all_steps:
        assert "${{" not in step.get("run", ""), name


def test_external_actions_are_pinned_to_a_commit_and_in_examples_to_a_version() -> None:
    for name, step in iterate_steps():
        action = step.get("uses", "./")
        if action.startswith("./"):
            continue
        if name.startswith("example"):
            assert re.fullmatch(r"(actions|OWNER)/[\w/-]+@v\d+", action), name
        else:
            assert re.fullmatch(r"(actions|docker)/[\w/-]+@[0-9a-f]{40}", action) or action in UNPINNED, (name, action)


def test_unpinned_actions_are_listed_in_the_workflow_that_uses_them() -> None:
    release = (ROOT / ".github/workflows/release.yml").read_text()
    assert all(action.partition("@")[0] in release.partition("name: release")[0] for action in UNPINNED)
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"github-actions", "docker"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_may_read_the_repository_and_its_jobs_have_only_the_permissions_they_need(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job} == (
        JOB_PERMISSIONS if path.name == "release.yml" else {}
    )
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())


def test_release_publishes_only_tested_builds_and_moves_the_major_tag_last() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    needs = {name: job.get("needs", []) for name, job in jobs.items()}
    assert needs == {"test": [], "build": "test", "pypi": "build", "image": "build", "major": ["pypi", "image"]}
    assert ".ci/run" in [step.get("run") for step in jobs["test"]["steps"]]
    assert '.ci/release "$GITHUB_REF_NAME"' in [step.get("run") for step in jobs["build"]["steps"]]


def test_ci_tests_each_supported_python() -> None:
    versions = re.findall(r"Programming Language :: Python :: (3\.\d+)", (ROOT / "setup.cfg").read_text())
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == versions
    assert jobs["test"]["steps"][-1]["run"] == ".ci/run"


# -- this project's own use of the action


def do_nothing(inputs: Mapping[str, str]) -> dict[str, str]:
    return {}


class Cache:
    """A stand-in for actions/cache, which keeps the files of the folder "baseline" for the next job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.keys: list[str] = []

    def restore_into(self, job: Job) -> Callable[[Mapping[str, str]], dict[str, str]]:
        def restore(inputs: Mapping[str, str]) -> dict[str, str]:
            if any(key.startswith(inputs["restore-keys"]) for key in self.keys):
                shutil.copytree(self._folder, job.workspace / inputs["path"])
            return {}

        return restore

    def save_from(self, job: Job) -> Callable[[Mapping[str, str]], dict[str, str]]:
        def save(inputs: Mapping[str, str]) -> dict[str, str]:
            self.keys.append(inputs["key"])
            shutil.copytree(job.workspace / inputs["path"], self._folder)
            return {}

        return save


def test_training_in_ci_logs_to_the_sidecar_and_is_checked_against_the_last_green_main(
    github_job: NewJob, tmp_path: Path
) -> None:
    ci = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["sidecar"]
    artifacts, cache = Artifacts(tmp_path / "artifacts"), Cache(tmp_path / "cache")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(number: str, ref: str) -> Job:
        job = github_job(
            matrix={"os": "ubuntu-latest"},
            variables={"run_id": number, "ref": ref, "job": "sidecar"},
            shell_variables={"PATH": path},
        )

        def check_out(inputs: Mapping[str, str]) -> dict[str, str]:
            (job.workspace / "tests" / "support").mkdir(parents=True)
            shutil.copy(ROOT / "tests" / "support" / "training.py", job.workspace / "tests" / "support")
            return {}

        job.stubs = {
            "actions/checkout": check_out,
            "actions/setup-python": do_nothing,
            "actions/cache/restore": cache.restore_into(job),
            "actions/cache/save": cache.save_from(job),
            "actions/upload-artifact": artifacts.upload,
        }
        job.run(ci["steps"])
        assert job.status == "success", job.log
        return job

    first = run("1", "refs/heads/main")
    assert len(first.list_annotations("notice")) == 2  # for the rules that have no baseline yet
    second = run("2", "refs/heads/topic")
    assert second.annotations == []
    assert "✅ passed    accuracy>=baseline-0.02" in second.summaries[0]
    assert "`model.pkl`" in second.summaries[0]
    assert cache.keys == ["baseline-ubuntu-latest-1"]
    assert artifacts.names() == ["gh-1-1-sidecar-ubuntu-latest", "gh-2-1-sidecar-ubuntu-latest"]
    artifacts.unzip("gh-2-1-sidecar-ubuntu-latest", tmp_path / "laptop")
    assert [path.name for path in (tmp_path / "laptop").iterdir()] == ["gh-2-1-sidecar-ubuntu-latest"]
    status = json.loads((tmp_path / "laptop/gh-2-1-sidecar-ubuntu-latest/meta.json").read_text())["status"]
    assert status == "completed"


def test_run_survives_github_artifacts_unchanged(data: Path, tmp_path: Path) -> None:
    names = [".env", "a:b?.txt", "CON", "dir/.hidden/file", "trailing.", 'quo"te<|>*', "ünïcode/日本.bin", "empty"]
    contents = {name: name.encode() if name != "empty" else b"" for name in names}
    with open_app(data) as app:
        client = app.test_client()
        run = run_logger(client)(
            name=".hidden", params={"lr": 1}, metrics={"loss": 0.5}, artifacts=contents, end="failed"
        )
        before = client.get(f"/api/runs/{run}").get_json()
    artifacts = Artifacts(tmp_path / "artifacts")
    artifacts.upload({"name": run, "path": f"{data}/runs/{run}*"})
    laptop = tmp_path / "laptop"
    artifacts.unzip(run, laptop / "runs")
    assert snapshot(laptop / "runs" / run).keys() == snapshot(data / "runs" / run).keys()
    with open_app(laptop) as app:
        client = app.test_client()
        after = client.get(f"/api/runs/{run}").get_json()
        assert {**after, "last_write_time": 0} == {**before, "last_write_time": 0}  # which is the time of its files
        for name, content in contents.items():
            assert client.get(f"/api/artifacts/{run}/{quote(name)}/download").data == content
