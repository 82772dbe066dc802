"""Options that are also environment variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def option(name: str, *shorter: str, **settings: Any) -> Callable[[F], F]:
    """Return an option that is also an environment variable: --max-upload and CHACHAML_MAX_UPLOAD."""
    variable = "CHACHAML_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(
        name, *shorter, envvar=variable, show_envvar=True, show_default=settings.get("default") is not None, **settings
    )
