# SPDX-License-Identifier: Apache-2.0
"""A device file, opened by one user at a time. The lock holds across this project's threads and processes."""

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol


class Device(Protocol):
    """An open device."""

    def control(self, request: int, argument: bytearray) -> None:
        """One ioctl, which reads and writes the argument. Raises OSError with the driver's error number."""
        ...


OpenDevice = Callable[[Path], AbstractContextManager[Device]]
"""Opens a device for one user. Raises OSError: BlockingIOError while another user has it."""


class SystemDevice:
    """A device of this machine."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def control(self, request: int, argument: bytearray) -> None:
        """One ioctl."""
        fcntl.ioctl(self._descriptor, request, argument, True)


@contextmanager
def open_device(path: Path) -> Generator[SystemDevice]:
    """Open and lock a device of this machine. Closing it releases the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield SystemDevice(descriptor)
    finally:
        os.close(descriptor)
