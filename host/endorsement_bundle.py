# SPDX-License-Identifier: Apache-2.0
"""Answers of vendors that somebody put beside the host: a folder or a zip file of named files.

Names are those of `Request.name`; the PEM of an answer's issuers lies beside it as `NAME.chain.pem`.
"""

import zipfile
from pathlib import Path
from typing import Final

from host.endorsement_requests import MAX_CERTIFICATE_BYTES, Request, is_bundle_name

CHAIN_SUFFIX: Final = ".chain.pem"
MAX_ZIP_ENTRIES: Final = 4096


class BundleError(Exception):
    """A bundle cannot be read, or holds something larger than any answer."""


class Bundle:
    """A folder or a zip file, read anew at each question: an operator may replace it while the host runs."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def get(self, request: Request) -> tuple[bytes, bytes] | None:
        """Answer and issuer chain, or None if the bundle has not both. Raises BundleError."""
        try:
            content = self._read(request.name, request.max_bytes)
            if content is None or not request.chain_header:
                return None if content is None else (content, b"")
            chain = self._read(request.name + CHAIN_SUFFIX, MAX_CERTIFICATE_BYTES)
        except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise BundleError(f"{self._place}: {error}") from error
        return None if chain is None else (content, chain)

    def _read(self, name: str, max_bytes: int) -> bytes | None:
        assert is_bundle_name(name)
        if self._place.is_dir():
            return _of_folder(self._place / name, max_bytes)
        return _of_zip(self._place, name, max_bytes)


def _of_folder(path: Path, max_bytes: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return _bounded(file.read(max_bytes + 1), path.name, max_bytes)
    except FileNotFoundError:
        return None


def _of_zip(place: Path, name: str, max_bytes: int) -> bytes | None:
    with zipfile.ZipFile(place) as archive:
        names = archive.namelist()
        if len(names) > MAX_ZIP_ENTRIES or names.count(name) > 1:
            raise BundleError(f"{place}: too many entries, or {name} twice")
        if name not in names:
            return None
        # What it says about its size is not believed: reading ends at the bound.
        with archive.open(name) as file:
            return _bounded(file.read(max_bytes + 1), name, max_bytes)


def _bounded(content: bytes, name: str, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise BundleError(f"{name} exceeds {max_bytes} bytes")
    return content
