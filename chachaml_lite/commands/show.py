"""`chachaml-lite show` and `compare`: one run in detail, and several side by side."""

from __future__ import annotations

import click

from ..client.base import Answer, ApiError, Client, build_path
from .completion import run_ids
from .printing import print_answer
from .run_names import request_run, run_id_of
from .targets import client_options


@click.command(
    epilog="""\b
Examples:
  chachaml-lite show latest:iris
  chachaml-lite show latest:iris --json | jq .metrics
"""
)
@client_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as GET /api/runs/:id returns it.")
@click.argument("run", shell_complete=run_ids)
def show(client: Client, run: str, as_json: bool) -> None:
    """Show one run: its params, metrics, artifacts and note.

    RUN is an id or a unique prefix of one, latest:EXPERIMENT (its newest completed run), or production:MODEL.
    """
    print_answer(request_run(client, run, lambda run_id: _ask(client, build_path("api", "runs", run_id), [], as_json)))


@click.command(
    short_help="Compare runs side by side.",
    epilog="""\b
Examples:
  chachaml-lite compare latest:iris production:iris-classifier
  chachaml-lite compare latest:iris latest:digits --json | jq .params.differ
""",
)
@client_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as GET /api/compare returns it.")
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, shell_complete=run_ids)
def compare(client: Client, runs: tuple[str, ...], as_json: bool) -> None:
    """Compare runs: params and metrics that differ, that are missing in some runs, and that are equal.

    RUN is an id or a unique prefix of one, latest:EXPERIMENT (its newest completed run), or production:MODEL.
    """
    ids = [run_id_of(client, run, whole=True) for run in runs]
    try:
        answer = _ask(client, "/api/compare", [("ids", ",".join(ids))], as_json)
    except ApiError as fault:
        full_ids = [run_id_of(client, run_id) for run_id in ids] if fault.error == "no such run" else ids
        if full_ids == ids:
            raise
        answer = _ask(client, "/api/compare", [("ids", ",".join(full_ids))], as_json)
    print_answer(answer)


def _ask(client: Client, path: str, query: list[tuple[str, str]], as_json: bool) -> Answer:
    return client.ask("GET", path, [*query, ("format", "json" if as_json else "txt")])
