"""The memory of the server: idle, and after the other sections."""

from __future__ import annotations

from . import wire
from .bench import Bench
from .gauges import resident_bytes
from .table import heading, megabytes, note, row


def section(bench: Bench) -> None:
    """Resident memory (RSS)."""
    heading("memory: resident (RSS)")
    with bench.server() as server, wire.Connection(server.url) as connection:
        row("idle, just started, an empty store", megabytes(resident_bytes(server.process.pid)))
        connection.ask(wire.get("/api/runs"))
        row("after a first request", megabytes(resident_bytes(server.process.pid)))
    for what, size in bench.memory:
        row(what, megabytes(size))
    if not bench.memory:
        note("(name other sections before this one to see what they leave)")
