"""The Dockerfile: no daemon is needed to read it, and to run its commands in the environment that it gives them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.servers import PATIENCE_SECONDS, Running, await_ready, environment, free_port

ROOT = Path(__file__).resolve().parents[1]


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile, with its lines as one."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines) if name]


def all_of(name: str) -> list[str]:
    return [rest for each, rest in instructions() if each == name]


def variables() -> dict[str, str]:
    """The image's environment variables, without PATH."""
    return dict(pair.split("=", 1) for text in all_of("ENV") for pair in text.split() if not pair.startswith("PATH="))


def command(text: str) -> list[str]:
    """A command in exec form, with what the image finds on its PATH found here."""
    parsed: list[str] = json.loads(text)
    here = {"python": [sys.executable], "chachaml-lite": [sys.executable, "-m", "chachaml_lite"]}
    return [*here.get(parsed[0], parsed[:1]), *parsed[1:]]


@pytest.fixture
def health() -> list[str]:
    (check,) = all_of("HEALTHCHECK")
    return command(check.partition("CMD ")[2])


def entry() -> list[str]:
    (entrypoint,), (default,) = all_of("ENTRYPOINT"), all_of("CMD")
    return [*command(entrypoint), *json.loads(default)]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Running]:
    """The image's command with what the image sets, but on a free port, a folder of this test's, and with a token."""
    ready, log_file = tmp_path / "ready", tmp_path / "log"
    given = {**variables(), "CHACHAML_PORT": str(free_port()), "CHACHAML_DATA": str(tmp_path / "data")}
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            entry(),
            stdout=log,
            stderr=log,
            env=environment(**given, CHACHAML_TOKEN="secret", CHACHAML_READY_FILE=str(ready)),
        )
    try:
        yield Running(await_ready(process, ready, log_file), tmp_path / "data", process, log_file)
    finally:
        process.kill()
        process.wait(PATIENCE_SECONDS)


def test_image_serves_on_all_addresses_and_is_healthy_until_it_is_stopped_by_sigterm(
    container: Running, health: list[str]
) -> None:
    given = environment(CHACHAML_PORT=str(container.port), http_proxy="http://127.0.0.1:9")
    assert variables()["CHACHAML_HOST"] == "0.0.0.0"
    assert requests.get(f"http://127.0.0.1:{container.port}/api/runs", timeout=60).status_code == 401
    done = subprocess.run(health, env=given, capture_output=True, timeout=60)
    assert done.returncode == 0, (done.stderr, container.log)
    assert container.stop(signal.SIGTERM) == 0
    assert subprocess.run(health, env=given, stderr=subprocess.DEVNULL, timeout=60).returncode == 1


def test_without_a_token_or_leave_to_have_none_the_image_refuses_to_start(tmp_path: Path) -> None:
    given = environment(**{**variables(), "CHACHAML_DATA": str(tmp_path / "data")})
    done = subprocess.run(entry(), env=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done
    assert "Set --token-file (or CHACHAML_TOKEN)" in done.stderr
    help_text = subprocess.run([*entry(), "--help"], env=given, capture_output=True, text=True, timeout=60).stdout
    assert "CHACHAML_NO_TOKEN" in help_text


def test_image_is_built_from_what_there_is_and_needs_no_rights() -> None:
    assert [each.split()[0] for each in all_of("FROM")] == ["python:3.13-slim"] * 2
    assert "Programming Language :: Python :: 3.13" in (ROOT / "setup.cfg").read_text()
    for copied in all_of("COPY"):
        if not copied.startswith("--from=build "):
            assert all((ROOT / source).exists() for source in copied.split()[:-1]), copied
    (user,) = all_of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    (volume,) = all_of("VOLUME")
    assert variables()["CHACHAML_DATA"] == volume
    assert all_of("EXPOSE") == [variables()["CHACHAML_PORT"]]
    names = [name for name, _ in instructions()]
    assert names.index("USER") < names.index("ENTRYPOINT")
    made = next(run for run in all_of("RUN") if "useradd" in run)
    assert f"--owner=chachaml --group=chachaml --mode=0700 {volume}" in made


def test_each_variable_that_the_image_sets_is_one_of_serve(tmp_path: Path) -> None:
    shown = subprocess.run([*entry(), "--help"], env=os.environ, capture_output=True, text=True, timeout=60).stdout
    assert all(name in shown for name in variables())
