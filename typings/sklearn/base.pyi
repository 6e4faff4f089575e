# SPDX-License-Identifier: Apache-2.0
"""What all estimators are to the leakage benchmark."""

class BaseEstimator: ...
