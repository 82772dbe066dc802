"""`chachaml-lite push`: runs of a store copied to a server, what is there already left alone."""

from __future__ import annotations

from dataclasses import replace

import click

from ...client.base import Client, Unreachable
from ...client.http import HttpClient
from ...client.push import NotPushed, Push, Stopped
from ...config import Config
from ..completion import experiments, run_ids
from ..errors import UNREACHABLE, USAGE, CommandError
from ..options import option
from ..printing import announce, has_progress, progress
from ..run_names import find_runs, run_id_of, unreadable_runs
from ..targets import Target, die_at_interrupt, target_options
from ..value_checks import check_query
from .report import Moved


@click.command(
    short_help="Copy runs to another server.",
    epilog="""\b
Examples:
  chachaml-lite push https://tracker.example.org
  chachaml-lite push https://tracker.example.org --data artifacts latest:iris
  chachaml-lite push https://tracker.example.org -e iris -q 'metrics.accuracy > 0.9' --json | jq .imported
""",
)
@target_options
@option("--to-token", metavar="TOKEN", help="The token of the server at URL, where it has one.")
@click.option("-e", "--experiment", metavar="NAME", shell_complete=experiments, help="Only runs of this experiment.")
@click.option(
    "-q",
    "--query",
    callback=check_query,
    metavar="QUERY",
    help="Only runs that match the query; its grammar is on the page /docs/api of a server.",
)
@click.option(
    "--overwrite", is_flag=True, help="Where tags and notes differ there, take those of here; what is only there stays."
)
@click.option("--json", "as_json", is_flag=True, help="What was done as JSON.")
@click.argument("to", metavar="URL")
@click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=run_ids)
def push(
    target: Target,
    to_token: str | None,
    experiment: str | None,
    query: str | None,
    overwrite: bool,
    as_json: bool,
    to: str,
    runs: tuple[str, ...],
) -> None:
    """Push runs to the server at URL: params, points, artifacts, tags, notes, with their ids and times.

    They come from the server at --url or the folder at --data; where neither is named, from ./artifacts, and where
    that isn't there, from the server on this machine. Without RUN all runs are pushed. RUN is an id or a beginning that
    no other id has, latest:EXPERIMENT (its newest completed run), or production:MODEL. Models and the descriptions of
    experiments are not pushed.

    Only what is not there yet is sent, and what arrives is held against its sha256. A push can be stopped at any
    moment, and the next one goes on; one that is repeated sends nothing. A run that is still running can be pushed
    again and again; its points are then sent whole. A run of more than 64 MiB of artifacts arrives in parts, and is
    shown as running until its last.

    The exit code is 1 when a run can't be pushed, because it contradicts what is there, or is damaged; the others
    are pushed all the same. It is 2 when there is no such run or a token is wrong, and 3 when nobody answers.
    """
    if runs and (experiment is not None or query is not None):
        raise click.UsageError("say either which runs, or by --experiment and --query what they are like")
    die_at_interrupt()
    note = ""
    if target.url is None and target.data is None and (Config.data / "runs").is_dir():
        target, note = replace(target, data=Config.data), " (neither --data nor --url names another place)"
    with target.opened() as source, HttpClient(to, to_token) as there:
        if runs:
            ids = list(dict.fromkeys(run_id_of(source, run) for run in runs))
        else:
            ids = list(dict.fromkeys(str(run["id"]) for run in find_runs(source, experiment, query)))
        announce(f"pushing from {source.url}{note} to {there.url}", as_json=as_json)
        moved = Moved("id")
        if not runs and experiment is None and query is None:
            moved.unreadable = unreadable_runs(source)
        try:
            _push(source, there, ids, moved, overwrite=overwrite, named=bool(runs))
        except (Unreachable, Stopped) as fault:
            moved.show(as_json=as_json)
            done = f"{moved.count()} of {len(ids)} runs were gone through; the next push goes on from there"
            is_theirs = isinstance(fault, Unreachable) or fault.status >= 500
            raise CommandError(f"{fault}; {done}", UNREACHABLE if is_theirs else USAGE) from fault
    moved.end(as_json=as_json)


def _push(source: Client, there: Client, ids: list[str], moved: Moved, *, overwrite: bool, named: bool) -> None:
    pushing = Push(source, there, overwrite=overwrite)
    differing, same, gone = pushing.compare(ids)
    if named and gone:
        raise CommandError(f"there is no run {gone[0]!r}", USAGE)
    moved.done["unchanged"] += same
    total = sum(_bytes_of(pushing, run_id) for run_id in differing) if has_progress() else 0
    moved.bytes = 0
    with progress("pushing", total) as advance:

        def sent(count: int) -> None:
            moved.bytes = (moved.bytes or 0) + count
            advance(count)

        for run_id in differing:
            try:
                moved.done[pushing.push(run_id, sent)].append(run_id)
            except NotPushed as fault:
                moved.fail(run_id, fault)


def _bytes_of(pushing: Push, run_id: str) -> int:
    try:
        return pushing.bytes_of(run_id)
    except NotPushed:  # said when its turn comes
        return 0
