"""`chachaml-lite check`: a gate for CI, a run against numbers or against another run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import click

from ..client.base import ApiError, Client, build_path
from ..text.safe import escape_json
from ..text.table import Column, Table, as_text
from ..tracking.checks import parse_rule
from .completion import run_ids
from .errors import FAILED
from .printing import print_json, print_text
from .run_names import ask_of_run, run_id_of
from .targets import client_options
from .value_checks import check_rules

#: What HTTP says of a run that isn't good enough (the contract, section 3).
_NOT_PASSED = 422


@click.command(
    short_help="Is a run good enough? A gate for CI.",
    epilog="""\b
Examples:
  chachaml-lite check latest:iris --rule 'accuracy>=0.9' --rule 'loss<=0.5'
  chachaml-lite check "$CHACHAML_RUN_ID" --rule 'accuracy>=baseline-0.01' --baseline production:iris-classifier
""",
)
@client_options
@click.option(
    "--rule",
    "rules",
    callback=check_rules,
    metavar="RULE",
    multiple=True,
    required=True,
    help="As 'accuracy>=0.9'; may be repeated.",
)
@click.option(
    "--baseline",
    metavar="RUN",
    shell_complete=run_ids,
    help="Whose values `baseline` is in a rule.",
)
@click.option("--json", "as_json", is_flag=True, help="As GET /api/runs/:id/check answers.")
@click.argument("run", shell_complete=run_ids)
def check(client: Client, run: str, rules: tuple[str, ...], baseline: str | None, as_json: bool) -> None:
    """Check whether a run is good enough, and exit with 1 when it isn't.

    A RULE is METRIC OP NUMBER, or METRIC OP baseline, to which *NUMBER, +NUMBER or -NUMBER may be added; OP is one of
    < <= = != >= >. It is met by the metric's latest value; one that is missing, or NaN, meets none.

    RUN is an id or a beginning that no other id has, latest:EXPERIMENT (its newest completed run), or production:MODEL.
    """
    if baseline is None and any(parse_rule(rule).number is None for rule in rules):
        raise click.UsageError("a rule speaks of the baseline; say which with --baseline RUN")
    query = [("rule", rule) for rule in rules]
    if baseline is not None:  # the newest run of an experiment is another one where that is checked
        query.append(("baseline", baseline if ":" in baseline else run_id_of(client, baseline)))
    try:
        report = ask_of_run(client, run, lambda run_id: client.get(build_path("api", "runs", run_id, "check"), query))
    except ApiError as fault:
        if fault.status != _NOT_PASSED or "rules" not in fault.body:
            raise
        report = fault.body
    if as_json:
        print_json((escape_json(json.dumps(report, ensure_ascii=False)) + "\n").encode())
    else:
        print_text(_as_text(report))
    if not report["passed"]:
        sys.exit(FAILED)


def _as_text(report: Mapping[str, Any]) -> str:
    """A line for each rule. A rule is never cut: it may be what has to be changed."""
    columns = [
        Column("result", lambda rule: "passed" if rule["passed"] else "FAILED", 0, "result", is_ours=True),
        Column("rule", itemgetter("rule"), 0, "rule", most=None),
        Column("value", itemgetter("value"), 0, "value", most=None, show=_exactly),
        Column("threshold", itemgetter("threshold"), 0, "threshold", most=None, show=_exactly),
    ]
    failed = sum(not rule["passed"] for rule in report["rules"])
    counted = "1 rule" if len(report["rules"]) == 1 else f"{len(report['rules'])} rules"
    return as_text(
        Table(columns, report["rules"], [f"{failed} of {counted} failed" if failed else f"{counted} passed"])
    )


def _exactly(value: Any) -> str:
    """A value in full: 0.9 and 0.900001 are told apart, for between them lies the threshold."""
    return value if isinstance(value, str) else json.dumps(value)
