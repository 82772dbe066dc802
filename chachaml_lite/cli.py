"""The command line: the group of all commands."""

from __future__ import annotations

import click

from . import __version__
from .commands.check import check
from .commands.ci import ci
from .commands.end import end
from .commands.mcp import mcp
from .commands.report import report
from .commands.run import run
from .commands.runs import runs
from .commands.serve import serve
from .commands.show import compare, show
from .commands.transfer.export import export
from .commands.transfer.imports import import_
from .commands.transfer.push import push
from .commands.trash import delete, delete_artifact, trash
from .commands.verify import verify


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Exit codes:
  0  success
  1  failure: a failed check or command, a damaged store, or one that can't be served
  2  usage error, unknown run or wrong token
  3  server unreachable, no store in the folder, or a server error
\b
Examples:
  chachaml-lite serve
  chachaml-lite runs --data artifacts
""",
)
@click.version_option(__version__, prog_name="chachaml-lite")
def main() -> None:
    """An experiment tracker that needs nothing but curl.

    Log runs, params, metrics, artifacts and models over HTTP into a folder of plain files.

    Commands that read use the server at --url (or CHACHAML_URL), by default the one on this machine; with --data
    (or CHACHAML_DATA) they read a folder directly, whether or not a server is running on it. An option takes precedence
    over a variable, and CHACHAML_URL over CHACHAML_DATA.
    """


for _command in (
    serve,
    run,
    end,
    runs,
    show,
    compare,
    report,
    check,
    delete,
    delete_artifact,
    trash,
    push,
    import_,
    export,
    verify,
    ci,
    mcp,
):
    main.add_command(_command)
