"""Log lines: one record is one line without control characters."""

from __future__ import annotations

import logging

import pytest

from chachaml_lite.text.log import LogFormatter


def format_line(message: str, *args: object, exc_info: BaseException | None = None) -> str:
    info = (type(exc_info), exc_info, exc_info.__traceback__) if exc_info else None
    record = logging.LogRecord("waitress", logging.INFO, "", 0, message, args, info)
    return LogFormatter().format(record)


@pytest.mark.parametrize(
    "text", ["/a\n2026-01-01 00:00:00,000 INFO forged", "\x1b[2J", "\r", "\u202eabc", "::error::x"]
)
def test_record_with_a_client_s_text_is_one_printable_line(text: str) -> None:
    line = format_line("Client disconnected while serving %s", text)
    assert line.isprintable() and "Client disconnected while serving" in line


def test_traceback_is_indented_and_escaped() -> None:
    try:
        raise ValueError("first\n2026-01-01 00:00:00,000 INFO forged\x1b[2J")
    except ValueError as fault:
        first, *rest = format_line("went wrong", exc_info=fault).split("\n")
    assert first.endswith("INFO went wrong")
    assert rest and all(line.startswith("  ") and line.isprintable() for line in rest)
