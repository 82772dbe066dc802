"""A Python with MLflow 2.22, which can't be installed beside 3.x, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from support.tools import unavailable

#: The environment of `make .venv-mlflow2`; MLFLOW2_PYTHON names another one.
PYTHON = Path(__file__).resolve().parents[2] / ".venv-mlflow2" / "bin" / "python"
#: A program that exits with 0 if MLflow is installed; an import would take ten seconds.
_CHECK = "import importlib.util, sys; sys.exit(importlib.util.find_spec('mlflow') is None)"


@cache
def find_python() -> str:
    """Return a Python with MLflow 2.22; without one the test is skipped on a user's machine, and fails in CI."""
    python = Path(os.environ.get("MLFLOW2_PYTHON") or PYTHON)
    if not python.exists() or subprocess.run([python, "-c", _CHECK], check=False).returncode:
        if sys.version_info >= (3, 14):
            pytest.skip("MLflow 2.22 can't be installed on this Python: its dependencies have no wheels")
        unavailable("MLflow 2.22 is not installed; `make .venv-mlflow2` does that")
    return str(python)
