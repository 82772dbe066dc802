"""The finish action: it ends the job's run, writes its summary and checks the rules. Its steps run as they are."""

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
def job(github_job: NewJob) -> Job:
    """A job whose run has been started."""
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


def read_meta(job: Job) -> dict[str, Any]:
    outputs = job.get_outputs("tracker")
    content: dict[str, Any] = json.loads(Path(outputs["data"], "runs", outputs["run-id"], "meta.json").read_text())
    return content


def read_server_pid(job: Job) -> int:
    return int(json.loads((job.home / "server.json").read_text())["pid"])


# -- the run's end


def test_failing_step_fails_the_run(job: Job) -> None:
    job.run("- run: echo training; exit 3\n- run: echo not reached\n" + FINISH)
    assert [step.outcome for step in job.steps] == ["success", "failure", "skipped", "success"]
    assert job.status == "failure"
    assert (read_meta(job)["status"], read_meta(job)["error"]) == ("failed", "the job failed")
    assert "❌ `first` failed" in job.summaries[0]
    assert "> the job failed" in job.summaries[0]


def test_cancelled_job_fails_the_run(job: Job) -> None:
    job.status = "cancelled"
    job.run(FINISH)
    assert (read_meta(job)["status"], read_meta(job)["error"]) == ("failed", "the job was cancelled")


def test_run_that_has_ended_before_keeps_its_status(job: Job) -> None:
    post(job, f"runs/{job.env['CHACHAML_RUN_ID']}/end?exit_code=7")
    job.run(FINISH)
    assert job.status == "success"
    assert (read_meta(job)["status"], read_meta(job)["error"]) == ("failed", "exit code 7")
    assert [text.partition(":")[0] for text in job.list_annotations("notice")] == [
        "the run had already ended, and its status stays as it is"
    ]


def test_second_finish_changes_nothing(job: Job) -> None:
    log_metrics(job, loss=0.5)
    for _ in range(2):
        finish(job, checks="loss<0.4")
        assert job.steps[-1].outcome == "failure"
        assert job.get_outputs("end")["passed"] == "false"
        assert Path(job.get_outputs("end")["summary"]).read_text() == job.summaries[0]
    assert len(job.summaries) == 1
    assert job.list_annotations("error") == ["loss<0.4: loss is 0.5, threshold 0.4"]
    assert job.list_annotations("notice") == ["this job's run has already been finished; nothing to do"]


def test_checks_after_the_finish_fail_the_job_since_the_server_has_stopped(job: Job) -> None:
    log_metrics(job, accuracy=0.5)
    finish(job)
    assert job.get_outputs("end")["passed"] == "true"
    finish(job, checks="accuracy>=0.99")
    assert job.steps[-1].outcome == "failure"
    assert job.get_outputs("end")["passed"] == "false"
    assert "these checks can't run any more" in job.list_annotations("error")[0]


def test_comment_may_follow_a_rule(job: Job) -> None:
    log_metrics(job, **{"loss #2": 0.1, "accuracy": 0.95})
    finish(job, checks="# the gate\naccuracy>=0.9 # of all\nloss #2<=0.2 #\n  #loss<0")
    assert (job.get_outputs("end")["passed"], job.list_annotations("error")) == ("true", [])


def test_run_given_by_id_is_finished_instead_of_the_action_s(job: Job) -> None:
    other = post(job, "runs", json={"experiment": "iris", "id": "mine"})["id"]
    finish(job, **{"run-id": other, "job-status": "failure"})
    data = Path(job.get_outputs("tracker")["data"])
    assert json.loads((data / "runs/mine/meta.json").read_text())["status"] == "failed"
    assert read_meta(job)["status"] == "running"


def test_unknown_run_fails_the_step(job: Job) -> None:
    finish(job, **{"run-id": "none\n::warning::such"})
    assert job.status == "failure"
    assert job.list_annotations("warning") == []
    assert len(job.list_annotations("error")) == 1


