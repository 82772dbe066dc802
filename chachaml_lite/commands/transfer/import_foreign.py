"""`chachaml-lite import --from TOOL`: runs of another tool, each imported as a zip of one of our runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from ...client.base import ApiError, Client, expect_our_api
from ...client.push import ZIP
from ...importers.foreign_run import ForeignRun
from ...text.safe import printable
from ..errors import USAGE, CommandError
from ..printing import announce, has_progress
from ..targets import Target
from .report import KINDS, TransferReport

Item = TypeVar("Item")

#: Statuses of errors that concern a single run.
_OF_THE_RUN = (400, 409, 413)


def import_tensorboard(
    target: Target, log_folder: str, experiment: str | None, *, overwrite: bool, as_json: bool
) -> None:
    """Import the runs in a log folder of TensorBoard, and end the process with an exit code."""
    from ...importers import tensorboard

    experiment = experiment or Path(log_folder).resolve().name or "tensorboard"
    try:
        folders = tensorboard.find_folders(log_folder)
    except tensorboard.NotInstalled as fault:
        raise CommandError(str(fault), USAGE) from fault
    if not folders:
        raise CommandError(
            f"{log_folder} has no TensorBoard event files; use the folder that tensorboard --logdir takes", USAGE
        )

    def runs() -> Iterator[ForeignRun]:
        for folder in folders:
            path = Path(folder).relative_to(log_folder).as_posix()
            yield tensorboard.read_run(folder, path if path != "." else experiment, experiment, time.time())

    report = TransferReport("id")
    with target.open_client(writes=True) as client:
        announce(f"importing {log_folder} into {client.url}", as_json=as_json)
        with (
            report.printing_before_errors(as_json=as_json),
            progress(len(folders), runs(), lambda run: str(run.meta["name"])) as items,
        ):
            for run in items:
                import_run(client, run, report, overwrite=overwrite)
    report.end(as_json=as_json)


def import_run(client: Client, run: ForeignRun, report: TransferReport, *, overwrite: bool) -> None:
    """Import a run, and add its outcome and omissions to the report. Raises ApiError, Unreachable."""
    query = [("overwrite", "true")] if overwrite else []
    for text in run.omissions:
        report.add_omission(run.id, text)
    try:
        with expect_our_api(client):
            content = run.to_zip()
            result = client.ask("POST", "/api/w/import", query, body=content, content_type=ZIP).json()
            for kind in KINDS:
                report.runs[kind] += result[kind]
    except ApiError as fault:
        if fault.status not in _OF_THE_RUN:
            raise
        report.add_failure(run.id, fault)


def progress(count: int, items: Iterator[Item], name_of: Callable[[Item], str]) -> Any:
    """Iterate over items with a progress bar on stderr that shows their names, if that is a terminal."""
    return click.progressbar(
        items,
        length=count,
        label="importing",
        file=sys.stderr,
        hidden=not has_progress(),
        item_show_func=lambda item: printable(name_of(item))[:40] if item is not None else "",
    )
