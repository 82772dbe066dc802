"""The manual's examples for other programs: a store of the server is queried and exported as a reader would do it."""

from __future__ import annotations

import csv
import io
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from support.calls import LogRun
from support.mlflow_servers import Reader
from support.readme import PAGES, find_blocks
from support.scripts import run_bash, run_python
from support.servers import environment

pytest_plugins = "support.mlflow_servers"

QUERIES, EXPORT = ("files", "Query the files"), ("mlflow", "Export runs to an MLflow server")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def ids(log_run: LogRun, data: Path) -> list[str]:
    """Runs with values of each kind; the last one has no params, and no two have the same fields."""
    diverging_points = [
        {"loss": value, "step": step} for step, value in enumerate([1, 0.5, "Infinity", "-Infinity", "NaN"])
    ]
    return [
        log_run(params={"lr": 0.1, "opt": "adam"}, tags={"a": 1}, metrics=diverging_points, end="failed"),
        log_run(params={"lr": 0.01, "layers": [1, 2]}, tags={"b": "x"}, metrics=[{"loss": 0.7, "acc": 1, "step": 7}]),
        log_run(experiment="größe", metrics=[{"loss": 3, "step": 2**40}, {"loss": 2, "step": 2**40}]),
    ]


def test_duckdb_reads_the_store(ids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (query,) = find_blocks("sql", *QUERIES)
    monkeypatch.chdir(tmp_path)
    assert duckdb.sql(query).fetchall() == [
        (ids[0], "iris", "failed", "0.1", 5, 0.5),
        (ids[1], "iris", "running", "0.01", 1, 0.7),
        (ids[2], "größe", "running", None, 2, 2.0),
    ]
    look = "select * from 'artifacts/runs/*/metrics.jsonl'"
    assert look in PAGES["files"] and "value::double" in PAGES["files"]
    rows = duckdb.sql(f"select value::double, step from ({look}) where key = 'loss'").fetchall()
    values = [value for value, _ in rows]
    assert sorted(value for value in values if math.isfinite(value)) == [0.5, 0.7, 1.0, 2.0, 3.0]
    assert sorted(map(str, values))[:1] == ["-inf"] and {"inf", "nan"} <= set(map(str, values))
    assert max(step for _, step in rows) == 2**40


def test_pandas_reads_the_store(ids: list[str], tmp_path: Path) -> None:
    script, _ = find_blocks("python", *QUERIES)
    output = run_python(f"import warnings; warnings.simplefilter('error')\n{script}", tmp_path)
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(output))}
    assert {run: (row["lr"], row["min"], row["last"]) for run, row in rows.items()} == {
        ids[0]: ("0.1", "-inf", "-inf"),  # min and last skip NaN
        ids[1]: ("0.01", "0.7", "0.7"),
        ids[2]: ("", "2.0", "2.0"),
    }


def test_spark_reads_the_store(ids: list[str], data: Path, tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("java")
    (data / "runs" / ids[0] / "blobs").mkdir(exist_ok=True)
    (data / "runs" / ids[0] / "blobs" / "metrics.jsonl").write_text("an artifact of that name\n")
    _, script = find_blocks("python", *QUERIES)
    result = subprocess.run(
        [sys.executable, "-"],
        input=script,
        cwd=tmp_path,
        env=environment(SPARK_LOCAL_IP="127.0.0.1", SPARK_LOCAL_DIRS=str(tmp_path / "spark")),
        capture_output=True,
        text=True,
        timeout=240,  # most of it is Java's start
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Exception" not in result.stderr, result.stderr
    rows = {tuple(cell.strip() for cell in line.strip("|").split("|")) for line in result.stdout.splitlines()[3:-2]}
    expected = {(ids[0], "loss", "5", "4"), (ids[1], "loss", "1", "7"), (ids[1], "acc", "1", "7")}
    assert rows == expected | {(ids[2], "loss", "2", str(2**40))}


def test_export_command_exports_the_store(
    ids: list[str], tmp_path: Path, mlflow: Reader, tool: Callable[[str], str]
) -> None:
    tool("bash")
    (block,) = find_blocks("bash", *EXPORT)
    install, command = block.splitlines()
    assert install == "pip install '.[mlflow]'"  # not run: it would take a minute, and the client is installed here
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = command.replace("http://localhost:5000", mlflow.url)
    assert script != command
    output = run_bash(script, tmp_path, PATH=path, CHACHAML_DATA="artifacts")
    assert output.splitlines()[-1] == "3 runs: 3 exported"
    assert {run.data.tags["chachaml.run_id"] for run in mlflow.runs("größe")} >= {ids[2]}