# -- the gate


def test_each_failed_rule_is_one_annotation_and_fails_the_step(job: Job) -> None:
    log_metrics(job, accuracy=0.93, loss=0.25)
    finish(job, checks="# the gate\naccuracy>=0.9\n\n  loss <= 0.2\nf1>0.5\nloss<1+1\nloss<.3\n")
    assert job.steps[-1].outcome == "failure"
    assert [(each.kind, each.title, each.text) for each in job.annotations] == [
        ("error", "Check failed", "loss <= 0.2: loss is 0.25, threshold 0.2"),
        ("error", "Check failed", "f1>0.5: f1 missing, threshold 0.5"),
        ("error", "Check failed", job.annotations[2].text),
    ]
    assert "loss<1+1" in job.annotations[2].text
    assert job.get_outputs("end")["passed"] == "false"
    (summary,) = job.summaries
    assert re.findall(r"^(✅ passed|❌ failed) +(\S+)", summary, re.MULTILINE) == [
        ("✅ passed", "accuracy>=0.9:"),
        ("❌ failed", "loss"),
        ("❌ failed", "f1>0.5:"),
        ("❌ failed", "rule"),
        ("✅ passed", "loss<.3:"),
    ]
    assert read_meta(job)["status"] == "completed", "the training itself went well"


def test_passed_rules_pass_the_step(job: Job) -> None:
    log_metrics(job, accuracy=0.93)
    finish(job, checks="accuracy>=0.9")
    assert job.steps[-1].outcome == "success"
    assert job.get_outputs("end")["passed"] == "true"
    assert job.annotations == []


def test_missing_baseline_is_a_notice_and_the_other_rules_are_checked(job: Job) -> None:
    log_metrics(job, accuracy=0.93)
    finish(job, checks="accuracy>=baseline-0.01\naccuracy>=0.9")
    assert job.steps[-1].outcome == "success"
    assert job.get_outputs("end")["passed"] == "true"
    (notice,) = job.list_annotations("notice")
    assert notice.startswith("accuracy>=baseline-0.01: there is no baseline: ")
    assert "➖ skipped" in job.summaries[0]


@pytest.mark.parametrize("baseline", ["none-such", "production:none-such"])
def test_missing_named_baseline_is_a_notice_too(job: Job, baseline: str) -> None:
    log_metrics(job, accuracy=0.93)
    finish(job, checks="accuracy>=baseline\naccuracy>=0.95", baseline=baseline)
    assert (len(job.list_annotations("notice")), len(job.list_annotations("error"))) == (1, 1)


def test_run_copied_into_the_store_is_the_baseline(job: Job, github_job: NewJob) -> None:
    """A job restores the baseline of the last green main from a cache, or downloads it."""
    main = github_job(variables={"run_id": "1"})
    main.run(START)
    log_metrics(main, accuracy=0.95)
    main.run(FINISH)
    shutil.copytree(Path(main.get_outputs("tracker")["data"], "runs"), job.workspace / "baseline")
    job.run(
        """
- run: cp -R baseline/. "$DATA/runs/"
  env: {DATA: '${{ steps.tracker.outputs.data }}'}
"""
    )
    log_metrics(job, accuracy=0.93)
    finish(job, checks="accuracy>=baseline-0.03\naccuracy>=baseline\naccuracy<=baseline+0.01")
    assert job.list_annotations("error") == ["accuracy>=baseline: accuracy is 0.93, threshold 0.95"]
    assert "accuracy>=baseline-0.03: is 0.93, threshold 0.9199" in job.summaries[0]


