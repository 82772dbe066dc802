"""The growth of the cost of lists and searches with the number of runs, as the table in docs/performance.md."""

from __future__ import annotations

import click

from .bench import Bench
from .lists import measure_store
from .table import describe_machine, format_duration


def section(bench: Bench) -> None:
    """Print the table, in Markdown."""
    click.echo("\ncost: how lists and searches grow with the number of runs\n")
    click.echo(
        "| runs | newest 100 | experiment, ordered by a metric | all runs, ordered by a metric | 304 | cold start |"
    )
    click.echo("|---:|---:|---:|---:|---:|---:|")
    for runs in bench.sizes.runs:
        figures = measure_store(bench, runs)
        warm = figures.warm
        cells = [
            f"{runs:,}",
            *map(format_duration, (warm.newest, warm.ordered, warm.full, warm.unchanged, figures.cold.newest)),
        ]
        click.echo(f"| {' | '.join(cells)} |")
    click.echo(f"\n`make bench ARGS=cost` on {describe_machine(bench.scratch)}")
