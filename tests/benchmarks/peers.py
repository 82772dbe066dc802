"""`python -m benchmarks.peers PEERS_PYTHON`: the same workloads on this service, MLflow and trackio, side by side.

Run by `make bench-peers`. Each service is loaded over HTTP for a bounded time; if that was too short for all of the
data, the cell says how much was loaded.
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
from .peer_services import ChachamlLite, MLflow, Service, Trackio
from .stores import compute_loss
from .table import describe_load, describe_machine, format_duration, format_megabytes, format_rate, median
from .upload import write_random_file

_COLUMN = 26
_NOT_OFFERED = "not offered"


class Workloads:
    """The workloads, run on each service."""

    def __init__(
        self, runs: int, points: int, load_seconds: float, artifact: Path, searched_runs: int, mlflow_python: Path
    ) -> None:
        """`searched_runs`: the number of runs for MLflow's search; `mlflow_python`: an interpreter with MLflow."""
        self.searched_runs = searched_runs
        self.mlflow_python = mlflow_python
        self.runs = runs
        self.points = points
        self.load_seconds = load_seconds
        self.artifact = artifact

    def measure(self, services: Sequence[Service]) -> dict[str, dict[str, str]]:
        """Measure all services and return their figures by service and workload.

        All services are running, and each workload runs on one after the other, so that other load on the machine
        affects all of them alike.
        """
        columns: dict[str, dict[str, str]] = {service.name: {} for service in services}
        try:
            up = [service for service in services if self._start(columns[service.name], service)]
            time.sleep(1)
            for service in up:
                columns[service.name]["memory, idle"] = format_megabytes(service.memory())
            loads = (self._posts, self._batches, self._mlflow_client, self._mlflow, self._lists)
            for act in (*loads, self._chart, self._upload):
                for service in up:
                    self._run_workload(act, columns[service.name], service)
            for service in up:
                columns[service.name]["memory after all this"] = format_megabytes(service.memory())
        finally:
            for service in services:
                service.stop()
        return columns

    @staticmethod
    def _start(figures: dict[str, str], service: Service) -> bool:
        try:
            figures["start to first answer"] = format_duration(service.start())
        except (RuntimeError, OSError) as fault:
            click.echo(f"{service.name} did not start; continuing without it: {str(fault).strip()[-300:]}", err=True)
            return False
        return True

    @staticmethod
    def _run_workload(
        act: Callable[[dict[str, str], Service, wire.Connection], None], figures: dict[str, str], service: Service
    ) -> None:
        try:
            with wire.Connection(service.url) as connection:
                act(figures, service, connection)
        except (wire.ApiError, OSError) as fault:
            click.echo(f"{service.name}: {str(fault)[:200]}", err=True)

    def _posts(self, figures: dict[str, str], service: Service, connection: wire.Connection) -> None:
        run = service.new_run(connection)
        wire.measure_times(connection, [service.build_point(run, step) for step in range(20)])
        durations: list[float] = []
        began = time.perf_counter()
        while time.perf_counter() - began < 5 and len(durations) < 2000:
            durations += wire.measure_times(connection, [service.build_point(run, 20 + len(durations))])
        figures["one metric a POST: p50"] = format_duration(median(durations))
        figures["one metric a POST: a second"] = format_rate(len(durations) / sum(durations))

    def _batches(self, figures: dict[str, str], service: Service, connection: wire.Connection) -> None:
        run = service.new_run(connection)
        durations: list[float] = []
        began = time.perf_counter()
        while time.perf_counter() - began < 8 and len(durations) < 20:
            start = len(durations) * service.batch
            points = [(step, compute_loss(step)) for step in range(start, start + service.batch)]
            durations += wire.measure_times(connection, [service.build_batch(run, points)])
        figures["points in batches"] = f"{format_rate(service.batch / median(durations))} ({service.batch:,} each)"

    def _mlflow_client(self, figures: dict[str, str], service: Service, _: wire.Connection) -> None:
        """One metric after the other by MLflow's own client, for services that support it."""
        if service.speaks_mlflow:
            with contextlib.suppress(RuntimeError):  # MLflow may not be installed
                durations = mlflow_protocol.measure_client_times(self.mlflow_python, service.url)
                figures["log_metric by MLflow's client: p50"] = format_duration(median(durations))

    def _mlflow(self, figures: dict[str, str], service: Service, connection: wire.Connection) -> None:
        """Requests of MLflow's protocol, for services that support it."""
        if not service.speaks_mlflow:
            return
        run, own_run = mlflow_protocol.new_run(connection), service.new_run(connection)
        wire.measure_times(connection, [mlflow_protocol.build_point(run, step) for step in range(20)])
        durations, own = [], []
        for step in range(500):  # in turns, since the machine's speed varies from one second to the next
            durations += wire.measure_times(connection, [mlflow_protocol.build_point(run, 20 + step)])
            own += wire.measure_times(connection, [service.build_point(own_run, step)])
        figures["log-metric, beside one of its own POSTs"] = f"{median(durations) / median(own):.2f}"
        batch = mlflow_protocol.BATCH
        batches = ([(step, compute_loss(step)) for step in range(n * batch, (n + 1) * batch)] for n in range(20))
        durations = wire.measure_times(connection, (mlflow_protocol.build_batch(run, points) for points in batches))
        figures["points by log-batch"] = f"{format_rate(batch / median(durations))} ({batch:,} each)"
        experiment, n_loaded = mlflow_protocol.load_runs(connection, self.searched_runs, self.load_seconds)
        among = f" of {n_loaded:,}" if n_loaded < self.searched_runs else ""
        every = mlflow_protocol.search(experiment, max_results=self.searched_runs)
        figures[f"search_runs: all {self.searched_runs:,}"] = _format_median_of_several(connection, every) + among
        some = mlflow_protocol.search(experiment, filter="metrics.acc > 0.9", order_by=["metrics.acc DESC"])
        figures[f"search_runs: 1,000 of {self.searched_runs:,} that match"] = (
            _format_median_of_several(connection, some) + among
        )

    def _lists(self, figures: dict[str, str], service: Service, connection: wire.Connection) -> None:
        began = time.perf_counter()
        n_loaded = 0
        while n_loaded < self.runs and time.perf_counter() - began < self.load_seconds:
            service.log_whole_run(connection, n_loaded)
            n_loaded += 1
        seconds = time.perf_counter() - began
        figures[f"load runs of 500 points, at most {self.runs:,}"] = f"{n_loaded:,} in {seconds:.0f} s"
        among = f" of {n_loaded:,}" if n_loaded < self.runs else ""
        for workload, request in (("newest 100", service.build_newest()), ("ordered filter", service.build_ordered())):
            if request is None:
                figures[f"{workload} of {self.runs:,} runs"] = _NOT_OFFERED
                continue
            figures[f"{workload} of {self.runs:,} runs"] = _format_median_of_several(connection, request) + among

    def _chart(self, figures: dict[str, str], service: Service, connection: wire.Connection) -> None:
        run = service.new_run(connection)
        began = time.perf_counter()
        n_loaded = 0
        while n_loaded < self.points and time.perf_counter() - began < self.load_seconds:
            points = [(step, compute_loss(step)) for step in range(n_loaded, n_loaded + service.batch)]
            connection.ask(service.build_batch(run, points))
            n_loaded += service.batch
        among = f" of {n_loaded:,}" if n_loaded < self.points else ""
        first = wire.measure_times(connection, [service.build_chart_request(run)])[0]
        figures[f"chart from {self.points:,} points, first"] = format_duration(first) + among
        figures[f"chart from {self.points:,} points, again"] = (
            _format_median_of_several(connection, service.build_chart_request(run)) + among
        )

    def _upload(self, figures: dict[str, str], service: Service, connection: wire.Connection) -> None:
        size = self.artifact.stat().st_size
        workload = f"upload of {size >> 20} MiB"
        durations = []
        for _ in range(2):
            head = service.build_upload_head(service.new_run(connection), size)
            if head is None:
                figures[workload] = _NOT_OFFERED
                return
            start = time.perf_counter()
            connection.send_file(head, self.artifact)
            durations.append(time.perf_counter() - start)
        figures[workload] = f"{size / min(durations) / 1e6:,.0f} MB/s"


