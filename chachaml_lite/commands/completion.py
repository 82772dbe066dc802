"""Shell completion of runs, experiments, models and fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from ..client.base import ApiError, Client, Unreachable
from ..client.http import BadTarget
from ..tracking.query.fields import METRICS, OWN_FIELDS, PARAMS, Field
from .targets import choose_target

#: Seconds for a response: the user is waiting, and may type on instead.
_ANSWER_SECONDS = 2
# The shell inserts a name unquoted: $(...), a quote or a space would be code there.
_PLAIN = re.compile(r"[\w.@%+=,/:-]+")

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _from_client(find: Callable[[Client, str], Iterable[str]]) -> Complete:
    """Return a completion from the content of a server or folder; it is empty if that is unreachable."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        options = context.params
        try:
            target = choose_target(context, options.get("url"), options.get("data"), options.get("token"))
            with target.open_client(answer_seconds=_ANSWER_SECONDS) as client:
                words = list(find(client, incomplete))
        except (BadTarget, Unreachable, ApiError, KeyError, TypeError, click.UsageError):
            return []
        return [word for word in words if word.startswith(incomplete) and _PLAIN.fullmatch(word)]

    return complete


def _names(client: Client, path: str, field: str) -> list[str]:
    return [str(each[field]) for each in client.get(path)]


def _runs(client: Client, incomplete: str) -> list[str]:
    """Return the ids of the newest hundred runs and, if the word begins so, latest:EXPERIMENT and production:MODEL."""
    if incomplete.startswith("l"):
        return [f"latest:{name}" for name in _names(client, "/api/experiments", "name")] + _run_ids(client, incomplete)
    if incomplete.startswith("p"):
        models = [model["name"] for model in client.get("/api/models") if model["production"] is not None]
        return [f"production:{name}" for name in models] + _run_ids(client, incomplete)
    return _run_ids(client, incomplete)


def _run_ids(client: Client, incomplete: str) -> list[str]:
    return _names(client, "/api/runs", "id")


def _orders(client: Client, incomplete: str) -> list[str]:
    """Return the fields of runs, and the metrics and params of the newest hundred runs."""
    runs: list[dict[str, Any]] = client.get("/api/runs")
    keys = [
        str(Field(kind, key)) for kind in (METRICS, PARAMS) for key in sorted({k for run in runs for k in run[kind]})
    ]
    return [*OWN_FIELDS, *keys]


run_ids = _from_client(_runs)
experiments = _from_client(lambda client, incomplete: _names(client, "/api/experiments", "name"))
orders = _from_client(_orders)


def run_ids_and_experiments(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete an argument that takes either a run or an experiment."""
    return [*experiments(context, parameter, incomplete), *run_ids(context, parameter, incomplete)]


class _BashWithColons(BashComplete):
    """Bash completion of words with colons, such as latest:iris and URLs, which bash splits into several words."""

    _before_colon = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words as they were typed, and the word to complete."""
        arguments, incomplete = super().get_completion_args()
        words = _join_at_colons([*arguments, incomplete])
        self._before_colon = words[-1][: len(words[-1]) - len(incomplete.removeprefix(":"))]
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """Format an item as bash inserts it: in place of the text after the last colon."""
        item.value = str(item.value).removeprefix(self._before_colon)
        return super().format_completion(item)


def _join_at_colons(words: Sequence[str]) -> list[str]:
    result: list[str] = []
    for word in words:
        if result and (word.startswith(":") or result[-1].endswith(":")):
            result[-1] += word
        else:
            result.append(word)
    return result


add_completion_class(_BashWithColons)
