"""`chachaml-lite mcp` as a process, called by the protocol's own client."""

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
from support.servers import Server, environment

T = TypeVar("T")

READS = {
    *("list_experiments", "list_runs", "get_run", "get_series", "compare_runs", "get_best_run", "report_run"),
    *("check_run", "list_models"),
}
WRITES = {"start_run", "log", "end_run", "annotate_run"}


def run_in_thread(converse: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in its own thread and return its result: an open browser keeps a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(converse())).result()


class Agent:
    """Calls tools of a server that is started for each conversation."""

    def __init__(self, *options: str) -> None:
        self._parameters = StdioServerParameters(
            command=sys.executable, args=["-m", "chachaml_lite", "mcp", *options], env=environment()
        )

    def list_tools(self) -> dict[str, Any]:
        """List the tools, by name."""

        async def converse() -> Any:
            async with stdio_client(self._parameters) as streams, ClientSession(*streams) as session:
                await session.initialize()
                return (await session.list_tools()).tools

        return {tool.name: tool for tool in run_in_thread(converse)}

    def call_all(self, *requests: tuple[str, dict[str, Any]]) -> list[tuple[bool, str]]:
        """Call tools one after the other. For each, return whether it failed, and its text."""

        async def converse() -> list[tuple[bool, str]]:
            results = []
            async with stdio_client(self._parameters) as streams, ClientSession(*streams) as session:
                await session.initialize()
                for name, arguments in requests:
                    result: Any = await session.call_tool(name, arguments)
                    results.append((bool(result.is_error), "".join(part.text for part in result.content)))
            return results

        return run_in_thread(converse)

    def call(self, name: str, /, **arguments: Any) -> str:
        """Call one tool, which must succeed, and return its text."""
        ((is_error, text),) = self.call_all((name, arguments))
        assert not is_error, text
        return text


@pytest.fixture(params=["--url", "--data"])
def place(request: pytest.FixtureRequest, serve: Callable[..., Server], data: Path) -> list[str]:
    return ["--url", serve().url] if request.param == "--url" else ["--data", str(data)]


def test_every_tool_has_a_schema_and_an_example(data: Path) -> None:
    tools = Agent("--data", str(data)).list_tools()
    assert tools.keys() == READS | WRITES
    for name, tool in tools.items():
        assert f"{name}(" in tool.description, "no example"
        assert tool.input_schema["type"] == "object" and "self" not in tool.input_schema.get("properties", {})
        assert tool.annotations.read_only_hint is (name in READS)
    assert tools["get_series"].input_schema["required"] == ["run", "keys"]


def test_agent_logs_a_run_and_reads_it_back(place: list[str]) -> None:
    agent = Agent(*place)
    run_id = agent.call("start_run", experiment="iris", name="by an agent", tags={"who": "model"})
    results = agent.call_all(
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
    assert not [text for is_error, text in results if is_error]
    texts = [text for _, text in results]
    assert "iris" in texts[4] and run_id in texts[5] and "promising" in texts[6]
    assert "loss: 2 of 2 points, as step=value\n1=0.5 2=NaN" in texts[7] and "none: nothing was logged" in texts[7]
    assert texts[8].splitlines()[0] == "FAILED" and "passed  acc>=0.6" in texts[8]
    assert "by an agent" in texts[9] and run_id in texts[10]


def test_wrong_call_is_an_error_that_says_why(place: list[str]) -> None:
    agent = Agent(*place)
    results = agent.call_all(
        ("get_run", {"run": "nothing"}),
        ("get_run", {"run": "latest:nothing"}),
        ("list_runs", {"query": "metrics.loss <"}),
        ("compare_runs", {"runs": ["../x"]}),
        ("end_run", {"run": "nothing", "status": "done"}),
        ("get_best_run", {"experiment": "nothing", "metric": "loss"}),
    )
    assert all(is_error for is_error, _ in results), results
    for (_, text), words in zip(
        results, ["no such run", "no completed run", "character", "there is no run", "", ""], strict=True
    ):
        assert words in text and "Traceback" not in text, text


def test_read_only_server_has_no_tool_that_writes(data: Path) -> None:
    (data / "runs").mkdir(parents=True)
    assert Agent("--data", str(data), "--read-only").list_tools().keys() == READS


def test_long_answer_is_truncated(place: list[str]) -> None:
    agent = Agent(*place)
    run_id = agent.call("start_run", experiment="iris")
    batches = [
        {f"metric-{number:04}-{'x' * 40}": 1 for number in range(first, first + 200)} for first in range(0, 600, 200)
    ]
    results = agent.call_all(
        *(("log", {"run": run_id, "metrics": metrics}) for metrics in batches), ("get_run", {"run": run_id})
    )
    assert not [text for is_error, text in results if is_error]
    text = results[-1][1]
    assert len(text) < 13_000 and "characters more; ask for less" in text


def test_missing_sdk_error_names_the_package(data: Path, tmp_path: Path) -> None:
    (data / "runs").mkdir(parents=True)
    package = tmp_path / "hidden" / "mcp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('as if it were not there')")
    result = cli("mcp", "--data", str(data), code=2, env={"PYTHONPATH": str(package.parent)})
    assert "pip install 'chachaml-lite[mcp]'" in result.stderr
