# SPDX-License-Identifier: Apache-2.0
"""The part that the leakage benchmark uses."""

from sklearn.base import BaseEstimator

def make_pipeline(*steps: BaseEstimator) -> BaseEstimator: ...
