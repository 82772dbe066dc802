"""`chachaml-lite run --system-metrics`: the load of real processes, and of GPUs with a fake NVML."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.commands import COMMAND, cli
from support.readme import find_blocks, read_table
from support.scripts import run_bash
from support.servers import PATIENCE_SECONDS, environment, run_server, wait_until
from test_cli_help import put_on_path

#: A fake pynvml, with values of driver 535 on a machine with an A100 and a card that doesn't report its power.
NVML = """
NVML_TEMPERATURE_GPU = 0

class NVMLError(Exception):
    pass

class Reading:
    def __init__(self, **fields):
        self.__dict__.update(fields)

CARDS = [
    {"name": "NVIDIA A100-SXM4-40GB", "gpu": 87, "used": 31_457_280_000, "power": 287_412, "temperature": 61},
    {"name": b"Tesla K80", "gpu": 12, "used": 1_048_576, "power": None, "temperature": 40},
]

def nvmlInit():
    pass

def nvmlSystemGetDriverVersion():
    return "535.104.05"

def nvmlDeviceGetCount():
    return len(CARDS)

def nvmlDeviceGetHandleByIndex(index):
    return CARDS[index]

def nvmlDeviceGetName(card):
    return card["name"]

def nvmlDeviceGetUtilizationRates(card):
    return Reading(gpu=card["gpu"], memory=40)

def nvmlDeviceGetMemoryInfo(card):
    return Reading(total=42_949_672_960, used=card["used"], free=0)

def nvmlDeviceGetPowerUsage(card):
    if card["power"] is None:
        raise NVMLError("Not Supported")
    return card["power"]

def nvmlDeviceGetTemperature(card, sensor):
    return card["temperature"]
"""
#: A sitecustomize that makes modules unavailable, as if they had not been installed.
HIDE_MODULES = """
import importlib.abc, sys
class HidingFinder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, HidingFinder())
"""
FAST = ("--system-metrics", "--system-interval", "0.1")


def build_waiting_command(condition: str) -> list[str]:
    """Build a command that ends once a condition holds for `steps`, the steps of the run's points by metric."""
    script = f"""
import json, os, time, urllib.request
url = f"{{os.environ['CHACHAML_URL']}}/api/runs/{{os.environ['CHACHAML_RUN_ID']}}/metrics"
while True:
    with urllib.request.urlopen(url) as response:
        series = json.load(response)
    steps = {{name: [point["step"] for point in each["points"]] for name, each in series.items()}}
    if {condition}:
        break
    time.sleep(0.05)
"""
    return [sys.executable, "-c", script]


UNTIL_LOGGED = build_waiting_command("'system/memory' in steps")
#: A process whose child computes and occupies 50 MB, until the standard input ends.
BUSY = """
import subprocess, sys
work = "memory = bytearray(50_000_000)\\nwhile True: sum(range(10_000))"
child = subprocess.Popen([sys.executable, "-c", work])
sys.stdin.read()
child.kill()
"""


def fetch_run(data: Path, run_id: str = "r") -> Any:
    return json.loads(cli("show", run_id, "--json", "--data", str(data)).stdout)


def test_load_of_machine_and_processes_is_logged(tmp_path: Path) -> None:
    with run_server(tmp_path / "store", tmp_path / "scratch") as server:
        command = [*COMMAND, "run", "-q", "--id", "r", "--url", server.url, *FAST, "--", sys.executable, "-c", BUSY]
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment()) as process:
            assert process.stdin is not None

            def is_measured() -> bool:
                output = cli("show", "r", "--json", "--url", server.url, code=None).stdout
                summary = json.loads(output or "{}").get("metric_summary", {})
                maxima = {name: series["max"] for name, series in summary.items()}
                return bool(maxima.get("system/process/cpu", 0) > 5 and maxima["system/process/memory"] > 50)

            wait_until(is_measured)
            process.stdin.close()
            assert process.wait(PATIENCE_SECONDS) == 0
        run = json.loads(cli("show", "r", "--json", "--url", server.url).stdout)
    assert run["status"] == "completed"
    assert {"system/cpu", "system/memory", "system/network"} <= run["metrics"].keys()
    assert 0 <= run["metrics"]["system/cpu"] <= 100 and 0 < run["metrics"]["system/memory"] <= 100
    assert not any(name.startswith("system/gpu") for name in run["metrics"])


def test_steps_of_system_metrics_are_seconds_since_the_start(data: Path) -> None:
    memory = "steps.get('system/memory', [0])"
    command = build_waiting_command(f"{memory}[-1] >= 2 and len({memory}) > len(set({memory}))")
    cli("run", "-q", "--id", "r", "--data", str(data), *FAST, "--", *command)
    start_time = fetch_run(data)["start_time"]
    points = [json.loads(line) for line in (data / "runs/r/metrics.jsonl").read_text().splitlines()]
    steps = [point["step"] for point in points if point["key"] == "system/memory"]
    assert steps == sorted(steps)
    assert all(point["step"] <= (point["timestamp"] - start_time) / 1000 for point in points), points


def test_system_metrics_are_off_by_default(data: Path) -> None:
    cli("run", "-q", "--id", "r", "--data", str(data), "--system-interval", "0.1", "--", "sleep", "1")
    assert fetch_run(data)["metrics"] == {}


