"""Options that select runs by experiment or query."""

from __future__ import annotations

import click

from .completion import experiments
from .value_checks import check_query

experiment_option = click.option(
    "-e", "--experiment", metavar="NAME", shell_complete=experiments, help="Only runs of this experiment."
)
#: Its value is `q`, as GET /api/runs calls it.
query_option = click.option(
    "-q",
    "--query",
    "q",
    callback=check_query,
    metavar="QUERY",
    help="Only runs that match the query; see the page /docs/api of a server for its grammar.",
)
