"""A server that speaks MLflow's protocol, this project's or MLflow's own, and MLflow's client in this process."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.mlflow_servers import mlflow_module
from support.servers import run_server

pytest_plugins = "support.mlflow_servers"

#: One retry is enough to notice a 5xx; MLflow's default of seven takes minutes.
CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
}
_numbers = itertools.count()


class Tracking:
    """A server at `url`, and MLflow's client of it; `is_native`: whether the server is this project's."""

    def __init__(self, url: str, data: Path | None) -> None:
        os.environ |= CLIENT_SETTINGS
        self.url = url
        self.data = data
        self.mlflow: Any = mlflow_module("mlflow")
        self.client: Any = self.mlflow.MlflowClient(url, url)

    @property
    def is_native(self) -> bool:
        return self.data is not None

    def create_experiment(self, name: str = "test") -> str:
        """Create an experiment that no other test uses, and return its id."""
        experiment_id: str = self.client.create_experiment(f"{name}-{next(_numbers)}")
        return experiment_id

    def create_run(self, **fields: Any) -> str:
        """Create a run in a new experiment, and return its id."""
        return str(self.client.create_run(self.create_experiment(), **fields).info.run_id)

    def error_code(self, call: Any, *arguments: Any, **fields: Any) -> str:
        """Return the error code of a call that must fail."""
        with pytest.raises(self.mlflow.exceptions.MlflowException) as exception_info:
            call(*arguments, **fields)
        return str(exception_info.value.error_code)


@pytest.fixture(scope="module", params=["ours", "mlflow"])
def tracking(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    """Each of the two servers in turn: an assertion that holds for both is known to describe MLflow's behaviour."""
    if request.param == "mlflow":
        yield Tracking(request.getfixturevalue("mlflow").url, None)
        return
    folder = tmp_path_factory.mktemp("ours")
    with run_server(folder / "store", folder / "scratch", "--quiet") as server:
        yield Tracking(server.url, server.data)
