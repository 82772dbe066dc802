"""`chachaml-lite end`: end a run by hand or from a script."""

from __future__ import annotations

import click

from ..client.base import build_path
from ..tracking.runs import ENDINGS
from .completion import run_ids
from .printing import print_text
from .run_names import request_run
from .targets import Target, die_at_interrupt, target_options


@click.command(
    short_help="End a run.",
    epilog="""\b
Examples:
  chachaml-lite end "$CHACHAML_RUN_ID"
  chachaml-lite end "$CHACHAML_RUN_ID" --exit-code $?
""",
)
@target_options
@click.option("--status", type=click.Choice(ENDINGS), help="Final status of the run.  [default: completed]")
@click.option("--error", metavar="TEXT", help="Mark the run as failed, with this reason.")
@click.option(
    "--exit-code",
    type=int,
    metavar="N",
    help="Derive the status from a command's exit code: 0 is completed, anything else failed.",
)
@click.argument("run", shell_complete=run_ids)
def end(target: Target, run: str, status: str | None, error: str | None, exit_code: int | None) -> None:
    """End a run as completed or failed, or by the exit code of its command.

    Ending it again in the same way changes nothing; in another way it is an error. `chachaml-lite run --resume`
    continues a run that has ended.

    RUN is an id or a unique prefix of one, latest:EXPERIMENT (its newest completed run), or production:MODEL.
    """
    if exit_code is not None and (status is not None or error is not None):
        raise click.UsageError("--exit-code determines the status; leave out --status and --error")
    if error is not None and status == "completed":
        raise click.UsageError("--error marks the run as failed, but --status is completed; leave out one of them")
    die_at_interrupt()
    with target.open_client(writes=True) as client:
        if exit_code is not None:
            status = "failed" if exit_code else "completed"
        status = status or ("completed" if error is None else "failed")
        body = {"status": status} if error is None else {"status": status, "error": error}

        def end_run(run_id: str) -> str:
            path = build_path("api", "w", "runs", run_id, "end")
            if exit_code is not None:
                client.ask("POST", path, [("exit_code", str(exit_code))]).json()
            else:
                client.post(path, body)
            return run_id

        run_id = request_run(client, run, end_run)
    print_text(f"run {run_id} {status}\n")
