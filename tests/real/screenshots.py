"""The README's screenshots, of real trainings: `make screenshots` trains and takes them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import requests
from support.browsers import Viewer, find_chromium, launch_browser
from support.servers import run_server
from support.training import train

FOLDER = Path(__file__).resolve().parents[2] / ".github" / "screenshots"
SIZE = (1280, 800)
NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("one layer of 8", {"hidden_layer_sizes": [8]}),
    ("slow", {"learning_rate_init": 0.001}),
    ("one layer of 32", {}),
    ("two layers", {"hidden_layer_sizes": [64, 32], "learning_rate_init": 0.003}),
    ("too fast", {"learning_rate_init": 0.3}),
    ("one layer of 128", {"hidden_layer_sizes": [128], "learning_rate_init": 0.005}),
]
#: The sweep: each optimizer with several seeds, since one seed alone says little.
OPTIMIZERS: list[dict[str, Any]] = [
    {"solver": "adam", "learning_rate_init": 0.003},
    {"solver": "sgd", "learning_rate_init": 0.05, "momentum": 0.0},
    {"solver": "sgd", "learning_rate_init": 0.05, "momentum": 0.9},
]
SEEDS = range(5)
NOTE = """The **widest** network so far. Loss still falls after 40 epochs:

- try weight decay
- compare with `two layers`
"""


def log_runs(url: str) -> str:
    """Train every network, register the best, and leave the last one running. Return the id of the last."""
    session = requests.Session()

    def post(path: str, body: Any = None) -> Any:
        response = session.post(f"{url}/api/w/{path}", json=body, timeout=60)
        response.raise_for_status()
        return response.json()

    run_id = ""
    for name, params in NETWORKS:
        tags = {"author": "maria", "data": "digits-8x8"}
        run_id = post("runs", {"experiment": "digits", "name": name, "tags": tags, "created_by": "laptop"})["id"]
        train(url, run_id, epochs=40, **params)
        if name == "too fast":
            post(f"runs/{run_id}/end", {"status": "failed", "error": "diverged"})
        elif name != NETWORKS[-1][0]:
            post(f"runs/{run_id}/end")
    post(f"runs/{run_id}/note", {"note": NOTE})
    post("models", {"name": "digits", "run_id": run_id, "artifact": "model.pkl", "stage": "production"})
    return run_id


def log_sweep(url: str) -> None:
    """Train a network with each optimizer and seed, as runs of one experiment."""
    session = requests.Session()
    for seed in SEEDS:
        for settings in OPTIMIZERS:
            optimizer = "sgd, momentum" if settings.get("momentum") else settings["solver"]
            body = {"experiment": "digits-optimizers", "name": f"{optimizer} {seed}"}
            run_id = session.post(f"{url}/api/w/runs", json=body, timeout=60).json()["id"]
            session.post(f"{url}/api/w/runs/{run_id}/params", json={"optimizer": optimizer}, timeout=60)
            train(url, run_id, epochs=30, random_state=seed, **settings)
            session.post(f"{url}/api/w/runs/{run_id}/end", timeout=60)


def take_screenshots(folder: Path) -> None:
    """Write sweep.png and run.png into `folder`. Raises AssertionError if a page has an error."""
    path = find_chromium()
    assert path is not None, "no Chromium or Chrome is installed"
    with (
        tempfile.TemporaryDirectory() as scratch,
        run_server(Path(scratch, "store"), Path(scratch, "server")) as server,
    ):
        run_id = log_runs(server.url)
        log_sweep(server.url)
        folder.mkdir(exist_ok=True)
        with launch_browser(path) as browser:
            viewer = Viewer(browser)
            for name, place in (
                ("sweep", "/experiments/digits-optimizers?by=params.optimizer"),
                ("run", f"/runs/{run_id}"),
            ):
                page = viewer.open(server.url + place, size=SIZE)
                page.wait_for_load_state("networkidle")
                page.screenshot(path=folder / f"{name}.png")
            viewer.close()
            assert not viewer.faults, viewer.faults


if __name__ == "__main__":
    take_screenshots(FOLDER)
