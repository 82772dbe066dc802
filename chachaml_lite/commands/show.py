"""`chachaml-lite show` and `compare`: one run with all that is known of it, and several side by side."""

from __future__ import annotations

import click

from ..client.base import Client, path_of
from .completion import run_ids
from .printing import print_answer
from .run_names import run_id_of
from .targets import client_options


@click.command(
    epilog="""\b
Examples:
  chachaml-lite show latest:iris
  chachaml-lite show latest:iris --json | jq .metrics
"""
)
@client_options
@click.option("--json", "as_json", is_flag=True, help="As GET /api/runs/:id answers.")
@click.argument("run", shell_complete=run_ids)
def show(client: Client, run: str, as_json: bool) -> None:
    """Show one run: its params, metrics, artifacts and note.

    RUN is an id, latest:EXPERIMENT (its newest completed run), or production:MODEL (the run behind it).
    """
    _print(client, path_of("api", "runs", run_id_of(client, run)), [], as_json)


@click.command(
    short_help="Compare runs side by side.",
    epilog="""\b
Examples:
  chachaml-lite compare latest:iris production:iris-classifier
  chachaml-lite compare latest:iris latest:digits --json | jq .params.differ
""",
)
@client_options
@click.option("--json", "as_json", is_flag=True, help="As GET /api/compare answers.")
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, shell_complete=run_ids)
def compare(client: Client, runs: tuple[str, ...], as_json: bool) -> None:
    """Compare runs: which params and metrics differ, which some lack, and which are the same.

    RUN is an id, latest:EXPERIMENT (its newest completed run), or production:MODEL (the run behind it).
    """
    ids = [run_id_of(client, run) for run in runs]
    _print(client, "/api/compare", [("ids", ",".join(ids))], as_json)


def _print(client: Client, path: str, query: list[tuple[str, str]], as_json: bool) -> None:
    print_answer(client.ask("GET", path, [*query, ("format", "json" if as_json else "txt")]))
