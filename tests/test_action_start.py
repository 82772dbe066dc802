"""The action that starts a server in a job of GitHub Actions: its steps, executed as they are by a small runner."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from support.github_runner import ROOT, Job
from support.servers import Server, free_port
from support.snapshots import snapshot

from chachaml_lite.sidecar.identity import derive_run_id

pytest_plugins = "support.github_runner"

NewJob = Callable[..., Job]
TRAIN = """
- id: tracker
  uses: ./
  with: {experiment: iris, name: first}
- run: |
    curl -fsS "$CHACHAML_URL/api/w/runs/$CHACHAML_RUN_ID/metrics" -H 'Content-Type: application/json' -d '{"loss":0.5}'
"""
FINISH = """
- id: end
  if: always()
  uses: ./finish
"""


def read_meta(job: Job, step: str = "tracker") -> dict[str, Any]:
    """Return the meta.json of the run that a step has started."""
    outputs = job.get_outputs(step)
    content: dict[str, Any] = json.loads(Path(outputs["data"], "runs", outputs["run-id"], "meta.json").read_text())
    return content


def test_action_installs_this_checkout_beside_the_workspace_and_leaves_nothing_in_it(installed_action: Job) -> None:
    assert list(installed_action.workspace.iterdir()) == []
    command = installed_action.home / "venv" / "bin" / "python"
    result = subprocess.run(
        [command, "-I", "-c", "import chachaml_lite; print(chachaml_lite.__file__)"], capture_output=True, text=True
    )
    assert result.stdout.startswith(str(installed_action.home / "venv")), result.stderr


def test_action_does_not_change_its_own_folder(installed_action: Job) -> None:
    names = snapshot(installed_action.root)
    assert "action.yml" in names
    assert not [name for name in names if "__pycache__" in name or not (ROOT / name).exists()]


def test_step_logs_to_the_run_started_by_the_action(github_job: NewJob, tool: Callable[[str], str]) -> None:
    tool("curl")
    job = github_job()
    job.run(TRAIN + FINISH)
    assert [step.outcome for step in job.steps] == ["success"] * 3, job.log
    outputs = job.get_outputs("tracker")
    assert job.env == {"CHACHAML_URL": outputs["url"], "CHACHAML_RUN_ID": outputs["run-id"]}
    assert outputs["run-id"] == "gh-1234567890-1-train"
    assert list(job.workspace.iterdir()) == []
    meta = read_meta(job)
    assert (meta["experiment"], meta["name"], meta["status"]) == ("iris", "first", "completed")
    assert meta["tags"] == {
        "sha": "0123456789abcdef0123456789abcdef01234567",
        "ref": "refs/heads/main",
        "actor": "maria",
        "workflow": "training",
        "url": "https://github.com/maria/iris/actions/runs/1234567890/attempts/1",
    }
    assert meta["env"]["git"]["commit"] == meta["tags"]["sha"]
    assert meta["env"]["git"]["remote"] == "https://github.com/maria/iris"
    assert meta["env"].keys() >= {"host", "platform", "cpu_count", "python"} and "command" not in meta["env"]
    assert job.annotations == []
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{outputs['url']}/api/health", timeout=60)
    # The folder is a complete run, ready to be copied into the runs/ of another store.
    assert '"key": "loss"' in Path(outputs["data"], "runs", outputs["run-id"], "metrics.jsonl").read_text().replace(
        '"key":"loss"', '"key": "loss"'
    )


def test_steps_of_a_job_behind_a_proxy_reach_the_server(github_job: NewJob, tool: Callable[[str], str]) -> None:
    tool("curl")
    job = github_job(shell_variables={"http_proxy": "http://127.0.0.1:1", "no_proxy": "intra.example.org"})
    job.run(TRAIN + FINISH)
    assert [step.outcome for step in job.steps] == ["success"] * 3, job.log
    assert job.env["no_proxy"] == job.env["NO_PROXY"] == "intra.example.org,localhost,127.0.0.1,::1"


def test_action_without_an_experiment_starts_a_server_but_no_run(github_job: NewJob) -> None:
    job = github_job()
    job.run("- {id: tracker, uses: ./}")
    assert job.env == {"CHACHAML_URL": job.get_outputs("tracker")["url"]}
    assert job.get_outputs("tracker")["run-id"] == ""
    assert requests.get(f"{job.env['CHACHAML_URL']}/api/health", timeout=60).json()["runs"] == 0


def test_port_and_data_folder_are_configurable(github_job: NewJob) -> None:
    port = free_port()
    job = github_job()
    job.run(f"- {{id: tracker, uses: ./, with: {{port: '{port}', data: some/where, experiment: iris}}}}")
    assert job.status == "success", job.log
    assert job.env["CHACHAML_URL"] == f"http://localhost:{port}"
    assert job.get_outputs("tracker")["data"] == str(job.workspace / "some/where")
    assert (job.workspace / "some/where/runs/gh-1234567890-1-train/meta.json").is_file()


@pytest.mark.parametrize("fault", ["port", "data", "setting"])
def test_server_that_does_not_start_fails_the_step_and_shows_the_reason(
    github_job: NewJob, server: Server, fault: str
) -> None:
    job = github_job(shell_variables={"CHACHAML_FSYNC": "sometimes"} if fault == "setting" else {})
    (job.workspace / "file").touch()
    inputs = {"port": f"port: '{server.port}'", "data": "data: file", "setting": "port: '0'"}[fault]
    job.run(f"- {{id: tracker, uses: ./, with: {{experiment: iris, {inputs}}}}}\n- run: echo not reached" + FINISH)
    assert [step.outcome for step in job.steps] == ["failure", "skipped", "success"]
    assert job.env == {}
    reason = {"port": f"port {server.port} is in use", "data": "file", "setting": "'sometimes' is not one of"}[fault]
    group = job.steps[0].log.partition("::group::Output of the server\n")[2].partition("::endgroup::")[0]
    assert reason in group
    assert any("the server ended with exit code" in text for text in job.list_annotations("error"))
    assert job.list_annotations("notice") == ["no server was started in this job, so there is nothing to finish"]


def test_server_that_never_answers_fails_the_step_after_a_timeout(tmp_path: Path) -> None:
    silent_python = tmp_path / "python"
    silent_python.write_text("#!/bin/sh\necho still reading\nexec sleep 600\n")
    silent_python.chmod(0o755)
    (tmp_path / "chachaml-lite").mkdir()
    script = (
        "from chachaml_lite.cli import main; from chachaml_lite.sidecar import server; import sys; "
        f"server.START_SECONDS = 0.5; sys.executable = {str(silent_python)!r}; main(['ci', 'start'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "GITHUB_ACTIONS": "true", "RUNNER_TEMP": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "still reading" in result.stdout
    assert "::error title=chachaml-lite::the server was not ready within 0.5 s" in result.stdout


def test_second_server_in_a_job_is_refused_until_the_first_is_finished(github_job: NewJob) -> None:
    job = github_job()
    job.run("- {id: tracker, uses: ./, with: {experiment: iris}}\n- {uses: ./, with: {experiment: iris, suffix: b}}")
    assert job.status == "failure"
    assert job.list_annotations("error") == [
        f"this job already has a server, at {job.env['CHACHAML_URL']}; stop it with .../finish first"
    ]
    job.run(FINISH + "- {if: always(), uses: ./, with: {experiment: iris}}")
    assert "has ended; another use of the action in one job needs another suffix" in job.list_annotations("error")[-1]
    job.run(FINISH + "- {id: second, if: always(), uses: ./, with: {experiment: iris, suffix: second}}" + FINISH)
    assert job.get_outputs("second")["run-id"] == "gh-1234567890-1-train-second"
    assert [step.outcome for step in job.steps[-3:]] == ["success"] * 3, job.log
    assert read_meta(job, "second")["status"] == "failed", "the job had failed before"


# -- the token


def test_token_is_required_by_every_request_and_never_in_the_log(
    github_job: NewJob, tool: Callable[[str], str]
) -> None:
    tool("curl")
    job = github_job()
    token = "100% schlüssel: 令牌"
    job.run(f"- {{id: tracker, uses: ./, with: {{experiment: iris, token: '{token}'}}}}")
    assert requests.get(f"{job.env['CHACHAML_URL']}/api/runs", timeout=60).status_code == 401
    job.run(
        """
