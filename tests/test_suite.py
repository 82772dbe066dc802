"""The suite itself: it runs to its end wherever it is started, and no test of it waits without a limit."""

from __future__ import annotations

import configparser
import signal
import subprocess
import sys
from pathlib import Path

from support.servers import PATIENCE_SECONDS, environment

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
ROOT = Path(__file__).resolve().parents[1]
#: Two tests that send the signals which `nohup` and a shell's `&` have ignored.
SIGNAL_TESTS = ["tests/test_cli_run.py", "-k", "signals_are_passed or (exit_code_and_status and INT)"]


def test_suite_passes_where_nohup_or_a_shell_ignores_signals(tmp_path: Path) -> None:
    def ignore() -> None:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)

    result = subprocess.run(
        [*PYTEST, f"--basetemp={tmp_path / 'inner'}", f"--timeout={PATIENCE_SECONDS}", *SIGNAL_TESTS],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        preexec_fn=ignore,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 passed" in result.stdout


def test_every_test_has_a_time_limit(tmp_path: Path) -> None:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg")
    assert 0 < int(settings["tool:pytest"]["timeout"]) <= 600
    waits = tmp_path / "test_waits.py"
    waits.write_text("import threading\n\ndef test_that_waits():\n    threading.Event().wait()\n")
    result = subprocess.run(
        [*PYTEST, "-c", str(ROOT / "setup.cfg"), f"--rootdir={tmp_path}", "-o", "timeout=1", str(waits)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert result.returncode == 1 and "Timeout" in result.stdout, result.stdout + result.stderr
