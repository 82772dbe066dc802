"""The Dockerfile, without a daemon: its commands run here, in the environment that it sets."""

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
from support.servers import PATIENCE_SECONDS, Server, await_ready, environment, free_port

ROOT = Path(__file__).resolve().parents[1]


def parse_instructions() -> list[tuple[str, str]]:
    """Parse the Dockerfile: each instruction and its argument, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines) if name]


def get_arguments(name: str) -> list[str]:
    return [rest for each, rest in parse_instructions() if each == name]


def get_variables() -> dict[str, str]:
    """Return the environment variables that the image sets, without PATH."""
    return dict(
        pair.split("=", 1) for text in get_arguments("ENV") for pair in text.split() if not pair.startswith("PATH=")
    )


def parse_command(text: str) -> list[str]:
    """Parse a command in exec form, with this machine's programs for those on the image's PATH."""
    words: list[str] = json.loads(text)
    local_programs = {"python": [sys.executable], "chachaml-lite": [sys.executable, "-m", "chachaml_lite"]}
    return [*local_programs.get(words[0], words[:1]), *words[1:]]


@pytest.fixture
def health() -> list[str]:
    (check,) = get_arguments("HEALTHCHECK")
    return parse_command(check.partition("CMD ")[2])


def get_entrypoint() -> list[str]:
    (entrypoint,), (default,) = get_arguments("ENTRYPOINT"), get_arguments("CMD")
    return [*parse_command(entrypoint), *json.loads(default)]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Server]:
    """The image's command with its variables, except for a free port, a temporary folder and a token."""
    ready, log_file = tmp_path / "ready", tmp_path / "log"
    variables = {**get_variables(), "CHACHAML_PORT": str(free_port()), "CHACHAML_DATA": str(tmp_path / "data")}
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            get_entrypoint(),
            stdout=log,
            stderr=log,
            env=environment(**variables, CHACHAML_TOKEN="secret", CHACHAML_READY_FILE=str(ready)),
        )
    try:
        yield Server(await_ready(process, ready, log_file), tmp_path / "data", process, log_file)
    finally:
        process.kill()
        process.wait(PATIENCE_SECONDS)


def test_image_listens_on_all_addresses_and_is_healthy_until_sigterm(container: Server, health: list[str]) -> None:
    env = environment(CHACHAML_PORT=str(container.port), http_proxy="http://127.0.0.1:9")
    assert get_variables()["CHACHAML_HOST"] == "0.0.0.0"
    assert requests.get(f"http://127.0.0.1:{container.port}/api/runs", timeout=60).status_code == 401
    process = subprocess.run(health, env=env, capture_output=True, timeout=60)
    assert process.returncode == 0, (process.stderr, container.log)
    assert container.stop(signal.SIGTERM) == 0
    assert subprocess.run(health, env=env, stderr=subprocess.DEVNULL, timeout=60).returncode == 1


def test_image_without_a_token_refuses_to_start_unless_allowed(tmp_path: Path) -> None:
    env = environment(**{**get_variables(), "CHACHAML_DATA": str(tmp_path / "data")})
    process = subprocess.run(get_entrypoint(), env=env, capture_output=True, text=True, timeout=60)
    assert process.returncode == 2, process
    assert "Set --token-file (or CHACHAML_TOKEN)" in process.stderr
    help_text = subprocess.run(
        [*get_entrypoint(), "--help"], env=env, capture_output=True, text=True, timeout=60
    ).stdout
    assert "CHACHAML_NO_TOKEN" in help_text


def test_image_copies_existing_files_and_runs_without_root() -> None:
    assert [each.split()[0] for each in get_arguments("FROM")] == ["python:3.13-slim"] * 2
    assert "Programming Language :: Python :: 3.13" in (ROOT / "setup.cfg").read_text()
    for argument in get_arguments("COPY"):
        if not argument.startswith("--from=build "):
            assert all((ROOT / source).exists() for source in argument.split()[:-1]), argument
    (user,) = get_arguments("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    (volume,) = get_arguments("VOLUME")
    assert get_variables()["CHACHAML_DATA"] == volume
    assert get_arguments("EXPOSE") == [get_variables()["CHACHAML_PORT"]]
    names = [name for name, _ in parse_instructions()]
    assert names.index("USER") < names.index("ENTRYPOINT")
    command = next(run for run in get_arguments("RUN") if "useradd" in run)
    assert f"--owner=chachaml --group=chachaml --mode=0700 {volume}" in command


def test_variables_of_the_image_are_options_of_serve(tmp_path: Path) -> None:
    help_text = subprocess.run(
        [*get_entrypoint(), "--help"], env=os.environ, capture_output=True, text=True, timeout=60
    ).stdout
    assert all(name in help_text for name in get_variables())