- run: |
    curl -fsS "$CHACHAML_URL/api/w/runs/$CHACHAML_RUN_ID/metrics" -d '{"loss":0.5}' \\
      -H "Authorization: Bearer $CHACHAML_TOKEN" -H 'Content-Type: application/json'
- {uses: ./finish, with: {checks: loss<1}}
"""
    )
    assert job.status == "success", job.log
    assert job.masks == [token]
    lines = [line for line in job.log.splitlines() if token in line or token.replace("%", "%25") in line]
    assert lines == [f"::add-mask::{token.replace('%', '%25')}"]
    assert job.env["CHACHAML_TOKEN"] == token
    assert not [path for path in job.home.glob("*") if path.is_file() and token in path.read_text()]


def test_token_may_come_from_the_job_s_environment(github_job: NewJob) -> None:
    job = github_job(shell_variables={"CHACHAML_TOKEN": "secret"})
    job.run("- {uses: ./, with: {experiment: iris}}")
    assert requests.get(f"{job.env['CHACHAML_URL']}/api/runs", timeout=60).status_code == 401
    job.run("- uses: ./finish")
    assert job.status == "success", job.log


def test_token_that_no_header_can_contain_is_refused(github_job: NewJob) -> None:
    job = github_job()
    job.run(r'- {uses: ./, with: {token: "two\nlines"}}')
    assert job.list_annotations("error") == [
        "the token has a line break or another control character, which no HTTP header can contain"
    ]


# -- text chosen by others

HOSTILE = "$(touch pwned) `touch pwned`; touch pwned # \"' ${{ github.job }} %0A::error::x ##[error]y \u202e|<b>"


def test_text_chosen_by_others_is_never_executed(github_job: NewJob, tool: Callable[[str], str]) -> None:
    tool("curl")
    job = github_job(variables={"ref": f"refs/heads/{HOSTILE}", "workflow": HOSTILE, "actor": HOSTILE, "job": HOSTILE})
    job.github["head"] = HOSTILE  # as github.head_ref, which a fork's author chooses
    job.run(
        """
