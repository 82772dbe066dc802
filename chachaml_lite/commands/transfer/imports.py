"""`chachaml-lite import`: runs from zips, to a server or a folder."""

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
from .report import KINDS, TransferReport

#: Statuses of errors that concern a single zip.
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
    help="Where tags or notes differ, replace them with those in the zip; other ones are kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--from",
    "source",
    type=click.Choice(("zip", "tensorboard", "mlflow")),
    default="zip",
    show_default=True,
    help="The format of the runs; for TensorBoard, FILE is the log folder.",
)
@click.option(
    "-e",
    "--experiment",
    metavar="NAME",
    help="With --from tensorboard: the experiment.  [default: the folder's name]  With --from mlflow: only this one.",
)
@click.option(
    "--tracking-uri",
    metavar="URI",
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    help="With --from mlflow: http://HOST:5000, sqlite:///FILE, or an mlruns folder.",
)
# Names, opened one after another: there may be more files than a process may open.
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
    """Import runs from zips, as downloaded from GET /api/runs/:id/download or the page of a run; - reads from stdin.

    A zip contains the folders of one or more runs, and may be made by hand (zip -r run.zip RUN, in runs/). Each FILE
    is imported completely or not at all. An existing run is added to; if the two contradict each other, the zip is
    rejected. --from mlflow takes no FILE: runs, logged models and registered models are read by MLflow's client
    (pip install 'chachaml-lite[mlflow]'; a database or a folder needs all of mlflow).

    With --data, runs are written to that folder, which is created if missing; no server may be using it.

    The exit code is 1 if a zip is rejected; the others are imported anyway. It is 2 if a file is missing or the token
    is wrong, and 3 if the server is unreachable or its disk is full.
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
        raise click.UsageError("--experiment needs --from tensorboard; the runs in a zip have their own")
    if folders:
        raise click.UsageError(
            f"{printable(folders[0])} is a folder; to add a run's folder to a store, copy it into runs/"
        )
    report = TransferReport("file")
    with target.open_client(writes=True) as client:
        subject = f"{len(files)} files" if len(files) > 1 else "stdin" if files[0] == "-" else files[0]
        announce(f"importing {subject} into {client.url}", as_json=as_json)
        for file in files:
            try:
                result = _import(client, file, overwrite=overwrite)
            except ApiError as fault:
                if fault.status not in _OF_THE_FILE:
                    report.show(as_json=as_json)
                    raise CommandError(_describe(file, fault), USAGE if fault.status < 500 else UNREACHABLE) from fault
                report.add_failure(file, fault)
            except Unreachable:
                report.show(as_json=as_json)
                raise
            else:
                for kind, run_ids in report.runs.items():
                    run_ids += result[kind]
    report.end(as_json=as_json)


def _import(client: Client, file: str, *, overwrite: bool) -> dict[str, list[str]]:
    """Import a zip and return its runs by outcome. Raises ApiError, Unreachable."""
    query = [("overwrite", "true")] if overwrite else []
    try:
        stream: Any = click.open_file(file, "rb")
    except OSError as fault:
        raise click.UsageError(f"{printable(file)} can't be read: {fault.strerror}") from fault
    with closing(stream):
        body: Any = _pieces(stream)
        length = stream.seek(0, io.SEEK_END) if stream.seekable() else None
        if length is not None:
            stream.seek(0)
            body = stream
        answer = client.ask("POST", "/api/w/import", query, body=body, length=length, content_type=ZIP)
        with expect_our_api(client):
            result = answer.json()
            return {kind: list(result[kind]) for kind in KINDS}


def _pieces(file: BinaryIO) -> Generator[bytes, None, None]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _describe(name: str, fault: ApiError) -> str:
    if fault.error == "not found" or fault.status == 405:
        return "the server is older than this command and can't import zips; update it"
    return f"{name}: {describe(fault)}"
