"""`chachaml-lite delete`, `trash` and `delete-artifact`: move runs to the trash, restore and remove them."""

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

#: Statuses of errors that concern a single run.
_OF_THE_RUN = (404, 409)
#: The API's limit for one response.
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
    """Move runs to the trash: they disappear from lists, and `chachaml-lite trash restore` brings them back.

    RUN is a whole id, latest:EXPERIMENT (its newest completed run), or production:MODEL (the run of that version).
    Only `chachaml-lite trash remove` and `trash empty` free disk space. The exit code is 1 if a run can't be moved.
    """
    die_at_interrupt()
    with target.open_client(writes=True) as client:
        ids = list(dict.fromkeys(run_id_of(client, word, whole=True) for word in runs))
        _apply_and_report(ids, lambda run_id: _post(client, run_id, "trash"), "moved to the trash")


@click.command(
    "delete-artifact",
    short_help="Permanently delete artifacts of a run.",
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
    """Permanently delete artifacts of a run, which frees disk space. A NAME that ends with a slash is a folder.

    RUN is a whole id, latest:EXPERIMENT (its newest completed run), or production:MODEL (the run of that version).
    Artifacts to which a model version is pinned are skipped and listed, and the exit code is 1.
    """
    die_at_interrupt()
    count = 0
    with target.open_client(writes=True) as client:
        path = build_path("api", "w", "runs", run_id_of(client, run, whole=True), "artifacts")

        def act(name: str) -> None:
            nonlocal count
            answer: dict[str, Any] = client.ask("DELETE", path, [("name", name)]).json()
            count += answer["deleted"]

        failures = _apply(list(dict.fromkeys(names)), act)
        _end(f"{count} artifact{'' if count == 1 else 's'} deleted", failures)


@click.group(
    short_help="List, restore or remove deleted runs.",
    epilog="""\b
Examples:
  chachaml-lite trash list
  chachaml-lite trash list --json | jq -r '.[].id' | xargs -r chachaml-lite trash restore
  chachaml-lite trash empty --yes
""",
)
def trash() -> None:
    """Manage deleted runs. They occupy disk space until they are removed permanently."""


@trash.command("list", epilog="\b\nExample:\n  chachaml-lite trash list")
@target_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, as GET /api/runs?deleted=true returns it.")
def list_(target: Target, as_json: bool) -> None:
    """List the runs in the trash, including those of deleted experiments, newest first."""
    die_at_interrupt()
    with target.open_client() as client:
        form = "json" if as_json else "txt"
        query = [("deleted", "true"), ("limit", str(_PAGE_RUNS)), ("format", form)]
        print_answer(client.ask("GET", "/api/runs", query))


@trash.command(epilog="\b\nExample:\n  chachaml-lite trash restore 20261123-185749-123-k3f9ta")
@target_options
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
def restore(target: Target, runs: tuple[str, ...]) -> None:
    """Restore runs from the trash. RUN is an id or a unique prefix of one."""
    die_at_interrupt()
    with target.open_client(writes=True) as client:
        ids = [run_id_of(client, word) for word in runs]
        _apply_and_report(ids, lambda run_id: _post(client, run_id, "restore"), "restored")


@trash.command(epilog="\b\nExample:\n  chachaml-lite trash remove 20261123-185749-123-k3f9ta")
@target_options
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
def remove(target: Target, runs: tuple[str, ...]) -> None:
    """Permanently remove runs with all points and artifacts, and print the space freed. RUN is a whole id.

    Runs that aren't in the trash, or to which a model version is pinned, are skipped and listed; the exit code is 1.
    """
    die_at_interrupt()
    with target.open_client(writes=True) as client:
        ids = list(dict.fromkeys(run_id_of(client, word, whole=True) for word in runs))
        in_trash = set(_list_trash(client))
        _remove(
            client, [run_id for run_id in ids if run_id in in_trash], [each for each in ids if each not in in_trash]
        )


@trash.command(epilog="\b\nExample:\n  chachaml-lite trash empty --yes")
@target_options
@click.option("-y", "--yes", is_flag=True, help="Don't ask for confirmation.")
def empty(target: Target, yes: bool) -> None:
    """Permanently remove all runs in the trash, and print the space freed.

    Runs to which a model version is pinned are skipped and listed, and the exit code is 1.
    """
    die_at_interrupt()
    with target.open_client(writes=True) as client:
        ids = _list_trash(client)
        if ids and not yes:
            count = "1 run" if len(ids) == 1 else f"{len(ids)} runs"
            click.confirm(f"Permanently remove {count}?", abort=True, err=True)
        _remove(client, ids, [])


def _post(client: Client, run_id: str, action: str) -> None:
    client.ask("POST", build_path("api", "w", "runs", run_id, action)).json()


def _list_trash(client: Client) -> list[str]:
    """Return the ids of the runs in the trash. Raises ApiError, Unreachable."""
    ids: list[str] = []
    while True:
        query = [("deleted", "true"), ("limit", str(_PAGE_RUNS)), ("offset", str(len(ids)))]
        with expect_our_api(client):
            page = [str(run["id"]) for run in client.get("/api/runs", query)]
        ids += page
        if len(page) < _PAGE_RUNS:
            return ids


def _remove(client: Client, ids: Sequence[str], others: Iterable[str]) -> None:
    freed_bytes = 0

    def act(run_id: str) -> None:
        nonlocal freed_bytes
        with expect_our_api(client), client.ask("DELETE", build_path("api", "w", "runs", run_id)) as answer:
            freed_bytes += int(answer.headers["x-freed-bytes"])

    failures = _apply(ids, act)
    failures += [f"{run_id}: not in the trash; `chachaml-lite delete` moves it there" for run_id in others]
    count = len(ids) - len([text for text in failures if text.partition(":")[0] in set(ids)])
    _end(f"{count} removed, {format_size(freed_bytes)} freed", failures)


def _apply_and_report(ids: Sequence[str], act: Callable[[str], None], action: str) -> None:
    failures = _apply(ids, act)
    _end(f"{len(ids) - len(failures)} {action}", failures)


def _apply(ids: Sequence[str], act: Callable[[str], None]) -> list[str]:
    """Apply `act` to each run or artifact, and return a line for each failure.

    Raises ApiError, Unreachable for errors that concern all of them.
    """
    failures = []
    for run_id in ids:
        try:
            act(run_id)
        except ApiError as fault:
            if fault.status not in _OF_THE_RUN or fault.error == "not found":
                raise
            failures.append(f"{run_id}: {describe(fault)}")
    return failures


def _end(text: str, failures: Sequence[str]) -> None:
    for line in failures:
        click.echo(f"chachaml-lite: {printable(line)}", err=True)
    print_text(text + "\n")
    if failures:
        sys.exit(FAILED)
