"""The action that ends a job's run, shows it in the job's summary and gates the job: its steps, run as they stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from support.github_artifacts import Artifacts
from support.github_runner import Job

from chachaml_lite.sidecar.server import _command_by_ps
from chachaml_lite.sidecar.summary import MAX_BYTES, cut

pytest_plugins = "support.github_runner"

NewJob = Callable[..., Job]
START = "- {id: tracker, uses: ./, with: {experiment: iris, name: first}}\n"
FINISH = "- {id: end, if: always(), uses: ./finish}\n"


@pytest.fixture
def started(github_job: NewJob) -> Job:
    """A job whose run has begun."""
    job = github_job()
    job.run(START)
    assert job.status == "success", job.log
    return job


def post(job: Job, path: str, **settings: Any) -> Any:
    answer = requests.post(f"{job.env['CHACHAML_URL']}/api/w/{path}", timeout=60, **settings)
    assert answer.status_code == 200, answer.text
    return answer.json()


def log_metrics(job: Job, **metrics: float) -> None:
    post(job, f"runs/{job.env['CHACHAML_RUN_ID']}/metrics", json=metrics)


def finish(job: Job, **inputs: str) -> None:
    job.run([{"id": "end", "if": "always()", "uses": "./finish", "with": inputs}])


def meta(job: Job) -> dict[str, Any]:
    outputs = job.outputs("tracker")
    found: dict[str, Any] = json.loads(Path(outputs["data"], "runs", outputs["run-id"], "meta.json").read_text())
    return found


def server_pid(job: Job) -> int:
    return int(json.loads((job.home / "server.json").read_text())["pid"])


# -- the run's end


def test_failing_step_fails_the_run(started: Job) -> None:
    started.run("- run: echo training; exit 3\n- run: echo not reached\n" + FINISH)
    assert [step.outcome for step in started.steps] == ["success", "failure", "skipped", "success"]
    assert started.status == "failure"
    assert (meta(started)["status"], meta(started)["error"]) == ("failed", "the job failed")
    assert "❌ `first` failed" in started.summaries[0]
    assert "> the job failed" in started.summaries[0]


def test_cancelled_job_fails_the_run(started: Job) -> None:
    started.status = "cancelled"
    started.run(FINISH)
    assert (meta(started)["status"], meta(started)["error"]) == ("failed", "the job was cancelled")


def test_run_that_has_ended_itself_keeps_its_end(started: Job) -> None:
    post(started, f"runs/{started.env['CHACHAML_RUN_ID']}/end?exit_code=7")
    started.run(FINISH)
    assert started.status == "success"
    assert (meta(started)["status"], meta(started)["error"]) == ("failed", "exit code 7")
    assert [text.partition(":")[0] for text in started.said("notice")] == [
        "the run had already ended, and its status stays as it is"
    ]


def test_finishing_twice_is_finishing_once(started: Job) -> None:
    log_metrics(started, loss=0.5)
    for _ in range(2):
        finish(started, checks="loss<0.4")
        assert started.steps[-1].outcome == "failure"
        assert started.outputs("end")["passed"] == "false"
        assert Path(started.outputs("end")["summary"]).read_text() == started.summaries[0]
    assert len(started.summaries) == 1
    assert started.said("error") == ["loss<0.4: loss is 0.5, threshold 0.4"]
    assert started.said("notice") == ["this job's run has already been finished; nothing to do"]


def test_checks_that_come_after_the_end_fail_the_job_for_nobody_can_be_asked(started: Job) -> None:
    log_metrics(started, accuracy=0.5)
    finish(started)
    assert started.outputs("end")["passed"] == "true"
    finish(started, checks="accuracy>=0.99")
    assert started.steps[-1].outcome == "failure"
    assert started.outputs("end")["passed"] == "false"
    assert "these checks can't run any more" in started.said("error")[0]


def test_comment_may_stand_behind_a_rule(started: Job) -> None:
    log_metrics(started, **{"loss #2": 0.1, "accuracy": 0.95})
    finish(started, checks="# the gate\naccuracy>=0.9 # of all\nloss #2<=0.2 #\n  #loss<0")
    assert (started.outputs("end")["passed"], started.said("error")) == ("true", [])


def test_another_run_than_the_action_s_may_be_finished(started: Job) -> None:
    other = post(started, "runs", json={"experiment": "iris", "id": "mine"})["id"]
    finish(started, **{"run-id": other, "job-status": "failure"})
    data = Path(started.outputs("tracker")["data"])
    assert json.loads((data / "runs/mine/meta.json").read_text())["status"] == "failed"
    assert meta(started)["status"] == "running"


def test_unknown_run_fails_the_step(started: Job) -> None:
    finish(started, **{"run-id": "none\n::warning::such"})
    assert started.status == "failure"
    assert started.said("warning") == []
    assert len(started.said("error")) == 1


# -- the gate


def test_each_rule_that_fails_is_one_annotation_and_fails_the_step(started: Job) -> None:
    log_metrics(started, accuracy=0.93, loss=0.25)
    finish(started, checks="# the gate\naccuracy>=0.9\n\n  loss <= 0.2\nf1>0.5\nloss<1+1\nloss<.3\n")
    assert started.steps[-1].outcome == "failure"
    assert [(each.kind, each.title, each.text) for each in started.annotations] == [
        ("error", "Check failed", "loss <= 0.2: loss is 0.25, threshold 0.2"),
        ("error", "Check failed", "f1>0.5: f1 missing, threshold 0.5"),
        ("error", "Check failed", started.annotations[2].text),
    ]
    assert "loss<1+1" in started.annotations[2].text
    assert started.outputs("end")["passed"] == "false"
    (summary,) = started.summaries
    assert re.findall(r"^(✅ passed|❌ failed) +(\S+)", summary, re.MULTILINE) == [
        ("✅ passed", "accuracy>=0.9:"),
        ("❌ failed", "loss"),
        ("❌ failed", "f1>0.5:"),
        ("❌ failed", "rule"),
        ("✅ passed", "loss<.3:"),
    ]
    assert meta(started)["status"] == "completed", "the training itself went well"


def test_rules_that_all_pass_pass_the_step(started: Job) -> None:
    log_metrics(started, accuracy=0.93)
    finish(started, checks="accuracy>=0.9")
    assert started.steps[-1].outcome == "success"
    assert started.outputs("end")["passed"] == "true"
    assert started.annotations == []


def test_missing_baseline_is_a_notice_and_the_other_rules_count(started: Job) -> None:
    log_metrics(started, accuracy=0.93)
    finish(started, checks="accuracy>=baseline-0.01\naccuracy>=0.9")
    assert started.steps[-1].outcome == "success"
    assert started.outputs("end")["passed"] == "true"
    (notice,) = started.said("notice")
    assert notice.startswith("accuracy>=baseline-0.01: there is no baseline: ")
    assert "➖ skipped" in started.summaries[0]


@pytest.mark.parametrize("baseline", ["none-such", "production:none-such"])
def test_named_baseline_that_is_missing_is_a_notice_too(started: Job, baseline: str) -> None:
    log_metrics(started, accuracy=0.93)
    finish(started, checks="accuracy>=baseline\naccuracy>=0.95", baseline=baseline)
    assert (len(started.said("notice")), len(started.said("error"))) == (1, 1)


def test_run_that_was_copied_into_the_store_is_the_baseline(started: Job, github_job: NewJob) -> None:
    """The baseline that a job restores from the last green main: a cache, or a download."""
    main = github_job(variables={"run_id": "1"})
    main.run(START)
    log_metrics(main, accuracy=0.95)
    main.run(FINISH)
    shutil.copytree(Path(main.outputs("tracker")["data"], "runs"), started.workspace / "baseline")
    started.run(
        """
