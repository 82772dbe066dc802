"""The problems that `verify` finds, with the remedies that `repair` applies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...store.inspection import Inspection, Line
from ...store.reading import MAX_RECORDS_BYTES, record_of

#: The number of damaged lines that a report lists by number.
_NAMED = 5

Spans = tuple[tuple[int, int], ...]


class Problem(NamedTuple):
    """A deviation from what was written: where it is (a path below the data folder), its kind, and its details."""

    where: str
    kind: str
    detail: str
    #: Besides the fields above, what must be equal for a second look to confirm the problem.
    evidence: Any = None
    #: Input for `repair`; None if the problem can't be repaired.
    remedy: Remedy | None = None

    def public(self) -> dict[str, Any]:
        """Return the fields of the report."""
        shown_fields = {"where": self.where, "kind": self.kind, "detail": self.detail}
        return {**shown_fields, "repairable": self.remedy is not None}


class Remedy(NamedTuple):
    """The way to repair a problem. `spans` are the byte ranges of its file to move aside."""

    run_id: str | None = None
    spans: Spans = ()
    #: The name of a temporary file of the run to remove.
    temporary: str | None = None


@dataclass
class Report:
    """The report of a verification: the numbers of items checked, and the problems. `bytes` counts artifacts' bytes."""

    runs: int = 0
    models: int = 0
    artifacts: int = 0
    bytes: int = 0
    points: int = 0
    problems: list[Problem] = field(default_factory=list)


class Lines:
    """The damaged lines of a file, added one by one. Adjacent lines share a span, which keeps the list short."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.spans: list[tuple[int, int]] = []
        self.count = 0
        self.torn: Line | None = None

    def add(self, line: Line) -> None:
        """Add a damaged line; one without a newline at its end is a torn tail."""
        if not line.is_whole:
            self.torn = line
            return
        self.count += 1
        if len(self.numbers) < _NAMED:
            self.numbers.append(line.number)
        if self.spans and self.spans[-1][1] == line.start:
            self.spans[-1] = (self.spans[-1][0], line.end)
        else:
            self.spans.append((line.start, line.end))

    def problems(self, where: str, kind: str, run_id: str | None, *, can_go: bool = True) -> Iterator[Problem]:
        """Yield the problems for these lines. `can_go` says whether `repair` may move them aside."""
        if self.count:
            more = ", ..." if self.count > len(self.numbers) else ""
            text = f"{self.count} of its lines {'is' if self.count == 1 else 'are'} no {kind} ("
            text += ", ".join(map(str, self.numbers)) + more + ")"
            remedy = Remedy(run_id, tuple(self.spans)) if can_go else None
            yield Problem(where, "damaged lines", text, tuple(self.spans), remedy)
        if self.torn is not None:
            span = (self.torn.start, self.torn.end)
            text = f"its last {span[1] - span[0]} bytes are a line that was not written to its end"
            yield Problem(where, "torn tail", text, span, Remedy(run_id, (span,)) if can_go else None)


def find_damaged_records(files: Inspection, where: str, accept: Callable[[dict[str, Any]], bool]) -> Lines:
    """Return the lines of a file that hold no JSON object, or one not accepted. Raises Damaged, OSError."""
    lines = Lines()
    for line in files.lines(where, MAX_RECORDS_BYTES):
        if line.content is not None and not line.content.strip():
            continue
        record = None if line.content is None else record_of(line.content)
        if record is None or not accept(record):
            lines.add(line)
    return lines