def _format_median_of_several(connection: wire.Connection, request: bytes) -> str:
    durations = wire.measure_times(connection, [request])
    began = time.perf_counter()
    while time.perf_counter() - began < 3 and len(durations) < 15:
        durations += wire.measure_times(connection, [request])
    return format_duration(median(durations))


def _get_version(python: Path, name: str) -> str | None:
    script = f"import importlib.metadata as m; print(m.version('{name}'))"
    process = subprocess.run([str(python), "-c", script], capture_output=True, text=True, check=False)
    return process.stdout.strip() if process.returncode == 0 else None


@click.command()
@click.argument("peers_python", type=click.Path(path_type=Path))
@click.option("--runs", default=1000, show_default=True, help="Runs to list.")
@click.option("--searched", "searched_runs", default=10_000, show_default=True, help="Runs for MLflow's search.")
@click.option("--points", default=1_000_000, show_default=True, help="Points in the long series.")
@click.option("--load-seconds", default=60.0, show_default=True, help="The time limit for loading each.")
@click.option("--mib", default=256, show_default=True, help="Size of the artifact.")
@click.option("--scratch", type=click.Path(path_type=Path), default=Path("build"), show_default=True)
def main(
    peers_python: Path, runs: int, searched_runs: int, points: int, load_seconds: float, mib: int, scratch: Path
) -> None:
    """This service, MLflow's and trackio's, side by side. PEERS_PYTHON is an interpreter with the other two."""
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="peers-", dir=scratch)).resolve()
    try:
        click.echo(f"on {describe_machine(folder)}; {describe_load()}")
        workloads = Workloads(
            runs, points, load_seconds, write_random_file(folder / "artifact", mib), searched_runs, peers_python
        )
        kinds: list[tuple[type[Service], Path, str]] = [
            (ChachamlLite, Path(sys.executable), "chachaml-lite"),
            (MLflow, peers_python, "mlflow"),
            (Trackio, peers_python, "trackio"),
        ]
        services: list[Service] = []
        for kind, python, package in kinds:
            version = _get_version(python, package)
            if version is None:
                click.echo(f"{kind.name} is not installed for {python}; continuing without it", err=True)
            else:
                services.append(kind(python, folder / kind.name))
                services[-1].name += f" {version}"
        columns = workloads.measure(services)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _print(columns)


def _print(columns: dict[str, dict[str, str]]) -> None:
    rows = list(dict.fromkeys(workload for figures in columns.values() for workload in figures))
    width = max((len(workload) for workload in rows), default=0) + 2
    click.echo(" " * width + "".join(name.rjust(_COLUMN) for name in columns))
    for workload in rows:
        click.echo(
            workload.ljust(width) + "".join(figures.get(workload, "-").rjust(_COLUMN) for figures in columns.values())
        )


if __name__ == "__main__":
    main()
