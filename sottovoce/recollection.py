# SPDX-License-Identifier: Apache-2.0
"""Holds each enclave that was verified against what was shown before, and tells what is new."""

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from attestation.verify import VerifiedEnclave
from sottovoce.memory import Notice, Origin, ReleaseWarning, observe, shown_by

MOST_NOTICES: Final = 64  # a host that shows something else each time fills no memory


class Remembers(Protocol):
    """What a connection remembers by: `memory_file.Memory` or `ProcessMemory`."""

    def meet(self, address: str, enclave: VerifiedEnclave, now: int) -> tuple[Notice, ...]:
        """Remember what an enclave shows; what to tell. Raises PinnedError and MemoryFileError."""
        ...


class ProcessMemory:
    """Remembers as long as this object lasts, and writes nothing. It knows no pins."""

    def __init__(self) -> None:
        self._origins: dict[str, Origin] = {}
        self._changing = threading.Lock()

    def meet(self, address: str, enclave: VerifiedEnclave, now: int) -> tuple[Notice, ...]:
        """Remember what an enclave shows; what to tell."""
        with self._changing:
            known = self._origins.get(address, Origin())
            self._origins[address], notices = observe(known, shown_by(enclave), now)
        return notices


def warn(address: str, notice: Notice) -> None:
    """Tell a program as Python tells it: as a ReleaseWarning. That an address is new is no warning."""
    if notice.is_warning:
        warnings.warn(ReleaseWarning(address, notice), stacklevel=2)


class Recollection:
    """One connection's look at its memory, and what came of it."""

    def __init__(self, address: str, memory: Remembers, tell: Callable[[str, Notice], None]) -> None:
        self._address, self._memory, self._tell = address, memory, tell
        self._notices = deque[Notice](maxlen=MOST_NOTICES)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What was told so far, oldest first."""
        return tuple(self._notices)

    def look(self, enclave: VerifiedEnclave) -> None:
        """Remember an enclave, and tell what is new.

        Raises PinnedError and MemoryFileError, and what telling raises.
        """
        notices = self._memory.meet(self._address, enclave, int(time.time()))
        self._notices.extend(notices)
        for notice in notices:
            self._tell(self._address, notice)
