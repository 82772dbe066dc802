"""The files that GitHub reads: of the form it wants, open to nobody's text; and this project's CI, run as it stands."""

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
from conftest import opened, run_logger
from support.github_artifacts import Artifacts
from support.github_runner import ROOT, Job
from support.readme import blocks
from support.snapshots import files_of

pytest_plugins = "support.github_runner"

NewJob = Callable[..., Job]
ACTIONS = [ROOT / "action.yml", ROOT / "finish" / "action.yml"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXAMPLES = blocks("yaml")
#: Actions whose present commit could not be looked up; Dependabot watches over them.
UNPINNED = {"pypa/gh-action-pypi-publish@release/v1"}
#: What the jobs of a release may do beyond reading, by name.
JOB_PERMISSIONS = {
    "build": {"contents": "read", "id-token": "write", "attestations": "write"},
    "pypi": {"id-token": "write"},
    "image": {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"},
    "major": {"contents": "write"},
}


def as_workflow(example: str) -> Any:
    """A workflow of the README's or the manual's, or one of the steps that it shows; None for what isn't GitHub's."""
    parsed = yaml.safe_load(example)
    if isinstance(parsed, list):
        return {"on": "push", "jobs": {"train": {"runs-on": "ubuntu-latest", "steps": parsed}}}
    return parsed if "jobs" in parsed else None


@pytest.mark.parametrize("kind", ["github-actions", "github-workflows", "compose-spec"])
def test_each_file_is_of_the_form_that_its_reader_wants(tmp_path: Path, kind: str) -> None:
    files = {"github-actions": ACTIONS, "github-workflows": WORKFLOWS, "compose-spec": []}[kind]
    for number, example in enumerate(EXAMPLES):
        workflow = as_workflow(example)
        if kind == ("github-workflows" if workflow else "compose-spec"):
            files = [*files, tmp_path / f"{number}.yml"]
            files[-1].write_text(yaml.safe_dump(workflow) if isinstance(yaml.safe_load(example), list) else example)
    assert files
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{kind}", *files],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def steps() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every step that this repository runs or shows, and where it stands."""
    for path in ACTIONS:
        for step in yaml.safe_load(path.read_text())["runs"]["steps"]:
            yield str(path.relative_to(ROOT)), step
    workflows = [(f"example, {example.splitlines()[0]}", as_workflow(example)) for example in EXAMPLES]
    workflows += [(path.name, yaml.safe_load(path.read_text())) for path in WORKFLOWS]
    for name, workflow in workflows:
        for job in workflow["jobs"].values() if workflow else ():
            for step in job["steps"]:
                yield name, step


def test_no_script_has_anybody_s_text_pasted_into_it() -> None:
    """A branch's name would be run as a command: what varies comes by the environment."""
    found = list(steps())
    assert len(found) > 15
    for name, step in found:
        assert "${{" not in step.get("run", ""), name


def test_actions_of_others_are_pinned_to_a_commit_and_named_by_version_in_examples() -> None:
    for name, step in steps():
        used = step.get("uses", "./")
        if used.startswith("./"):
            continue
        if name.startswith("example"):
            assert re.fullmatch(r"(actions|OWNER)/[\w/-]+@v\d+", used), name
        else:
            assert re.fullmatch(r"(actions|docker)/[\w/-]+@[0-9a-f]{40}", used) or used in UNPINNED, (name, used)


def test_what_is_not_pinned_is_listed_where_it_is_used() -> None:
    release = (ROOT / ".github/workflows/release.yml").read_text()
    assert all(used.partition("@")[0] in release.partition("name: release")[0] for used in UNPINNED)
    watched = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    assert {each["package-ecosystem"] for each in watched} == {"github-actions", "docker"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_may_read_the_repository_and_its_jobs_only_what_they_need(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job} == (
        JOB_PERMISSIONS if path.name == "release.yml" else {}
    )
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())


def test_release_publishes_only_what_was_tested_and_moves_the_major_tag_last() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    needs = {name: job.get("needs", []) for name, job in jobs.items()}
    assert needs == {"test": [], "build": "test", "pypi": "build", "image": "build", "major": ["pypi", "image"]}
    assert ".ci/run" in [step.get("run") for step in jobs["test"]["steps"]]
    assert '.ci/release "$GITHUB_REF_NAME"' in [step.get("run") for step in jobs["build"]["steps"]]


def test_ci_tests_each_python_that_is_promised() -> None:
    promised = re.findall(r"Programming Language :: Python :: (3\.\d+)", (ROOT / "setup.cfg").read_text())
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == promised
    assert jobs["test"]["steps"][-1]["run"] == ".ci/run"


# -- this project's own use of the action


def nothing(inputs: Mapping[str, str]) -> dict[str, str]:
    return {}


class Cache:
    """The files of the folder "baseline" that actions/cache keeps for the next job."""

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


def test_ci_s_own_training_logs_to_the_sidecar_and_is_gated_by_the_last_green_main(
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

        job.uses = {
            "actions/checkout": check_out,
            "actions/setup-python": nothing,
            "actions/cache/restore": cache.restore_into(job),
            "actions/cache/save": cache.save_from(job),
            "actions/upload-artifact": artifacts.upload,
        }
        job.run(ci["steps"])
        assert job.status == "success", job.log
        return job

    first = run("1", "refs/heads/main")
    assert len(first.said("notice")) == 2  # of the rules that have no baseline yet
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


def test_run_comes_through_github_s_artifacts_as_it_was(data: Path, tmp_path: Path) -> None:
    names = [".env", "a:b?.txt", "CON", "dir/.hidden/file", "trailing.", 'quo"te<|>*', "ünïcode/日本.bin", "empty"]
    contents = {name: name.encode() if name != "empty" else b"" for name in names}
    with opened(data) as app:
        client = app.test_client()
        run = run_logger(client)(
            name=".hidden", params={"lr": 1}, metrics={"loss": 0.5}, artifacts=contents, end="failed"
        )
        before = client.get(f"/api/runs/{run}").get_json()
    artifacts = Artifacts(tmp_path / "artifacts")
    artifacts.upload({"name": run, "path": f"{data}/runs/{run}*"})
    laptop = tmp_path / "laptop"
    artifacts.unzip(run, laptop / "runs")
    assert files_of(laptop / "runs" / run).keys() == files_of(data / "runs" / run).keys()
    with opened(laptop) as app:
        client = app.test_client()
        after = client.get(f"/api/runs/{run}").get_json()
        assert {**after, "last_write_time": 0} == {**before, "last_write_time": 0}  # that of its files
        for name, content in contents.items():
            assert client.get(f"/api/artifacts/{run}/{quote(name)}/download").data == content
