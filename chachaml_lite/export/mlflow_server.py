"""An MLflow tracking server, written to by MLflow's own client: the one module that knows it.

MLflow is imported when somebody asks for it. What it says by itself, on either output, is switched off by its own
variables, and so is its telemetry: nobody is asked but the tracking server, and the place of artifacts that it names.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .. import mlflow_settings
from ..client.base import Unreachable
from ..mlflow_api.vocabulary_datasets import Dataset
from ..mlflow_settings import AT_FIRST, one_line, variables
from .mapping import MADE, RUN_ID

R = TypeVar("R")

_PER_REQUEST = 100


class NotInstalled(Exception):
    """MLflow's client isn't there; the text says how to get it."""


class Rejected(Exception):
    """MLflow's server doesn't take it, or not from us; the text says why."""


@dataclass
class Held:
    """A run as MLflow has it."""

    id: str
    is_deleted: bool
    status: str
    start_time: int
    end_time: int | None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    #: The digests of its data sets.
    datasets: set[str] = field(default_factory=set)


class MlflowServer:
    """The tracking server at a URI."""

    def __init__(self, uri: str) -> None:
        """Look whether it is there. Raises NotInstalled, Unreachable, Rejected."""
        mlflow_settings.silence()
        try:
            from mlflow import entities
            from mlflow.exceptions import MlflowException, RestException
            from mlflow.tracking import MlflowClient, set_tracking_uri
        except ImportError as fault:
            raise NotInstalled(
                f"MLflow's client is not installed ({fault}); pip install 'chachaml-lite[mlflow]'"
            ) from fault
        self.uri = uri.rstrip("/")
        self._entities = entities
        self._faults: tuple[type[Exception], ...] = (MlflowException, OSError)
        self._answered: type[Exception] = RestException
        set_tracking_uri(self.uri)  # older ones look for the place of artifacts there
        self._client = MlflowClient(self.uri)
        absence = self._absence()
        if absence is not None:
            raise absence
        mlflow_settings.wait_out_hiccups()

    def experiment(self, name: str) -> str | None:
        """The id of the experiment of that name, if there is one. Raises Rejected (it was deleted), Unreachable."""
        found = self._ask(lambda: self._client.get_experiment_by_name(name))
        if found is None:
            return None
        if found.lifecycle_stage == "deleted":
            raise Rejected(
                "the experiment of this name is in MLflow's trash; restore it there "
                f"(mlflow experiments restore -x {found.experiment_id}), or remove it for good (mlflow gc)"
            )
        return str(found.experiment_id)

    def create_experiment(self, name: str) -> str:
        """Make an experiment; its id. Raises Rejected, Unreachable."""
        return str(self._ask(lambda: self._client.create_experiment(name)))

    def run_url(self, experiment: str, run: str) -> str:
        """Return the URL of a run's page in MLflow."""
        return f"{self.uri}/#/experiments/{experiment}/runs/{run}"

    def find(self, experiment: str, run_id: str) -> Held | None:
        """The run that was exported from ours with this id, if there is one; a deleted one only if there is no other.

        Of several the one that was made first.

        Raises Rejected, Unreachable.
        """
        wanted = f"tags.`{RUN_ID}` = '{run_id}'"  # an id holds no quote
        found = self._ask(
            lambda: self._client.search_runs([experiment], wanted, self._entities.ViewType.ALL, max_results=10)
        )
        runs = sorted(map(self._hold, found), key=_first)
        return runs[0] if runs else None

    def create(self, experiment: str, name: str, start_time: int, tags: Mapping[str, str]) -> Held:
        """Start a run. Raises Rejected, Unreachable."""

        def create() -> Any:
            # Sent again after a lost answer, it would make a second one; the next export finds the first.
            with variables({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}, always=True):
                return self._client.create_run(experiment, start_time=start_time, tags=dict(tags), run_name=name)

        return self._hold(self._ask(create))

    def delete(self, run: str) -> None:
        """Put a run into MLflow's trash. Raises Rejected, Unreachable."""
        self._ask(lambda: self._client.delete_run(run))

    def log_points(self, run: str, points: Sequence[tuple[str, float, int, int]], tag: tuple[str, str]) -> None:
        """Add points (key, value, step, timestamp), up to 999, and set a tag, in one request. Rejected, Unreachable."""
        make, tags = self._entities.Metric, [self._entities.RunTag(*tag)]
        metrics = [make(key, value, timestamp, step) for key, value, step, timestamp in points]
        self._log(run, metrics=metrics, tags=tags)

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        """Add params. Raises Rejected (one has another value there), Unreachable."""
        made = [self._entities.Param(key, value) for key, value in params.items()]
        for few in _batches(made):
            self._log(run, params=few)

    def set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Set tags. Raises Rejected, Unreachable."""
        made = [self._entities.RunTag(key, value) for key, value in tags.items()]
        for few in _batches(made):
            self._log(run, tags=few)

    def log_datasets(self, run: str, datasets: Iterable[Dataset]) -> None:
        """Add data sets. Raises Rejected, Unreachable."""
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
        """Store an artifact. MLflow's client takes a file, so it goes through a temporary one. Raises Rejected,
        Unreachable; what `pieces` raises; OSError where the temporary file can't be written.
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

    def _hold(self, run: Any) -> Held:
        return Held(
            run.info.run_id,
            run.info.lifecycle_stage == "deleted",
            run.info.status,
            run.info.start_time,
            run.info.end_time,
            dict(run.data.params),
            dict(run.data.tags),
            {each.dataset.digest for each in (run.inputs.dataset_inputs if run.inputs else [])},
        )

    def _ask(self, request: Callable[[], R], *more_faults: type[Exception]) -> R:
        """Send a request and return its answer. Raises Rejected; Unreachable, when the server has gone.

        more_faults: what else it may raise; each place for artifacts has faults of its own.
        """
        try:
            return request()
        except (*self._faults, *more_faults) as fault:
            gone = None if isinstance(fault, self._answered) else self._absence()
            raise gone or Rejected(one_line(fault)) from fault

    def _absence(self) -> Exception | None:
        """Return why the server can't be used; None when it answers."""
        with variables(AT_FIRST):
            try:
                self._client.search_experiments(max_results=1)
            except self._faults as fault:
                status = getattr(fault, "get_http_status_code", lambda: 500)()
                if status in (401, 403):
                    return Rejected(
                        f"MLflow's server at {self.uri} refuses us: {one_line(fault)}; MLFLOW_TRACKING_USERNAME and "
                        "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, say who you are"
                    )
                return Unreachable(f"no MLflow server answers at {self.uri} ({one_line(fault)})")
        return None


def _first(run: Held) -> tuple[bool, int, str]:
    """The order in which runs with one id of ours count: those that are not deleted, and were made before."""
    made = run.tags.get(MADE, "")
    return run.is_deleted, int(made) if made.isdecimal() else 0, run.id


def _batches(entities: list[Any]) -> Iterator[list[Any]]:
    """Divide items into batches that one request takes."""
    for start in range(0, len(entities), _PER_REQUEST):
        yield entities[start : start + _PER_REQUEST]
