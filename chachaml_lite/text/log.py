"""Formatting of log records as single lines, with control characters escaped."""

from __future__ import annotations

import logging

from .safe import printable

FORMAT = "%(asctime)s %(levelname)s %(message)s"


class LogFormatter(logging.Formatter):
    """Escapes messages and tracebacks, including those of libraries, which may contain decoded paths."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Format the line of a record."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record, with an indented traceback, so that no line of it looks like a record."""
        line, *rest = super().format(record).split("\n")
        return "\n".join([line, *(f"  {printable(each)}" for each in rest)])
