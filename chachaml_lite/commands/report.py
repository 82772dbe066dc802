"""`chachaml-lite report`: a run, or an experiment's runs, to be put into a job's summary, a mail or a terminal."""

from __future__ import annotations

import json

import click

from ..client.base import ApiError, Client, path_of
from ..text.gfm import code
from ..text.safe import escape_json, printable
from .completion import run_ids_and_experiments
from .errors import USAGE, CommandError
from .printing import print_answer, print_json, print_text
from .run_names import names_a_run, run_id_of
from .targets import client_options

#: As many runs as one answer has.
_MOST_RUNS = "1000"


@click.command(
    short_help="Report a run, or an experiment, in Markdown.",
    epilog="""\b
Examples:
  chachaml-lite report latest:iris >> "${GITHUB_STEP_SUMMARY:-summary.md}"
  chachaml-lite report iris --format txt
""",
)
@client_options
@click.option("--format", "form", type=click.Choice(["md", "txt", "json"]), default="md", show_default=True)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.argument("name", metavar="RUN|EXPERIMENT", shell_complete=run_ids_and_experiments)
def report(client: Client, name: str, form: str) -> None:
    """Report a run with its curves, or an experiment with the table of its runs.

    RUN is an id, latest:EXPERIMENT (its newest completed run), or production:MODEL (the run behind it). Markdown is
    what GitHub draws in a job's summary. A name that is both a run's and an experiment's is the run's.
    """
    if not names_a_run(name):
        _print_experiment(client, name, form)
        return
    asked = path_of("api", "runs", run_id_of(client, name))
    try:
        print_answer(client.ask("GET", asked, [("format", form)]))
    except ApiError as fault:
        if fault.status != 404:
            raise
        _print_experiment(client, name, form)


def _print_experiment(client: Client, name: str, form: str) -> None:
    """The report of an experiment. Ends the process where there is none of this name."""
    wanted = [("experiment", name), ("limit", _MOST_RUNS)]
    known = {each["name"]: each for each in client.get("/api/experiments")}
    if name not in known:
        raise CommandError(f"there is no run and no experiment {name!r}", USAGE)
    if form == "json":
        shown = {"experiment": known[name], "runs": client.get("/api/runs", wanted)}
        print_json((escape_json(json.dumps(shown, ensure_ascii=False)) + "\n").encode())
        return
    table = client.ask("GET", "/api/runs", [*wanted, ("format", form)])
    print_text((f"## {code(name)}" if form == "md" else printable(name)) + "\n\n")
    print_answer(table)
