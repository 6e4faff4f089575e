# SPDX-License-Identifier: Apache-2.0
"""Validity counted from the time of the simulation."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

DAY: Final = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Window:
    """A validity in days before and after the time of the simulation."""

    start_days: int = -1
    end_days: int = 30

    def around(self, at: int) -> tuple[datetime, datetime]:
        """First and last moment."""
        return moment(at + self.start_days * DAY), moment(at + self.end_days * DAY)


CURRENT: Final = Window()
EXPIRED: Final = Window(-60, -1)
FUTURE: Final = Window(1, 60)


def moment(seconds: int) -> datetime:
    """Unix seconds as a date."""
    return datetime.fromtimestamp(seconds, UTC)
