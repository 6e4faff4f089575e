# SPDX-License-Identifier: Apache-2.0
"""The part that the leakage benchmark uses."""

from sklearn.base import BaseEstimator

class LogisticRegression(BaseEstimator):
    def __init__(self, *, max_iter: int = 100, class_weight: str | None = None) -> None: ...
