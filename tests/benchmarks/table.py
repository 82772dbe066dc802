"""The rows that a benchmark prints, each as soon as it is known."""

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
    """The goal of a figure: at most, or at least, `bound`; `shown` is its text in the table."""

    bound: float
    shown: str
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether `value` is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound


def heading(title: str) -> None:
    """The start of a section."""
    click.echo(f"\n{title}")
    _line("", "figure", "floor", "ratio", "goal", "met")


def row(
    what: str,
    figure: str,
    floor: str = "",
    ratio: float | None = None,
    goal: Goal | None = None,
    measured: float | None = None,
) -> None:
    """One figure. The goal is held against `measured`, or else against the ratio."""
    value = ratio if measured is None else measured
    met = "" if goal is None or value is None else "yes" if goal.met(value) else "NO"
    _line(what, figure, floor, "" if ratio is None else f"{ratio:.2f}x", "" if goal is None else goal.shown, met)


def note(text: str) -> None:
    """A line that explains the rows around it."""
    click.echo(f"  {text}")
    sys.stdout.flush()


def _line(what: str, figure: str, floor: str, ratio: str, goal: str, met: str) -> None:
    cells = [what.ljust(_WIDTHS[0])]
    cells += [cell.rjust(width) for cell, width in zip((figure, floor, ratio, goal), _WIDTHS[1:], strict=True)]
    click.echo("  ".join([*cells, met]).rstrip())
    sys.stdout.flush()


def duration(seconds: float) -> str:
    """A time with the unit that suits it."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def rate(per_second: float, unit: str = "") -> str:
    """So many a second."""
    return f"{per_second:,.0f} {unit}/s".replace(" /s", "/s")


def megabytes(amount: float) -> str:
    """Bytes as MB of a million bytes."""
    return f"{amount / 1e6:,.0f} MB"


def median(values: Sequence[float]) -> float:
    """The middle of the values."""
    return statistics.median(values)


def load() -> str:
    """Describe the machine's load: figures of a busy machine mean little, their ratios to a floor more."""
    return f"load average before: {os.getloadavg()[0]:.1f}"


def machine(folder: Path) -> str:
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
