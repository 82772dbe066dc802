"""The command line: the commands, and what is said of all of them."""

from __future__ import annotations

import click

from . import __version__
from .commands.serve import serve
from .commands.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="chachaml-lite")
def main() -> None:
    """The experiment tracker that you can use with nothing but curl.

    Runs, params, metrics, artifacts and models, logged over HTTP into a folder of plain files.
    """


main.add_command(serve)
main.add_command(verify)