- run: cp -R baseline/. "$DATA/runs/"
  env: {DATA: '${{ steps.tracker.outputs.data }}'}
"""
    )
    log_metrics(started, accuracy=0.93)
    finish(started, checks="accuracy>=baseline-0.03\naccuracy>=baseline\naccuracy<=baseline+0.01")
    assert started.said("error") == ["accuracy>=baseline: accuracy is 0.93, threshold 0.95"]
    assert "accuracy>=baseline-0.03: is 0.93, threshold 0.9199" in started.summaries[0]


def test_text_of_others_in_rules_and_names_reaches_neither_the_log_nor_the_summary_as_a_command(started: Job) -> None:
    names = ["%0A::error::a", "a ##[error]b", "```", "<img src=x>c", "a%25b", "| b |"]
    post(started, f"runs/{started.env['CHACHAML_RUN_ID']}/metrics", json=dict.fromkeys(names, 0.5))
    finish(started, checks="\n".join(f"{name}>{bound}" for name in names for bound in (0, 1)))
    assert [(each.kind, each.title, each.text) for each in started.annotations] == [
        ("error", "Check failed", f"{name}>1: {name} is 0.5, threshold 1.0") for name in names
    ]
    (block,) = re.findall(r"^(````+)text\n([\s\S]*?)\n\1$", started.summaries[0], re.MULTILINE)
    assert len(block[1].splitlines()) == 2 * len(names)


# -- what went wrong before


def test_process_is_found_without_proc_too(started: Job) -> None:
    """As on macOS."""
    pid = server_pid(started)
    assert str(started.home / "ready") in _command_by_ps(pid)
    assert _command_by_ps(2**22 + 1) == ""


@pytest.mark.parametrize("checks", ["", "accuracy>=0.9"], ids=["no checks", "checks"])
def test_without_a_server_a_gate_fails_and_an_end_is_a_notice(github_job: NewJob, checks: str) -> None:
    job = github_job()
    finish(job, checks=checks)
    assert job.status == ("failure" if checks else "success")
    assert job.outputs("end") == {"passed": "false" if checks else "true", "summary": "", "html": ""}
    assert [each.kind for each in job.annotations] == ["error" if checks else "notice"]


def test_nothing_installed_is_no_server_either(github_job: NewJob) -> None:
    job = github_job()
    (job.home / "venv").unlink()
    job.home.rmdir()
    finish(job)
    assert job.said("notice") == ["no server was started in this job, so there is nothing to finish"]


def test_server_that_was_killed_is_started_again_on_what_it_has_stored(started: Job) -> None:
    log_metrics(started, accuracy=0.93)
    requests.get(f"{started.env['CHACHAML_URL']}/api/##[error]a/%0A::error::b", timeout=60)  # stands in the log
    os.kill(server_pid(started), signal.SIGKILL)
    finish(started, checks="accuracy>=0.9")
    assert started.steps[-1].outcome == "success", started.log
    assert started.said("warning") == ["the server had stopped; it was started again on the same data"]
    printed = started.log.partition("::group::Output of the server\n")[2].partition("::endgroup::")[0]
    assert "GET /api/" in printed
    assert started.said("error") == []
    assert meta(started)["status"] == "completed"
    assert "`accuracy`" in started.summaries[0]


def test_store_that_can_t_be_opened_again_fails_the_step(started: Job) -> None:
    os.kill(server_pid(started), signal.SIGKILL)
    data = Path(started.outputs("tracker")["data"])
    shutil.rmtree(data)
    data.touch()
    finish(started, checks="accuracy>=0.9")
    assert started.steps[-1].outcome == "failure"
    assert any("exit code" in text for text in started.said("error"))


def test_without_a_run_of_its_own_the_runs_of_the_job_are_listed(github_job: NewJob) -> None:
    job = github_job()
    job.run("- {id: tracker, uses: ./}")
    for name in ("one", "two"):
        post(job, "runs", json={"experiment": "iris", "name": name})
    job.run(FINISH)
    assert job.status == "success", job.log
    assert re.findall(r"`(one|two)`", job.summaries[0]) == ["two", "one"]


def test_job_that_has_logged_nothing_has_no_summary(github_job: NewJob) -> None:
    job = github_job()
    job.run("- uses: ./\n" + FINISH)
    assert job.status == "success", job.log
    assert job.summaries == []
    assert job.outputs("end") == {"passed": "true", "summary": "", "html": ""}


def test_checks_without_a_run_fail(github_job: NewJob) -> None:
    job = github_job()
    job.run("- {id: tracker, uses: ./}")
    finish(job, checks="accuracy>=0.9")
    assert job.steps[-1].outcome == "failure"
    assert job.said("error") == ["there are checks but no run; set experiment at the start, or run-id here"]


@pytest.mark.parametrize("name", ["", "/dev/null/summary"], ids=["none", "no file"])
def test_summary_that_can_t_be_written_is_no_fault_of_the_run(started: Job, name: str) -> None:
    started.run([{"id": "end", "uses": "./finish", "env": {"GITHUB_STEP_SUMMARY": name}}])
    assert started.status == "success", started.log
    assert len(started.said("warning")) == (1 if name else 0)
    assert "first" in Path(started.outputs("end")["summary"]).read_text()


def test_report_beyond_what_github_shows_is_cut_at_whole_sections(started: Job) -> None:
    run = started.env["CHACHAML_RUN_ID"]
    post(started, f"runs/{run}/params", json={f"{number:05}" + "é" * 240: number for number in range(4000)})
    log_metrics(started, accuracy=0.93)
    post(started, f"runs/{run}/note", json={"note": "### Params\nnot a section"})
    finish(started, checks="accuracy>=0.9")
    (shown,) = started.summaries
    whole = Path(started.outputs("end")["summary"]).read_text()
    assert len(shown.encode()) < 900 * 1024 < len(whole.encode())
    sections = re.split(r"^(?=### )", whole, flags=re.MULTILINE)
    assert [section.split("\n")[0] for section in sections[1:]] == [
        "### Checks",
        "### Params",
        "### Metrics",
        "### Environment",
        "### Note",
    ]
    for section in (*sections[:2], *sections[3:]):
        assert section in shown
    assert re.search(r"\*\*Omitted, because GitHub displays at most 1 MiB: Params \([\d,]+ KiB\)\.\*\*", shown)
    assert started.said("notice") == ["the report is too long for GitHub's summary, which lists the omitted sections"]


@pytest.mark.parametrize("checks", ["", "accuracy>=0.99"], ids=["no checks", "a check fails"])
def test_run_is_uploaded_as_one_html_file_where_asked(started: Job, tmp_path: Path, checks: str) -> None:
    artifacts = Artifacts(tmp_path / "uploaded")
    started.uses = {"actions/upload-artifact": artifacts.upload}
    log_metrics(started, accuracy=0.93)
    finish(started, html="${{ steps.tracker.outputs.run-id }}.html", checks=checks)
    assert started.steps[-1].outcome == ("failure" if checks else "success"), started.log
    run_id = started.outputs("tracker")["run-id"]
    assert artifacts.names() == [f"{run_id}.html"]
    artifacts.unzip(f"{run_id}.html", tmp_path / "unzipped")
    (file,) = (tmp_path / "unzipped").iterdir()
    text = file.read_text()
    assert file.name == "report.html"
    assert "first" in text and "0.93" in text and "completed" in text
    assert "localhost" not in text, "the server has stopped"
    finish(started, html="again")  # nothing is done again
    assert (artifacts.names(), started.outputs("end")["html"]) == ([f"{run_id}.html"], "")


def test_no_html_file_is_uploaded_unless_asked_or_where_there_is_no_run(github_job: NewJob) -> None:
    job = github_job()
    job.run("- {id: tracker, uses: ./}")
    finish(job, html="report.html")  # it would fail here if it uploaded anything
    assert job.status == "success", job.log
    assert job.outputs("end")["html"] == ""
    assert "no run was logged" in job.said("notice")[0]


def test_of_many_sections_as_many_are_shown_as_fit() -> None:
    sections = ["## a run\n", *(f"### {name}\n" + "é" * 150 * 1024 + "\n" for name in "abc"), "### d\nshort\n"]
    shown = cut("".join(sections), MAX_BYTES)
    assert len(shown.encode()) < MAX_BYTES == 900 * 1024
    assert re.findall("^## .*|^### .*?(?=é|$)", shown, re.MULTILINE) == ["## a run", "### a", "### b", "### d"]
    assert "c (300 KiB)" in shown
