"""The end of a command that can't do what it was asked: one line on stderr, and the exit code that says why."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import click

from ..text.safe import printable

if TYPE_CHECKING:
    from ..client.base import ApiError
    from ..client.push import NotPushed

#: Exit codes (the group's help explains them).
FAILED, USAGE, UNREACHABLE = 1, 2, 3
#: What would help against an error of the API, by its `resolvable_by`, in the words of the command line.
_WAYS_OUT = {
    "create_run": "; `chachaml-lite runs` lists them",
    "download_run": "; the page of a run gives one that has",
    "list_artifacts": "; `chachaml-lite show ID` lists them",
    "name_baseline": "; say which with --baseline RUN",
    "overwrite": "; add --overwrite to take that",
    "restore_run": "; `chachaml-lite trash restore ID` brings it back",
    "resume_run": "; `chachaml-lite run --resume ID -- COMMAND` has it go on",
    "send_token": "; give it by --token or CHACHAML_TOKEN",
}


def describe(fault: ApiError | NotPushed) -> str:
    """An error of the API, and what would help."""
    return fault.error + ": " + describe_detail(fault)


def describe_detail(fault: ApiError | NotPushed) -> str:
    """The detail of such an error, and what would help."""
    return fault.detail + _WAYS_OUT.get(fault.resolvable_by or "", "")


class CommandError(click.ClickException):
    """Ends the command with one line, in which nothing acts on a terminal."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it of the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on stderr."""
        click.echo(f"chachaml-lite: {printable(self.message)}", file, err=True)
