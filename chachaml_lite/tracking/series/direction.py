"""The direction in which a metric improves, derived from its name, and the best of several values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

#: Words in a metric's name that say less is better (errors, losses and costs), and words that say more is better, which
#: take precedence. A metric with any other name, such as `lr` or `grad_norm`, has no direction.
_LESS_WORDS = """
loss losses error errors err mse rmse mae mape smape msle rmsle ppl perplexity nll bce ce xent entropy logloss deviance
divergence kl kld fid kid wer cer ter eer fpr fnr fdr brier ece regret cost penalty distance residual aic bic
time duration latency elapsed seconds sec secs ms minutes hours memory mem ram vram bytes kb mb gb energy
"""
_MORE_WORDS = """
accuracy acc auc auroc auprc roc ap map reward rewards return returns score scores throughput speed speedup per
f1 precision recall sensitivity specificity r2 iou miou bleu rouge meteor chrf cider spice ndcg mrr dice jaccard kappa
mcc psnr ssim pesq stoi correlation pearson spearman success wins winrate hit hits coverage likelihood elbo
"""
_LESS, _MORE = frozenset(_LESS_WORDS.split()), frozenset(_MORE_WORDS.split())
_LESS_ENDS = ("loss", "error", "latency")
#: Words in the name of a metric that is measured on data unseen in training: the one by which runs are compared.
_UNSEEN = frozenset(["val", "valid", "validation", "test", "eval", "holdout", "dev"])
_WORD = re.compile(r"(?:[A-Z]+(?![a-z])|[A-Z]?[a-z]+)\d*")


def less_is_better(key: str) -> bool | None:
    """Return whether smaller values of a metric with this name are better; None if the name doesn't say.

    Pages let people choose the direction.
    """
    words = _words(key)
    if words & {"neg", "negative"}:  # for scikit-learn's neg_mean_squared_error, greater is better
        if words & {"likelihood", "ll"}:
            return True
        return False if _says_less(words) else None
    if words & _MORE:
        return False
    return True if _says_less(words) else None


def foremost(counts: Mapping[str, int]) -> str | None:
    """Return the metric that best tells runs apart, or None; `counts` is the number of runs that have each metric.

    The metric that most runs have is chosen; of several, one whose name gives a direction, and then one that was
    measured on held-out data.
    """

    def rank(key: str) -> tuple[int, bool, bool]:
        return counts[key], less_is_better(key) is not None, bool(_words(key) & _UNSEEN)

    return max(sorted(counts), key=rank, default=None)


def _words(key: str) -> set[str]:
    words = {word.lower() for word in _WORD.findall(key)}
    return words | {word.rstrip("0123456789") for word in words}


def _says_less(words: set[str]) -> bool:
    return any(word in _LESS or word.endswith(_LESS_ENDS) for word in words)


def best_places(values: Sequence[Any], *, less: bool) -> list[int]:
    """Return the indexes of the best values; [] if fewer than two are finite numbers, or these are all equal."""
    finite_values = [(at, value) for at, value in enumerate(values) if is_finite(value)]
    if len({value for _, value in finite_values}) < 2:
        return []
    best = (min if less else max)(value for _, value in finite_values)
    return [at for at, value in finite_values if value == best]


def is_finite(value: Any) -> bool:
    """Return whether a value is a number that can be compared: no boolean, no NaN, no infinity."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def difference(value: Any, base: Any) -> tuple[float, float | None] | None:
    """Return the difference from `base`, absolute and in percent (None for base 0); None without finite numbers."""
    if not (is_finite(value) and is_finite(base)):
        return None
    absolute = float(value) - float(base)
    if not math.isfinite(absolute):
        return None
    percent = absolute / abs(float(base)) * 100 if base else None
    return absolute, percent if percent is None or math.isfinite(percent) else None
