"""`python -m benchmarks.peers PEERS_PYTHON`: the same workloads on this service, MLflow and trackio, side by side.

What `make bench-peers` runs. Each is loaded over HTTP for a bounded time; where that was too short for all that was
meant to be loaded, the cell says how much it was.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from . import mlflow_protocol, wire
from .peer_services import MLflow, Ours, Service, Trackio
from .stores import value_at
from .table import duration, load, machine, median, megabytes, rate
from .upload import random_file

_COLUMN = 26
_NOT_OFFERED = "not offered"


class Meeting:
    """The workloads, for one service after the other."""

    def __init__(
        self, runs: int, points: int, load_seconds: float, artifact: Path, searched: int, mlflow_python: Path
    ) -> None:
        """`searched`: the runs that MLflow's search is among; `mlflow_python`: an interpreter that has MLflow."""
        self.searched = searched
        self.mlflow_python = mlflow_python
        self.runs = runs
        self.points = points
        self.load_seconds = load_seconds
        self.artifact = artifact

    def meet(self, services: Sequence[Service]) -> dict[str, dict[str, str]]:
        """All figures of the services, by name and by what they are. All are up, and each act is done by one at a time:
        what else the machine does meanwhile then falls on all of them alike."""
        columns: dict[str, dict[str, str]] = {service.name: {} for service in services}
        try:
            up = [service for service in services if self._started(columns[service.name], service)]
            time.sleep(1)
            for service in up:
                columns[service.name]["memory, idle"] = megabytes(service.memory())
            loads = (self._posts, self._batches, self._mlflow_client, self._mlflow, self._lists)
            for act in (*loads, self._chart, self._upload):
                for service in up:
                    self._act(act, columns[service.name], service)
            for service in up:
                columns[service.name]["memory after all this"] = megabytes(service.memory())
        finally:
            for service in services:
                service.stop()
        return columns

    @staticmethod
    def _started(found: dict[str, str], service: Service) -> bool:
        try:
            found["start to first answer"] = duration(service.start())
        except (RuntimeError, OSError) as fault:
            click.echo(f"{service.name} did not start; going on without it: {str(fault).strip()[-300:]}", err=True)
            return False
        return True

    @staticmethod
    def _act(
        act: Callable[[dict[str, str], Service, wire.Connection], None], found: dict[str, str], service: Service
    ) -> None:
        try:
            with wire.Connection(service.url) as connection:
                act(found, service, connection)
        except (wire.ApiError, OSError) as fault:
            click.echo(f"{service.name}: {str(fault)[:200]}", err=True)

    def _posts(self, found: dict[str, str], service: Service, connection: wire.Connection) -> None:
        run = service.new_run(connection)
        wire.times(connection, [service.one(run, step) for step in range(20)])
        taken: list[float] = []
        began = time.perf_counter()
        while time.perf_counter() - began < 5 and len(taken) < 2000:
            taken += wire.times(connection, [service.one(run, 20 + len(taken))])
        found["one metric a POST: p50"] = duration(median(taken))
        found["one metric a POST: a second"] = rate(len(taken) / sum(taken))

    def _batches(self, found: dict[str, str], service: Service, connection: wire.Connection) -> None:
        run = service.new_run(connection)
        taken: list[float] = []
        began = time.perf_counter()
        while time.perf_counter() - began < 8 and len(taken) < 20:
            start = len(taken) * service.batch
            points = [(step, value_at(step)) for step in range(start, start + service.batch)]
            taken += wire.times(connection, [service.many(run, points)])
        found["points in batches"] = f"{rate(service.batch / median(taken))} ({service.batch:,} each)"

    def _mlflow_client(self, found: dict[str, str], service: Service, _: wire.Connection) -> None:
        """One metric after the other by MLflow's own client, where it is understood."""
        if service.speaks_mlflow:
            with contextlib.suppress(RuntimeError):  # MLflow may not be there to ask by
                taken = mlflow_protocol.client_times(self.mlflow_python, service.url)
                found["log_metric by MLflow's client: p50"] = duration(median(taken))

    def _mlflow(self, found: dict[str, str], service: Service, connection: wire.Connection) -> None:
        """The requests of MLflow's protocol, where it is understood."""
        if not service.speaks_mlflow:
            return
        run, own_run = mlflow_protocol.new_run(connection), service.new_run(connection)
        wire.times(connection, [mlflow_protocol.one(run, step) for step in range(20)])
        taken, own = [], []
        for step in range(500):  # by turns, for the machine is not the same from one second to the next
            taken += wire.times(connection, [mlflow_protocol.one(run, 20 + step)])
            own += wire.times(connection, [service.one(own_run, step)])
        found["log-metric, beside one of its own POSTs"] = f"{median(taken) / median(own):.2f}"
        batch = mlflow_protocol.BATCH
        batches = ([(step, value_at(step)) for step in range(n * batch, (n + 1) * batch)] for n in range(20))
        taken = wire.times(connection, (mlflow_protocol.many(run, points) for points in batches))
        found["points by log-batch"] = f"{rate(batch / median(taken))} ({batch:,} each)"
        experiment, loaded = mlflow_protocol.load_runs(connection, self.searched, self.load_seconds)
        among = f" of {loaded:,}" if loaded < self.searched else ""
        every = mlflow_protocol.search(experiment, max_results=self.searched)
        found[f"search_runs: all {self.searched:,}"] = _several(connection, every) + among
        some = mlflow_protocol.search(experiment, filter="metrics.acc > 0.9", order_by=["metrics.acc DESC"])
        found[f"search_runs: 1,000 of {self.searched:,} that match"] = _several(connection, some) + among

    def _lists(self, found: dict[str, str], service: Service, connection: wire.Connection) -> None:
        began = time.perf_counter()
        loaded = 0
        while loaded < self.runs and time.perf_counter() - began < self.load_seconds:
            service.log_whole_run(connection, loaded)
            loaded += 1
        taken = time.perf_counter() - began
        found[f"load runs of 500 points, at most {self.runs:,}"] = f"{loaded:,} in {taken:.0f} s"
        among = f" of {loaded:,}" if loaded < self.runs else ""
        for what, request in (("newest 100", service.newest()), ("ordered filter", service.ordered())):
            if request is None:
                found[f"{what} of {self.runs:,} runs"] = _NOT_OFFERED
                continue
            found[f"{what} of {self.runs:,} runs"] = _several(connection, request) + among

    def _chart(self, found: dict[str, str], service: Service, connection: wire.Connection) -> None:
        run = service.new_run(connection)
        began = time.perf_counter()
        loaded = 0
        while loaded < self.points and time.perf_counter() - began < self.load_seconds:
            points = [(step, value_at(step)) for step in range(loaded, loaded + service.batch)]
            connection.ask(service.many(run, points))
            loaded += service.batch
        among = f" of {loaded:,}" if loaded < self.points else ""
        first = wire.times(connection, [service.chart(run)])[0]
        found[f"chart from {self.points:,} points, first"] = duration(first) + among
        found[f"chart from {self.points:,} points, again"] = _several(connection, service.chart(run)) + among

    def _upload(self, found: dict[str, str], service: Service, connection: wire.Connection) -> None:
        size = self.artifact.stat().st_size
        what = f"upload of {size >> 20} MiB"
        taken = []
        for _ in range(2):
            head = service.upload(service.new_run(connection), size)
            if head is None:
                found[what] = _NOT_OFFERED
                return
            start = time.perf_counter()
            connection.send_file(head, self.artifact)
            taken.append(time.perf_counter() - start)
        found[what] = f"{size / min(taken) / 1e6:,.0f} MB/s"


