"""`chachaml-lite export`: runs to an MLflow tracking server, for users who have outgrown one machine."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ...client.base import Client, Unreachable, build_path
from ...text.safe import escape_json, printable
from ..child import die_of
from ..completion import run_ids
from ..errors import FAILED, UNREACHABLE, USAGE, CommandError
from ..printing import has_progress, print_json, print_text, say
from ..run_filters import experiment_option, query_option
from ..run_names import count_unreadable_runs, find_runs, format_unreadable, run_id_of
from ..targets import Target, target_options

if TYPE_CHECKING:
    from ...export.transfer import Outcome


@click.command(
    short_help="Export runs to an MLflow tracking server.",
    epilog="""\b
Examples:
  chachaml-lite export --to mlflow --tracking-uri http://localhost:5000
  chachaml-lite export --to mlflow --tracking-uri http://localhost:5000 latest:iris --json | jq '.runs[].url'
""",
)
@target_options
@click.option("--to", "kind", type=click.Choice(["mlflow"]), required=True, help="The kind of server to export to.")
@click.option(
    "--tracking-uri",
    metavar="URI",
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    required=True,
    help="URL of the MLflow tracking server, such as http://HOST:5000.",
)
@experiment_option
@query_option
@click.option("--json", "as_json", is_flag=True, help="Print the result of each run as JSON.")
@click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=run_ids)
def export(
    target: Target,
    kind: str,
    tracking_uri: str,
    experiment: str | None,
    q: str | None,
    as_json: bool,
    runs: tuple[str, ...],
) -> None:
    """Export runs to MLflow: params, metrics with every point, tags, artifacts, datasets, notes.

    It needs MLflow's client (pip install 'chachaml-lite[mlflow]'). Without RUN, all runs are exported, or those that
    match -e and -q. A repeated export sends only what is new, and continues after an interruption; what was deleted
    here is not deleted there. Names and values that MLflow rejects, such as names with ? or long values, are changed
    and reported, and the artifact chachaml-run.json has the originals. A run that can't be exported is reported, and
    the exit code is 1.

    RUN is an id or a unique prefix of one, latest:EXPERIMENT (its newest completed run), or production:MODEL.
    """
    from ...export.mlflow_server import MlflowServer, NotInstalled, Rejected  # slow to import
    from ...export.transfer import Transfer

    if runs and (experiment is not None or q is not None):
        raise click.UsageError("use either RUN, or -e and -q")
    if not tracking_uri.startswith(("http://", "https://")):
        raise click.UsageError(
            f"--tracking-uri takes the URL of a server, such as http://HOST:5000, not {tracking_uri!r}"
        )
    if set("@?#") & set(tracking_uri):  # a secret in it would be visible wherever the URI is displayed
        raise click.UsageError(
            "--tracking-uri can't have a user, ? or #; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    outcomes: list[Outcome] = []
    error: Unreachable | None = None
    with interruptible(), target.open_client() as client:
        unreadable = count_unreadable_runs(client) if not runs and experiment is None and q is None else 0
        runs_to_export = _resolve_runs(client, runs) if runs else _match_runs(client, experiment, q)
        try:
            server = MlflowServer(tracking_uri)
            with _progress(len(runs_to_export)) as (advance, show):
                transfer = Transfer(client, server, show)
                for run in runs_to_export:
                    outcomes.append(transfer.export(run["id"], run["experiment"]))
                    advance(outcomes[-1])
        except (NotInstalled, Rejected) as fault:
            raise CommandError(str(fault), USAGE) from fault
        except Unreachable as fault:
            if not outcomes:
                raise CommandError(str(fault), UNREACHABLE) from fault
            error = fault
    _print(tracking_uri, outcomes, unreadable, as_json=as_json, is_cut_short=error is not None)
    if error is not None:
        raise CommandError(
            f"{error}; {len(outcomes)} of {len(runs_to_export)} runs are done, the same command continues from there",
            UNREACHABLE,
        )
    if unreadable:
        raise CommandError(format_unreadable(unreadable), FAILED)
    if any(outcome.result == "failed" for outcome in outcomes):
        sys.exit(FAILED)


def _resolve_runs(client: Client, words: Sequence[str]) -> list[dict[str, Any]]:
    """Return the runs with these names, without duplicates, parents before children. Raises CommandError."""
    ids = dict.fromkeys(run_id_of(client, word) for word in words)
    return _parents_first([client.get(build_path("api", "runs", run_id)) for run_id in ids])


def _match_runs(client: Client, experiment: str | None, q: str | None) -> list[dict[str, Any]]:
    """Return the matching runs, parents before children, otherwise in the order of their start."""
    fields = ("id", "experiment", "parent_run_id")  # there may be ten thousand runs
    return _parents_first([{key: run[key] for key in fields} for run in find_runs(client, experiment, q)])


def _parents_first(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    remaining = {run["id"]: run for run in runs}
    result = []
    for run in runs:
        ancestors = []
        above: dict[str, Any] | None = remaining.get(run["id"])
        while above is not None:
            ancestors.append(remaining.pop(above["id"]))
            above = remaining.get(above["parent_run_id"])
        result += reversed(ancestors)
    return result


@contextmanager
def interruptible() -> Iterator[None]:
    """Clean up temporary files on Ctrl-C and SIGTERM within a with block, then let the signal kill the process."""
    signals: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        say("stopped; the same command continues from here")
        die_of(signal.Signals(signals[0]))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(count: int) -> Iterator[tuple[Callable[[Outcome], Any], Callable[[str], Any]]]:
    """Show a progress bar on stderr, if that is a terminal; yield functions to advance it and to set its text."""
    if not has_progress():
        yield lambda outcome: None, lambda text: None
        return
    with click.progressbar(
        length=count, label="exporting", file=sys.stderr, item_show_func=lambda item: item or ""
    ) as bar:

        def show(text: str) -> None:
            bar.current_item = text
            bar.render_progress()

        yield lambda outcome: bar.update(1, ""), show


def _print(
    tracking_uri: str, outcomes: Sequence[Outcome], unreadable: int, *, as_json: bool, is_cut_short: bool
) -> None:
    if as_json:
        ok = not unreadable and not any(outcome.result == "failed" for outcome in outcomes) and not is_cut_short
        report = {"ok": ok, "tracking_uri": tracking_uri, "runs": [asdict(outcome) for outcome in outcomes]}
        print_json((escape_json(json.dumps(report, ensure_ascii=False)) + "\n").encode())
        return
    lines = []
    for outcome in outcomes:
        if outcome.result != "unchanged":
            lines.append(f"{outcome.result:<9} {outcome.id}: {_describe(outcome)}")
            lines += [f"          {change}" for change in outcome.changed]
    counts = Counter(outcome.result for outcome in outcomes)
    count = "1 run" if len(outcomes) == 1 else f"{len(outcomes)} runs"
    lines.append(f"{count}: {', '.join(f'{number} {result}' for result, number in counts.items())}".rstrip(": "))
    print_text("".join(f"{printable(line)}\n" for line in lines))


def _describe(outcome: Outcome) -> str:
    if outcome.error is not None:
        return outcome.error
    if outcome.result == "deleted":
        return "it was deleted in MLflow, and was skipped; `mlflow runs restore` brings it back"
    counts = ((outcome.points, "point"), (outcome.artifacts, "artifact"))
    text = " and ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in counts)
    return f"{text}, {outcome.url}"