- id: tracker
  uses: ./
  with: {experiment: '${{ github.head }}', name: '${{ github.head }}', suffix: '${{ github.head }}'}
- run: |
    curl -fsS "$CHACHAML_URL/api/w/runs/$CHACHAML_RUN_ID/metrics" -H 'Content-Type: application/json' \\
      -d '{"%0A::error::a ##[error]b":0.5}'
- {uses: ./finish, with: {checks: '%0A::error::a ##[error]b<1', baseline: 'latest:${{ github.head }}'}}
"""
    )
    assert job.status == "success", job.log
    assert job.annotations == []
    meta = read_meta(job)
    assert (meta["experiment"], meta["name"], meta["tags"]["workflow"]) == (HOSTILE, HOSTILE, HOSTILE)
    assert not list(job.workspace.iterdir())
    assert f"\n{HOSTILE}" not in job.summaries[0], "it is in a code span"


def test_name_refused_by_the_server_fails_the_step_with_the_reason(github_job: NewJob) -> None:
    job = github_job()
    job.run('- {id: tracker, uses: ./, with: {experiment: iris, name: "a\\n::warning::b"}}' + FINISH)
    assert [step.outcome for step in job.steps] == ["failure", "success"], job.log
    assert job.list_annotations("warning") == []
    assert job.list_annotations("error")[0].startswith("the run could not be started: ")
    assert "control character" in job.list_annotations("error")[0]


def test_python_variables_and_modules_of_the_job_are_ignored(github_job: NewJob) -> None:
    job = github_job(shell_variables={"PYTHONPATH": "evil", "PYTHONSTARTUP": "evil/flask.py", "PYTHONHOME": "evil"})
    (job.workspace / "evil").mkdir()
    for folder in ("evil", "."):
        for module in ("flask", "chachaml_lite", "json"):
            (job.workspace / folder / f"{module}.py").write_text("raise SystemExit('not mine')")
    job.run("- {id: tracker, uses: ./, with: {experiment: iris}}" + FINISH)
    assert job.status == "success", job.log


def test_proxy_of_the_job_is_not_used_for_its_own_server(github_job: NewJob) -> None:
    job = github_job(shell_variables={"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"})
    job.run("- {id: tracker, uses: ./, with: {experiment: iris}}" + FINISH)
    assert job.status == "success", job.log
    assert read_meta(job)["status"] == "completed"


# -- the id

IDS: list[tuple[dict[str, str], str, str]] = [
    ({}, "null", "gh-7-1-train"),
    ({}, "", "gh-7-1-train"),
    ({}, "{}", "gh-7-1-train"),
    ({}, '{"python": "3.10"}', "gh-7-1-train-3.10"),
    ({}, '{"os": "ubuntu-latest", "python": 3.1}', "gh-7-1-train-ubuntu-latest_3.1"),
    ({}, "3.10", "gh-7-1-train-3.10"),
    ({}, "eu-west", "gh-7-1-train-eu-west"),
    ({"GITHUB_RUN_ATTEMPT": "2"}, "null", "gh-7-2-train"),
    ({"GITHUB_JOB": "train_all"}, "null", "gh-7-1-train_all"),
]
#: Pairs that differ only in characters that an id can't contain, or in where one value ends.
TWINS: list[tuple[tuple[dict[str, str], str], tuple[dict[str, str], str]]] = [
    (({}, '{"x": "a/b"}'), ({}, '{"x": "a-b"}')),
    (({}, '{"x": "a_b", "y": "c"}'), ({}, '{"x": "a", "y": "b_c"}')),
    (({"GITHUB_JOB": "Train"}, "null"), ({"GITHUB_JOB": "train"}, "null")),
    (({}, '{"x": "' + "a" * 200 + '"}'), ({}, '{"x": "' + "a" * 201 + '"}')),
    (({}, '{"x": {"deep": [1, null]}}'), ({}, '{"x": {"deep": [1, true]}}')),
    (({}, '{"x": "日本"}'), ({}, '{"x": "中国"}')),
    (({}, '{"x": "."}'), ({}, "null")),
]


def test_derived_run_id_is_stable_valid_and_unique(shared_client: Any) -> None:
    cases = [(variables, suffix) for variables, suffix, _ in IDS] + [each for pair in TWINS for each in pair]
    job = {"GITHUB_RUN_ID": "7", "GITHUB_JOB": "train"}
    run_ids = [derive_run_id({**job, **variables}, suffix) for variables, suffix in cases]
    assert run_ids[: len(IDS)] == [expected for _, _, expected in IDS]
    assert all(one != other for one, other in zip(run_ids[len(IDS) :: 2], run_ids[len(IDS) + 1 :: 2], strict=True))
    for each in set(run_ids):
        answer = shared_client.post("/api/w/runs", json={"experiment": "iris", "id": each})
        assert answer.status_code == 200, answer.text


def test_jobs_of_a_matrix_have_distinct_runs_that_fit_into_one_store(github_job: NewJob, data: Path) -> None:
    runs = data / "runs"
    runs.mkdir(parents=True)
    for value in ("3.10", "3.11"):
        job = github_job(matrix={"python": value})
        job.run("- {id: tracker, uses: ./, with: {experiment: iris, name: 'on ${{ matrix.python }}'}}" + FINISH)
        run = job.get_outputs("tracker")["run-id"]
        shutil.copytree(Path(job.get_outputs("tracker")["data"], "runs", run), runs / run)
    assert sorted(path.name for path in runs.iterdir()) == ["gh-1234567890-1-train-3.10", "gh-1234567890-1-train-3.11"]


# -- Python and pip


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    """A fake python3 that records its arguments, creates environments with itself, and installs nothing."""
    program = tmp_path / "bin" / "python3"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/bash
echo "$@" >>"{tmp_path}/called"
case "$*" in
  *"-m venv "*) mkdir -p "${{@: -1}}/bin"; ln -s "{program}" "${{@: -1}}/bin/python";;
  *"ci start") exit 3;;
esac
"""
    )
    program.chmod(0o755)
    return program