def test_hostile_text_in_rules_and_names_is_no_command_in_the_log_or_the_summary(job: Job) -> None:
    names = ["%0A::error::a", "a ##[error]b", "```", "<img src=x>c", "a%25b", "| b |"]
    post(job, f"runs/{job.env['CHACHAML_RUN_ID']}/metrics", json=dict.fromkeys(names, 0.5))
    finish(job, checks="\n".join(f"{name}>{bound}" for name in names for bound in (0, 1)))
    assert [(each.kind, each.title, each.text) for each in job.annotations] == [
        ("error", "Check failed", f"{name}>1: {name} is 0.5, threshold 1.0") for name in names
    ]
    (block,) = re.findall(r"^(````+)text\n([\s\S]*?)\n\1$", job.summaries[0], re.MULTILINE)
    assert len(block[1].splitlines()) == 2 * len(names)


# -- missing servers and runs


def test_server_process_is_identified_without_proc(job: Job) -> None:
    """By ps, as on macOS."""
    pid = read_server_pid(job)
    assert str(job.home / "ready") in _command_by_ps(pid)
    assert _command_by_ps(2**22 + 1) == ""


@pytest.mark.parametrize("checks", ["", "accuracy>=0.9"], ids=["no checks", "checks"])
def test_finish_without_a_server_fails_with_checks_and_is_a_notice_without(github_job: NewJob, checks: str) -> None:
    job = github_job()
    finish(job, checks=checks)
    assert job.status == ("failure" if checks else "success")
    assert job.get_outputs("end") == {"passed": "false" if checks else "true", "summary": "", "html": ""}
    assert [each.kind for each in job.annotations] == ["error" if checks else "notice"]


def test_finish_without_an_installation_is_a_notice(github_job: NewJob) -> None:
    job = github_job()
    (job.home / "venv").unlink()
    job.home.rmdir()
    finish(job)
    assert job.list_annotations("notice") == ["no server was started in this job, so there is nothing to finish"]


def test_killed_server_is_started_again_on_its_data(job: Job) -> None:
    log_metrics(job, accuracy=0.93)
    requests.get(f"{job.env['CHACHAML_URL']}/api/##[error]a/%0A::error::b", timeout=60)  # goes to the server's log
    os.kill(read_server_pid(job), signal.SIGKILL)
    finish(job, checks="accuracy>=0.9")
    assert job.steps[-1].outcome == "success", job.log
    assert job.list_annotations("warning") == ["the server had stopped; it was started again on the same data"]
    output = job.log.partition("::group::Output of the server\n")[2].partition("::endgroup::")[0]
    assert "GET /api/" in output
    assert job.list_annotations("error") == []
    assert read_meta(job)["status"] == "completed"
    assert "`accuracy`" in job.summaries[0]


def test_store_that_cannot_be_reopened_fails_the_step(job: Job) -> None:
    os.kill(read_server_pid(job), signal.SIGKILL)
    data = Path(job.get_outputs("tracker")["data"])
    shutil.rmtree(data)
    data.touch()
    finish(job, checks="accuracy>=0.9")
    assert job.steps[-1].outcome == "failure"
    assert any("exit code" in text for text in job.list_annotations("error"))


def test_summary_lists_the_runs_of_a_job_that_has_none_of_its_own(github_job: NewJob) -> None:
    job = github_job()
    job.run("- {id: tracker, uses: ./}")
    for name in ("one", "two"):
        post(job, "runs", json={"experiment": "iris", "name": name})
    job.run(FINISH)
    assert job.status == "success", job.log
    assert re.findall(r"`(one|two)`", job.summaries[0]) == ["two", "one"]


def test_job_without_runs_has_no_summary(github_job: NewJob) -> None:
    job = github_job()
    job.run("- uses: ./\n" + FINISH)
    assert job.status == "success", job.log
    assert job.summaries == []
    assert job.get_outputs("end") == {"passed": "true", "summary": "", "html": ""}


def test_checks_without_a_run_fail(github_job: NewJob) -> None:
    job = github_job()
    job.run("- {id: tracker, uses: ./}")
    finish(job, checks="accuracy>=0.9")
    assert job.steps[-1].outcome == "failure"
    assert job.list_annotations("error") == ["there are checks but no run; set experiment at the start, or run-id here"]


