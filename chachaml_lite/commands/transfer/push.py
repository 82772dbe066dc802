"""`chachaml-lite push`: copy runs to a server, which only gets the parts that it lacks."""

from __future__ import annotations

from dataclasses import replace

import click

from ...client.base import Client, Unreachable
from ...client.http import HttpClient
from ...client.push import NotPushed, Push, Stopped
from ...config import Config
from ..completion import run_ids
from ..errors import UNREACHABLE, USAGE, CommandError
from ..options import option
from ..printing import announce, has_progress, progress
from ..run_filters import experiment_option, query_option
from ..run_names import count_unreadable_runs, find_runs, run_id_of
from ..targets import Target, die_at_interrupt, target_options
from .report import TransferReport


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
@option("--to-token", metavar="TOKEN", help="Token of the server at URL, if it has one.")
@experiment_option
@query_option
@click.option(
    "--overwrite",
    is_flag=True,
    help="Where tags or notes differ, replace the server's; its other ones are kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.argument("to", metavar="URL")
@click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=run_ids)
def push(
    target: Target,
    to_token: str | None,
    experiment: str | None,
    q: str | None,
    overwrite: bool,
    as_json: bool,
    to: str,
    runs: tuple[str, ...],
) -> None:
    """Push runs to the server at URL: params, points, artifacts, tags, notes, with their ids and times.

    They come from the server at --url or the folder at --data; by default from ./artifacts or, if that doesn't
    exist, from the server on this machine. Without RUN, all runs are pushed. RUN is an id or a unique prefix of
    one, latest:EXPERIMENT (its newest completed run), or production:MODEL. Models and the descriptions of
    experiments are not pushed.

    Only missing parts are sent, and each file is verified by its sha256. A push can be interrupted at any time, and the
    next one continues; a repeated push sends nothing. A run that is still running can be pushed repeatedly; all its
    points are then sent again. A run with more than 64 MiB of artifacts arrives in parts, and is shown as running
    until the last one.

    The exit code is 1 if a run can't be pushed because it contradicts the target's copy or is damaged; the others are
    pushed anyway. It is 2 if there is no such run or a token is wrong, and 3 if a server is unreachable.
    """
    if runs and (experiment is not None or q is not None):
        raise click.UsageError("use either RUN, or --experiment and --query")
    die_at_interrupt()
    note = ""
    if target.url is None and target.data is None and (Config.data / "runs").is_dir():
        target, note = replace(target, data=Config.data), " (the default without --data and --url)"
    with target.open_client() as source, HttpClient(to, to_token) as push_target:
        if runs:
            ids = list(dict.fromkeys(run_id_of(source, run) for run in runs))
        else:
            ids = list(dict.fromkeys(str(run["id"]) for run in find_runs(source, experiment, q)))
        announce(f"pushing from {source.url}{note} to {push_target.url}", as_json=as_json)
        report = TransferReport("id")
        if not runs and experiment is None and q is None:
            report.unreadable = count_unreadable_runs(source)
        try:
            _push(source, push_target, ids, report, overwrite=overwrite, has_names=bool(runs))
        except (Unreachable, Stopped) as fault:
            report.show(as_json=as_json)
            text = f"{report.count()} of {len(ids)} runs are done; the next push continues from there"
            is_server_fault = isinstance(fault, Unreachable) or fault.status >= 500
            raise CommandError(f"{fault}; {text}", UNREACHABLE if is_server_fault else USAGE) from fault
    report.end(as_json=as_json)


def _push(
    source: Client, push_target: Client, ids: list[str], report: TransferReport, *, overwrite: bool, has_names: bool
) -> None:
    pusher = Push(source, push_target, overwrite=overwrite)
    differing, unchanged, unknown_ids = pusher.compare(ids)
    if has_names and unknown_ids:
        raise CommandError(f"there is no run {unknown_ids[0]!r}", USAGE)
    report.runs["unchanged"] += unchanged
    total = sum(_bytes_of(pusher, run_id) for run_id in differing) if has_progress() else 0
    report.bytes = 0
    with progress("pushing", total) as advance:

        def advance_both(count: int) -> None:
            report.bytes = (report.bytes or 0) + count
            advance(count)

        for run_id in differing:
            try:
                report.runs[pusher.push(run_id, advance_both)].append(run_id)
            except NotPushed as fault:
                report.add_failure(run_id, fault)


def _bytes_of(pusher: Push, run_id: str) -> int:
    try:
        return pusher.bytes_of(run_id)
    except NotPushed:  # reported when the run is pushed
        return 0
