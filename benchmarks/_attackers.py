# SPDX-License-Identifier: Apache-2.0
"""Two who guess the topic of an answer from its sizes and times, and how well they do (wire.md 4).

The first is gradient boosting on the first sizes and gaps and on their statistics. The second is a language
model of the sequence: n-grams of sizes and gaps as words, weighed by how rare they are. The figure is the
area under the curve of precision and recall, of predictions for answers that were not learned from. One that
guesses blindly reaches the prior, the share of answers of the topic.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from benchmarks._traces import Trace

FOLDS, TREES = 5, 100
FIRST_PIECES, BINS = 64, 25
LARGEST_PIECE = 4096
WORD = r"\S+"
SIZE_STEP, GAP_STEP_MILLISECONDS = 2, 10


def prior(traces: Sequence[Trace]) -> float:
    """What blind guessing reaches."""
    return sum(trace.target for trace in traces) / len(traces)


def boosting(traces: Sequence[Trace], *, trees: int = TREES, folds: int = FOLDS) -> float:
    """The AUPRC of the first attacker."""
    features = np.array([_features(trace) for trace in traces])
    return _auprc(HistGradientBoostingClassifier(max_iter=trees, random_state=0), features, traces, folds)


def language(traces: Sequence[Trace], *, folds: int = FOLDS) -> float:
    """The AUPRC of the second."""
    words = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, 3), min_df=2, sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(max_iter=1000, class_weight="balanced"))
    return _auprc(model, [_sentence(trace) for trace in traces], traces, folds)


def chance(traces: Sequence[Trace], *, rounds: int = 5) -> tuple[float, float]:
    """Mean and largest AUPRC of the first attacker where topics are dealt at random: how far luck goes."""
    dealer = random.Random(0)  # noqa: S311 - a fixed order, no secret
    targets = [trace.target for trace in traces]
    reached: list[float] = []
    for _ in range(rounds):
        dealer.shuffle(targets)
        dealt = [replace(trace, target=target) for trace, target in zip(traces, targets, strict=True)]
        reached.append(boosting(dealt))
    return sum(reached) / rounds, max(reached)


def _auprc(
    model: BaseEstimator, described: NDArray[np.float64] | Sequence[str], traces: Sequence[Trace], folds: int
) -> float:
    targets = [trace.target for trace in traces]
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    with threadpool_limits(1):  # on a busy machine, threads that wait for each other take far longer than one
        guesses = cross_val_predict(model, described, targets, cv=split, method="predict_proba")
    return average_precision_score(targets, guesses[:, 1])


def _features(trace: Trace) -> NDArray[np.float64]:
    sizes, gaps = np.array(trace.sizes, dtype=float), np.array(trace.gaps, dtype=float)
    parts = [_padded(sizes), _padded(gaps)]
    for values, most in ((sizes, LARGEST_PIECE), (gaps, 1000)):
        histogram, _ = np.histogram(values, bins=BINS, range=(0, most))
        statistics = [len(values), values.sum(), values.mean(), values.std()]
        parts += [np.array(statistics), histogram.astype(float)]
    return np.concatenate(parts)


def _padded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    first = values[:FIRST_PIECES]
    return np.concatenate([first, np.full(FIRST_PIECES - len(first), -1.0)])


def _sentence(trace: Trace) -> str:
    sizes = [f"s{size // SIZE_STEP}" for size in trace.sizes]
    gaps = [f"g{int(gap // GAP_STEP_MILLISECONDS)}" for gap in trace.gaps]
    steps = [f"d{(later - earlier) // SIZE_STEP}" for earlier, later in pairwise(trace.sizes)]
    return " ".join([*sizes, *steps, *gaps])
