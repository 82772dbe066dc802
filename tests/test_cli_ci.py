"""`chachaml-lite ci`: the sidecar of CI jobs outside of GitHub, called from a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.readme import find_blocks
from support.servers import environment

Tool = Callable[[str], str]
LOG = """
curl -fsS "$CHACHAML_URL/api/w/runs/$CHACHAML_RUN_ID/metrics" -H 'Content-Type: application/json' -d '{"accuracy":0.95}'
"""


class Shell:
    """A shell in a job's folder, with `chachaml-lite` on its PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        program = folder / "bin" / "chachaml-lite"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m chachaml_lite "$@"\n')
        program.chmod(0o755)

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script with `set -e`, without the variables of a surrounding CI job on GitHub."""
        variables_here = {
            name: value for name, value in environment().items() if not name.startswith(("GITHUB_", "RUNNER_"))
        }
        path = f"{self.folder / 'bin'}{os.pathsep}{variables_here['PATH']}"
        root = str(Path(__file__).resolve().parents[1])
        return subprocess.run(
            ["bash", "-ec", script],
            cwd=self.folder,
            env={**variables_here, "PATH": path, "PYTHONPATH": root, **variables},
            capture_output=True,
            text=True,
            timeout=540,
        )


@pytest.fixture
def shell(tmp_path: Path, tool: Tool) -> Iterator[Shell]:
    for name in ("bash", "curl"):
        tool(name)
    shell = Shell(tmp_path)
    yield shell
    if (tmp_path / ".chachaml-ci" / "server.json").exists():
        shell.run("chachaml-lite ci finish")


def read_run(folder: Path) -> dict[str, object]:
    (meta,) = folder.glob("artifacts/runs/*/meta.json")
    fields: dict[str, object] = json.loads(meta.read_text())
    return fields


def test_job_logs_to_its_server_and_its_rules_are_checked(shell: Shell) -> None:
    script = 'eval "$(chachaml-lite ci start --experiment iris --name nightly --id ci-7)"' + LOG
    process = shell.run(script + "chachaml-lite ci finish --rule 'accuracy>=0.9' --job-status success")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "1 of 1 checks passed" in process.stderr
    run = read_run(shell.folder)
    assert (run["id"], run["experiment"], run["name"], run["status"]) == ("ci-7", "iris", "nightly", "completed")
    report = (shell.folder / ".chachaml-ci" / "summary.md").read_text()
    assert "### Checks" in report and "accuracy>=0.9: is 0.95" in report
    assert f"the report is {shell.folder / '.chachaml-ci' / 'summary.md'}" in process.stderr


@pytest.mark.parametrize(
    ("options", "status", "error"),
    [
        ("--rule 'accuracy>=0.99'", "completed", None),
        ("--job-status failed", "failed", "the job failed"),
        ("--job-status canceled", "failed", "the job was cancelled"),
    ],
)
def test_failed_rule_or_job_is_recorded(shell: Shell, options: str, status: str, error: str | None) -> None:
    process = shell.run(
        f'eval "$(chachaml-lite ci start --experiment iris)"{LOG}chachaml-lite ci finish {options} || echo "code $?"'
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert ("code 1" in process.stdout) == ("--rule" in options)
    run = read_run(shell.folder)
    assert (run["status"], run["error"]) == (status, error)


def test_second_start_is_refused_while_a_server_runs(shell: Shell) -> None:
    process = shell.run(
        'eval "$(chachaml-lite ci start)"; chachaml-lite ci start || echo "code $?"; chachaml-lite ci finish'
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "code 1" in process.stdout
    assert "this job already has a server" in process.stderr


def test_finish_without_a_server_fails_only_with_rules(shell: Shell) -> None:
    process = shell.run(
        "chachaml-lite ci finish; chachaml-lite ci finish --rule 'a>1' --state other || echo \"code $?\""
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "code 1" in process.stdout
    assert process.stderr.count("no server was started in this job") == 2


def test_exported_values_are_quoted_for_the_shell(shell: Shell) -> None:
    hostile = "it's $(touch pwned)"
    process = shell.run(
        'eval "$(chachaml-lite ci start)"; chachaml-lite ci finish; printf %s "$CHACHAML_TOKEN"', CHACHAML_TOKEN=hostile
    )
    assert (process.returncode, process.stdout) == (0, hostile), process.stdout + process.stderr
    assert not (shell.folder / "pwned").exists()


START_RUN = """
curl -fsS "$CHACHAML_URL/api/w/runs" -H 'Content-Type: application/json' -d '{"experiment":"iris","name":"run %d"}'
"""


@pytest.mark.parametrize(
    ("runs", "title"),
    [(1, "run 0"), (2, "Comparison of 2 runs"), (22, "Comparison of 20 runs")],
    ids=["one", "two", "many"],
)
def test_html_file_has_one_run_or_a_comparison(shell: Shell, runs: int, title: str) -> None:
    commands = "".join(START_RUN % number for number in range(runs))
    process = shell.run(f'eval "$(chachaml-lite ci start)"{commands}chachaml-lite ci finish --html out/report.html')
    assert process.returncode == 0, process.stdout + process.stderr
    text = (shell.folder / "out" / "report.html").read_text()
    assert title in text.partition("</h1>")[0]
    assert "<script" not in text and "localhost" not in text
    assert ("compares the newest 20 of 22 runs" in process.stderr) == (runs == 22)


def test_html_file_that_cannot_be_written_is_a_warning(shell: Shell) -> None:
    process = shell.run(
        f'eval "$(chachaml-lite ci start --experiment iris)"{LOG}chachaml-lite ci finish --html /dev/null/report.html'
    )
    assert process.returncode == 0, process.stderr
    assert "warning: cannot write /dev/null/report.html" in process.stderr


def test_block_of_the_manual_runs(shell: Shell) -> None:
    (block,) = find_blocks("bash", "github-actions", "Other CI systems")
    (shell.folder / "train.sh").write_text("#!/bin/sh\n" + LOG)
    (shell.folder / "train.sh").chmod(0o755)
    process = shell.run(block)
    assert process.returncode == 0, process.stdout + process.stderr
    assert read_run(shell.folder)["status"] == "completed"
