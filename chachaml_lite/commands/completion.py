"""Completion in a shell, at Tab: the runs, experiments, models and fields that are there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from ..client.base import ApiError, Client, Unreachable
from ..client.http import BadTarget
from ..tracking.query.fields import METRICS, OWN_FIELDS, PARAMS, Field
from .targets import target_of

#: Somebody waits, and may type on instead.
_ANSWER_SECONDS = 2
# The shell puts a name into the line as it is: $(...), a quote or a space would be code there.
_PLAIN = re.compile(r"[\w.@%+=,/:-]+")

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _from_client(find: Callable[[Client, str], Iterable[str]]) -> Complete:
    """A completion by what a server or a folder has; by nothing where it can't be asked."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        given = context.params
        try:
            target = target_of(context, given.get("url"), given.get("data"), given.get("token"))
            with target.opened(answer_seconds=_ANSWER_SECONDS) as client:
                words = list(find(client, incomplete))
        except (BadTarget, Unreachable, ApiError, KeyError, TypeError, click.UsageError):
            return []
        return [word for word in words if word.startswith(incomplete) and _PLAIN.fullmatch(word)]

    return complete


def _names(client: Client, path: str, field: str) -> list[str]:
    return [str(each[field]) for each in client.get(path)]


def _runs(client: Client, incomplete: str) -> list[str]:
    """The ids of the newest hundred runs and, once they are begun, latest:EXPERIMENT and production:MODEL."""
    if incomplete.startswith("l"):
        return [f"latest:{name}" for name in _names(client, "/api/experiments", "name")] + _run_ids(client, incomplete)
    if incomplete.startswith("p"):
        models = [model["name"] for model in client.get("/api/models") if model["production"] is not None]
        return [f"production:{name}" for name in models] + _run_ids(client, incomplete)
    return _run_ids(client, incomplete)


def _run_ids(client: Client, incomplete: str) -> list[str]:
    return _names(client, "/api/runs", "id")


def _orders(client: Client, incomplete: str) -> list[str]:
    """The fields of runs, and the metrics and params of the newest hundred."""
    runs: list[dict[str, Any]] = client.get("/api/runs")
    keys = [
        str(Field(kind, key)) for kind in (METRICS, PARAMS) for key in sorted({k for run in runs for k in run[kind]})
    ]
    return [*OWN_FIELDS, *keys]


run_ids = _from_client(_runs)
experiments = _from_client(lambda client, incomplete: _names(client, "/api/experiments", "name"))
orders = _from_client(_orders)


def run_ids_and_experiments(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Both, where either may be named."""
    return [*experiments(context, parameter, incomplete), *run_ids(context, parameter, incomplete)]


class _BashWithColons(BashComplete):
    """Bash's completion where words hold colons: bash takes one for a word of its own, in latest:iris and in URLs."""

    _before_colon = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words as they were typed, and the one that is to be completed."""
        arguments, incomplete = super().get_completion_args()
        words = _joined_at_colons([*arguments, incomplete])
        self._before_colon = words[-1][: len(words[-1]) - len(incomplete.removeprefix(":"))]
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """An item as bash inserts it: in the place of what stands behind the last colon."""
        item.value = str(item.value).removeprefix(self._before_colon)
        return super().format_completion(item)


def _joined_at_colons(words: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for word in words:
        if joined and (word.startswith(":") or joined[-1].endswith(":")):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


add_completion_class(_BashWithColons)
