"""The last step of a job: end its run, report and check it, and stop the server."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from ..client.base import ApiError, Client, Unreachable, build_path
from ..client.http import HttpClient
from . import checks, summary
from .html_file import write_html
from .job import Job
from .server import NotStarted, find_server, is_alive, print_log, start_server, stop_server

#: The end of the run by the job's status; GitLab's words are failed and canceled.
ENDS = {
    "success": {"status": "completed"},
    "failure": {"status": "failed", "error": "the job failed"},
    "failed": {"status": "failed", "error": "the job failed"},
    "cancelled": {"status": "failed", "error": "the job was cancelled"},
    "canceled": {"status": "failed", "error": "the job was cancelled"},
}
#: Runs in the report of a job that started none of its own.
_MAX_LISTED = "100"


@dataclass(frozen=True)
class FinishOptions:
    """The options of `ci finish`; absent ones are empty texts."""

    rules: list[str]
    baseline: str
    run_id: str
    #: The run of `ci start`, used if `run_id` is empty.
    started_run_id: str
    job_status: str
    token: str
    #: The HTML file to write; None for none.
    html: Path | None = None


@dataclass
class Result:
    """The result of the step; everything has been reported to the job already."""

    passed: bool
    #: Whether something other than a rule failed.
    failed: bool = False
    report: str = ""
    #: The runs that the report is about.
    run_ids: list[str] = field(default_factory=list)


def finish(job: Job, options: FinishOptions) -> int:
    """End, report and check the run, stop the server, and return the step's exit code. Errors are reported to the job.

    A second call in a job does nothing, and fails if its checks differ from those of the first.
    """
    request = [options.run_id, options.baseline, *options.rules]
    html = False
    if _result_file(job).exists():
        stored = json.loads(_result_file(job).read_text())
        result = Result(**stored["result"])
        if options.rules and stored["asked"] != request:
            job.annotate(
                "error",
                "this job's run has already been finished, with other checks; these checks can't run any more, because "
                "the server has stopped. Pass all checks to one use of .../finish",
            )
            result.passed = False
        else:
            job.annotate("notice", "this job's run has already been finished; nothing to do")
    else:
        result, data = _finish_once(job, options, request)
        if options.html is not None and data is not None and not result.failed:
            html = write_html(job, data, result.run_ids, options.html)
    job.set_output("passed", "true" if result.passed else "false")
    job.set_output("summary", str(_report_file(job)) if result.report else "")
    job.set_output("html", str(options.html) if html else "")
    return 0 if result.passed and not result.failed else 1


def forget_result(job: Job) -> None:
    """Forget the result of an earlier `finish`, because a new server was started."""
    _result_file(job).unlink(missing_ok=True)


def _finish_once(job: Job, options: FinishOptions, request: list[str]) -> tuple[Result, Path | None]:
    """Return the result, and the folder of the store; None if there is no server."""
    server = find_server(job)
    if server is None:
        job.annotate(
            "error" if options.rules else "notice",
            "no server was started in this job, so there is nothing to finish"
            + (" and to check" if options.rules else ""),
        )
        return Result(passed=not options.rules), None
    if not is_alive(job, server):
        job.annotate("warning", "the server had stopped; it was started again on the same data")
        print_log(job)
        try:
            server = start_server(job, Path(server.data), "0", options.token)
        except NotStarted as fault:
            job.annotate("error", str(fault))
            return Result(passed=not options.rules, failed=True), None
    try:
        with HttpClient(server.url, options.token or None) as client:
            result = _conclude(job, client, options)
    except Unreachable as fault:
        job.annotate("error", f"the server does not respond: {fault}")
        print_log(job)
        result = Result(passed=not options.rules, failed=True)
    finally:
        stop_server(job, server)
    _publish(job, result.report)
    _result_file(job).write_text(json.dumps({"result": vars(result), "asked": request}))
    return result, Path(server.data)


def _conclude(job: Job, client: Client, options: FinishOptions) -> Result:
    """End, check and report the run. Raises Unreachable."""
    run = options.run_id or options.started_run_id
    try:
        if not run:
            if options.rules:
                job.annotate("error", "there are checks but no run; set experiment at the start, or run-id here")
            run_ids = [listed["id"] for listed in client.get("/api/runs", [("limit", _MAX_LISTED)])]
            run_list = _get_text(client, "/api/runs", ("limit", _MAX_LISTED)) if run_ids else ""
            return Result(not options.rules, report=run_list and f"## Runs\n\n{run_list}", run_ids=run_ids)
        _end_run(job, client, run, options.job_status)
        outcomes = checks.evaluate(client, run, options.rules, options.baseline)
        _report_outcomes(job, outcomes)
        report = summary.compose(_get_text(client, build_path("api", "runs", run)), outcomes)
    except ApiError as fault:
        job.annotate("error", f"the run {run} could not be finished: {fault.detail}")
        return Result(passed=not options.rules, failed=True)
    return Result(all(each.passed is not False for each in outcomes), report=report, run_ids=[run])


def _get_text(client: Client, path: str, *query: tuple[str, str]) -> str:
    """Return a response of the API as Markdown. Raises ApiError, Unreachable."""
    return client.ask("GET", path, [("format", "md"), *query]).content().decode()


def _end_run(job: Job, client: Client, run: str, status: str) -> None:
    if status not in ENDS:
        job.annotate("warning", f"job-status is {status!r}, not success, failure or cancelled; treated as a failure")
    try:
        client.post(build_path("api", "w", "runs", run, "end"), ENDS.get(status, ENDS["failure"]))
    except ApiError as fault:
        if fault.status != 409:
            raise
        job.annotate("notice", f"the run had already ended, and its status stays as it is: {fault.detail}")


def _report_outcomes(job: Job, outcomes: list[checks.Outcome]) -> None:
    for each in outcomes:
        if each.passed is None:
            job.annotate("notice", each.detail, title="Check skipped")
        elif not each.passed:
            job.annotate("error", each.detail, title="Check failed")
    if outcomes:
        passed = [each.detail for each in outcomes if each.passed]
        job.say_untrusted(f"{len(passed)} of {len(outcomes)} checks passed", passed)


def _publish(job: Job, report: str) -> None:
    """Store the whole report, and append as much of it to the job's summary as the CI system displays."""
    if not report:
        return
    _report_file(job).write_text(report, encoding="utf-8")
    summary_file = job.summary_file()
    if summary_file is None:
        job.say(f"the report is {_report_file(job)}")
        return
    try:
        with summary_file.open("a", encoding="utf-8") as file:
            part = summary.cut(report, summary.MAX_BYTES - file.tell())
            file.write(part)
    except OSError as fault:
        job.annotate("warning", f"cannot write the job's summary: {fault.strerror}")
        return
    if part != report:
        job.annotate("notice", "the report is too long for GitHub's summary, which lists the omitted sections")


def _result_file(job: Job) -> Path:
    return job.home / "finished.json"


def _report_file(job: Job) -> Path:
    return job.home / "summary.md"
