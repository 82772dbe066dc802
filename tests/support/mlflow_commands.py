"""Commands and scripts that need MLflow's client, and MLflow's server: forks of a process that has imported it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from support.commands import check_result
from support.forks import PACKAGE, Fork, ForkServer
from support.servers import environment

#: What this Python's commands import.
_OF_COMMANDS = (
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
    *(*PACKAGE, "chachaml_lite.export.transfer"),
    *("chachaml_lite.importers.mlflow_runs", "chachaml_lite.importers.mlflow_source"),
)
#: Read by MLflow as it is imported, and set by our commands, too.
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}


@cache
def mlflow_forks(python: str = sys.executable) -> ForkServer:
    """The fork server of a Python that has MLflow."""
    if python == sys.executable:
        return ForkServer(python, ("mlflow", *_OF_COMMANDS), environment(**_QUIET))
    variables = {key: value for key, value in environment(**_QUIET).items() if not key.startswith("PYTHON")}
    return ForkServer(python, ("mlflow",), variables)


def start_command(*arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Fork:
    """Start `chachaml-lite` with these arguments; `env` is added to `support.servers.environment`."""
    return Fork(mlflow_forks(), "chachaml_lite", *arguments, env=environment(**(env or {})), cwd=cwd)


def mlflow_cli(
    *arguments: str, cwd: Path | None = None, code: int | None = 0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Like `support.commands.cli`, for commands that import MLflow."""
    return check_result(start_command(*arguments, env=env, cwd=cwd).complete(), code)
