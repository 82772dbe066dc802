"""Programs and services that a test needs: found, or a reason to skip it; in CI a missing tool fails the test."""

from __future__ import annotations

import os
import re
import shutil
from typing import NoReturn

import pytest

#: What pip says when it can't reach its index; a machine without a network is no fault of ours.
NO_PACKAGE_INDEX = re.compile(
    "NewConnectionError|NameResolutionError|Temporary failure in name resolution|timed out|"
    "package index can't be reached"
)


def unavailable(reason: str) -> NoReturn:
    """Skip the test on a user's machine; fail it in CI, where nothing is skipped for want of a tool."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def find_tool(name: str) -> str:
    """The path of a program, by name; without it the test is skipped on a user's machine, and fails in CI."""
    path = shutil.which(name)
    if path is None:
        unavailable(f"{name} is not installed")
    return path
