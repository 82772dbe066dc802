"""The rows that a benchmark prints, each as soon as it is measured."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click

_WIDTHS = (62, 16, 16, 8, 12)


@dataclass(frozen=True)
class Goal:
    """The goal of a figure: at most, or at least, `bound`; `text` is printed in the table."""

    bound: float
    text: str
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        """Whether `value` meets the goal."""
        return value >= self.bound if self.at_least else value <= self.bound


def print_heading(title: str) -> None:
    """Print the heading of a section."""
    click.echo(f"\n{title}")
    _print_line("", "figure", "floor", "ratio", "goal", "met")


def print_row(
    what: str,
    figure: str,
    floor: str = "",
    ratio: float | None = None,
    goal: Goal | None = None,
    amount: float | None = None,
) -> None:
    """Print one figure. The goal is compared with `amount`, or else with the ratio."""
    value = ratio if amount is None else amount
    verdict = "" if goal is None or value is None else "yes" if goal.is_met(value) else "NO"
    _print_line(
        what, figure, floor, "" if ratio is None else f"{ratio:.2f}x", "" if goal is None else goal.text, verdict
    )


def print_note(text: str) -> None:
    """Print a line that explains the rows around it."""
    click.echo(f"  {text}")
    sys.stdout.flush()


def _print_line(what: str, figure: str, floor: str, ratio: str, goal: str, verdict: str) -> None:
    cells = [what.ljust(_WIDTHS[0])]
    cells += [cell.rjust(width) for cell, width in zip((figure, floor, ratio, goal), _WIDTHS[1:], strict=True)]
    click.echo("  ".join([*cells, verdict]).rstrip())
    sys.stdout.flush()


def format_duration(seconds: float) -> str:
    """Format a time with the unit that suits it."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def format_rate(per_second: float, unit: str = "") -> str:
    """Format a number per second."""
    return f"{per_second:,.0f} {unit}/s".replace(" /s", "/s")


def format_megabytes(amount: float) -> str:
    """Format bytes as MB of a million bytes."""
    return f"{amount / 1e6:,.0f} MB"


def median(values: Sequence[float]) -> float:
    """Return the median of the values."""
    return statistics.median(values)


def describe_load() -> str:
    """Describe the machine's load: figures of a busy machine mean little, their ratios to a floor more."""
    return f"load average before: {os.getloadavg()[0]:.1f}"


def describe_machine(folder: Path) -> str:
    """Describe the machine: processors, memory, file system and versions."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=False).stdout
    return (
        f"{os.cpu_count()} cores ({model}), {platform.system()} {platform.release().partition('-')[0]}, "
        f"file system {kind.strip() or 'unknown'}, Python {platform.python_version()}, "
        f"waitress {version('waitress')}, Flask {version('flask')}"
    )
