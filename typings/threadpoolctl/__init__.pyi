# SPDX-License-Identifier: Apache-2.0
"""The part that the leakage benchmark uses."""

from contextlib import AbstractContextManager

def threadpool_limits(limits: int) -> AbstractContextManager[None]: ...