def _several(connection: wire.Connection, request: bytes) -> str:
    taken = wire.times(connection, [request])
    began = time.perf_counter()
    while time.perf_counter() - began < 3 and len(taken) < 15:
        taken += wire.times(connection, [request])
    return duration(median(taken))


def _version(python: Path, name: str) -> str | None:
    asked = f"import importlib.metadata as m; print(m.version('{name}'))"
    done = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


@click.command()
@click.argument("peers_python", type=click.Path(path_type=Path))
@click.option("--runs", default=1000, show_default=True, help="Runs to list.")
@click.option("--searched", default=10_000, show_default=True, help="Runs that MLflow's search is among.")
@click.option("--points", default=1_000_000, show_default=True, help="Points in the long series.")
@click.option("--load-seconds", default=60.0, show_default=True, help="The most that loading either may take.")
@click.option("--mib", default=256, show_default=True, help="Size of the artifact.")
@click.option("--scratch", type=click.Path(path_type=Path), default=Path("build"), show_default=True)
def main(
    peers_python: Path, runs: int, searched: int, points: int, load_seconds: float, mib: int, scratch: Path
) -> None:
    """This service, MLflow's and trackio's, side by side. PEERS_PYTHON is an interpreter that has the other two."""
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="peers-", dir=scratch)).resolve()
    try:
        click.echo(f"on {machine(folder)}; {load()}")
        meeting = Meeting(runs, points, load_seconds, random_file(folder / "artifact", mib), searched, peers_python)
        kinds: list[tuple[type[Service], Path, str]] = [
            (Ours, Path(sys.executable), "chachaml-lite"),
            (MLflow, peers_python, "mlflow"),
            (Trackio, peers_python, "trackio"),
        ]
        services: list[Service] = []
        for kind, python, package in kinds:
            version = _version(python, package)
            if version is None:
                click.echo(f"{kind.name} is not installed for {python}; going on without it", err=True)
            else:
                services.append(kind(python, folder / kind.name))
                services[-1].name += f" {version}"
        columns = meeting.meet(services)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _print(columns)


def _print(columns: dict[str, dict[str, str]]) -> None:
    rows = list(dict.fromkeys(what for found in columns.values() for what in found))
    width = max((len(what) for what in rows), default=0) + 2
    click.echo(" " * width + "".join(name.rjust(_COLUMN) for name in columns))
    for what in rows:
        click.echo(what.ljust(width) + "".join(found.get(what, "-").rjust(_COLUMN) for found in columns.values()))


if __name__ == "__main__":
    main()
