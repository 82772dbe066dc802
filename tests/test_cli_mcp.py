"""`chachaml-lite mcp` as a process, asked by the protocol's own client."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client
from support.commands import cli
from support.servers import Running, environment

T = TypeVar("T")

READS = {
    *("list_experiments", "list_runs", "get_run", "get_series", "compare_runs", "get_best_run", "report_run"),
    *("check_run", "list_models"),
}
WRITES = {"start_run", "log", "end_run", "annotate_run"}


def run_apart(ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in its own thread and return its result: an open browser keeps a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(ask())).result()


class Agent:
    """Calls tools of a server that is started for each conversation."""

    def __init__(self, *options: str) -> None:
        self._parameters = StdioServerParameters(
            command=sys.executable, args=["-m", "chachaml_lite", "mcp", *options], env=environment()
        )

    def tools(self) -> dict[str, Any]:
        """The tools by name, as they are described."""

        async def ask() -> Any:
            async with stdio_client(self._parameters) as streams, ClientSession(*streams) as session:
                await session.initialize()
                return (await session.list_tools()).tools

        return {tool.name: tool for tool in run_apart(ask)}

    def calls(self, *wanted: tuple[str, dict[str, Any]]) -> list[tuple[bool, str]]:
        """Call tools one after the other; whether each failed, and its text."""

        async def ask() -> list[tuple[bool, str]]:
            results = []
            async with stdio_client(self._parameters) as streams, ClientSession(*streams) as session:
                await session.initialize()
                for name, arguments in wanted:
                    result: Any = await session.call_tool(name, arguments)
                    results.append((bool(result.is_error), "".join(part.text for part in result.content)))
            return results

        return run_apart(ask)

    def call(self, name: str, /, **arguments: Any) -> str:
        """The text of one call that works."""
        ((failed, text),) = self.calls((name, arguments))
        assert not failed, text
        return text


@pytest.fixture(params=["--url", "--data"])
def place(request: pytest.FixtureRequest, serve: Callable[..., Running], data: Path) -> list[str]:
    return ["--url", serve().url] if request.param == "--url" else ["--data", str(data)]


def test_every_tool_has_a_schema_and_an_example(data: Path) -> None:
    tools = Agent("--data", str(data)).tools()
    assert tools.keys() == READS | WRITES
    for name, tool in tools.items():
        assert f"{name}(" in tool.description, "no example"
        assert tool.input_schema["type"] == "object" and "self" not in tool.input_schema.get("properties", {})
        assert tool.annotations.read_only_hint is (name in READS)
    assert tools["get_series"].input_schema["required"] == ["run", "keys"]


def test_agent_logs_a_run_and_reads_it_back(place: list[str]) -> None:
    agent = Agent(*place)
    run_id = agent.call("start_run", experiment="iris", name="by an agent", tags={"who": "model"})
    results = agent.calls(
        ("log", {"run": run_id, "metrics": {"loss": 0.5, "acc": 0.7}, "step": 1, "params": {"lr": 0.1}}),
        ("log", {"run": run_id, "metrics": {"loss": "NaN"}, "step": 2}),
        ("annotate_run", {"run": run_id, "note": "**promising**", "tags": {"reviewed": "yes"}}),
        ("end_run", {"run": run_id}),
        ("list_experiments", {}),
        ("list_runs", {"query": "metrics.acc > 0.6 and params.lr = 0.1", "experiment": "iris"}),
        ("get_run", {"run": "latest:iris"}),
        ("get_series", {"run": run_id, "keys": ["loss", "none"]}),
        ("check_run", {"run": run_id, "rules": ["acc>=0.6", "acc>=0.9"]}),
        ("report_run", {"run": run_id}),
        ("get_best_run", {"experiment": "iris", "metric": "acc"}),
    )
    assert not [text for failed, text in results if failed]
    texts = [text for _, text in results]
    assert "iris" in texts[4] and run_id in texts[5] and "promising" in texts[6]
    assert "loss: 2 of 2 points, as step=value\n1=0.5 2=NaN" in texts[7] and "none: nothing was logged" in texts[7]
    assert texts[8].splitlines()[0] == "FAILED" and "passed  acc>=0.6" in texts[8]
    assert "by an agent" in texts[9] and run_id in texts[10]


def test_what_an_agent_does_wrong_is_told_to_it(place: list[str]) -> None:
    agent = Agent(*place)
    results = agent.calls(
        ("get_run", {"run": "nothing"}),
        ("get_run", {"run": "latest:nothing"}),
        ("list_runs", {"query": "metrics.loss <"}),
        ("compare_runs", {"runs": ["../x"]}),
        ("end_run", {"run": "nothing", "status": "done"}),
        ("get_best_run", {"experiment": "nothing", "metric": "loss"}),
    )
    assert all(failed for failed, _ in results), results
    for (_, text), words in zip(
        results, ["no such run", "no completed run", "character", "there is no run", "", ""], strict=True
    ):
        assert words in text and "Traceback" not in text, text


def test_read_only_server_has_no_tool_that_writes(data: Path) -> None:
    (data / "runs").mkdir(parents=True)
    assert Agent("--data", str(data), "--read-only").tools().keys() == READS


def test_long_answers_are_cut_to_what_fits(place: list[str]) -> None:
    agent = Agent(*place)
    run_id = agent.call("start_run", experiment="iris")
    for first in range(0, 600, 200):
        agent.call(
            "log", run=run_id, metrics={f"metric-{number:04}-{'x' * 40}": 1 for number in range(first, first + 200)}
        )
    text = agent.call("get_run", run=run_id)
    assert len(text) < 13_000 and "characters more; ask for less" in text


def test_without_the_sdk_the_message_says_what_to_install(data: Path, tmp_path: Path) -> None:
    (data / "runs").mkdir(parents=True)
    hidden = tmp_path / "hidden" / "mcp"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('as if it were not there')")
    done = cli("mcp", "--data", str(data), code=2, env={"PYTHONPATH": str(hidden.parent)})
    assert "pip install 'chachaml-lite[mcp]'" in done.stderr
