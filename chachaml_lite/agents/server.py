"""The tools over the Model Context Protocol, on stdin and stdout, by its own Python SDK (the extra `mcp`)."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from .. import __version__
from ..client.base import Client
from .tools import READ_TOOLS, WRITE_TOOLS, ReadTools, ToolFailed, WriteTools

INSTRUCTIONS = """Experiments tracked by chachaml-lite: runs with params, metrics (series of points), artifacts, models.
Begin with list_experiments, then list_runs with a query. RUN is a run's id, latest:EXPERIMENT or production:MODEL."""


class NotInstalled(Exception):
    """The SDK isn't installed; the text says what to do."""


def serve_tools(client: Client, *, read_only: bool) -> None:
    """Answer a model's calls until stdin ends. Raises NotInstalled."""
    try:
        from mcp.server import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp_types import ToolAnnotations
    except ImportError as fault:
        raise NotInstalled(
            "the Model Context Protocol's SDK is not installed; pip install 'chachaml-lite[mcp]', or pip install mcp"
        ) from fault
    lock = threading.Lock()

    def one_at_a_time(tool: Callable[..., str]) -> Callable[..., str]:
        """Have a tool use the client alone, which is for one thread, and its failure told to the model."""

        @functools.wraps(tool)
        def call(*args: Any, **kwargs: Any) -> str:
            with lock:
                try:
                    return tool(*args, **kwargs)
                except ToolFailed as fault:
                    raise ToolError(str(fault)) from fault

        return call

    server = MCPServer("chachaml-lite", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")
    tools = [(getattr(ReadTools(client), tool.__name__), True) for tool in READ_TOOLS]
    if not read_only:
        tools += [(getattr(WriteTools(client), tool.__name__), False) for tool in WRITE_TOOLS]
    for tool, only_reads in tools:
        # Text is what the answers are: the SDK would wrap each into an object besides, and a model pays for both.
        annotations = ToolAnnotations(read_only_hint=only_reads, destructive_hint=False, open_world_hint=False)
        server.add_tool(one_at_a_time(tool), annotations=annotations, structured_output=False)
    server.run("stdio")
