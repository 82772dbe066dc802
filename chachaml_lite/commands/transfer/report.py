"""The report of a transfer: the outcome of each run, as text or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ...client.base import ApiError, Unreachable
from ...client.push import NotPushed
from ...text.safe import escape_json, printable
from ..errors import FAILED, UNREACHABLE, USAGE, CommandError, describe, describe_detail
from ..printing import print_json, print_text
from ..run_names import format_unreadable

#: The outcomes of an import.
KINDS = ("imported", "updated", "unchanged")


class TransferReport:
    """The runs of a transfer by outcome, and the failures with their reasons."""

    def __init__(self, item: str) -> None:
        """`item` is the kind of item that can fail: an "id" or a "file"."""
        self._item = item
        self.runs: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self.failures: list[dict[str, str]] = []
        #: Descriptions of the omitted parts, by name.
        self.omissions: dict[str, list[str]] = {}
        #: The number of runs that are too damaged to be listed; None if it is irrelevant.
        self.unreadable: int | None = None
        #: The model versions, "NAME N", by outcome; None if there are none.
        self.models: dict[str, list[str]] | None = None
        #: Bytes of files that were sent; None if it is irrelevant.
        self.bytes: int | None = None

    def count(self) -> int:
        """Return the number of runs with a known outcome."""
        return sum(map(len, self.runs.values())) + len(self.failures)

    def add_failure(self, name: str, fault: ApiError | NotPushed) -> None:
        """Add a failure."""
        self.failures.append({self._item: name, "error": fault.error, "detail": describe_detail(fault)})

    def add_omission(self, name: str, text: str) -> None:
        """Add the description of an omitted part."""
        self.omissions.setdefault(name, []).append(text)

    def add_model(self, kind: str, version: str) -> None:
        """Add the outcome of a model version."""
        self.models = self.models or {kind: [] for kind in KINDS}
        self.models[kind].append(version)

    def show(self, *, as_json: bool, is_cut_short: bool = True) -> None:
        """Print the report; failures go to stderr unless it is JSON. With `is_cut_short`, an error message follows."""
        if as_json:
            ok = not (self.failures or self.unreadable or is_cut_short)
            value = {"ok": ok, **self.runs, "failed": self.failures}
            value |= {} if self.models is None else {"models": self.models}
            value |= {"left_out": self.omissions} if self.omissions else {}
            value |= {} if self.unreadable is None else {"unreadable": self.unreadable}
            value |= {} if self.bytes is None else {"bytes": self.bytes}
            print_json((escape_json(json.dumps(value, ensure_ascii=False)) + "\n").encode("utf-8", "surrogateescape"))
            return
        if is_cut_short and not self.count():
            return
        for failure in self.failures:
            text = f"{failure[self._item]}: {failure['error']}: {failure['detail']}"
            click.echo(f"chachaml-lite: {printable(text)}", err=True)
        for name, texts in self.omissions.items():
            click.echo(f"chachaml-lite: {printable(name)}: left out: {printable('; '.join(texts))}", err=True)
        if self.unreadable:
            click.echo(f"chachaml-lite: {format_unreadable(self.unreadable)}", err=True)
        lines = [f"{kind}  {printable(run_id)}" for kind in KINDS if kind != "unchanged" for run_id in self.runs[kind]]
        versions = self.models or {}
        lines += [f"{kind}  model {printable(each)}" for kind in KINDS[:2] for each in versions.get(kind, ())]
        counts = [f"{len(self.runs[kind])} {kind}" for kind in KINDS]
        failure_count = [f"{len(self.failures)} failed"] if self.failures else []
        sent_text = "" if self.bytes is None else f"; {_size(self.bytes)} sent"
        lines.append(", ".join([*counts, *failure_count]) + sent_text)
        print_text("\n".join(lines) + "\n")

    @contextmanager
    def printing_before_errors(self, *, as_json: bool) -> Iterator[None]:
        """Print the report before an error in a with block ends the command. An ApiError becomes a CommandError.

        Raises CommandError, Unreachable.
        """
        try:
            yield
        except ApiError as fault:
            self.show(as_json=as_json)
            raise CommandError(describe(fault), USAGE if fault.status < 500 else UNREACHABLE) from fault
        except (CommandError, Unreachable):
            self.show(as_json=as_json)
            raise

    def end(self, *, as_json: bool) -> None:
        """Print the report, and end the process with an exit code."""
        self.show(as_json=as_json, is_cut_short=False)
        if self.failures or self.unreadable:
            sys.exit(FAILED)


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 100_000 else f"{count} bytes"
