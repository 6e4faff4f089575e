# SPDX-License-Identifier: Apache-2.0
"""What somebody between host and client sees of one answer: when something came, and how much."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trace:
    """One answer: milliseconds since its request and bytes of each piece, and whether it is of the topic."""

    milliseconds: tuple[float, ...]
    sizes: tuple[int, ...]
    target: bool
    first_text_milliseconds: float = 0.0
    complete_milliseconds: float = 0.0

    @property
    def bytes(self) -> int:
        """Of the whole answer."""
        return sum(self.sizes)

    @property
    def gaps(self) -> tuple[float, ...]:
        """Milliseconds between each piece and the one before, the first since the request."""
        return tuple(
            later - earlier
            for earlier, later in zip((0.0, *self.milliseconds), self.milliseconds, strict=False)
        )
