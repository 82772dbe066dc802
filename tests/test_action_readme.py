"""The manual's page on the actions: its examples run verbatim, and its tables are complete."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import open_app
from support.github_artifacts import Artifacts
from support.github_runner import ROOT, Job
from support.readme import PAGES, find_blocks, read_table

pytest_plugins = "support.github_runner"

NewJob = Callable[..., Job]
Tool = Callable[[str], str]
PAGE = "github-actions"

#: A user's training; its second metric has a baseline in the example.
TRAIN = """#!/bin/sh
log() { curl -fsS "$CHACHAML_URL/api/w/runs/$CHACHAML_RUN_ID/$1" -H 'Content-Type: application/json' -d "$2"; }
log params "{\\"lr\\":$LR}"
log metrics "{\\"accuracy\\":${ACCURACY:-0.95},\\"loss\\":0.25}"
"""
#: The part of GitHub's command-line client that the examples use, on the files of a folder.
GH = """#!/bin/bash
echo "$@" >>"$FAKE/called"
case "$1 $2" in
  "run list") [ ! -d "$FAKE/runs/1" ] || echo 1;;
  "run download")
    [ "$4" = --pattern ] && pattern=$5 || pattern='*'
    folder=${@: -1} found=
    for zip in "$FAKE/runs/$3/"*.zip; do
      name=$(basename "$zip" .zip)
      if [[ $name == $pattern ]]; then mkdir -p "$folder/$name"; unzip -q "$zip" -d "$folder/$name"; found=1; fi
    done
    [ -n "$found" ] || { echo "no artifact matches" >&2; exit 1; };;
  "api -X") echo 7;;
  "pr comment")
    case "$*" in *--edit-last*) [ -f "$FAKE/comment" ] || exit 1;; esac
    cat "${@: -1}" >"$FAKE/comment";;
  *) exit 99;;
