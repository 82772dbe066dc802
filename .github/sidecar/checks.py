"""The gate: the rules that a run has to pass, each asked of the server, which knows what they mean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from api import Api, Refused

# A metric's name may hold a #, as in "loss #2".
_COMMENT = re.compile(r"(?:^\s*#|\s#(?=\s|$)).*")


@dataclass(frozen=True)
class Outcome:
    """What became of one rule."""

    rule: str
    #: None: it compares with a baseline, and there is none.
    passed: bool | None
    #: What was found, for people.
    detail: str


def rules_in(text: str) -> list[str]:
    """One rule a line; what follows a # that stands by itself, or begins the line, is a comment."""
    lines = (_COMMENT.sub("", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def evaluate(api: Api, run: str, rules: Iterable[str], baseline: str) -> list[Outcome]:
    """What becomes of each rule for a run that there is; `baseline` as the API takes it, and nothing for the default.

    A rule that the server does not understand is not passed. Raises Refused where the run can't be read.
    """
    against = baseline or f"latest:{api.get('runs', run)['experiment']}"
    return [_evaluated(api, run, rule, against) for rule in rules]


def _evaluated(api: Api, run: str, rule: str, baseline: str) -> Outcome:
    try:
        return _asked(api, run, rule=rule, baseline=baseline)
    except Refused as fault:
        if fault.status != 404:
            return Outcome(rule, False, str(fault))
        missing = f"{rule}: there is no baseline: {fault}"
    try:
        return _asked(api, run, rule=rule)
    except Refused as fault:
        # The rule was read before the baseline was looked for: what is wrong with it without one is that it needs one.
        return Outcome(rule, None if fault.status == 400 else False, missing if fault.status == 400 else str(fault))


def _asked(api: Api, run: str, **query: str) -> Outcome:
    try:
        (found,) = api.get("runs", run, "check", **query)["rules"]
    except Refused as fault:
        if fault.status != 422:
            raise
        return Outcome(query["rule"], False, str(fault))
    threshold = "" if "baseline" not in query["rule"] else f", threshold {found['threshold']}"
    return Outcome(found["rule"], True, f"{found['rule']}: is {found['value']}{threshold}")
