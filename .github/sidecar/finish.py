"""The step that ends the job's run, shows it in the job's summary, checks it, and stops the server."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import checks
import job
import server
import summary
from api import Api, Refused

#: What a run ends with, by the job's status.
ENDS = {
    "success": {"status": "completed"},
    "failure": {"status": "failed", "error": "the job failed"},
    "cancelled": {"status": "failed", "error": "the job was cancelled"},
}
#: Of runs that a job logged without naming one to the action.
_MAX_LISTED = "100"


@dataclass
class Result:
    """What the step found; everything is said in the log already."""

    passed: bool
    #: Whether something went wrong that isn't a rule.
    failed: bool = False
    report: str = ""


def main() -> int:
    rules = checks.rules_in(job.given("CHECKS"))
    if _finished_file().exists():
        result, asked = _before()
        if rules and asked != _asked(rules):
            job.annotate(
                "error",
                "this job's run has been finished before, with other checks; these can't be asked any more, for the "
                "server has ended. Give them all to one use of .../finish",
            )
            result.passed = False
        else:
            job.annotate("notice", "this job's run has been finished before; nothing was done again")
    else:
        result = _finish(rules)
    job.set_output("passed", "true" if result.passed else "false")
    job.set_output("summary", str(_summary_file()) if result.report else "")
    return 0 if result.passed and not result.failed else 1


def _finish(rules: list[str]) -> Result:
    running = server.started()
    if running is None:
        job.annotate(
            "error" if rules else "notice",
            "no server was started in this job, so there is nothing to finish" + (" and to check" if rules else ""),
        )
        return Result(passed=not rules)
    if not running.is_alive():
        job.annotate("warning", "the server had ended before; it was started again on what it has stored")
        server.show_log()
        try:
            running = server.start(Path(running.data), "0")
        except server.NotStarted as fault:
            job.annotate("error", str(fault))
            return Result(passed=not rules, failed=True)
    try:
        result = _concluded(running.api(), rules)
    except OSError as fault:
        job.annotate("error", f"the server does not answer: {fault}")
        server.show_log()
        result = Result(passed=not rules, failed=True)
    finally:
        running.stop()
    _show(result.report)
    _finished_file().write_text(json.dumps({"result": vars(result), "asked": _asked(rules)}))
    return result


def _asked(rules: list[str]) -> list[str]:
    """What a use of this action is about: another one with the same has nothing to do."""
    return [job.given("RUN_ID"), job.given("BASELINE"), *rules]


def _before() -> tuple[Result, list[str]]:
    """What the use before this one has found, and what it was asked."""
    stored = json.loads(_finished_file().read_text())
    return Result(**stored["result"]), stored["asked"]


def _concluded(api: Api, rules: list[str]) -> Result:
    """End, check and report the run. Raises OSError where the server does not answer."""
    run = job.given("RUN_ID") or os.environ.get("CHACHAML_RUN_ID", "").strip()
    try:
        if not run:
            if rules:
                job.annotate("error", "there are checks and no run; give an experiment at the start, or a run-id here")
            logged = api.get("runs", limit="1")
            listed = f"## Runs\n\n{api.get_text('runs', format='md', limit=_MAX_LISTED)}" if logged else ""
            return Result(passed=not rules, report=listed)
        _end(api, run)
        outcomes = checks.evaluate(api, run, rules, job.given("BASELINE"))
        _tell(outcomes)
        report = summary.compose(api.get_text("runs", run, format="md"), outcomes)
    except Refused as fault:
        job.annotate("error", f"the run {run} could not be finished: {fault}")
        return Result(passed=not rules, failed=True)
    return Result(passed=all(each.passed is not False for each in outcomes), report=report)


def _end(api: Api, run: str) -> None:
    status = job.given("JOB_STATUS")
    if status not in ENDS:
        job.annotate("warning", f"job-status is {status!r}, and not {', '.join(ENDS)}; taken for a failure")
    try:
        api.post("w", "runs", run, "end", body=ENDS.get(status, ENDS["failure"]))
    except Refused as fault:
        if fault.status != 409:
            raise
        job.annotate("notice", f"the run was ended before, and keeps what it was ended with: {fault}")


def _tell(outcomes: list[checks.Outcome]) -> None:
    for each in outcomes:
        if each.passed is None:
            job.annotate("notice", each.detail, title="Check not asked")
        elif not each.passed:
            job.annotate("error", each.detail, title="Check failed")
    if outcomes:
        passed = [each.detail for each in outcomes if each.passed]
        job.say_untrusted(f"{len(passed)} of {len(outcomes)} checks passed", passed)


def _show(report: str) -> None:
    """Keep the report whole, and append to the job's summary as much of it as GitHub shows."""
    if not report:
        return
    _summary_file().write_text(report, encoding="utf-8")
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    try:
        with open(name, "a", encoding="utf-8") as file:
            shown = summary.cut(report, summary.MAX_BYTES - file.tell())
            file.write(shown)
    except OSError as fault:
        job.annotate("warning", f"the job's summary can't be written: {fault.strerror}")
        return
    if shown != report:
        job.annotate("notice", "the report is longer than GitHub shows; the summary says what was left out")


def _finished_file() -> Path:
    return job.home() / "finished.json"


def _summary_file() -> Path:
    return job.home() / "summary.md"


if __name__ == "__main__":
    sys.exit(main())