@pytest.mark.parametrize("name", ["", "/dev/null/summary"], ids=["none", "no file"])
def test_summary_that_cannot_be_written_does_not_fail_the_step(job: Job, name: str) -> None:
    job.run([{"id": "end", "uses": "./finish", "env": {"GITHUB_STEP_SUMMARY": name}}])
    assert job.status == "success", job.log
    assert len(job.list_annotations("warning")) == (1 if name else 0)
    assert "first" in Path(job.get_outputs("end")["summary"]).read_text()


def test_report_over_githubs_limit_omits_whole_sections(job: Job) -> None:
    run = job.env["CHACHAML_RUN_ID"]
    post(job, f"runs/{run}/params", json={f"{number:05}" + "é" * 240: number for number in range(4000)})
    log_metrics(job, accuracy=0.93)
    post(job, f"runs/{run}/note", json={"note": "### Params\nnot a section"})
    finish(job, checks="accuracy>=0.9")
    (summary,) = job.summaries
    whole = Path(job.get_outputs("end")["summary"]).read_text()
    assert len(summary.encode()) < 900 * 1024 < len(whole.encode())
    sections = re.split(r"^(?=### )", whole, flags=re.MULTILINE)
    assert [section.split("\n")[0] for section in sections[1:]] == [
        "### Checks",
        "### Params",
        "### Metrics",
        "### Environment",
        "### Note",
    ]
    for section in (*sections[:2], *sections[3:]):
        assert section in summary
    assert re.search(r"\*\*Omitted, because GitHub displays at most 1 MiB: Params \([\d,]+ KiB\)\.\*\*", summary)
    assert job.list_annotations("notice") == [
        "the report is too long for GitHub's summary, which lists the omitted sections"
    ]


@pytest.mark.parametrize("checks", ["", "accuracy>=0.99"], ids=["no checks", "a check fails"])
def test_run_is_uploaded_as_one_html_file_on_request(job: Job, tmp_path: Path, checks: str) -> None:
    artifacts = Artifacts(tmp_path / "uploaded")
    job.stubs = {"actions/upload-artifact": artifacts.upload}
    log_metrics(job, accuracy=0.93)
    finish(job, html="${{ steps.tracker.outputs.run-id }}.html", checks=checks)
    assert job.steps[-1].outcome == ("failure" if checks else "success"), job.log
    run_id = job.get_outputs("tracker")["run-id"]
    assert artifacts.names() == [f"{run_id}.html"]
    artifacts.unzip(f"{run_id}.html", tmp_path / "unzipped")
    (file,) = (tmp_path / "unzipped").iterdir()
    text = file.read_text()
    assert file.name == "report.html"
    assert "first" in text and "0.93" in text and "completed" in text
    assert "localhost" not in text, "the server has stopped"
    finish(job, html="again")  # changes nothing
    assert (artifacts.names(), job.get_outputs("end")["html"]) == ([f"{run_id}.html"], "")


def test_no_html_file_is_uploaded_without_a_run(github_job: NewJob) -> None:
    job = github_job()
    job.run("- {id: tracker, uses: ./}")
    finish(job, html="report.html")  # it would fail here if it uploaded anything
    assert job.status == "success", job.log
    assert job.get_outputs("end")["html"] == ""
    assert "no run was logged" in job.list_annotations("notice")[0]


def test_long_report_keeps_as_many_sections_as_fit() -> None:
    sections = ["## a run\n", *(f"### {name}\n" + "é" * 150 * 1024 + "\n" for name in "abc"), "### d\nshort\n"]
    report = cut("".join(sections), MAX_BYTES)
    assert len(report.encode()) < MAX_BYTES == 900 * 1024
    assert re.findall("^## .*|^### .*?(?=é|$)", report, re.MULTILINE) == ["## a run", "### a", "### b", "### d"]
    assert "c (300 KiB)" in report
