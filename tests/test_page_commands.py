"""The commands on pages and GET /: pasted into a shell they work, with this server's host and token."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support.scripts import run_bash
from support.servers import Server

TOKEN = "correct horse"
tokens = pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "token"])


class Visitor:
    """A user who reads this server's pages and has a shell, both with the token if there is one."""

    def __init__(self, server: Server, folder: Path, token: str | None) -> None:
        self._url, self._folder, self._token = server.url, folder, token

    def get(self, path: str, accept: str = "*/*") -> str:
        headers = {"Accept": accept, **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        answer = requests.get(self._url + path, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.text

    def commands(self, path: str) -> str:
        (block,) = re.findall(r'<pre class="command"[^>]*>([\s\S]*?)</pre>', self.get(path, "text/html"))
        return html.unescape(block)

    def paste(self, script: str) -> str:
        return run_bash(script, self._folder, **({"CHACHAML_TOKEN": self._token} if self._token else {}))


@pytest.fixture
def visitor(serve: Callable[..., Server], tmp_path: Path, token: str | None, tool: Callable[[str], str]) -> Visitor:
    tool("bash")
    tool("curl")
    return Visitor(serve(*(["--token", token] if token else [])), tmp_path, token)


@tokens
def test_quickstart_for_curl_can_be_pasted_into_a_shell(visitor: Visitor) -> None:
    output = visitor.paste(visitor.get("/"))
    assert '"detail"' not in output  # which every error contains
    (run_id,) = re.findall(r"/runs/(\S+)$", output, re.MULTILINE)
    page = visitor.get(f"/runs/{run_id}", "text/html")
    assert all(word in page for word in ("completed", "iris", "lr", "0.01", "accuracy", "0.94", "notes.txt"))


@tokens
def test_page_without_runs_shows_the_same_quickstart(visitor: Visitor) -> None:
    assert visitor.commands("/runs").strip() == visitor.get("/").strip()


@tokens
def test_commands_of_a_running_run_log_to_it_and_end_it(visitor: Visitor) -> None:
    start = visitor.get("/").partition('\ncurl "$HOST')[0]
    path = f"/runs/{visitor.paste(start + '; echo $RUN').strip()}"
    assert '"detail"' not in visitor.paste(visitor.commands(path))
    run = visitor.get(f"/api{path}")
    assert '"status": "completed"' in run
    assert '"metrics": {"loss": 0.4}' in run
    assert '<pre class="command"' not in visitor.get(path, "text/html"), "an ended run shows no commands"


@tokens
def test_commands_on_the_page_without_models_register_one_that_can_be_downloaded(visitor: Visitor) -> None:
    assert '"detail"' not in visitor.paste(visitor.commands("/models"))
    assert "production" in visitor.get("/models", "text/html")
    assert visitor.paste(visitor.commands("/models/iris-classifier") + "; cat model.pkl") == "any file will do\n"
