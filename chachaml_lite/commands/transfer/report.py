"""The report of a transfer: what was done to each run, as lines for people or as JSON."""

from __future__ import annotations

import json
import sys

import click

from ...client.base import ApiError
from ...client.push import NotPushed
from ...text.safe import escape_json, printable
from ..errors import FAILED, describe_detail
from ..printing import print_json, print_text
from ..run_names import unreadable_message

#: What an import says that it has done with runs.
KINDS = ("imported", "updated", "unchanged")


class Moved:
    """The runs by what was done to them, and what failed, with the reason."""

    def __init__(self, what: str) -> None:
        """`what`: that which can fail, an "id" or a "file"."""
        self._what = what
        self.done: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self.failed: list[dict[str, str]] = []
        #: What of them was not taken over, in words, by name.
        self.omissions: dict[str, list[str]] = {}
        #: How many can't even be named; None where nobody wants to know.
        self.unreadable: int | None = None
        #: The model versions, "NAME N", by what was done to them; None where nobody wants to know.
        self.models: dict[str, list[str]] | None = None
        #: How many bytes of files were sent; None where nobody wants to know.
        self.bytes: int | None = None

    def count(self) -> int:
        """Number of runs with a known outcome."""
        return sum(map(len, self.done.values())) + len(self.failed)

    def fail(self, name: str, fault: ApiError | NotPushed) -> None:
        """Add what can't be moved."""
        self.failed.append({self._what: name, "error": fault.error, "detail": describe_detail(fault)})

    def leave_out(self, name: str, what: str) -> None:
        """Note what of a run is not taken over."""
        self.omissions.setdefault(name, []).append(what)

    def note_model(self, kind: str, version: str) -> None:
        """Note what was done to a model version."""
        self.models = self.models or {kind: [] for kind in KINDS}
        self.models[kind].append(version)

    def show(self, *, as_json: bool, is_cut_short: bool = True) -> None:
        """Print it; what failed, to people, on stderr. `is_cut_short`: a line that says why follows."""
        if as_json:
            ok = not (self.failed or self.unreadable or is_cut_short)
            shown = {"ok": ok, **self.done, "failed": self.failed}
            shown |= {} if self.models is None else {"models": self.models}
            shown |= {"left_out": self.omissions} if self.omissions else {}
            shown |= {} if self.unreadable is None else {"unreadable": self.unreadable}
            shown |= {} if self.bytes is None else {"bytes": self.bytes}
            print_json((escape_json(json.dumps(shown, ensure_ascii=False)) + "\n").encode("utf-8", "surrogateescape"))
            return
        if is_cut_short and not self.count():
            return
        for failure in self.failed:
            text = f"{failure[self._what]}: {failure['error']}: {failure['detail']}"
            click.echo(f"chachaml-lite: {printable(text)}", err=True)
        for name, texts in self.omissions.items():
            click.echo(f"chachaml-lite: {printable(name)}: left out: {printable('; '.join(texts))}", err=True)
        if self.unreadable:
            click.echo(f"chachaml-lite: {unreadable_message(self.unreadable)}", err=True)
        lines = [f"{kind}  {printable(run_id)}" for kind in KINDS if kind != "unchanged" for run_id in self.done[kind]]
        versions = self.models or {}
        lines += [f"{kind}  model {printable(each)}" for kind in KINDS[:2] for each in versions.get(kind, ())]
        counts = [f"{len(self.done[kind])} {kind}" for kind in KINDS]
        failed = [f"{len(self.failed)} failed"] if self.failed else []
        sent = "" if self.bytes is None else f"; {_size(self.bytes)} sent"
        lines.append(", ".join([*counts, *failed]) + sent)
        print_text("\n".join(lines) + "\n")

    def end(self, *, as_json: bool) -> None:
        """Print it, and end the process with the exit code that it means."""
        self.show(as_json=as_json, is_cut_short=False)
        if self.failed or self.unreadable:
            sys.exit(FAILED)


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 100_000 else f"{count} bytes"
