# SPDX-License-Identifier: Apache-2.0
"""Hash the weights into memory that nobody can change any more, so that what was hashed is what runs."""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from models.manifest import Manifest

BLOCK_BYTES = 1 << 20
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class WeightsError(Exception):
    """The weights are missing, or are not the ones that the manifest names."""


def seal_weights(path: Path, manifest: Manifest) -> int:
    """A descriptor of sealed memory with the weights in it; the caller closes it.

    Raises WeightsError. The bytes that are hashed are those that were copied: a file that changes while it is
    read either gives another digest or has no effect.
    """
    try:
        with path.open("rb") as file:
            return seal_stream(file, manifest)
    except OSError as error:
        raise WeightsError(f"the weights at {path} cannot be read: {error.strerror}") from None


def seal_stream(source: BinaryIO, manifest: Manifest) -> int:
    """Copy a stream into memory while hashing it, then seal the memory. Raises WeightsError and OSError."""
    descriptor = os.memfd_create("weights", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        _check(_copy(source, descriptor, manifest.size_bytes), manifest)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(digest: bytes, manifest: Manifest) -> None:
    if digest != manifest.digest:
        raise WeightsError(
            f"the weights have the SHA-256 {digest.hex()}, {manifest.name} has {manifest.digest.hex()}"
        )


def _copy(source: BinaryIO, descriptor: int, size_bytes: int) -> bytes:
    """Copy exactly this many bytes, and return the SHA-256 of what was copied."""
    digest, copied = hashlib.sha256(), 0
    while block := source.read(BLOCK_BYTES):
        copied += len(block)
        if copied > size_bytes:
            raise WeightsError(f"the weights are longer than the {size_bytes} bytes of the manifest")
        digest.update(block)
        view = memoryview(block)
        while view:
            view = view[os.write(descriptor, view) :]
    return digest.digest()