def test_given_version_is_installed_from_the_package_index(github_job: NewJob, recorder: Path, tmp_path: Path) -> None:
    job = github_job(shell_variables={"PATH": f"{recorder.parent}:{os.environ['PATH']}"})
    job.run("- {uses: ./, with: {version: '1.2; touch pwned'}}")
    (install,) = [line for line in (tmp_path / "called").read_text().splitlines() if " pip install " in line]
    assert install.endswith(" chachaml-lite==1.2; touch pwned")
    assert not list(job.workspace.iterdir())


def test_python_is_set_up_for_the_action_alone_where_none_is_suitable(
    github_job: NewJob, recorder: Path, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "cat", "cp", "mkdir", "rm", "ln"):
        (tools / name).symlink_to(str(shutil.which(name)))
    old = tools / "python3"
    old.write_text("#!/bin/bash\nexit 1\n")
    old.chmod(0o755)
    setup_inputs: list[dict[str, str]] = []

    def setup_python(inputs: Any) -> dict[str, str]:
        setup_inputs.append(dict(inputs))
        return {"python-path": str(recorder)}

    job = github_job(shell_variables={"PATH": str(tools)}, stubs={"actions/setup-python": setup_python})
    (job.home / "venv").unlink()
    job.run("- uses: ./")
    assert setup_inputs == [{"python-version": "3.13", "update-environment": "false"}]
    calls = (tmp_path / "called").read_text()
    assert " -m venv " in calls
    assert " pip install " in calls
