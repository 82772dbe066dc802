"""The state shared by the sections of a run: sizes, a scratch folder, servers, stores, and measured memory."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from support.servers import Server, run_server

from .floors import run_floor
from .stores import Template, TemplateStore, log_templates

if TYPE_CHECKING:
    from .lists import StoreFigures


@dataclass(frozen=True)
class Sizes:
    """The amount of work. The defaults take about five minutes on two cores."""

    post_blocks: int = 60
    posts_a_block: int = 100
    client_blocks: int = 6
    client_seconds: float = 0.6
    ndjson_rounds: int = 30
    memory_points: int = 5_000_000
    runs: tuple[int, ...] = (100, 1_000, 10_000)
    list_rounds: int = 25
    cold_rounds: int = 3
    series_points: int = 1_000_000
    series_rounds: int = 3
    upload_mib: tuple[int, ...] = (256,)
    upload_rounds: int = 3
    thread_seconds: float = 0.7
    keys: tuple[int, ...] = (1_000, 5_000, 20_000)
    edge_mb: int = 6
    edge_strangers: int = 300
    edge_silent: int = 2005
    tabs: int = 100
    tab_points: int = 50_000
    tab_seconds: float = 15
    crowd: int = 50
    crowd_seconds: float = 12
    growth: tuple[int, ...] = (100, 10_000)
    growth_rounds: int = 100
    sequence_runs: int = 2_000
    start_runs: int = 100_000
    deaf_runs: int = 10_000
    deaf_looks: int = 5
    sweep_runs: int = 60
    long_sweep_runs: int = 100
    long_sweep_points: int = 10_000


#: A run of a few seconds that shows that the benchmarks work; its figures mean little.
QUICK = Sizes(
    post_blocks=3,
    posts_a_block=20,
    client_blocks=1,
    client_seconds=0.1,
    ndjson_rounds=2,
    memory_points=40_000,
    runs=(20,),
    list_rounds=3,
    cold_rounds=1,
    series_points=10_000,
    series_rounds=1,
    upload_mib=(4,),
    upload_rounds=1,
    thread_seconds=0.05,
    keys=(200,),
    edge_mb=1,
    edge_strangers=20,
    edge_silent=40,
    tabs=5,
    tab_points=2_000,
    tab_seconds=0.5,
    crowd=5,
    crowd_seconds=0.3,
    growth=(20, 40),
    growth_rounds=3,
    sequence_runs=8,
    start_runs=100,
    deaf_runs=40,
    deaf_looks=1,
    sweep_runs=6,
    long_sweep_runs=3,
    long_sweep_points=500,
)


@dataclass
class Bench:
    """One run of the benchmarks, in the folder `scratch`, which is removed at its end."""

    scratch: Path
    sizes: Sizes
    #: (the work, RSS in bytes after it)
    memory: list[tuple[str, float]] = field(default_factory=list)
    #: The figures of `lists`, by number of runs.
    lists: dict[int, StoreFigures] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _templates: list[Template] = field(default_factory=list)
    _stores: dict[int, TemplateStore] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        """Return a new path in the scratch folder."""
        return self.scratch / f"{next(self._numbers):02}-{name}"

    @contextlib.contextmanager
    def server(self, data: Path | None = None, *options: str) -> Iterator[Server]:
        """The real server, with its default settings and `options`, on a new store unless one is given."""
        with run_server(data or self.folder("store"), self.folder("server"), *options, forks=False) as server:
            yield server

    @contextlib.contextmanager
    def floor(self) -> Iterator[str]:
        """Start a floor server and yield its URL."""
        with run_floor(self.folder("floor")) as url:
            yield url

    def templates(self) -> list[Template]:
        """Return ended runs as written by the server, to build stores from. Logged once."""
        if not self._templates:
            with self.server(None, "--fsync", "no", "--quiet") as server:
                self._templates = log_templates(server)
        return self._templates

    def store(self, runs: int) -> TemplateStore:
        """Return a store of so many ended runs, without summaries. Created once for each number."""
        if runs not in self._stores:
            self._stores[runs] = TemplateStore.create(self.folder(f"store-of-{runs}"), runs, self.templates())
        return self._stores[runs]

    def remove(self, path: Path) -> None:
        """Remove a store before the end, to free its disk space."""
        shutil.rmtree(path, ignore_errors=True)
