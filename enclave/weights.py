# SPDX-License-Identifier: Apache-2.0
"""Hash the weights into memory that nobody can change any more, so that what was hashed is what runs."""

import fcntl
import hashlib
import mmap
import os
from pathlib import Path
from typing import BinaryIO

from models.describe import differences
from models.gguf import GgufError, parse_gguf
from models.manifest import Manifest

BLOCK_BYTES = 1 << 20
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class WeightsError(Exception):
    """The weights are missing, are not those of the manifest, or are no file that may be loaded."""


def seal_weights(path: Path, manifest: Manifest) -> int:
    """A descriptor of sealed memory with the weights in it; the caller closes it.

    Raises WeightsError. The bytes that are hashed are those that were copied: a file that changes while it is
    read either gives another digest or has no effect. The header is checked in the sealed memory, before
    llama.cpp reads it there.
    """
    try:
        with path.open("rb") as file:
            descriptor = seal_stream(file, manifest)
    except OSError as error:
        raise WeightsError(f"the weights at {path} cannot be read: {error.strerror}") from None
    try:
        check_format(descriptor, manifest)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_format(descriptor: int, manifest: Manifest) -> None:
    """Read the header of sealed weights more strictly than llama.cpp does, and compare it with the manifest.

    What clients are told of template, tools, context and format is the manifest's word. Raises WeightsError.
    """
    try:
        with mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as content:
            found = differences(manifest, parse_gguf(content))
    except GgufError as error:
        raise WeightsError(f"the weights are no GGUF file that may be loaded: {error}") from None
    if found:
        raise WeightsError(f"the weights are not what their manifest says: {'; '.join(found)}")


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
