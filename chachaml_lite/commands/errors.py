"""Errors of commands: one line on stderr, and an exit code."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import click

from ..text.safe import printable

if TYPE_CHECKING:
    from ..client.base import ApiError
    from ..client.push import NotPushed

#: Exit codes (the group's help explains them).
FAILED, USAGE, UNREACHABLE = 1, 2, 3
#: The command line's remedies for errors of the API, by their `resolvable_by`.
_REMEDIES = {
    "create_run": "; `chachaml-lite runs` lists them",
    "download_run": "; download one from the page of a run",
    "list_artifacts": "; `chachaml-lite show ID` lists them",
    "name_baseline": "; set it with --baseline RUN",
    "overwrite": "; add --overwrite to replace it",
    "restore_run": "; `chachaml-lite trash restore ID` brings it back",
    "resume_run": "; `chachaml-lite run --resume ID -- COMMAND` continues it",
    "send_token": "; set it with --token or CHACHAML_TOKEN",
}


def describe(fault: ApiError | NotPushed) -> str:
    """Describe an error of the API, with a remedy."""
    return fault.error + ": " + describe_detail(fault)


def describe_detail(fault: ApiError | NotPushed) -> str:
    """Return the detail of an error of the API, with a remedy."""
    return fault.detail + _REMEDIES.get(fault.resolvable_by or "", "")


class CommandError(click.ClickException):
    """Ends the command with one line, in which control characters are escaped."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on stderr."""
        click.echo(f"chachaml-lite: {printable(self.message)}", file, err=True)