def test_system_metrics_are_enabled_by_variables(data: Path) -> None:
    variables = {"CHACHAML_SYSTEM_METRICS": "1", "CHACHAML_SYSTEM_INTERVAL": "0.1"}
    cli("run", "-q", "--id", "r", "--data", str(data), "--", *UNTIL_LOGGED, env=variables)
    assert "system/memory" in fetch_run(data)["metrics"]
    assert "--system-interval" in cli("run", "--system-interval", "0", "--", "true", code=2).stderr


def test_gpu_metrics_are_read_by_nvml_and_missing_ones_omitted(tmp_path: Path, data: Path) -> None:
    (tmp_path / "pynvml.py").write_text(NVML)
    result = cli(
        "run",
        "--id",
        "r",
        "--data",
        str(data),
        *FAST,
        "--",
        *build_waiting_command("'system/gpu1/temperature' in steps"),
        env={"PYTHONPATH": str(tmp_path), "PATH": "/bin"},
    )
    run = fetch_run(data)
    gpus = {name: value for name, value in run["metrics"].items() if name.startswith("system/gpu")}
    assert gpus == {
        "system/gpu0/utilization": 87,
        "system/gpu0/memory": 31457.28,
        "system/gpu0/power": 287.412,
        "system/gpu0/temperature": 61,
        "system/gpu1/utilization": 12,
        "system/gpu1/memory": 1.049,
        "system/gpu1/temperature": 40,
    }
    assert "system" not in result.stderr.replace(str(data), "")
    assert (run["env"]["gpus"], run["env"]["gpu_driver"]) == (["NVIDIA A100-SXM4-40GB", "Tesla K80"], "535.104.05")


@pytest.mark.parametrize(
    "fault",
    [
        "raise ImportError('libnvidia-ml.so')",
        "def nvmlInit(): raise OSError('no driver')",
        "import time\ndef nvmlInit(): time.sleep(600)",
    ],
)
def test_driver_that_fails_or_hangs_does_not_affect_the_rest(tmp_path: Path, data: Path, fault: str) -> None:
    (tmp_path / "pynvml.py").write_text(fault)
    command = ["sleep", "1"] if "sleep" in fault else UNTIL_LOGGED
    env = {"PYTHONPATH": str(tmp_path), "PATH": "/bin"}
    cli("run", "-q", "--id", "r", "--data", str(data), *FAST, "--", *command, env=env)
    run = fetch_run(data)
    assert run["status"] == "completed" and "gpus" not in run["env"]
    assert ("system/memory" in run["metrics"]) == ("sleep" not in fault)


def test_missing_psutil_is_reported_in_one_line_and_the_command_runs(tmp_path: Path, data: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE_MODULES.format(hidden={"psutil", "pynvml"}))
    result = cli(
        "run", "-q", "--id", "r", "--data", str(data), *FAST, "--", "echo", "ran", env={"PYTHONPATH": str(tmp_path)}
    )
    assert result.stdout == "ran\n"
    assert result.stderr.count("\n") == 1 and "pip install 'chachaml-lite[system]'" in result.stderr
    assert fetch_run(data)["metrics"] == {}


def test_missing_nvml_does_not_affect_the_rest(tmp_path: Path, data: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE_MODULES.format(hidden={"pynvml"}))
    env = {"PYTHONPATH": str(tmp_path)}
    result = cli("run", "-q", "--id", "r", "--data", str(data), *FAST, "--", *UNTIL_LOGGED, env=env)
    assert result.stderr == "" and "system/memory" in fetch_run(data)["metrics"]


def test_server_lost_midway_changes_neither_the_command_nor_its_exit_code(tmp_path: Path) -> None:
    with run_server(tmp_path / "store", tmp_path / "scratch") as server:
        command = [
            *COMMAND,
            "run",
            "--id",
            "r",
            "--url",
            server.url,
            *FAST,
            "--",
            "sh",
            "-c",
            "echo up; read line; exit 7",
        ]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == "up\n"
            server.kill()
            _, error = process.communicate("\n", timeout=PATIENCE_SECONDS)
    assert process.returncode == 7, error
    assert "Traceback" not in error and "system" not in error


def test_manual_lists_every_metric_and_its_block_runs(tmp_path: Path, data: Path) -> None:
    (tmp_path / "pynvml.py").write_text(NVML)
    command = build_waiting_command("{'system/process/memory', 'system/gpu0/temperature'} <= steps.keys()")
    cli("run", "-q", "--id", "r", "--data", str(data), *FAST, "--", *command, env={"PYTHONPATH": str(tmp_path)})
    documented_names = {row[0].strip("`") for row in read_table("system-metrics", "metric")}
    metric_names = {name for name in fetch_run(data)["metrics"] if not name.startswith("system/gpu1")}
    assert metric_names <= documented_names
    assert documented_names - metric_names <= {"system/disk", "system/process/disk", "system/network"}, (
        "some machines lack these"
    )
    (block,) = find_blocks("bash", "system-metrics")
    install, run_it = block.splitlines()
    assert install == "pip install 'chachaml-lite[system]'"
    (tmp_path / "train.py").write_text("print('trained')\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    variables = put_on_path(CHACHAML_DATA=str(tmp_path / "store-2"))
    variables["PATH"] = f"{tmp_path}/bin:{variables['PATH']}"
    assert run_bash(run_it, tmp_path, **variables) == "trained\n"
