"""MLflow 2.22, which can't be installed beside 3.x: a Python of an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from support.tools import unavailable

#: Where `make .venv-mlflow2` puts it, unless MLFLOW2_PYTHON names another one.
PYTHON = Path(__file__).resolve().parents[2] / ".venv-mlflow2" / "bin" / "python"
#: It ends with 0 where there is an MLflow; to import it would take ten seconds.
_LOOK = "import importlib.util, sys; sys.exit(importlib.util.find_spec('mlflow') is None)"


@cache
def find_python() -> str:
    """A Python that has MLflow 2.22; without one the test is skipped on a user's machine, and fails in CI."""
    python = Path(os.environ.get("MLFLOW2_PYTHON") or PYTHON)
    if not python.exists() or subprocess.run([python, "-c", _LOOK], check=False).returncode:
        if sys.version_info >= (3, 14):
            pytest.skip("MLflow 2.22 can't be installed on this Python: what it needs has no wheels")
        unavailable("MLflow 2.22 is not installed; `make .venv-mlflow2` does that")
    return str(python)
