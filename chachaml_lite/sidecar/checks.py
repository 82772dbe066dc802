"""The gate: rules that a run has to pass, each evaluated by the server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..client.base import ApiError, Client, build_path

# A metric's name may contain a #, as in "loss #2".
_COMMENT = re.compile(r"(?:^\s*#|\s#(?=\s|$)).*")


@dataclass(frozen=True)
class Outcome:
    """The outcome of one rule. `passed` is None if the rule needs a baseline and there is none."""

    rule: str
    passed: bool | None
    #: The value, or the error, for display.
    detail: str


def parse_rules(text: str) -> list[str]:
    """Parse rules, one per line. A # at the start of a line, or surrounded by spaces, starts a comment."""
    lines = (_COMMENT.sub("", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def evaluate(client: Client, run: str, rules: Iterable[str], baseline: str) -> list[Outcome]:
    """Evaluate rules for an existing run. `baseline` is as in the API, or "" for the default.

    The default is the newest other completed run of the experiment. A rule that the server does not understand fails.
    Raises ApiError if the run can't be read, Unreachable.
    """
    against = baseline or f"latest:{client.get(build_path('api', 'runs', run))['experiment']}"
    return [_evaluate_rule(client, run, rule, against) for rule in rules]


def _evaluate_rule(client: Client, run: str, rule: str, baseline: str) -> Outcome:
    try:
        return _check(client, run, rule, baseline)
    except ApiError as fault:
        if fault.status != 404:
            return Outcome(rule, False, fault.detail)
        missing = f"{rule}: there is no baseline: {fault.detail}"
    try:
        return _check(client, run, rule)
    except ApiError as fault:
        # The server parses a rule before it looks for the baseline, so a 400 without one means that the rule needs it.
        return Outcome(rule, None if fault.status == 400 else False, missing if fault.status == 400 else fault.detail)


def _check(client: Client, run: str, rule: str, baseline: str = "") -> Outcome:
    query = [("rule", rule), *([("baseline", baseline)] if baseline else [])]
    try:
        (result,) = client.get(build_path("api", "runs", run, "check"), query)["rules"]
    except ApiError as fault:
        if fault.status != 422:
            raise
        return Outcome(rule, False, fault.detail)
    threshold = "" if "baseline" not in rule else f", threshold {result['threshold']}"
    return Outcome(result["rule"], True, f"{result['rule']}: is {result['value']}{threshold}")
