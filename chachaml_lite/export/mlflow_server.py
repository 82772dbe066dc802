"""An MLflow tracking server, written to by MLflow's own client."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..client.base import Unreachable
from ..mlflow_api.vocabulary_datasets import Dataset
from ..mlflow_client import Errors, MlflowClient
from ..mlflow_client import NotInstalled as NotInstalled
from ..mlflow_settings import variables
from .mapping import CREATED_AT, RUN_ID

_PER_REQUEST = 100


class Rejected(Exception):
    """MLflow's server rejected a request, or refused access; the text says why."""


@dataclass
class RemoteRun:
    """The current state of a run in MLflow."""

    id: str
    is_deleted: bool
    status: str
    start_time: int
    end_time: int | None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    #: The digests of its datasets.
    datasets: set[str] = field(default_factory=set)


class MlflowServer:
    """The tracking server at a URI."""

    def __init__(self, uri: str) -> None:
        """Connect to the server. Raises NotInstalled, Unreachable, Rejected."""
        client = MlflowClient(uri.rstrip("/"), Errors(rejected=Rejected, refused=Rejected, unreachable=Unreachable))
        client.connect()
        self.uri = client.uri
        self._entities = client.entities
        self._client = client.requests
        self._ask = client.ask

    def experiment(self, name: str) -> str | None:
        """Return the id of an experiment, or None. Raises Rejected (if it was deleted), Unreachable."""
        match = self._ask(lambda: self._client.get_experiment_by_name(name))
        if match is None:
            return None
        if match.lifecycle_stage == "deleted":
            raise Rejected(
                "the experiment of this name is in MLflow's trash; restore it there "
                f"(mlflow experiments restore -x {match.experiment_id}), or remove it for good (mlflow gc)"
            )
        return str(match.experiment_id)

    def create_experiment(self, name: str) -> str:
        """Create an experiment and return its id. Raises Rejected, Unreachable."""
        return str(self._ask(lambda: self._client.create_experiment(name)))

    def run_url(self, experiment: str, run: str) -> str:
        """Return the URL of a run's page in MLflow."""
        return f"{self.uri}/#/experiments/{experiment}/runs/{run}"

    def find(self, experiment: str, run_id: str) -> RemoteRun | None:
        """Find the run that was exported from ours with this id; a deleted one only if there is no other.

        If there are several, return the first that was created. Raises Rejected, Unreachable.
        """
        filter_string = f"tags.`{RUN_ID}` = '{run_id}'"  # an id has no quotes
        matches = self._ask(
            lambda: self._client.search_runs([experiment], filter_string, self._entities.ViewType.ALL, max_results=10)
        )
        runs = sorted(map(self._to_run, matches), key=_sort_key)
        return runs[0] if runs else None

    def create(self, experiment: str, name: str, start_time: int, tags: Mapping[str, str]) -> RemoteRun:
        """Start a run. Raises Rejected, Unreachable."""

        def create() -> Any:
            # A retry after a lost response would create a second run; the next export finds the first one.
            with variables({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}, always=True):
                return self._client.create_run(experiment, start_time=start_time, tags=dict(tags), run_name=name)

        return self._to_run(self._ask(create))

    def delete(self, run: str) -> None:
        """Put a run into MLflow's trash. Raises Rejected, Unreachable."""
        self._ask(lambda: self._client.delete_run(run))

    def log_points(self, run: str, points: Sequence[tuple[str, float, int, int]], tag: tuple[str, str]) -> None:
        """Add up to 999 points (key, value, step, timestamp) and set a tag in one request.

        Raises Rejected, Unreachable.
        """
        make, tags = self._entities.Metric, [self._entities.RunTag(*tag)]
        metrics = [make(key, value, timestamp, step) for key, value, step, timestamp in points]
        self._log(run, metrics=metrics, tags=tags)

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        """Add params. Raises Rejected (if a param has another value there), Unreachable."""
        entities = [self._entities.Param(key, value) for key, value in params.items()]
        for batch in _batches(entities):
            self._log(run, params=batch)

    def set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Set tags. Raises Rejected, Unreachable."""
        entities = [self._entities.RunTag(key, value) for key, value in tags.items()]
        for batch in _batches(entities):
            self._log(run, tags=batch)

    def log_datasets(self, run: str, datasets: Iterable[Dataset]) -> None:
        """Add datasets. Raises Rejected, Unreachable."""
        entities = self._entities
        inputs = [
            entities.DatasetInput(
                entities.Dataset(each.name, each.digest, each.source_type, each.source, each.schema, each.profile),
                [entities.InputTag(key, value[:500]) for key, value in each.tags.items()],
            )
            for each in datasets
        ]
        self._ask(lambda: self._client.log_inputs(run, datasets=inputs))

    def upload(self, run: str, name: str, pieces: Iterable[bytes]) -> None:
        """Store an artifact, through a temporary file as MLflow's client requires.

        Raises Rejected, Unreachable, the exceptions of `pieces`, and OSError if the temporary file can't be written.
        """
        folder, _, last = name.rpartition("/")
        with tempfile.TemporaryDirectory(prefix="chachaml-") as scratch:
            path = Path(scratch, last)
            with path.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
            self._ask(lambda: self._client.log_artifact(run, str(path), folder or None), Exception)

    def end(self, run: str, status: str, end_time: int | None) -> None:
        """End a run. Raises Rejected, Unreachable."""
        self._ask(lambda: self._client.set_terminated(run, status, end_time))

    def _log(self, run: str, **entities: list[Any]) -> None:
        self._ask(lambda: self._client.log_batch(run, **entities))

    def _to_run(self, run: Any) -> RemoteRun:
        return RemoteRun(
            run.info.run_id,
            run.info.lifecycle_stage == "deleted",
            run.info.status,
            run.info.start_time,
            run.info.end_time,
            dict(run.data.params),
            dict(run.data.tags),
            {each.dataset.digest for each in (run.inputs.dataset_inputs if run.inputs else [])},
        )


def _sort_key(run: RemoteRun) -> tuple[bool, int, str]:
    """Return a sort key for runs exported from the same run: first those that aren't deleted, then by creation."""
    created_at = run.tags.get(CREATED_AT, "")
    return run.is_deleted, int(created_at) if created_at.isdecimal() else 0, run.id


def _batches(entities: list[Any]) -> Iterator[list[Any]]:
    """Divide entities into batches for one request each."""
    for start in range(0, len(entities), _PER_REQUEST):
        yield entities[start : start + _PER_REQUEST]
