# SPDX-License-Identifier: Apache-2.0
"""Private files of a vendor's folder, made once however many processes start together."""

import errno
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path


class VendorError(Exception):
    """The folder does not hold a simulated vendor."""


def store(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write everything to a folder beside it and rename that, so that no one ever sees a part."""
    prefix = f".{folder.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent, ignore_cleanup_errors=True) as name:
        made = Path(name)
        for file, content in files.items():
            write_private(made / file, content)
        try:
            made.rename(folder)
        except OSError as error:
            # Another process was first, or the folder holds something else, which reading it will tell.
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise


def keep(folder: Path, name: str, make: Callable[[], bytes]) -> bytes:
    """The file's content, made at first use. Of several processes one wins, and all return what it made."""
    path = folder / name
    if not path.exists():
        draft = folder / f".{name}-{secrets.token_hex(8)}"
        write_private(draft, make())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass  # Another process was first: its file counts.
        finally:
            draft.unlink()
    return path.read_bytes()


def read(folder: Path, name: str) -> bytes:
    """The content of a file that the vendor must have."""
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise VendorError(f"{folder} holds no simulated vendor: expected {name} in it") from error


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
