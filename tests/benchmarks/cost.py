"""The growth of the cost of lists and searches with the number of runs, as the small table in the README."""

from __future__ import annotations

import click

from .bench import Bench
from .lists import measured
from .table import duration, machine


def section(bench: Bench) -> None:
    """The table, in Markdown."""
    click.echo("\ncost: how lists and searches grow with the number of runs\n")
    click.echo(
        "| runs | newest 100 | experiment, ordered by a metric | all runs, ordered by a metric | 304 | cold start |"
    )
    click.echo("|---:|---:|---:|---:|---:|---:|")
    for runs in bench.sizes.runs:
        found = measured(bench, runs)
        warm = found.warm
        cells = [f"{runs:,}", *map(duration, (warm.newest, warm.ordered, warm.full, warm.unchanged, found.cold.newest))]
        click.echo(f"| {' | '.join(cells)} |")
    click.echo(f"\n`make bench ARGS=cost` on {machine(bench.scratch)}")
