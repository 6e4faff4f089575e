# SPDX-License-Identifier: Apache-2.0
"""The part that the leakage benchmark uses."""

from sklearn.base import BaseEstimator

class TfidfVectorizer(BaseEstimator):
    def __init__(
        self,
        *,
        token_pattern: str = ...,
        ngram_range: tuple[int, int] = (1, 1),
        min_df: int = 1,
        sublinear_tf: bool = False,
    ) -> None: ...
