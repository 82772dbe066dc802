"""`chachaml-lite verify`: read every byte of a store, report damage, and repair it where possible."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ..errors import StoreUnusable
from ..store.store import Store
from ..text.safe import printable
from ..tracking.verify.problems import Report
from ..tracking.verify.repair import Repair, repair
from ..tracking.verify.verify import Verification
from .errors import CommandError
from .options import option
from .printing import progress


@click.command(
    short_help="Check every byte of a store, and repair it.",
    epilog="""\b
Examples:
  chachaml-lite verify
  chachaml-lite verify --data artifacts --json | jq '.problems[]'
""",
)
@option("--data", default=Path("artifacts"), type=click.Path(path_type=Path), help="Folder of the store.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--repair",
    "is_repair",
    is_flag=True,
    help="Move damaged lines into a separate file, rebuild summaries, and complete or remove what a killed server left "
    "behind. No server may be running on the store.",
)
@click.argument("runs", metavar="[RUN]...", nargs=-1)
def verify(data: Path, as_json: bool, is_repair: bool, runs: tuple[str, ...]) -> None:
    """Verify that a store is intact; exit with 1 if it isn't.

    Every artifact is hashed, every line is parsed, each model version is traced to its run and its bytes, and files
    without references are reported. With RUN, only these runs and their versions are checked. A server may keep
    writing during the check.
    """
    try:
        if not (data / "runs").is_dir():
            raise CommandError(f"there is no store in {data}: it has no runs folder; set --data to a store's folder")
        report, repairs = _repair(data, runs) if is_repair else (_verify(data, runs), [])
    except StoreUnusable as fault:
        raise CommandError(
            f"{fault.detail} (verify --repair needs exclusive access)" if is_repair else fault.detail
        ) from fault
    except OSError as fault:
        raise CommandError(
            f"cannot {'repair' if is_repair else 'read'} the store in {data}: {fault.strerror}"
        ) from fault
    click.echo(_json(report, repairs) if as_json else _text(report, repairs))
    if report.problems:
        sys.exit(1)


def _verify(data: Path, runs: tuple[str, ...]) -> Report:
    store = Store(data, "no", read_only=True)
    try:
        return _report(Verification(store, runs))
    finally:
        store.close()


def _repair(data: Path, runs: tuple[str, ...]) -> tuple[Report, list[Repair]]:
    """Return the report after the repairs, and the repairs."""
    before = Store(data, "no", read_only=True)
    leftovers = before.inspection.incoming()
    before.close()
    store = Store(data, "everysec")  # opening it finishes or removes what was left
    try:
        cleaned = [name for name in leftovers if name not in store.inspection.incoming()]
        repairs = [Repair(store.inspection.in_incoming(name), "finished or removed") for name in cleaned]
        verification = Verification(store, runs)
        repairs += repair(store, _report(verification).problems)
        return verification.report(), repairs
    finally:
        store.close()


def _report(verification: Verification) -> Report:
    with progress("reading", verification.total_bytes()) as read:
        return verification.report(read)


def _json(report: Report, repairs: list[Repair]) -> str:
    counts = {name: getattr(report, name) for name in ("runs", "models", "artifacts", "bytes", "points")}
    problems = [problem.public() for problem in report.problems]
    value = {"ok": not problems, **counts, "problems": problems, "repairs": [each.public() for each in repairs]}
    return json.dumps(value, indent=2)  # in ASCII, which can represent names that aren't UTF-8


def _text(report: Report, repairs: list[Repair]) -> str:
    lines = [f"repaired  {each.where}: {each.detail}" for each in repairs]
    lines += [f"{each.kind}  {each.where}: {each.detail}" for each in report.problems]
    if any(problem.remedy for problem in report.problems):
        lines.append("")
        lines.append("--repair fixes some of this, when no server is running.")
    verdict = (
        f"{len(report.problems)} problem{'' if len(report.problems) == 1 else 's'}" if report.problems else "all good"
    )
    counts = f"{report.runs} runs, {report.points} points, {report.artifacts} artifacts ({report.bytes} bytes)"
    lines.append(f"{counts}, {report.models} models: {verdict}")
    return "\n".join(printable(line) for line in lines)
