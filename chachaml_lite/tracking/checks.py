"""Checks of a run's metrics against thresholds or against another run (the contract, section 3, /check)."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CheckFailed, InvalidInput, NotFound
from .model_versions import get_version
from .names import check_name, quote_name
from .series.summary import Number, Summary, number_to_json
from .tracker import Tracker

COMPARE: dict[str, Callable[[Number, Number], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
#: Operators for a query string, where `<` and `>` would have to be quoted in a shell.
SPELLED_OUT = {"lt": "<", "le": "<=", "eq": "=", "ne": "!=", "ge": ">=", "gt": ">"}
_ARITHMETIC: dict[str, Callable[[Number, Number], Number]] = {
    "*": operator.mul,
    "-": operator.sub,
    "+": operator.add,
}
#: A decimal number. Any text matches in one way only, since backtracking would take minutes on a long text.
NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
# A metric's name may contain an operator (recall@iou>0.5) but not end in one: accuracy=>0.9 is a typo, not a
# metric "accuracy=". A space before the last number is a + that was not encoded as %2B.
_RULE = re.compile(
    rf"(?P<metric>.*?[^<>=!\s])\s*(?P<compare><=|>=|==|!=|=|<|>)\s*"
    rf"(?:(?P<number>{NUMBER})|baseline(?:\s*(?P<how>[*+-])\s*(?P<by>{NUMBER})|\s+(?P<added>{NUMBER}))?)\Z",
    re.DOTALL,
)


@dataclass(frozen=True)
class Rule:
    """A rule that compares a metric's latest value with a number or with the baseline's latest value."""

    text: str
    metric: str
    compare: str
    number: float | None
    operator: str = "+"
    by: Number = 0

    def threshold(self, baseline: Number | None) -> Number | None:
        """Return the threshold, or None if it depends on the baseline and the baseline lacks the metric."""
        if self.number is not None:
            return self.number
        return None if baseline is None else _ARITHMETIC[self.operator](baseline, self.by)


def parse_rule(text: str) -> Rule:
    """Parse a rule such as `accuracy>=0.9`, `loss<=baseline*1.02` or `f1>=baseline-0.01`. Raises InvalidInput."""
    match = _RULE.match(text.strip())
    if match is None:
        raise InvalidInput(
            f"rule {quote_name(text)} is not of the form METRIC OP NUMBER or METRIC OP baseline[*+-NUMBER], "
            "as in accuracy>=0.9 or loss<=baseline*1.02 (in a URL, + is sent as %2B)"
        )
    metric = check_name("metric", match["metric"])
    number = None if match["number"] is None else float(match["number"])
    offset = match["by"] or match["added"]
    by = float(offset) if offset else 0  # the int 0 keeps a baseline of more than 53 bits exact
    if math.isinf(by) or (number is not None and math.isinf(number)):
        raise InvalidInput(f"rule {quote_name(text)} holds a number beyond a double")
    return Rule(text, metric, match["compare"], number, match["how"] or "+", by)


def find_baseline(tracker: Tracker, run_id: str, baseline: str) -> str:
    """Return the run id for a baseline: a run id, `production:MODEL` or `latest:EXPERIMENT`.

    Raises InvalidInput, NotFound.
    """
    kind, colon, name = baseline.partition(":")
    if not colon:
        tracker.run(baseline)
        return baseline
    if kind == "production":
        return get_version(tracker, name, "production").run_id
    if kind == "latest":
        for run in tracker.catalog.newest(name):
            if run.meta["status"] == "completed" and run.id != run_id:
                return run.id
        raise NotFound("run", f"the experiment {quote_name(name)} has no other completed run to be the baseline")
    raise InvalidInput("baseline must be a run's id, production:MODEL, or latest:EXPERIMENT")


def check_run(tracker: Tracker, run_id: str, rules: Sequence[str], baseline: str | None = None) -> dict[str, Any]:
    """Return the report of a check that passed. A metric that is missing or not finite, in either run, fails its rule.

    Raises CheckFailed (with the same report), InvalidInput, NotFound.
    """
    if not rules:
        raise InvalidInput("no rule; send at least one, as in rule=accuracy>=0.9")
    parsed_rules = [parse_rule(text) for text in rules]
    values = tracker.run(run_id).summary
    against: Summary = {}
    if baseline is not None:
        against = tracker.run(find_baseline(tracker, run_id, baseline)).summary
    elif any(rule.number is None for rule in parsed_rules):
        raise InvalidInput(
            "a rule speaks of the baseline, and none is named: a run's id, production:MODEL or latest:EXPERIMENT",
            resolvable_by="name_baseline",
        )
    results = []
    failures = []
    for rule in parsed_rules:
        value = values[rule.metric].last if rule.metric in values else None
        threshold = rule.threshold(against[rule.metric].last if rule.metric in against else None)
        comparable = value is not None and threshold is not None and math.isfinite(value) and math.isfinite(threshold)
        passed = comparable and COMPARE[rule.compare](value, threshold)  # type: ignore[arg-type]
        shown_value, shown_threshold = (None if x is None else number_to_json(x) for x in (value, threshold))
        results.append({"rule": rule.text, "value": shown_value, "threshold": shown_threshold, "passed": passed})
        if not passed:
            missing = "missing" if value is None else f"is {shown_value}"
            failures.append(f"{rule.text}: {rule.metric} {missing}, threshold {shown_threshold}")
    report = {"passed": not failures, "rules": results}
    if failures:
        raise CheckFailed("; ".join(failures), report)
    return report
