"""`chachaml-lite delete` and `trash`: runs moved out of sight, restored, and removed for good; `delete-artifact`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from ..client.base import ApiError, Client, build_path, expect_our_api
from ..text.format import format_size
from ..text.safe import printable
from .completion import run_ids
from .errors import FAILED, describe
from .printing import print_answer, print_text
from .run_names import run_id_of
from .targets import Target, die_at_interrupt, target_options

#: What is wrong with the one run; the others may be fine.
_OF_THE_RUN = (404, 409)
#: As many runs as one answer has.
_PAGE_RUNS = 1000


@click.command(
    short_help="Move runs to the trash.",
    epilog="""\b
Examples:
  chachaml-lite runs -q 'metrics.accuracy < 0.5' --json | jq -r '.[].id' | xargs -r chachaml-lite delete
""",
)
@target_options
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, shell_complete=run_ids)
def delete(target: Target, runs: tuple[str, ...]) -> None:
    """Move runs to the trash: out of every list, whole, and brought back by `chachaml-lite trash restore`.

    RUN is a whole id, latest:EXPERIMENT (its newest completed run), or production:MODEL (the run behind it). The disk
    is freed by `chachaml-lite trash remove` and `trash empty` alone. The exit code is 1 where a run can't be moved.
    """
    die_at_interrupt()
    with target.opened(writes=True) as client:
        ids = list(dict.fromkeys(run_id_of(client, word, whole=True) for word in runs))
        _each(ids, lambda run_id: _post(client, run_id, "trash"), "moved to the trash")


@click.command(
    "delete-artifact",
    short_help="Delete artifacts of a run for good.",
    epilog="""\b
Examples:
  chachaml-lite delete-artifact latest:digits model.pkl
  chachaml-lite delete-artifact latest:iris checkpoints/
""",
)
@target_options
@click.argument("run", metavar="RUN", shell_complete=run_ids)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def delete_artifact(target: Target, run: str, names: tuple[str, ...]) -> None:
    """Delete artifacts of a run for good, and free the disk. NAME with a slash at its end is a folder.

    RUN is a whole id, latest:EXPERIMENT (its newest completed run), or production:MODEL (the run behind it). What a
    model version is pinned to is passed over and named, and the exit code is 1.
    """
    die_at_interrupt()
    count = 0
    with target.opened(writes=True) as client:
        path = build_path("api", "w", "runs", run_id_of(client, run, whole=True), "artifacts")

        def act(name: str) -> None:
            nonlocal count
            answer: dict[str, Any] = client.ask("DELETE", path, [("name", name)]).json()
            count += answer["deleted"]

        failed = _done(list(dict.fromkeys(names)), act)
        _end(f"{count} artifact{'' if count == 1 else 's'} deleted", failed)


@click.group(
    short_help="List, restore or remove what was deleted.",
    epilog="""\b
Examples:
  chachaml-lite trash list
  chachaml-lite trash list --json | jq -r '.[].id' | xargs -r chachaml-lite trash restore
  chachaml-lite trash empty --yes
