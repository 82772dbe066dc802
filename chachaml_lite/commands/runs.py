"""`chachaml-lite runs`: the list of runs, with the filters of GET /api/runs."""

from __future__ import annotations

import click

from ..client.base import Client
from .completion import experiments, run_ids
from .printing import print_answer
from .targets import asking


@click.command(
    epilog="""\b
Examples:
  chachaml-lite runs
  chachaml-lite runs --experiment iris --order-by "metrics.accuracy desc" --limit 5
  chachaml-lite runs -q 'metrics.accuracy > 0.9 and params.lr <= 0.01'
  chachaml-lite runs --data artifacts --status failed --json | jq -r '.[].id'
"""
)
@asking
@click.option("-e", "--experiment", metavar="NAME", shell_complete=experiments, help="Only runs of this experiment.")
@click.option("--status", metavar="STATUS", help="Only runs that are running, completed or failed.")
@click.option("--name", metavar="NAME", help="Only runs of this name.")
@click.option("--created-by", metavar="WHO", help="Only runs that were created by WHO.")
@click.option("--parent", "parent_run_id", metavar="ID", shell_complete=run_ids, help="Only children of this run.")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Only runs with this tag; may be repeated.")
@click.option("--param", "params", metavar="KEY=VALUE", multiple=True, help="Only runs with this param; likewise.")
@click.option("-q", "--query", "q", metavar="QUERY", help="Only runs that the query finds; see the README.")
@click.option("--order-by", metavar="FIELD", help='As "metrics.loss", "params.lr desc".  [default: newest first]')
@click.option("--limit", metavar="N", help="So many at most, 1 to 1000.  [default: 100]")
@click.option("--offset", metavar="N", help="Leave out so many at the start.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array, as GET /api/runs answers.")
def runs(client: Client, tags: tuple[str, ...], params: tuple[str, ...], as_json: bool, **fields: str | None) -> None:
    """List runs, newest first, as an aligned table.

    What is filtered by names has to match exactly. The table shows what fits; --json has all.
    """
    query = [(name, value) for name, value in fields.items() if value is not None]
    for kind, option, pairs in (("tag", "--tag", tags), ("param", "--param", params)):
        query += [(f"{kind}.{key}", value) for key, value in (pair_of(option, pair) for pair in pairs)]
    print_answer(client.ask("GET", "/api/runs", [*query, ("format", "json" if as_json else "txt")]))


def pair_of(option: str, text: str) -> tuple[str, str]:
    """The key and the value of KEY=VALUE. Raises click.UsageError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"{option} takes KEY=VALUE, as in {option} author=maria, and it is {text!r}")
    return key, value
