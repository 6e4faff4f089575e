# SPDX-License-Identifier: Apache-2.0
"""How often and how long something is tried again. Time is injected, so tests wait for nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from attestation.collect.errors import CollectError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Patience:
    """Both bounds hold: so many attempts, and no new attempt after so many seconds."""

    attempts: int = 6
    pause_seconds: float = 0.5
    total_seconds: float = 90.0  # the kernel itself waits 60 s for a throttling host
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def repeat(self, attempt: Callable[[], Result], passing: tuple[type[CollectError], ...]) -> Result:
        """Try until it works. Raises what the last attempt raised, and at once what is not passing."""
        end = self.monotonic() + self.total_seconds
        for left in range(self.attempts - 1, -1, -1):
            try:
                return attempt()
            except passing:
                if not left or self.monotonic() + self.pause_seconds > end:
                    raise
            self.sleep(self.pause_seconds)
        raise RuntimeError("patience needs at least one attempt")
