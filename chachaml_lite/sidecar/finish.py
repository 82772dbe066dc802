"""The last step: end the job's run, report and check it, and stop the server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..client.base import ApiError, Client, Unreachable, path_of
from ..client.http import HttpClient
from . import checks, summary
from .job import Job
from .server import NotStarted, find_server, is_alive, print_log, start_server, stop_server

#: The end of the run, by the job's status; GitLab says failed and canceled.
ENDS = {
    "success": {"status": "completed"},
    "failure": {"status": "failed", "error": "the job failed"},
    "failed": {"status": "failed", "error": "the job failed"},
    "cancelled": {"status": "failed", "error": "the job was cancelled"},
    "canceled": {"status": "failed", "error": "the job was cancelled"},
}
#: Of the runs that a job logged without naming one.
_MAX_LISTED = "100"


@dataclass(frozen=True)
class FinishOptions:
    """The options of `ci finish`; empty texts where nothing was given."""

    rules: list[str]
    baseline: str
    run_id: str
    #: The run of `ci start`, where no other is named.
    started_run_id: str
    job_status: str
    token: str


@dataclass
class Result:
    """The result of the step; everything has been reported to the job already."""

    passed: bool
    #: Whether something went wrong that isn't a rule.
    failed: bool = False
    report: str = ""


def finish(job: Job, options: FinishOptions) -> int:
    """End, report and check the run and stop the server; the step's exit code. Errors are reported to the job.

    A second use in a job does nothing, and fails where it asks for other checks than the first.
    """
    asked = [options.run_id, options.baseline, *options.rules]
    if _result_file(job).exists():
        stored = json.loads(_result_file(job).read_text())
        result = Result(**stored["result"])
        if options.rules and stored["asked"] != asked:
            job.annotate(
                "error",
                "this job's run has been finished before, with other checks; these can't be asked any more, for the "
                "server has ended. Give them all to one use of .../finish",
            )
            result.passed = False
        else:
            job.annotate("notice", "this job's run has been finished before; nothing was done again")
    else:
        result = _finish_once(job, options, asked)
    job.set_output("passed", "true" if result.passed else "false")
    job.set_output("summary", str(_report_file(job)) if result.report else "")
    return 0 if result.passed and not result.failed else 1


def forget_result(job: Job) -> None:
    """Let the next `finish` do its work: a server was started anew."""
    _result_file(job).unlink(missing_ok=True)


def _finish_once(job: Job, options: FinishOptions, asked: list[str]) -> Result:
    server = find_server(job)
    if server is None:
        job.annotate(
            "error" if options.rules else "notice",
            "no server was started in this job, so there is nothing to finish"
            + (" and to check" if options.rules else ""),
        )
        return Result(passed=not options.rules)
    if not is_alive(job, server):
        job.annotate("warning", "the server had ended before; it was started again on what it has stored")
        print_log(job)
        try:
            server = start_server(job, Path(server.data), "0", options.token)
        except NotStarted as fault:
            job.annotate("error", str(fault))
            return Result(passed=not options.rules, failed=True)
    try:
        with HttpClient(server.url, options.token or None) as client:
            result = _conclude(job, client, options)
    except Unreachable as fault:
        job.annotate("error", f"the server does not answer: {fault}")
        print_log(job)
        result = Result(passed=not options.rules, failed=True)
    finally:
        stop_server(job, server)
    _publish(job, result.report)
    _result_file(job).write_text(json.dumps({"result": vars(result), "asked": asked}))
    return result


def _conclude(job: Job, client: Client, options: FinishOptions) -> Result:
    """End, check and report the run. Raises Unreachable."""
    run = options.run_id or options.started_run_id
    try:
        if not run:
            if options.rules:
                job.annotate("error", "there are checks and no run; give an experiment at the start, or a run-id here")
            listed = _get_text(client, "/api/runs", ("limit", _MAX_LISTED)) if client.get("/api/runs") else ""
            return Result(passed=not options.rules, report=listed and f"## Runs\n\n{listed}")
        _end_run(job, client, run, options.job_status)
        outcomes = checks.evaluate(client, run, options.rules, options.baseline)
        _report_outcomes(job, outcomes)
        report = summary.compose(_get_text(client, path_of("api", "runs", run)), outcomes)
    except ApiError as fault:
        job.annotate("error", f"the run {run} could not be finished: {fault.detail}")
        return Result(passed=not options.rules, failed=True)
    return Result(passed=all(each.passed is not False for each in outcomes), report=report)


def _get_text(client: Client, path: str, *query: tuple[str, str]) -> str:
    """Return what the API answers as Markdown. Raises ApiError, Unreachable."""
    return client.ask("GET", path, [("format", "md"), *query]).content().decode()


def _end_run(job: Job, client: Client, run: str, status: str) -> None:
    if status not in ENDS:
        job.annotate("warning", f"job-status is {status!r}, and not success, failure or cancelled; taken for a failure")
    try:
        client.post(path_of("api", "w", "runs", run, "end"), ENDS.get(status, ENDS["failure"]))
    except ApiError as fault:
        if fault.status != 409:
            raise
        job.annotate("notice", f"the run was ended before, and keeps what it was ended with: {fault.detail}")


def _report_outcomes(job: Job, outcomes: list[checks.Outcome]) -> None:
    for each in outcomes:
        if each.passed is None:
            job.annotate("notice", each.detail, title="Check not asked")
        elif not each.passed:
            job.annotate("error", each.detail, title="Check failed")
    if outcomes:
        passed = [each.detail for each in outcomes if each.passed]
        job.say_untrusted(f"{len(passed)} of {len(outcomes)} checks passed", passed)


def _publish(job: Job, report: str) -> None:
    """Keep the whole report, and append as much of it to the job's summary as the CI system shows."""
    if not report:
        return
    _report_file(job).write_text(report, encoding="utf-8")
    shown_by = job.summary_file()
    if shown_by is None:
        job.say(f"the report is {_report_file(job)}")
        return
    try:
        with shown_by.open("a", encoding="utf-8") as file:
            part = summary.cut(report, summary.MAX_BYTES - file.tell())
            file.write(part)
    except OSError as fault:
        job.annotate("warning", f"the job's summary can't be written: {fault.strerror}")
        return
    if part != report:
        job.annotate("notice", "the report is longer than GitHub shows; the summary says what was left out")


def _result_file(job: Job) -> Path:
    return job.home / "finished.json"


def _report_file(job: Job) -> Path:
    return job.home / "summary.md"
