"""`python -m benchmarks [SECTION ...]`, with tests/ on the path: run by `make bench`."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from . import cost, crowd, deaf, edge, growth, keys, lists, memory, pages, series, starts, tabs, threads, upload, write
from .bench import QUICK, Bench, Sizes
from .table import describe_load, describe_machine

_SECTIONS: dict[str, Callable[[Bench], None]] = {
    "write": write.section,
    "list": lists.section,
    "page": pages.section,
    "series": series.section,
    "upload": upload.section,
    "edge": edge.section,
    "memory": memory.section,
    "cost": cost.section,
    "threads": threads.section,
    "tabs": tabs.section,
    "crowd": crowd.section,
    "keys": keys.section,
    "growth": growth.section,
    "start-100k": starts.section,
    "deaf": deaf.section,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sections", nargs=-1, type=click.Choice(list(_SECTIONS)))
@click.option(
    "--quick", is_flag=True, help="A few seconds that show that the benchmarks work; the figures mean little."
)
@click.option("--large", is_flag=True, help="Also 100,000 runs (4 GB of disk, some minutes) and artifacts of 1 GiB.")
@click.option(
    "--scratch",
    type=click.Path(path_type=Path),
    default=Path("build"),
    show_default=True,
    help="Folder of the stores: on a disk like that of a real store, not in RAM. They are removed at the end.",
)
def main(sections: tuple[str, ...], quick: bool, large: bool, scratch: Path) -> None:
    """The cost of the service, as ratios to floors measured in the same run. All sections, unless some are named."""
    sizes = QUICK if quick else Sizes()
    if large:
        sizes = replace(
            sizes, runs=(*sizes.runs, 100_000), growth=(*sizes.growth, 100_000), upload_mib=(*sizes.upload_mib, 1024)
        )
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=scratch)).resolve()
    began = time.perf_counter()
    try:
        click.echo(f"on {describe_machine(folder)}; {describe_load()}")
        bench = Bench(folder, sizes)
        for name in sections or tuple(_SECTIONS):
            _SECTIONS[name](bench)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    click.echo(f"\nin {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
