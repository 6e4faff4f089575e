# SPDX-License-Identifier: Apache-2.0
"""A knob changes one thing about a good setting, and says what a correct verifier makes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Setting = TypeVar("Setting")


@dataclass(frozen=True, slots=True)
class Knob(Generic[Setting]):
    """One change. `check` is the id in attestation.md 7 of the check that must notice it.

    `accepted` marks the few that are unusual and right: a verifier that refuses them refuses real machines.
    """

    check: str
    change: Callable[[Setting], Setting]
    meaning: str
    accepted: bool = False

    @property
    def verdict(self) -> str:
        """What a correct verifier says under a default policy that names the simulated root."""
        outcome = "accepted, after check" if self.accepted else "refused by check"
        return f"{outcome} {self.check}: {self.meaning}"
