"""The tools' server for the Model Context Protocol, on stdin and stdout, with its Python SDK (the extra `mcp`)."""

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
    """The SDK isn't installed; the text says how to install it."""


def serve_tools(client: Client, *, read_only: bool) -> None:
    """Handle a model's calls until stdin ends. Raises NotInstalled."""
    try:
        from mcp.server import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp_types import ToolAnnotations
    except ImportError as fault:
        raise NotInstalled(
            "the Model Context Protocol's SDK is not installed; pip install 'chachaml-lite[mcp]', or pip install mcp"
        ) from fault
    lock = threading.Lock()

    def serialize(tool: Callable[..., str]) -> Callable[..., str]:
        """Wrap a tool: calls are serialized, since the client isn't thread-safe, and failures reach the model."""

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
    for tool, is_read_only in tools:
        # Responses are text: with structured output the SDK would add an object with the same text, at a model's cost.
        annotations = ToolAnnotations(read_only_hint=is_read_only, destructive_hint=False, open_world_hint=False)
        server.add_tool(serialize(tool), annotations=annotations, structured_output=False)
    server.run("stdio")
