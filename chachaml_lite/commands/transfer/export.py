"""`chachaml-lite export`: runs brought to an MLflow tracking server, by those who have outgrown one machine."""

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
from ..completion import experiments, run_ids
from ..errors import FAILED, UNREACHABLE, USAGE, CommandError
from ..printing import has_progress, print_json, print_text, say
from ..run_names import find_runs, run_id_of, unreadable_message, unreadable_runs
from ..targets import Target, target_options
from ..value_checks import check_query

if TYPE_CHECKING:
    from ...export.transfer import Outcome


@click.command(
    short_help="Bring runs to an MLflow tracking server.",
    epilog="""\b
Examples:
  chachaml-lite export --to mlflow --tracking-uri http://localhost:5000
  chachaml-lite export --to mlflow --tracking-uri http://localhost:5000 latest:iris --json | jq '.runs[].url'
""",
)
@target_options
@click.option("--to", "kind", type=click.Choice(["mlflow"]), required=True, help="What is exported to.")
@click.option(
    "--tracking-uri",
    metavar="URI",
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    required=True,
    help="The MLflow tracking server, as http://HOST:5000.",
)
@click.option("-e", "--experiment", metavar="NAME", shell_complete=experiments, help="Only runs of this experiment.")
@click.option(
    "-q",
    "--query",
    "q",
    callback=check_query,
    metavar="QUERY",
    help="Only runs that match the query; its grammar is on the page /docs/api of a server.",
)
@click.option("--json", "as_json", is_flag=True, help="What was done with each run, as JSON.")
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
    """Export runs to MLflow: params, metrics with every point, tags, artifacts, data sets, notes.

    It needs MLflow's client (pip install 'chachaml-lite[mlflow]'). Without RUN all runs are exported, or those that -e
    and -q find. Once more, it sends only what is new, and goes on where an export was cut off; what was removed here
    stays there. What MLflow refuses, as names with ? or values that are too long, is changed, told, and kept as it was
    in the artifact chachaml-run.json. A run that can't be exported is named, and the exit code is 1.

    RUN is an id or a beginning that no other id has, latest:EXPERIMENT (its newest completed run), or production:MODEL.
    """
    from ...export.mlflow_server import MlflowServer, NotInstalled, Rejected  # the other commands start without
    from ...export.transfer import Transfer

    if runs and (experiment is not None or q is not None):
        raise click.UsageError("RUN names runs, and -e and -q find some; say one of them")
    if not tracking_uri.startswith(("http://", "https://")):
        raise click.UsageError(f"--tracking-uri takes a server, as http://HOST:5000, and it is {tracking_uri!r}")
    if set("@?#") & set(tracking_uri):  # what is a secret there would be shown wherever the URI is
        raise click.UsageError(
            "--tracking-uri takes no user, ? or #; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    outcomes: list[Outcome] = []
    gone: Unreachable | None = None
    with interruptible(), target.opened() as client:
        unreadable = unreadable_runs(client) if not runs and experiment is None and q is None else 0
        found = _named(client, runs) if runs else _found(client, experiment, q)
        try:
            server = MlflowServer(tracking_uri)
            with _progress(len(found)) as (advance, show):
                transfer = Transfer(client, server, show)
                for run in found:
                    outcomes.append(transfer.export(run["id"], run["experiment"]))
                    advance(outcomes[-1])
        except (NotInstalled, Rejected) as fault:
            raise CommandError(str(fault), USAGE) from fault
        except Unreachable as fault:
            if not outcomes:
                raise CommandError(str(fault), UNREACHABLE) from fault
            gone = fault
    _print(tracking_uri, outcomes, unreadable, as_json=as_json, is_cut_short=gone is not None)
    if gone is not None:
        raise CommandError(
            f"{gone}; {len(outcomes)} of {len(found)} runs are done, the same command goes on from there", UNREACHABLE
        )
    if unreadable:
        raise CommandError(unreadable_message(unreadable), FAILED)
    if any(outcome.result == "failed" for outcome in outcomes):
        sys.exit(FAILED)


def _named(client: Client, words: Sequence[str]) -> list[dict[str, Any]]:
    """The runs that the words name, each once, parents before their children. Ends the process where one is none."""
    ids = dict.fromkeys(run_id_of(client, word) for word in words)
    return _parents_first([client.get(build_path("api", "runs", run_id)) for run_id in ids])


def _found(client: Client, experiment: str | None, q: str | None) -> list[dict[str, Any]]:
    """The runs that are found, parents before their children, otherwise as they were started."""
    wanted = ("id", "experiment", "parent_run_id")  # of ten thousand runs no more
    return _parents_first([{key: run[key] for key in wanted} for run in find_runs(client, experiment, q)])


def _parents_first(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    left = {run["id"]: run for run in runs}
    ordered = []
    for run in runs:
        line = []
        above: dict[str, Any] | None = left.get(run["id"])
        while above is not None:
            line.append(left.pop(above["id"]))
            above = left.get(above["parent_run_id"])
        ordered += reversed(line)
    return ordered


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it Ctrl-C and SIGTERM end us in order: nothing temporary is left. Then they end us as they would."""
    received: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        say("stopped; the same command goes on from here")
        die_of(signal.Signals(received[0]))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(count: int) -> Iterator[tuple[Callable[[Outcome], Any], Callable[[str], Any]]]:
    """A bar on stderr, where that is a terminal: what goes on when a run is done, and what shows how far it is."""
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
        shown = {"ok": ok, "tracking_uri": tracking_uri, "runs": [asdict(outcome) for outcome in outcomes]}
        print_json((escape_json(json.dumps(shown, ensure_ascii=False)) + "\n").encode())
        return
    lines = []
    for outcome in outcomes:
        if outcome.result != "unchanged":
            lines.append(f"{outcome.result:<9} {outcome.id}: {_told(outcome)}")
            lines += [f"          {change}" for change in outcome.changed]
    counts = Counter(outcome.result for outcome in outcomes)
    counted = "1 run" if len(outcomes) == 1 else f"{len(outcomes)} runs"
    lines.append(f"{counted}: {', '.join(f'{number} {result}' for result, number in counts.items())}".rstrip(": "))
    print_text("".join(f"{printable(line)}\n" for line in lines))


def _told(outcome: Outcome) -> str:
    if outcome.error is not None:
        return outcome.error
    if outcome.result == "deleted":
        return "it was deleted in MLflow, and is left alone; `mlflow runs restore` brings it back"
    counts = ((outcome.points, "point"), (outcome.artifacts, "artifact"))
    counted = " and ".join(f"{number} {what}{'' if number == 1 else 's'}" for number, what in counts)
    return f"{counted}, {outcome.url}"
