"""Validation of options before any request: errors name the option."""

from __future__ import annotations

import time

import click

from ..errors import InvalidInput
from ..text.safe import printable
from ..tracking.checks import parse_rule
from ..tracking.query.fields import EXPECTED
from ..tracking.query.grammar import BadQuery, parse_query
from ..tracking.query.search import MAX_LIMIT, parse_order

LIMIT = click.IntRange(1, MAX_LIMIT)
OFFSET = click.IntRange(min=0)


def check_query(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Check a query. Raises click.BadParameter."""
    if text is not None:
        try:
            parse_query(text, int(time.time() * 1000))
        except BadQuery as fault:
            before, wrong, after = fault.excerpt
            message = f"character {fault.start + 1}: {fault.reason}; marked »« in: {before}»{wrong}«{after}"
            raise click.BadParameter(printable(message)) from fault
    return text


def check_order(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Check a field to order by, and its direction. Raises click.BadParameter."""
    if text is not None:
        try:
            parse_order(text)
        except InvalidInput as fault:
            message = f"{text!r} is unknown; order by {EXPECTED}, followed by asc or desc"
            raise click.BadParameter(printable(message)) from fault
    return text


def check_rules(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Check rules. Raises click.BadParameter."""
    for text in texts:
        try:
            parse_rule(text)
        except InvalidInput as fault:
            form = "METRIC OP NUMBER or METRIC OP baseline[*+-NUMBER], as in accuracy>=0.9 or loss<=baseline*1.02"
            raise click.BadParameter(printable(f"{text!r} is not of the form {form}")) from fault
    return texts
