"""The command line: the commands, and what is said of all of them."""

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
  0  fine
  1  it failed: the check, the command, the store is damaged or can't be served
  2  it can't be done as it was asked: usage, no such run, a wrong token
  3  nobody answers: no server, no store in the folder, or a fault of theirs
\b
Examples:
  chachaml-lite serve
  chachaml-lite runs --data artifacts
""",
)
@click.version_option(__version__, prog_name="chachaml-lite")
def main() -> None:
    """The experiment tracker that you can use with nothing but curl.

    Runs, params, metrics, artifacts and models, logged over HTTP into a folder of plain files.

    The commands that read ask the server at --url (or CHACHAML_URL), by default the one on this machine; with --data
    (or CHACHAML_DATA) they read a folder themselves, whether a server runs on it or not. An option beats a variable,
    and CHACHAML_URL beats CHACHAML_DATA.
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