esac
"""


def load_example(word: str) -> Any:
    """Load the only example that contains a word."""
    (text,) = [block for block in find_blocks("yaml", PAGE) if word in block]
    return yaml.safe_load(text)


@pytest.fixture
def github(tmp_path: Path) -> Path:
    """The folder of the state that GitHub keeps: artifacts in runs/ID, and a comment."""
    folder = tmp_path / "github"
    (folder / "bin").mkdir(parents=True)
    (folder / "runs").mkdir()
    (folder / "bin" / "gh").write_text(GH)
    (folder / "bin" / "gh").chmod(0o755)
    return folder


def make_user_job(new: NewJob, github: Path, machine_path: str, artifacts: Artifacts, **settings: Any) -> Job:
    """Make a job of a user whose checkout has a train.sh."""
    variables = {"FAKE": str(github), "PATH": f"{github / 'bin'}:{machine_path}"}
    job = new(shell_variables={**variables, **settings.pop("shell_variables", {})}, **settings)

    def check_out(inputs: Mapping[str, str]) -> dict[str, str]:
        (job.workspace / "train.sh").write_text(TRAIN)
        (job.workspace / "train.sh").chmod(0o755)
        return {}

    job.stubs = {"actions/checkout": check_out, "actions/upload-artifact": artifacts.upload}
    return job


@pytest.fixture
def machine_path(tool: Tool) -> str:
    for name in ("bash", "curl", "jq", "unzip", "iconv"):
        tool(name)
    return os.environ["PATH"]


def test_example_logs_checks_and_uploads_runs_that_open_in_another_store(
    github_job: NewJob, github: Path, machine_path: str, data: Path
) -> None:
    artifacts = Artifacts(github / "runs" / "1234567890")
    workflow = load_example("matrix:\n")["jobs"]["train"]
    names = []
    for lr in workflow["strategy"]["matrix"]["lr"]:
        job = make_user_job(github_job, github, machine_path, artifacts, matrix={"lr": lr})
        job.run(workflow["steps"])
        assert job.status == "success", job.log
        assert [text.partition(":")[0] for text in job.list_annotations("notice")] == ["loss<=baseline*1.02"]
        assert "### Checks" in job.summaries[0]
        names.append(job.get_outputs("tracker")["run-id"])
    assert artifacts.names() == sorted(names)
    (command,) = re.findall(r"`gh run download 1234567890 -n (\S+) -D artifacts/runs`", PAGES[PAGE])
    assert command in names
    for name in names:
        artifacts.unzip(name, data / "runs")
    with open_app(data) as app:
        runs = app.test_client().get("/api/runs").get_json()
    assert {run["id"]: (run["status"], run["params"]) for run in runs} == {
        name: ("completed", {"lr": float(name.rpartition("-")[2])}) for name in names
    }


def test_baseline_is_the_last_green_main_of_the_same_job_of_the_matrix(
    github_job: NewJob, github: Path, machine_path: str
) -> None:
    workflow = load_example("matrix:\n")["jobs"]["train"]["steps"]
    place = next(number for number, step in enumerate(workflow) if step.get("id") == "tracker") + 1
    steps = [*workflow[:place], *load_example("gh run list"), *workflow[place:]]
    steps[-2] = {**steps[-2], "with": {"checks": "accuracy>=baseline-0.01"}}
    jobs: list[tuple[Job, Artifacts]] = []
    for number, lr, accuracy in (
        ("1", "0.1", "0.95"),
        ("1", "0.01", "0.5"),
        ("2", "0.1", "0.93"),
        ("2", "0.01", "0.6"),
    ):
        folder = github / "runs" / number
        artifacts = Artifacts(folder) if not folder.exists() else jobs[-1][1]
        settings = {"matrix": {"lr": lr}, "variables": {"run_id": number}, "shell_variables": {"ACCURACY": accuracy}}
        job = make_user_job(github_job, github, machine_path, artifacts, **settings)
        job.run(steps)
        jobs.append((job, artifacts))
    # The first jobs have no run of main to compare with; later each has the one with its own lr.
    assert [job.list_annotations("notice") != [] for job, _ in jobs] == [True, True, False, False]
    assert [job.list_annotations("error") for job, _ in jobs] == [
        [],
        [],
        ["accuracy>=baseline-0.01: accuracy is 0.93, threshold 0.94"],
        [],
    ]


def test_comment_shows_the_runs_of_a_fork_and_executes_none_of_its_text(
    github_job: NewJob, github: Path, machine_path: str
) -> None:
    artifacts = Artifacts(github / "runs" / "5")
    job = make_user_job(github_job, github, machine_path, artifacts, variables={"run_id": "5"})
    hostile = "@maria <img src=x> [a](https://evil.example) $(touch pwned)"
    job.run(
        [
            {"id": "tracker", "uses": "./", "with": {"experiment": hostile, "name": hostile}},
            {"uses": "./finish"},
            {
                "uses": "actions/upload-artifact@v7",
                "with": {
                    "name": "${{ steps.tracker.outputs.run-id }}",
                    "path": "${{ steps.tracker.outputs.data }}/runs/${{ steps.tracker.outputs.run-id }}*",
                },
            },
        ]
    )
    steps = load_example("workflow_run:\n")["jobs"]["comment"]["steps"]
    event = {
        "workflow_run": {"id": "5", "head_branch": "x; touch pwned", "head_repository": {"owner": {"login": "eve"}}}
    }
    for _ in range(2):  # the second time it edits its own comment
        comment_job = make_user_job(github_job, github, machine_path, artifacts)
        comment_job.github["event"] = event
        comment_job.run(steps)
        assert comment_job.status == "success", comment_job.log
        assert not (comment_job.workspace / "pwned").exists()
    calls = (github / "called").read_text().splitlines()
    assert [line.partition(" --")[0].split(" -f")[0] for line in calls] == [
        "api -X GET repos/maria/iris/pulls",
        "run download 5",
        "pr comment 7",
        "pr comment 7",
        "api -X GET repos/maria/iris/pulls",
        "run download 5",
        "pr comment 7",
    ]
    assert "head=eve:x; touch pwned" in calls[0]
    comment = (github / "comment").read_text()
    assert f"`{hostile}`" in comment
    assert hostile not in re.sub(r"`[^`]*`", "", comment)


def test_tables_of_inputs_and_outputs_are_complete() -> None:
    start, finish = (yaml.safe_load((ROOT / path).read_text()) for path in ("action.yml", "finish/action.yml"))
    for head, part in (("input", "inputs"), ("output", "outputs")):
        names_in_table = [
            (name, bool(suffix)) for row in read_table(PAGE, head) for name, suffix in _parse_names(row[0])
        ]
        assert names_in_table == [(name, False) for name in start[part]] + [(name, True) for name in finish[part]]
    for action in (start, finish):
        assert all(each["description"] for part in ("inputs", "outputs") for each in action[part].values())


def _parse_names(cell: str) -> list[tuple[str, str]]:
    suffix = "(finish)" if "(finish)" in cell else ""
    return [(name, suffix) for name in re.findall(r"`([\w-]+)`", cell)]


def test_run_id_in_the_manual_is_the_one_the_action_derives(github_job: NewJob) -> None:
    job = github_job(matrix={"lr": "0.1"})
    job.run("- {id: tracker, uses: ./, with: {experiment: iris}}\n- uses: ./finish")
    run = job.get_outputs("tracker")["run-id"]
    assert run in PAGES[PAGE]
    assert json.loads(Path(job.get_outputs("tracker")["data"], "runs", run, "meta.json").read_text())["id"] == run


def test_workflow_of_the_readme_passes_and_fails_by_its_check(
    github_job: NewJob, github: Path, machine_path: str
) -> None:
    (code,) = find_blocks("yaml", "README", "GitHub Actions")
    steps = yaml.safe_load(code)["jobs"]["train"]["steps"]
    for accuracy, status in (("0.95", "success"), ("0.85", "failure")):
        variables = {"ACCURACY": accuracy, "LR": "0.1"}
        job = make_user_job(
            github_job, github, machine_path, Artifacts(github / "runs" / accuracy), shell_variables=variables
        )
        job.run(steps)
        assert job.status == status, job.log
