"""`chachaml-lite ci start` and `ci finish`: a server for the steps of a CI job, with a report and checks at the end.

The options also read the INPUT_... variables that GitHub's actions set.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_STATE = click.option(
    "--state",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the job's state, the same for both commands.  [default: on GitHub its own, else .chachaml-ci]",
)
_TOKEN = click.option(
    "--token",
    metavar="TOKEN",
    envvar=["INPUT_TOKEN", "CHACHAML_TOKEN"],
    default="",
    help="Token of the server.  [env var: CHACHAML_TOKEN]",
)


def _input(name: str, variable: str, help: str, **settings: Any) -> Callable[[F], F]:
    """Return an option that is also an input of the action; an empty value counts as absent."""
    return click.option(name, envvar=f"INPUT_{variable}", default="", help=help, **settings)


@click.group(
    epilog="""\b
Examples:
  chachaml-lite ci start --experiment iris --id nightly --state /tmp/job --data /tmp/runs
  chachaml-lite ci finish --run nightly --state /tmp/job
"""
)
def ci() -> None:
    """Run a server for a CI job, with a report and checks at its end."""


@ci.command(
    epilog="""\b
Examples:
  eval "$(chachaml-lite ci start --experiment iris)"
  eval "$(chachaml-lite ci start --experiment iris --id "ci-$CI_JOB_ID" --data runs)"
"""
)
@_input("--experiment", "EXPERIMENT", "Start a run in this experiment; without it, only the server.", metavar="NAME")
@_input("--name", "NAME", "Name of the run.", metavar="NAME")
@click.option("--id", "run_id", metavar="ID", default="", help="Id of the run.  [default: on GitHub, one of the job]")
@_input("--suffix", "SUFFIX", "End of the run's id on GitHub, by default the values of the matrix.", metavar="TEXT")
@_input("--port", "PORT", "Port on localhost.  [default: a free one]", metavar="PORT")
@_input("--data", "DATA", "Folder of the store.  [default: artifacts; on GitHub beside the workspace]", metavar="DIR")
@_TOKEN
@_STATE
def start(
    experiment: str, name: str, run_id: str, suffix: str, port: str, data: str, token: str, state: Path | None
) -> None:
    """Start a server that outlives this step and, with --experiment, a run.

    On GitHub Actions later steps find them in CHACHAML_URL and CHACHAML_RUN_ID; elsewhere these are printed as a
    shell's `export NAME=value` lines.
    """
    from ..sidecar.job import current_job
    from ..sidecar.start import StartOptions
    from ..sidecar.start import start as start_step

    options = StartOptions(
        experiment.strip(),
        name.strip(),
        run_id,
        suffix.strip(),
        port.strip() or "0",
        Path(data.strip()) if data.strip() else None,
        token.strip(),
    )
    sys.exit(start_step(current_job(state), options))


@ci.command(
    epilog="""\b
Examples:
  chachaml-lite ci finish --rule 'accuracy>=0.9'
  chachaml-lite ci finish --job-status "$CI_JOB_STATUS" --rule 'loss<=baseline*1.02'
  chachaml-lite ci finish --html report.html
"""
)
@click.option("--rule", "rules", metavar="RULE", multiple=True, help="A rule that the run must pass; may be repeated.")
@click.option("--rules", "rule_text", metavar="TEXT", envvar="INPUT_CHECKS", default="", help="Rules, one per line.")
@_input("--baseline", "BASELINE", "Run to compare with: an id, latest:EXPERIMENT or production:MODEL.", metavar="RUN")
@_input(
    "--run", "RUN_ID", "The run to finish, if not the one that was started.  [default: $CHACHAML_RUN_ID]", metavar="ID"
)
@_input(
    "--job-status", "JOB_STATUS", "Status of the job: success (the default), failure or cancelled.", metavar="STATUS"
)
@_input("--html", "HTML", "Write the run's page as one HTML file; of several runs, their comparison.", metavar="FILE")
@_TOKEN
@_STATE
@click.option("--started-run", envvar="CHACHAML_RUN_ID", default="", hidden=True)
def finish(
    rules: tuple[str, ...],
    rule_text: str,
    baseline: str,
    run: str,
    job_status: str,
    html: str,
    token: str,
    state: Path | None,
    started_run: str,
) -> None:
    """End the job's run, report and check it, and stop the server.

    The exit code is 1 if a rule fails or something else went wrong. The report is appended to GitHub's job summary;
    elsewhere it is the file summary.md of the job's state.
    """
    from ..sidecar.checks import parse_rules
    from ..sidecar.finish import FinishOptions
    from ..sidecar.finish import finish as finish_step
    from ..sidecar.job import current_job

    options = FinishOptions(
        [*rules, *parse_rules(rule_text)],
        baseline.strip(),
        run.strip(),
        started_run.strip(),
        job_status.strip() or "success",
        token.strip(),
        Path(html.strip()) if html.strip() else None,
    )
    sys.exit(finish_step(current_job(state), options))
