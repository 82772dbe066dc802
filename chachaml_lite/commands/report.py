"""`chachaml-lite report`: a run, or an experiment's runs, to be put into a job's summary, a mail or a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from ..client.base import Answer, ApiError, Client, build_path
from ..text.gfm import code
from ..text.safe import escape_json, printable
from .completion import run_ids_and_experiments
from .errors import USAGE, CommandError
from .printing import print_answer, print_file, print_json, print_text
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
  chachaml-lite report latest:iris --format html > run.html
""",
)
@client_options
@click.option("--format", "form", type=click.Choice(["md", "txt", "json", "html"]), default="md", show_default=True)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.argument("name", metavar="RUN|EXPERIMENT", shell_complete=run_ids_and_experiments)
def report(client: Client, name: str, form: str) -> None:
    """Report a run with its curves, or an experiment with the table of its runs.

    RUN is an id or a beginning that no other id has, latest:EXPERIMENT (its newest completed run), or production:MODEL.
    Markdown is what GitHub draws in a job's summary; HTML is a run's page as one file, with charts and images. An id
    counts before an experiment, and that before a beginning.
    """

    def ask(run_id: str) -> Answer:
        path = ("runs", run_id) if form == "html" else ("api", "runs", run_id)  # the file is the page's
        return client.ask("GET", build_path(*path), [("format", form)], headers={"Accept": "application/json"})

    answer = None
    if names_a_run(name):
        try:
            answer = ask(run_id_of(client, name, whole=True))
        except ApiError as fault:
            if fault.error != "no such run":
                raise
    if answer is None:
        known = {each["name"]: each for each in client.get("/api/experiments")}
        if name in known:
            if form == "html":
                raise CommandError("an experiment has no report as HTML; name a run, as in latest:EXPERIMENT", USAGE)
            _print_experiment(client, known[name], form)
            return
        longer = run_id_of(client, name) if names_a_run(name) else name
        if longer == name:
            raise CommandError(f"there is no run and no experiment {name!r}", USAGE)
        answer = ask(longer)
    if form == "html":
        print_file(answer)
    else:
        print_answer(answer)


def _print_experiment(client: Client, experiment: Mapping[str, Any], form: str) -> None:
    """Print the report of an experiment, which is as GET /api/experiments has it."""
    name = experiment["name"]
    wanted = [("experiment", name), ("limit", _MOST_RUNS)]
    if form == "json":
        shown = {"experiment": experiment, "runs": client.get("/api/runs", wanted)}
        print_json((escape_json(json.dumps(shown, ensure_ascii=False)) + "\n").encode())
        return
    table = client.ask("GET", "/api/runs", [*wanted, ("format", form)])
    print_text((f"## {code(name)}" if form == "md" else printable(name)) + "\n\n")
    print_answer(table)
