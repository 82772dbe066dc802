"""Fixtures: a fresh store and app for each test, a real server for what a test client can't show, tools or a reason."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from benchmarks.peer_services import MLflow
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser
from support.browsers import Viewer, chromium, launched
from support.github_runner import ROOT, Job
from support.mlflow_servers import Reader
from support.servers import Running, running
from support.wire import Connection
from werkzeug.test import TestResponse

from chachaml_lite.app import create_app
from chachaml_lite.config import Config
from chachaml_lite.store.store import Store
from chachaml_lite.tracking.tracker import Tracker

#: What pip says when it can't reach its index; a machine without a network is no fault of ours.
NO_PACKAGE_INDEX = re.compile(r"NewConnectionError|NameResolutionError|Temporary failure in name resolution|timed out")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where the store of this test is."""
    return tmp_path / "store"


@contextmanager
def opened(data: Path, **settings: Any) -> Iterator[Flask]:
    """An app on the store at `data`, with the settings given."""
    config = Config(data=data, **{"fsync": "no", "quiet": True, **settings})
    store = Store(config.data, config.fsync, read_only=config.read_only)
    try:
        app = create_app(config, Tracker.on(store, config.series_cache_bytes))
        app.test_client_class = Client
        yield app
    finally:
        store.close()


@pytest.fixture
def make_app(data: Path) -> Iterator[Callable[..., Flask]]:
    """An app on this test's store, with the settings given; the one before is closed first, as by a clean stop."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Flask:
            stack.close()
            return stack.enter_context(opened(data, **settings))

        yield make


@pytest.fixture(scope="module")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the store of `shared_client` is."""
    return tmp_path_factory.mktemp("shared") / "store"


@pytest.fixture(scope="module")
def shared_client(shared_data: Path) -> Iterator[FlaskClient]:
    """One client for all tests of a file that work on runs of their own: to make an app takes as long as ten tests."""
    with opened(shared_data) as app:
        yield app.test_client()


class Client(FlaskClient):
    """A client that reads each answer to its end, so that a downloaded file is closed."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return super().open(*args, **{"buffered": True, **kwargs})


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    """A client of an app with default settings."""
    return make_app().test_client()


@pytest.fixture
def log_run(client: FlaskClient) -> Callable[..., str]:
    """Log a run over HTTP, part by part as named, and give its id."""
    return run_logger(client)


def run_logger(client: FlaskClient) -> Callable[..., str]:
    """What `log_run` is, for a client that isn't the test's."""

    def log(
        experiment: str = "iris",
        params: dict[str, Any] | None = None,
        metrics: Any = None,
        artifacts: dict[str, bytes] | None = None,
        end: str | None = None,
        **fields: Any,
    ) -> str:
        answer = client.post("/api/w/runs", json={"experiment": experiment, **fields})
        assert answer.status_code == 200, answer.text
        run_id: str = answer.get_json()["id"]
        base = f"/api/w/runs/{run_id}"
        answers = []
        if params is not None:
            answers.append(client.post(f"{base}/params", json=params))
        if metrics is not None:
            answers.append(client.post(f"{base}/metrics", json=metrics))
        for name, content in (artifacts or {}).items():
            answers.append(
                client.post(
                    f"{base}/artifacts",
                    query_string={"name": name},
                    data=content,
                    content_type="application/octet-stream",
                )
            )
        if end is not None:
            answers.append(client.post(f"{base}/end", json={"status": end}))
        assert [answer.status_code for answer in answers] == [200] * len(answers), [answer.text for answer in answers]
        return run_id

    return log


@pytest.fixture
def serve(data: Path, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start a real server on this test's store, with the options given; all are ended with the test."""
    with ExitStack() as stack:
        count = 0

        def start(*options: str, wrapper: Sequence[str] = (), **variables: str) -> Running:
            nonlocal count
            count += 1
            scratch = tmp_path / f"server-{count}"
            return stack.enter_context(running(data, scratch, *options, wrapper=wrapper, **variables))

        yield start


@pytest.fixture
def server(serve: Callable[..., Running]) -> Running:
    """A real server with default settings."""
    return serve()


@pytest.fixture
def connect() -> Iterator[Callable[..., Connection]]:
    """Open a connection to a port of this machine; all are closed with the test."""
    with ExitStack() as stack:

        def open_one(port: int, **settings: Any) -> Connection:
            connection = Connection(port, **settings)
            stack.callback(connection.close)
            return connection

        yield open_one


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A real MLflow server for all tests, each of which has experiments of its own, and MLflow's client to read it."""
    service = MLflow(Path(sys.executable), tmp_path_factory.mktemp("mlflow") / "server")
    try:
        service.start()
        yield Reader(service.url, service.log_file)
    finally:
        service.stop()


@pytest.fixture(scope="session")
def installed_action(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job in which this repository's action was run once, as it stands: it has installed what it needs."""
    if shutil.which("bash") is None:
        unavailable("bash is not installed")
    root = tmp_path_factory.mktemp("actions") / "chachaml-lite"  # a copy, as GitHub makes one
    for name in ("action.yml", "pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        root.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root)
    for name in ("finish", ".github", "chachaml_lite"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    job = Job(tmp_path_factory.mktemp("installed"), root=root)
    job.run("- uses: ./\n- uses: ./finish")
    if NO_PACKAGE_INDEX.search(job.log):
        unavailable("the package index can't be reached")
    assert job.status == "success", job.log
    return job


@pytest.fixture
def github_job(installed_action: Job, tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """A new job of GitHub Actions, in which the action finds itself installed; its server is ended with the test."""
    with ExitStack() as stack:
        count = 0

        def start(**settings: Any) -> Job:
            nonlocal count
            count += 1
            job = Job(tmp_path / f"job-{count}", root=installed_action.root, **settings)
            job.home.mkdir()
            (job.home / "venv").symlink_to(installed_action.home / "venv")
            stack.callback(job.end_server)
            return job

        yield start


@pytest.fixture
def tool() -> Callable[[str], str]:
    """The path of a program, by name; without it the test is skipped on a user's machine, and fails in CI."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            unavailable(f"{name} is not installed")
        return str(found)

    return find


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real browser; without one the test is skipped on a user's machine, and fails in CI."""
    path = chromium()
    if path is None:
        unavailable("no Chromium or Chrome is installed")
    with launched(str(path)) as started:
        yield started


@pytest.fixture
def viewer(browser: Browser, serve: Callable[..., Running]) -> Iterator[Viewer]:
    """Somebody with a browser; at the end nothing may have gone wrong on any page that was open.

    It stands on `serve` so that pages are closed before the servers that they keep asking.
    """
    looking = Viewer(browser)
    yield looking
    looking.close()
    assert not looking.wrong


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of the contract and the how-to, which stands beside the developers' checkouts only."""
    if not SHARED.is_dir():
        pytest.skip("the how-to and the contract are not beside this checkout; the README's examples cover the same")
    return SHARED


def unavailable(reason: str) -> None:
    """Skip the test on a user's machine; fail it in CI, where nothing is skipped for want of a tool."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
