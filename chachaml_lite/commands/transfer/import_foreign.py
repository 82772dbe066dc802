"""`chachaml-lite import --from TOOL`: runs that another tool has logged, each imported as the zip of a run of ours."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from ...client.base import ApiError, Client, Unreachable, expect_our_api
from ...client.push import ZIP
from ...importers.foreign_run import ForeignRun
from ...text.safe import printable
from ..errors import UNREACHABLE, USAGE, CommandError, describe
from ..printing import announce, has_progress
from ..targets import Target
from .report import KINDS, Moved

Item = TypeVar("Item")

#: What is wrong with the one run; another may be fine.
_OF_THE_RUN = (400, 409, 413)


def import_tensorboard(
    target: Target, log_folder: str, experiment: str | None, *, overwrite: bool, as_json: bool
) -> None:
    """Import the runs below a log folder of TensorBoard's, and end the process with the exit code that it means."""
    from ...importers import tensorboard

    experiment = experiment or Path(log_folder).resolve().name or "tensorboard"
    try:
        folders = tensorboard.find_folders(log_folder)
    except tensorboard.NotInstalled as fault:
        raise CommandError(str(fault), USAGE) from fault
    if not folders:
        raise CommandError(
            f"{log_folder} has no event files of TensorBoard's; name the folder that tensorboard --logdir takes", USAGE
        )

    def runs() -> Iterator[ForeignRun]:
        for folder in folders:
            path = Path(folder).relative_to(log_folder).as_posix()
            yield tensorboard.read_run(folder, path if path != "." else experiment, experiment, time.time())

    moved = Moved("id")
    with target.opened(writes=True) as client:
        announce(f"importing {log_folder} into {client.url}", as_json=as_json)
        try:
            with progress(len(folders), runs(), lambda run: str(run.meta["name"])) as counted:
                for run in counted:
                    import_run(client, run, moved, overwrite=overwrite)
        except ApiError as fault:
            moved.show(as_json=as_json)
            raise CommandError(describe(fault), USAGE if fault.status < 500 else UNREACHABLE) from fault
        except Unreachable:
            moved.show(as_json=as_json)
            raise
    moved.end(as_json=as_json)


def import_run(client: Client, run: ForeignRun, moved: Moved, *, overwrite: bool) -> None:
    """Import a run, and note what became of it and what of it was left out. Raises ApiError, Unreachable."""
    query = [("overwrite", "true")] if overwrite else []
    for text in run.omissions:
        moved.leave_out(run.id, text)
    try:
        with expect_our_api(client):
            zipped = run.to_zip()
            done = client.ask("POST", "/api/w/import", query, body=zipped, content_type=ZIP).json()
            for kind in KINDS:
                moved.done[kind] += done[kind]
    except ApiError as fault:
        if fault.status not in _OF_THE_RUN:
            raise
        moved.fail(run.id, fault)


def progress(count: int, items: Iterator[Item], name_of: Callable[[Item], str]) -> Any:
    """A bar on stderr over the items, with the name of each; none where nobody would see it."""
    return click.progressbar(
        items,
        length=count,
        label="importing",
        file=sys.stderr,
        hidden=not has_progress(),
        item_show_func=lambda item: printable(name_of(item))[:40] if item is not None else "",
    )
