"""`chachaml-lite import`: runs out of zips, into a server's store or into a folder."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import click

from ...client.base import PIECE_BYTES, ApiError, Client, Unreachable, expect_our_api
from ...client.push import ZIP
from ...text.safe import printable
from ..errors import UNREACHABLE, USAGE, CommandError, describe
from ..printing import announce
from ..targets import Target, die_at_interrupt, target_options
from .import_foreign import import_tensorboard
from .import_mlflow import import_mlflow
from .report import KINDS, Moved

#: What is wrong with the one zip; another may be fine.
_OF_THE_FILE = (400, 409, 413)


@click.command(
    "import",
    short_help="Import runs from zips, TensorBoard or MLflow.",
    epilog="""\b
Examples:
  chachaml-lite import run.zip
  chachaml-lite import --data /tmp/store run.zip more.zip
  chachaml-lite import --data /tmp/store - < run.zip
  chachaml-lite import --from tensorboard logs/ --experiment iris
  chachaml-lite import --from mlflow --tracking-uri http://localhost:5000
""",
)
@target_options
@click.option(
    "--overwrite",
    is_flag=True,
    help="Where tags and notes differ there, take those of the zip; what is only there stays.",
)
@click.option("--json", "as_json", is_flag=True, help="What was done as JSON.")
@click.option(
    "--from",
    "source",
    type=click.Choice(("zip", "tensorboard", "mlflow")),
    default="zip",
    show_default=True,
    help="What logged the runs; of TensorBoard FILE is the log folder.",
)
@click.option(
    "-e",
    "--experiment",
    metavar="NAME",
    help="With --from tensorboard: the experiment.  [default: FILE]  With --from mlflow: only this one.",
)
@click.option(
    "--tracking-uri",
    metavar="URI",
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    help="With --from mlflow: http://HOST:5000, sqlite:///FILE, or a folder mlruns.",
)
# Names, to be opened when their turn comes: there may be more of them than a process may open.
@click.argument("files", metavar="FILE...", nargs=-1, type=click.Path(exists=True, allow_dash=True))
def import_(
    target: Target,
    source: str,
    experiment: str | None,
    tracking_uri: str | None,
    files: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Import the runs of zips, as GET /api/runs/:id/download and the page of a run give them; - reads one from stdin.

    A zip holds a run's folder, or several; one made by hand (zip -r run.zip RUN, in runs/) will do. Each FILE is
    imported whole or not at all. A run that is there already is added to; where the two contradict each other the
    zip is refused. --from mlflow takes no FILE: runs, logged models and registered ones are read by MLflow's client
    (pip install 'chachaml-lite[mlflow]'; of a database or a folder by all of mlflow).

    With --data the folder is written to, which is made if missing, while no server runs on it.

    The exit code is 1 when a zip is refused; the others are imported all the same. It is 2 when there is no such
    file or the token is wrong, and 3 when nobody answers, or the disk there is full.
    """
    if source == "mlflow":
        if files or tracking_uri is None:
            raise click.UsageError("--from mlflow takes --tracking-uri, and no FILE")
        import_mlflow(target, tracking_uri, experiment, overwrite=overwrite, as_json=as_json)
        return
    die_at_interrupt()
    if not files:
        raise click.UsageError("Missing argument 'FILE...'.")
    folders = [file for file in files if file != "-" and Path(file).is_dir()]
    if source == "tensorboard":
        if len(files) > 1 or not folders:
            raise click.UsageError("--from tensorboard takes one log folder")
        import_tensorboard(target, files[0], experiment, overwrite=overwrite, as_json=as_json)
        return
    if experiment is not None:
        raise click.UsageError("--experiment goes with --from tensorboard; the runs of a zip have theirs")
    if folders:
        raise click.UsageError(
            f"{printable(folders[0])} is a folder; a run's folder is copied into runs/ of a store as it is"
        )
    moved = Moved("file")
    with target.opened(writes=True) as client:
        what = f"{len(files)} files" if len(files) > 1 else "stdin" if files[0] == "-" else files[0]
        announce(f"importing {what} into {client.url}", as_json=as_json)
        for file in files:
            try:
                done = _import(client, file, overwrite=overwrite)
            except ApiError as fault:
                if fault.status not in _OF_THE_FILE:
                    moved.show(as_json=as_json)
                    raise CommandError(_told(file, fault), USAGE if fault.status < 500 else UNREACHABLE) from fault
                moved.fail(file, fault)
            except Unreachable:
                moved.show(as_json=as_json)
                raise
            else:
                for kind, run_ids in moved.done.items():
                    run_ids += done[kind]
    moved.end(as_json=as_json)


def _import(client: Client, file: str, *, overwrite: bool) -> dict[str, list[str]]:
    """Import a zip; returns what the store has done with its runs. Raises ApiError, Unreachable."""
    query = [("overwrite", "true")] if overwrite else []
    try:
        opened: Any = click.open_file(file, "rb")
    except OSError as fault:
        raise click.UsageError(f"{printable(file)} can't be read: {fault.strerror}") from fault
    with closing(opened):
        body: Any = _pieces(opened)
        length = opened.seek(0, io.SEEK_END) if opened.seekable() else None
        if length is not None:
            opened.seek(0)
            body = opened
        answer = client.ask("POST", "/api/w/import", query, body=body, length=length, content_type=ZIP)
        with expect_our_api(client):
            done = answer.json()
            return {kind: list(done[kind]) for kind in KINDS}


def _pieces(file: BinaryIO) -> Generator[bytes, None, None]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _told(name: str, fault: ApiError) -> str:
    if fault.error == "not found" or fault.status == 405:
        return "the server is older than this command, and takes no zips; update it"
    return f"{name}: {describe(fault)}"
