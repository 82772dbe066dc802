"""The direction of a metric, the best of several values, and the difference of two."""

from __future__ import annotations

import math
from typing import Any

import pytest

from chachaml_lite.tracking.series import direction

LESS = """
loss train/loss val_loss valLoss validation.Loss logloss test-RMSE mean_squared_error MSE ppl eval/perplexity
epoch_time_s latency_ms step/duration gpu_memory_gb WER neg_log_likelihood cross_entropy regret
"""
MORE = """
accuracy acc f1 f1/macro AUC roc_auc precision recall reward R2 iou bleu map tokens_per_second samples/sec/throughput
neg_mean_squared_error score lossless_score val_acc5 top1_accuracy episode_return
"""
UNKNOWN = "epoch lr m grad_norm learning_rate x1 weights neg_x momentum step system/cpu"


@pytest.mark.parametrize(
    ("key", "less"),
    [(key, less) for keys, less in ((LESS, True), (MORE, False), (UNKNOWN, None)) for key in keys.split()],
)
def test_direction_of_a_metric_follows_from_its_name(key: str, less: bool | None) -> None:
    assert direction.less_is_better(key) is less


@pytest.mark.parametrize(
    ("values", "least", "greatest"),
    [
        ([1, 2, 3], [0], [2]),
        ([1, 1.0, 2], [0, 1], [2]),
        ([None, 2, "NaN", 1], [3], [1]),
        ([math.nan, math.inf, 2, 1], [3], [2]),
        ([1, 1], [], []),
        ([1, None], [], []),
        ([True, 2], [], []),
        ([], [], []),
    ],
)
def test_best_places_are_the_extremes_of_the_finite_values(
    values: list[Any], least: list[int], greatest: list[int]
) -> None:
    assert direction.best_places(values, less=True) == least
    assert direction.best_places(values, less=False) == greatest


@pytest.mark.parametrize(
    ("value", "base", "expected"),
    [
        (3, 2, (1.0, 50.0)),
        (1, -2, (3.0, 150.0)),
        (1, 0, (1.0, None)),
        (2, 2, (0.0, 0.0)),
        ("NaN", 1, None),
        (1, None, None),
        (1e308, -1e308, None),
        (1.0, 1e-320, (1.0, None)),
    ],
)
def test_difference_is_absolute_and_in_percent_of_the_base(value: Any, base: Any, expected: Any) -> None:
    assert direction.difference(value, base) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, None),
        ({"b": 1, "a": 1}, "a"),
        ({"a": 1, "loss": 1}, "loss"),
        ({"accuracy": 5, "epoch": 6}, "epoch"),
        ({"gpu/util": 6, "train/loss": 6, "lr": 6, "val/acc": 6, "test_n": 6}, "val/acc"),
        ({"loss": 2, "accuracy": 2}, "accuracy"),
        ({"validation": 3, "loss": 3}, "loss"),
    ],
)
def test_foremost_metric_is_one_that_most_runs_have_with_a_known_direction(
    counts: dict[str, int], expected: str | None
) -> None:
    assert direction.foremost(counts) == expected
