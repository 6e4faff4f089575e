# SPDX-License-Identifier: Apache-2.0
"""The part that the leakage benchmark uses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def average_precision_score(y_true: Sequence[bool], y_score: NDArray[np.float64]) -> float: ...
