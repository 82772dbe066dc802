"""`chachaml-lite runs`: the list of runs, with the filters of GET /api/runs."""

from __future__ import annotations

import click

from ..client.base import Client, expect_our_api
from ..text import columns
from ..text.table import Column, Table, as_text
from ..tracking.index.run_parts import STATUSES
from .completion import experiments, orders, run_ids
from .printing import print_answer, print_text, text_width
from .targets import client_options
from .value_checks import LIMIT, OFFSET, check_order, check_query

#: A table that is to be scrolled, or cut by a pager.
_NO_LIMIT = 1_000_000


@click.command(
    epilog="""\b
Examples:
  chachaml-lite runs
  chachaml-lite runs --experiment iris --order-by "metrics.accuracy desc" --limit 5
  chachaml-lite runs -q 'metrics.accuracy > 0.9 and params.lr <= 0.01'
  chachaml-lite runs --data artifacts --status failed --json | jq -r '.[].id'
"""
)
@client_options
@click.option("-e", "--experiment", metavar="NAME", shell_complete=experiments, help="Only runs of this experiment.")
@click.option("--status", type=click.Choice(STATUSES), help="Only runs of this status.")
@click.option("--name", metavar="NAME", help="Only runs of this name.")
@click.option("--created-by", metavar="WHO", help="Only runs that were created by WHO.")
@click.option("--parent", "parent_run_id", metavar="ID", shell_complete=run_ids, help="Only children of this run.")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Only runs with this tag; may be repeated.")
@click.option("--param", "params", metavar="KEY=VALUE", multiple=True, help="Only runs with this param; likewise.")
@click.option(
    "-q",
    "--query",
    "q",
    callback=check_query,
    metavar="QUERY",
    help="Only runs that match the query; its grammar is on the page /docs/api of a server.",
)
@click.option(
    "--order-by",
    callback=check_order,
    metavar="FIELD",
    shell_complete=orders,
    help='As "metrics.loss", "params.lr desc".  [default: newest first]',
)
@click.option("--limit", type=LIMIT, metavar="N", help="So many at most, 1 to 1000.  [default: 100]")
@click.option("--offset", type=OFFSET, metavar="N", help="Leave out so many at the start.")
@click.option("--columns", "chosen", metavar="NAME,...", help='Show these, as "params.lr,metrics.loss,duration".')
@click.option("--wide", is_flag=True, help="Show every column, however wide the terminal is.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array, as GET /api/runs answers.")
def runs(
    client: Client,
    tags: tuple[str, ...],
    params: tuple[str, ...],
    chosen: str | None,
    wide: bool,
    as_json: bool,
    **fields: str | int | None,
) -> None:
    """List runs, newest first, as an aligned table.

    What is filtered by names has to match exactly. The table shows what fits into the terminal (or COLUMNS), first
    what tells the runs apart; --columns chooses, --wide has every column, and --json all there is.
    """
    table_columns = None if chosen is None else _columns(chosen)
    query = [(name, str(value)) for name, value in fields.items() if value is not None]
    for kind, option, pairs in (("tag", "--tag", tags), ("param", "--param", params)):
        query += [(f"{kind}.{key}", value) for key, value in (pair_of(option, pair) for pair in pairs)]
    if any(column.name.startswith("env.") for column in table_columns or ()):
        query.append(("env", "true"))
    answer = client.ask("GET", "/api/runs", query)
    if as_json:
        print_answer(answer)
        return
    with expect_our_api(client):
        found, total = answer.json(), int(answer.headers["x-total-count"])
        footer = [_footer(len(found), total, int(fields["offset"] or 0))]
        table = columns.run_table(found, footer) if table_columns is None else Table(table_columns, found, footer)
        text = as_text(table, _NO_LIMIT if wide else text_width())
    print_text(text)


def _columns(text: str) -> list[Column]:
    """The columns that --columns names. Raises click.UsageError."""
    try:
        return columns.named_columns([name.strip() for name in text.split(",") if name.strip()])
    except KeyError as fault:
        raise click.UsageError(
            f"--columns knows no {fault.args[0]!r}; a column is params.KEY, metrics.KEY, tags.KEY, env.PATH or one of "
            "a run's own, as name, status, start_time, duration"
        ) from fault


def _footer(count: int, total: int, offset: int) -> str:
    if not count:
        return f"no runs here, of {total}" if total else "no runs here"
    if offset + count < total:
        return f"{count} of {total} runs; the next are at --offset {offset + count}"
    return f"{count} of {total} runs" if count < total else "1 run" if total == 1 else f"{total} runs"


def pair_of(option: str, text: str) -> tuple[str, str]:
    """The key and the value of KEY=VALUE. Raises click.UsageError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"{option} takes KEY=VALUE, as in {option} author=maria, and it is {text!r}")
    return key, value
