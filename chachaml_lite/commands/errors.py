"""The end of a command that can't do what it was asked: one line on stderr, and the exit code that says why."""

from __future__ import annotations

from typing import IO, Any

import click

from ..text.safe import printable

#: Exit codes (the group's help explains them).
FAILED, USAGE, UNREACHABLE = 1, 2, 3


class CommandError(click.ClickException):
    """Ends the command with one line, in which nothing acts on a terminal."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it of the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on stderr."""
        click.echo(f"chachaml-lite: {printable(self.message)}", file, err=True)
