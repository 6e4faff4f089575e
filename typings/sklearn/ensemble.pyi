# SPDX-License-Identifier: Apache-2.0
"""The part that the leakage benchmark uses."""

from sklearn.base import BaseEstimator

class HistGradientBoostingClassifier(BaseEstimator):
    def __init__(self, *, max_iter: int = 100, random_state: int = 0) -> None: ...
