"""The size of pages, whatever is logged: each stays below a limit, in bytes before compression."""

from __future__ import annotations

import pytest
from conftest import run_logger
from flask.testing import FlaskClient

KEYS = [f"group{number // 100}/m{number}" for number in range(4990)] + [f"system/{n}" for n in range(9)] + ["loss"]
PARAMS = [f"part{number // 50}.p{number}" for number in range(5000)]
TEN = "ids=" + ",".join(f"big-{number}" for number in range(10))


@pytest.fixture(scope="module")
def client(shared_client: FlaskClient) -> FlaskClient:
    """A client of a store with ten runs of 5,000 metrics and params each, and a sweep of 60 runs of five metrics."""
    log = run_logger(shared_client)
    for number in range(10):
        points = [{"metrics": dict.fromkeys(KEYS, number + step / 7), "step": step} for step in range(2)]
        log("big", params=dict.fromkeys(PARAMS, number), metrics=points, id=f"big-{number}", name=f"big {number}")
    for number in range(60):
        points = [
            {"metrics": {f"metric {key}": ((step * 37 + number) % 101) / 7 for key in range(5)}, "step": step}
            for step in range(200)
        ]
        params = {"lr": number, "optimizer": "ab"[number % 2]}
        log("sweep", params=params, metrics=points, id=f"sweep-{number}", name=f"run number {number}")
    return shared_client


@pytest.mark.parametrize(
    ("path", "max_bytes"),
    [
        ("/runs/big-0", 150_000),
        ("/runs/big-0?filter=9", 150_000),
        ("/compare?ids=big-0,big-1", 200_000),
        ("/compare?ids=big-0,big-1&filter=9", 200_000),
        (f"/compare?{TEN}", 250_000),
        (f"/compare?{TEN}&filter=9", 250_000),
        (f"/compare?{TEN}&open=system&open=params:part7", 300_000),
        ("/experiments/big", 200_000),
        ("/experiments/big?filter=9", 200_000),
        ("/experiments/big?part=table", 100_000),
        ("/experiments/sweep", 200_000),
        ("/experiments/sweep?drawn=60", 200_000),
        ("/experiments/sweep?drawn=60&filter=metric", 200_000),
        ("/experiments/sweep?by=params.lr", 200_000),
        ("/runs", 150_000),
    ],
)
def test_page_stays_below_its_size_limit(client: FlaskClient, path: str, max_bytes: int) -> None:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    assert len(answer.data) < max_bytes
