"""Log lines: whatever a record holds, it is one line, and nothing in it acts on a terminal."""

from __future__ import annotations

import logging

from .safe import printable

FORMAT = "%(asctime)s %(levelname)s %(message)s"


class LogFormatter(logging.Formatter):
    """Escapes messages and tracebacks. The one place for it: records come from libraries, too, with paths decoded."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """The line of a record."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """The record, with its traceback indented: no line of one can be taken for a record."""
        line, *rest = super().format(record).split("\n")
        return "\n".join([line, *(f"  {printable(each)}" for each in rest)])
