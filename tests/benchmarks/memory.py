"""The memory of the server: idle, and after the other sections."""

from __future__ import annotations

from . import wire
from .bench import Bench
from .gauges import resident_bytes
from .table import format_megabytes, print_heading, print_note, print_row


def section(bench: Bench) -> None:
    """Print the resident memory (RSS)."""
    print_heading("memory: resident (RSS)")
    with bench.server() as server, wire.Connection(server.url) as connection:
        print_row("idle, just started, an empty store", format_megabytes(resident_bytes(server.process.pid)))
        connection.ask(wire.get("/api/runs"))
        print_row("after a first request", format_megabytes(resident_bytes(server.process.pid)))
    for what, size in bench.memory:
        print_row(what, format_megabytes(size))
    if not bench.memory:
        print_note("(list other sections before this one to see the memory after them)")
