# SPDX-License-Identifier: Apache-2.0
"""The few operations on files that configfs needs, each in one system call, as its kernel code expects."""

import os
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """A file system. All operations raise OSError with the kernel's error number."""

    def exists(self, path: Path) -> bool:
        """Whether there is something at this path."""
        ...

    def make_folder(self, path: Path) -> None:
        """Make one folder."""
        ...

    def remove_folder(self, path: Path) -> None:
        """Remove one folder."""
        ...

    def read(self, path: Path, limit_bytes: int) -> bytes:
        """The content, or as much of it as shows that it exceeds the limit."""
        ...

    def write(self, path: Path, content: bytes) -> None:
        """Write the content at once and close the file."""
        ...


class SystemFiles:
    """The machine's own file system."""

    def exists(self, path: Path) -> bool:
        """Whether there is something at this path. Without access to its folder, there is not."""
        return os.access(path, os.F_OK)

    def make_folder(self, path: Path) -> None:
        """Make one folder that only this user can enter."""
        path.mkdir(mode=0o700)

    def remove_folder(self, path: Path) -> None:
        """Remove one folder. In configfs its attributes go with it."""
        path.rmdir()

    def read(self, path: Path, limit_bytes: int) -> bytes:
        """Read until the end, or one byte beyond the limit."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = b""
            while len(content) <= limit_bytes and (
                part := os.read(descriptor, limit_bytes + 1 - len(content))
            ):
                content += part
            return content
        finally:
            os.close(descriptor)

    def write(self, path: Path, content: bytes) -> None:
        """Write with one call: configfs takes no value in parts."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            written = os.write(descriptor, content)
        finally:
            os.close(descriptor)
        if written != len(content):
            raise OSError(f"wrote {written} of {len(content)} bytes to {path.name}")
