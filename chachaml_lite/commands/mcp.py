"""`chachaml-lite mcp`: tools for agents over the Model Context Protocol, on stdin and stdout."""

from __future__ import annotations

import click

from .errors import USAGE, CommandError
from .options import option
from .targets import Target, die_at_interrupt, target_options


@click.command(
    short_help="Serve tools to agents.",
    epilog="""\b
Examples:
  chachaml-lite mcp --data artifacts --read-only < /dev/null
""",
)
@target_options
@option("--read-only", is_flag=True, help="Leave out the tools that write.")
def mcp(target: Target, read_only: bool) -> None:
    """Serve tools to an agent over the Model Context Protocol, on stdin and stdout.

    An agent's program starts this command and calls its tools: list and search runs, get one with its series, compare,
    find the best, report, check; and start a run, log to it, end and annotate it. It needs the protocol's SDK
    (pip install 'chachaml-lite[mcp]'), and a server at --url, or a folder at --data that no server uses.
    """
    from ..agents.server import NotInstalled, serve_tools  # slow to import

    die_at_interrupt()
    with target.open_client(writes=not read_only) as client:
        try:
            serve_tools(client, read_only=read_only)
        except NotInstalled as fault:
            raise CommandError(str(fault), USAGE) from fault
