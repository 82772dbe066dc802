"""The floors: Flask routes on the same waitress, with the same settings, that do almost nothing.

    python -m benchmarks.floors FOLDER

serves until it is killed: `POST /noop` parses the JSON and responds, `POST /append` also appends the body as a line to
an open file, `GET /noop` only responds, `GET /pid` responds with the process id. `POST /bare` appends the body as a
line, without Flask and without parsing it. FOLDER/ready gets the URL.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from support.servers import PATIENCE_SECONDS
from waitress.server import create_server

from chachaml_lite.config import Config
from chachaml_lite.server import bind, waitress_settings


def create_app(folder: Path) -> Flask:
    """Create the application."""
    app = Flask(__name__)
    descriptor = os.open(folder / "lines.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    @app.post("/noop")
    def noop() -> Response:
        request.get_json()
        return _ok()

    @app.get("/noop")
    def get_noop() -> Response:
        return _ok()

    flask_app = app.wsgi_app

    def bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/bare":
            return flask_app(environ, start_response)
        os.write(descriptor, environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])) + b"\n")
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "13")])
        return [b'{"ok": true}\n']

    app.wsgi_app = bare  # type: ignore[method-assign]

    @app.get("/pid")
    def pid() -> Response:
        return Response(str(os.getpid()), mimetype="text/plain")

    @app.post("/append")
    def append() -> Response:
        os.write(descriptor, json.dumps(request.get_json()).encode() + b"\n")
        return _ok()

    return app


def _ok() -> Response:
    return Response('{"ok": true}\n', mimetype="application/json")


def main(folder: Path) -> None:
    """Serve until killed."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # like the real server
    sockets = bind("localhost", 0)
    server = create_server(create_app(folder), sockets=sockets, **waitress_settings(Config()))
    temporary = folder / ".ready"
    temporary.write_text(f"http://localhost:{sockets[0].getsockname()[1]}\n")
    temporary.replace(folder / "ready")
    server.run()


@contextlib.contextmanager
def run_floor(folder: Path) -> Iterator[str]:
    """Start a floor server in its own process and yield its URL. The process ends with the block."""
    folder.mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.floors", str(folder)])
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (folder / "ready").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the floor server did not start")
            time.sleep(0.01)
        yield (folder / "ready").read_text().strip()
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
