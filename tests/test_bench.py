"""The benchmarks run and print their rows; the values are for people to judge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.servers import environment

TESTS = Path(__file__).parent


def test_quick_benchmarks_print_a_row_for_each_goal_and_leave_nothing_behind(tmp_path: Path) -> None:
    sections = [
        "write",
        "list",
        "page",
        "series",
        "tabs",
        "keys",
        "upload",
        "edge",
        "growth",
        "start-100k",
        "deaf",
        "crowd",
    ]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--scratch", str(tmp_path), *sections],
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=str(TESTS)),
        timeout=540,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    goals = [line for line in result.stdout.splitlines() if line.endswith(("  yes", "  NO"))]
    assert len(goals) >= 40, result.stdout
    assert not list(tmp_path.iterdir())
