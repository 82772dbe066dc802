"""`chachaml-lite report`: a run, or an experiment's runs, for a job's summary, an email or a terminal."""

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
from .run_names import is_run_name, run_id_of
from .targets import client_options

#: The API's limit for one response.
_MOST_RUNS = "1000"


@click.command(
    short_help="Report on a run or an experiment, in Markdown.",
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
    """Report on a run with its curves, or on an experiment with the table of its runs.

    RUN is an id or a unique prefix of one, latest:EXPERIMENT (its newest completed run), or production:MODEL.
    Markdown is for GitHub's job summaries; HTML is a run's page as a single file, with charts and images. An id takes
    precedence over an experiment, and an experiment over the prefix of an id.
    """

    def ask(run_id: str) -> Answer:
        path = ("runs", run_id) if form == "html" else ("api", "runs", run_id)  # the HTML file comes from the page
        return client.ask("GET", build_path(*path), [("format", form)], headers={"Accept": "application/json"})

    answer = None
    if is_run_name(name):
        try:
            answer = ask(run_id_of(client, name, whole=True))
        except ApiError as fault:
            if fault.error != "no such run":
                raise
    if answer is None:
        experiments = {each["name"]: each for each in client.get("/api/experiments")}
        if name in experiments:
            if form == "html":
                raise CommandError(
                    "there is no HTML report of an experiment; use a run, such as latest:EXPERIMENT", USAGE
                )
            _print_experiment(client, experiments[name], form)
            return
        run_id = run_id_of(client, name) if is_run_name(name) else name
        if run_id == name:
            raise CommandError(f"there is no run and no experiment {name!r}", USAGE)
        answer = ask(run_id)
    if form == "html":
        print_file(answer)
    else:
        print_answer(answer)


def _print_experiment(client: Client, experiment: Mapping[str, Any], form: str) -> None:
    """Print the report of an experiment, given as in GET /api/experiments."""
    name = experiment["name"]
    query = [("experiment", name), ("limit", _MOST_RUNS)]
    if form == "json":
        value = {"experiment": experiment, "runs": client.get("/api/runs", query)}
        print_json((escape_json(json.dumps(value, ensure_ascii=False)) + "\n").encode())
        return
    table = client.ask("GET", "/api/runs", [*query, ("format", form)])
    print_text((f"## {code(name)}" if form == "md" else printable(name)) + "\n\n")
    print_answer(table)
