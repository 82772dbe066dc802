"""`chachaml-lite runs`: the list of runs, with the filters of GET /api/runs."""

from __future__ import annotations

import click

from ..client.base import Client, expect_our_api
from ..text import columns
from ..text.table import Column, Table, as_text
from ..tracking.index.run_parts import STATUSES
from .completion import orders, run_ids
from .printing import print_answer, print_text, text_width
from .run_filters import experiment_option, query_option
from .targets import client_options
from .value_checks import LIMIT, OFFSET, check_order

#: The width with --wide: for scrolling, or a pager.
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
@experiment_option
@click.option("--status", type=click.Choice(STATUSES), help="Only runs with this status.")
@click.option("--name", metavar="NAME", help="Only runs with this name.")
@click.option("--created-by", metavar="WHO", help="Only runs created by WHO.")
@click.option("--parent", "parent_run_id", metavar="ID", shell_complete=run_ids, help="Only children of this run.")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Only runs with this tag; may be repeated.")
@click.option(
    "--param", "params", metavar="KEY=VALUE", multiple=True, help="Only runs with this param; may be repeated."
)
@query_option
@click.option(
    "--order-by",
    callback=check_order,
    metavar="FIELD",
    shell_complete=orders,
    help='A field such as "metrics.loss" or "params.lr desc".  [default: newest first]',
)
@click.option("--limit", type=LIMIT, metavar="N", help="Maximum number of runs to list, 1 to 1000.  [default: 100]")
@click.option("--offset", type=OFFSET, metavar="N", help="The number of runs to skip.")
@click.option(
    "--columns", "column_names", metavar="NAME,...", help='Columns to show, such as "params.lr,metrics.loss,duration".'
)
@click.option("--wide", is_flag=True, help="Show all columns, even if they exceed the terminal's width.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, as GET /api/runs returns it.")
def runs(
    client: Client,
    tags: tuple[str, ...],
    params: tuple[str, ...],
    column_names: str | None,
    wide: bool,
    as_json: bool,
    **fields: str | int | None,
) -> None:
    """List runs, newest first, as an aligned table.

    Names must match exactly. The table shows the columns that fit into the terminal (or COLUMNS), those that tell the
    runs apart first; --columns selects columns, --wide shows all of them, and --json prints everything.
    """
    table_columns = None if column_names is None else _columns(column_names)
    query = [(name, str(value)) for name, value in fields.items() if value is not None]
    for kind, option, pairs in (("tag", "--tag", tags), ("param", "--param", params)):
        query += [(f"{kind}.{key}", value) for key, value in (split_pair(option, pair) for pair in pairs)]
    if any(column.name.startswith("env.") for column in table_columns or ()):
        query.append(("env", "true"))
    answer = client.ask("GET", "/api/runs", query)
    if as_json:
        print_answer(answer)
        return
    with expect_our_api(client):
        items, total = answer.json(), int(answer.headers["x-total-count"])
        footer = [_footer(len(items), total, int(fields["offset"] or 0))]
        table = columns.run_table(items, footer) if table_columns is None else Table(table_columns, items, footer)
        text = as_text(table, _NO_LIMIT if wide else text_width())
    print_text(text)


def _columns(text: str) -> list[Column]:
    """Parse --columns. Raises click.UsageError."""
    try:
        return columns.find_columns([name.strip() for name in text.split(",") if name.strip()])
    except KeyError as fault:
        raise click.UsageError(
            f"--columns: {fault.args[0]!r} is unknown; a column is params.KEY, metrics.KEY, tags.KEY, env.PATH or a "
            "field such as name, status, start_time, duration"
        ) from fault


def _footer(count: int, total: int, offset: int) -> str:
    if not count:
        return f"no runs here, of {total}" if total else "no runs here"
    if offset + count < total:
        return f"{count} of {total} runs; the next are at --offset {offset + count}"
    return f"{count} of {total} runs" if count < total else "1 run" if total == 1 else f"{total} runs"


def split_pair(option: str, text: str) -> tuple[str, str]:
    """Split KEY=VALUE. Raises click.UsageError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"{option} takes KEY=VALUE, such as author=maria, not {text!r}")
    return key, value
