"""What a shell is offered at Tab where a run or an experiment is to be named: those that are there."""

from __future__ import annotations

import re
from collections.abc import Callable

import click

from ..client.base import ApiError, Unreachable
from ..client.http import BadTarget
from .targets import target_of

#: Somebody waits, and may type on instead.
_ANSWER_SECONDS = 2
# The shell puts a name into the line as it is: $(...), a quote or a space would be code there.
_PLAIN = re.compile(r"[\w.@%+=,/-]+")

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _names(path: str, field: str) -> Complete:
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        given = context.params
        try:
            target = target_of(context, given.get("url"), given.get("data"), given.get("token"))
            with target.opened(answer_seconds=_ANSWER_SECONDS) as client:
                names = [str(each[field]) for each in client.get(path)]
        except (BadTarget, Unreachable, ApiError, click.UsageError):
            return []
        return [name for name in names if name.startswith(incomplete) and _PLAIN.fullmatch(name)]

    return complete


#: The newest hundred.
run_ids = _names("/api/runs", "id")
experiments = _names("/api/experiments", "name")


def run_ids_and_experiments(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Both, where either may be named."""
    return [*experiments(context, parameter, incomplete), *run_ids(context, parameter, incomplete)]
