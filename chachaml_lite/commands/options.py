"""What the commands have in common: options that are environment variables too, and how one says that it failed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def option(name: str, *shorter: str, **settings: Any) -> Callable[[F], F]:
    """An option that is also an environment variable: --max-upload and CHACHAML_MAX_UPLOAD."""
    variable = "CHACHAML_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(
        name, *shorter, envvar=variable, show_envvar=True, show_default=settings.get("default") is not None, **settings
    )


def fail(text: str) -> NoReturn:
    """One line on stderr, and exit code 1."""
    click.echo(f"chachaml-lite: {text}", err=True)
    sys.exit(1)
