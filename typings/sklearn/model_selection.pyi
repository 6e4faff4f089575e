# SPDX-License-Identifier: Apache-2.0
"""The part that the leakage benchmark uses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

class StratifiedKFold:
    def __init__(self, n_splits: int, *, shuffle: bool, random_state: int) -> None: ...

def cross_val_predict(
    estimator: BaseEstimator,
    described: NDArray[np.float64] | Sequence[str],
    targets: Sequence[bool],
    /,
    *,
    cv: StratifiedKFold,
    method: str,
) -> NDArray[np.float64]: ...