""",
)
def trash() -> None:
    """The trash: runs that were deleted. They take their room on the disk until they are removed for good."""


@trash.command("list", epilog="\b\nExample:\n  chachaml-lite trash list")
@target_options
@click.option("--json", "as_json", is_flag=True, help="A JSON array, as GET /api/runs?deleted=true answers.")
def list_(target: Target, as_json: bool) -> None:
    """List the runs in the trash, those of deleted experiments too, newest first."""
    die_at_interrupt()
    with target.opened() as client:
        form = "json" if as_json else "txt"
        query = [("deleted", "true"), ("limit", str(_PAGE_RUNS)), ("format", form)]
        print_answer(client.ask("GET", "/api/runs", query))


@trash.command(epilog="\b\nExample:\n  chachaml-lite trash restore 20261123-185749-123-k3f9ta")
@target_options
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
def restore(target: Target, runs: tuple[str, ...]) -> None:
    """Bring runs back from the trash. RUN is an id, or a beginning that no other id has."""
    die_at_interrupt()
    with target.opened(writes=True) as client:
        ids = [run_id_of(client, word) for word in runs]
        _each(ids, lambda run_id: _post(client, run_id, "restore"), "restored")


@trash.command(epilog="\b\nExample:\n  chachaml-lite trash remove 20261123-185749-123-k3f9ta")
@target_options
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
def remove(target: Target, runs: tuple[str, ...]) -> None:
    """Remove runs for good, with all points and artifacts, and say how much disk that frees. RUN is a whole id.

    What isn't in the trash is not removed, nor what a model version is pinned to: it is named, and the exit code is 1.
    """
    die_at_interrupt()
    with target.opened(writes=True) as client:
        ids = list(dict.fromkeys(run_id_of(client, word, whole=True) for word in runs))
        in_trash = set(_trashed(client))
        _remove(
            client, [run_id for run_id in ids if run_id in in_trash], [each for each in ids if each not in in_trash]
        )


@trash.command(epilog="\b\nExample:\n  chachaml-lite trash empty --yes")
@target_options
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
def empty(target: Target, yes: bool) -> None:
    """Remove all that is in the trash for good, and say how much disk that frees.

    What a model version is pinned to is passed over and named, and the exit code is 1.
    """
    die_at_interrupt()
    with target.opened(writes=True) as client:
        ids = _trashed(client)
        if ids and not yes:
            counted = "1 run" if len(ids) == 1 else f"{len(ids)} runs"
            click.confirm(f"Remove {counted} for good?", abort=True, err=True)
        _remove(client, ids, [])


def _post(client: Client, run_id: str, what: str) -> None:
    client.ask("POST", build_path("api", "w", "runs", run_id, what)).json()


def _trashed(client: Client) -> list[str]:
    """The ids of the runs in the trash. Raises ApiError, Unreachable."""
    ids: list[str] = []
    while True:
        query = [("deleted", "true"), ("limit", str(_PAGE_RUNS)), ("offset", str(len(ids)))]
        with expect_our_api(client):
            page = [str(run["id"]) for run in client.get("/api/runs", query)]
        ids += page
        if len(page) < _PAGE_RUNS:
            return ids


def _remove(client: Client, ids: Sequence[str], kept: Iterable[str]) -> None:
    freed_bytes = 0

    def act(run_id: str) -> None:
        nonlocal freed_bytes
        with expect_our_api(client), client.ask("DELETE", build_path("api", "w", "runs", run_id)) as answer:
            freed_bytes += int(answer.headers["x-freed-bytes"])

    failed = _done(ids, act)
    failed += [f"{run_id}: it isn't in the trash; `chachaml-lite delete` moves it there" for run_id in kept]
    count = len(ids) - len([text for text in failed if text.partition(":")[0] in set(ids)])
    _end(f"{count} removed, {format_size(freed_bytes)} freed", failed)


def _each(ids: Sequence[str], act: Callable[[str], None], what: str) -> None:
    failed = _done(ids, act)
    _end(f"{len(ids) - len(failed)} {what}", failed)


def _done(ids: Sequence[str], act: Callable[[str], None]) -> list[str]:
    """Do it to each run or artifact; a line for each failure. Raises ApiError, Unreachable where it concerns all."""
    failed = []
    for run_id in ids:
        try:
            act(run_id)
        except ApiError as fault:
            if fault.status not in _OF_THE_RUN or fault.error == "not found":
                raise
            failed.append(f"{run_id}: {describe(fault)}")
    return failed


def _end(text: str, failed: Sequence[str]) -> None:
    for line in failed:
        click.echo(f"chachaml-lite: {printable(line)}", err=True)
    print_text(text + "\n")
    if failed:
        sys.exit(FAILED)
