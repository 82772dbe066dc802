"""The fixtures of most tests: a new store and app for each, and a real server where a test client isn't enough.

Fixtures that need more than pytest, flask and waitress are in tests/support/, and a test module that uses them names
their module in `pytest_plugins`.
"""

from __future__ import annotations

import compileall
import gc
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.app_parts import share_templates, share_url_builders
from support.servers import Server, run_server, running_servers
from support.tools import find_tool
from support.wire import Connection
from werkzeug.test import TestResponse

import chachaml_lite
from chachaml_lite.app import create_app
from chachaml_lite.config import Config
from chachaml_lite.store.store import Store
from chachaml_lite.tracking.tracker import Tracker

with suppress(ModuleNotFoundError):  # the tests of a single rule run without it
    from hypothesis import HealthCheck, settings

    # Examples are neither random nor limited in time; `--hypothesis-profile=explore` tries new ones.
    settings.register_profile(
        "same", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.register_profile("explore", deadline=None, max_examples=1000)
    settings.load_profile("same")

_MAX_OUTPUT_CHARACTERS = 5000
#: Files with tests that wait for processes, by prefix of their names, the slowest first: if one started last, a single
#: worker would be busy at the end.
_SLOW_FILES = (
    *("packaging", "bench", "mlflow_autolog", "cli_import_mlflow", "action", "cli_export", "cli_run", "store_kill"),
    *("browser", "serve_proxy", "serve_import", "cli", "mlflow_processes", "readme", "mlflow", "serve", "store"),
    *("api_openapi", "suite", "training", "client", "image"),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the slow files first where tests run in several processes."""
    if hasattr(config, "workerinput"):
        starts = tuple(f"test_{start}" for start in _SLOW_FILES)
        items.sort(
            key=lambda item: next(
                (at for at, start in enumerate(starts) if item.path.name.startswith(start)), len(starts)
            )
        )


def pytest_collection_finish() -> None:
    """Keep the garbage collector off what lives as long as the tests do: that takes a tenth of their CPU time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add the output of the processes involved to the report of a failed test."""
    if call.excinfo is not None:
        error = call.excinfo.value
        if isinstance(error, subprocess.CalledProcessError | subprocess.TimeoutExpired):
            for name, output in (("stdout", error.stdout), ("stderr", error.stderr)):
                text = output.decode(errors="replace") if isinstance(output, bytes) else output
                item.add_report_section(call.when, f"{name} of the process", (text or "")[-_MAX_OUTPUT_CHARACTERS:])
        for server in running_servers:
            with suppress(OSError):
                item.add_report_section(call.when, f"log of {server.url}", server.log[-_MAX_OUTPUT_CHARACTERS:])
    yield


def _leave_process(process: subprocess.Popen[Any], kind: Any, value: Any, traceback: Any) -> None:
    """Kill a process if its `with` block failed: the end of the block would otherwise wait for it, maybe forever."""
    if kind is not None:
        process.kill()
    _wait_for_process(process, kind, value, traceback)


_wait_for_process = subprocess.Popen.__exit__
subprocess.Popen.__exit__ = _leave_process  # type: ignore[method-assign]


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Accept pytest-timeout's setting without the plugin: tests of a rule run with pytest, flask and waitress alone."""
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "limit of each test, in seconds; needs pytest-timeout")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the package once: with PYTHONDONTWRITEBYTECODE, as in many containers, each of 3,000 processes would."""
    if not hasattr(session.config, "workerinput"):
        compileall.compile_dir(Path(chachaml_lite.__file__).parent, quiet=2)


def pytest_configure() -> None:
    """Let Ctrl-C and SIGQUIT end the processes that tests start, even if a shell's `&` has made them ignored.

    A child process inherits that a signal is ignored, but no handler. SIGHUP stays ignored, so that nohup applies to
    the child processes, too.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


share_url_builders()
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of this test's store."""
    return tmp_path / "store"


@contextmanager
def open_app(data: Path, **settings: Any) -> Iterator[Flask]:
    """Open an app on the store at `data`, with these settings."""
    config = Config(data=data, **{"fsync": "no", "quiet": True, **settings})
    tracker = Tracker.on(Store(config.data, config.fsync, read_only=config.read_only), config.series_cache_bytes)
    try:
        app = create_app(config, tracker)
        app.test_client_class = Client
        share_templates(app)
        yield app
    finally:
        tracker.close()


@pytest.fixture
def make_app(data: Path) -> Iterator[Callable[..., Flask]]:
    """Create an app on this test's store, with these settings; the previous one is closed first, as by a clean stop."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Flask:
            stack.close()
            return stack.enter_context(open_app(data, **settings))

        yield make


@pytest.fixture(scope="module")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `shared_client`'s store."""
    return tmp_path_factory.mktemp("shared") / "store"


@pytest.fixture(scope="module")
def shared_client(shared_data: Path) -> Iterator[FlaskClient]:
    """One client for all tests of a file that use runs of their own: creating an app takes as long as ten tests."""
    with open_app(shared_data) as app:
        yield app.test_client()


class Client(FlaskClient):
    """A client that reads each response to its end, so that a downloaded file is closed."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return super().open(*args, **{"buffered": True, **kwargs})


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    """A client of an app with default settings."""
    return make_app().test_client()


@pytest.fixture
def log_run(client: FlaskClient) -> Callable[..., str]:
    """Log a run over HTTP with the given parts, and return its id."""
    return run_logger(client)


def run_logger(client: FlaskClient) -> Callable[..., str]:
    """Return a function like `log_run` for another client than the test's."""

    def log(
        experiment: str = "iris",
        params: dict[str, Any] | None = None,
        metrics: Any = None,
        artifacts: dict[str, bytes] | None = None,
        end: str | None = None,
        **fields: Any,
    ) -> str:
        response = client.post("/api/w/runs", json={"experiment": experiment, **fields})
        assert response.status_code == 200, response.text
        run_id: str = response.get_json()["id"]
        base = f"/api/w/runs/{run_id}"
        responses = []
        if params is not None:
            responses.append(client.post(f"{base}/params", json=params))
        if metrics is not None:
            responses.append(client.post(f"{base}/metrics", json=metrics))
        for name, content in (artifacts or {}).items():
            responses.append(
                client.post(
                    f"{base}/artifacts",
                    query_string={"name": name},
                    data=content,
                    content_type="application/octet-stream",
                )
            )
        if end is not None:
            responses.append(client.post(f"{base}/end", json={"status": end}))
        statuses = [response.status_code for response in responses]
        assert statuses == [200] * len(responses), [response.text for response in responses]
        return run_id

    return log


@pytest.fixture
def serve(data: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a real server on this test's store, with these options; all are stopped at the end of the test."""
    with ExitStack() as stack:
        count = 0

        def start(*options: str, wrapper: Sequence[str] = (), forks: bool = True, **variables: str) -> Server:
            nonlocal count
            count += 1
            scratch = tmp_path / f"server-{count}"
            server = run_server(data, scratch, *options, wrapper=wrapper, forks=forks, **variables)
            return stack.enter_context(server)

        yield start


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """A real server with default settings."""
    return serve()


@pytest.fixture
def connect() -> Iterator[Callable[..., Connection]]:
    """Open a connection to a port of this machine; all are closed at the end of the test."""
    with ExitStack() as stack:

        def open_connection(port: int, **settings: Any) -> Connection:
            connection = Connection(port, **settings)
            stack.callback(connection.close)
            return connection

        yield open_connection


@pytest.fixture
def tool() -> Callable[[str], str]:
    """Find a program by name, or skip the test; in CI the test fails."""
    return find_tool


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of the contract and the how-to, which only developers have, beside their checkout."""
    if not SHARED.is_dir():
        pytest.skip("the how-to and the contract are not beside this checkout; the README's examples cover the same")
    return SHARED
