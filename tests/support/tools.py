"""Programs and services that a test needs: if one is missing, the test is skipped, and fails in CI."""

from __future__ import annotations

import os
import re
import shutil
from typing import NoReturn

import pytest

#: pip's messages when it can't reach its index; a machine without a network doesn't make a test fail.
NO_PACKAGE_INDEX = re.compile(
    "NewConnectionError|NameResolutionError|Temporary failure in name resolution|timed out|"
    "package index can't be reached"
)


def unavailable(reason: str) -> NoReturn:
    """Skip the test on a user's machine; fail it in CI, where no test is skipped for lack of a tool."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def find_tool(name: str) -> str:
    """Return the path of a program; without it the test is skipped on a user's machine, and fails in CI."""
    path = shutil.which(name)
    if path is None:
        unavailable(f"{name} is not installed")
    return path
