"""`chachaml-lite check`: a gate for CI that compares a run with numbers or with another run."""

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
from .run_names import request_run, run_id_of
from .targets import client_options
from .value_checks import check_rules

#: The API's status for a run that fails a rule.
_NOT_PASSED = 422


@click.command(
    short_help="Check a run against rules: a gate for CI.",
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
    help="A rule such as 'accuracy>=0.9'; may be repeated.",
)
@click.option(
    "--baseline",
    metavar="RUN",
    shell_complete=run_ids,
    help="The run that `baseline` in a rule refers to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as GET /api/runs/:id/check returns it.")
@click.argument("run", shell_complete=run_ids)
def check(client: Client, run: str, rules: tuple[str, ...], baseline: str | None, as_json: bool) -> None:
    """Check a run against rules, and exit with 1 if it fails one.

    A RULE is METRIC OP NUMBER, or METRIC OP baseline, optionally followed by *NUMBER, +NUMBER or -NUMBER; OP is one of
    < <= = != >= >. It applies to the metric's latest value; a missing value or NaN fails every rule.

    RUN is an id or a unique prefix of one, latest:EXPERIMENT (its newest completed run), or production:MODEL.
    """
    if baseline is None and any(parse_rule(rule).number is None for rule in rules):
        raise click.UsageError("a rule refers to the baseline; set it with --baseline RUN")
    query = [("rule", rule) for rule in rules]
    if baseline is not None:  # the server resolves latest:, because it excludes the run that is checked
        query.append(("baseline", baseline if ":" in baseline else run_id_of(client, baseline)))
    try:
        report = request_run(client, run, lambda run_id: client.get(build_path("api", "runs", run_id, "check"), query))
    except ApiError as fault:
        if fault.status != _NOT_PASSED or "rules" not in fault.body:
            raise
        report = fault.body
    if as_json:
        print_json((escape_json(json.dumps(report, ensure_ascii=False)) + "\n").encode())
    else:
        print_text(_format_report(report))
    if not report["passed"]:
        sys.exit(FAILED)


def _format_report(report: Mapping[str, Any]) -> str:
    """Format one line for each rule. Rules are never truncated: they may have to be edited."""
    columns = [
        Column("result", lambda rule: "passed" if rule["passed"] else "FAILED", 0, "result", is_ours=True),
        Column("rule", itemgetter("rule"), 0, "rule", most=None),
        Column("value", itemgetter("value"), 0, "value", most=None, show=_format_exactly),
        Column("threshold", itemgetter("threshold"), 0, "threshold", most=None, show=_format_exactly),
    ]
    failed = sum(not rule["passed"] for rule in report["rules"])
    count = "1 rule" if len(report["rules"]) == 1 else f"{len(report['rules'])} rules"
    return as_text(Table(columns, report["rules"], [f"{failed} of {count} failed" if failed else f"{count} passed"]))


def _format_exactly(value: Any) -> str:
    """Format a value in full: the threshold may lie between 0.9 and 0.900001."""
    return value if isinstance(value, str) else json.dumps(value)
