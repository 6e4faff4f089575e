# SPDX-License-Identifier: Apache-2.0
"""Files as a person names them on the command line, read with limits."""

from pathlib import Path
from typing import Final

from attestation.tdx.pem import PemError, decode_pem
from wire.session import MIN_TOKEN_CHARACTERS

MAX_FILE_BYTES: Final = 1 << 20
MAX_API_KEY_CHARACTERS: Final = 1024
API_KEY_HELP: Final = (
    "the key in FILE, by which the enclave knows you; it travels inside the encryption alone"
)


class OfflineError(Exception):
    """The files cannot be read or written, or are not what they have to be."""


class UsageError(Exception):
    """The options contradict each other, or do not fit what they are given with."""


def read(path: Path) -> bytes:
    """The content of a file; OfflineError where it cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise OfflineError(f"{path}: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise OfflineError(f"{path} has more than {MAX_FILE_BYTES} bytes, so it cannot be what is needed")
    return content


def read_der(path: Path, label: bytes) -> tuple[bytes, ...]:
    """The DER in a file that holds one value in DER, or several in PEM."""
    content = read(path)
    if not content.startswith(b"-----BEGIN "):
        return (content,)
    try:
        return decode_pem(content, label)
    except PemError as error:
        raise OfflineError(f"{path}: {error}") from None


def write(path: Path, content: bytes) -> None:
    """Write a file; OfflineError where that fails."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OfflineError(f"{path}: {error.strerror}") from None


def read_api_key(path: Path | None) -> str | None:
    """The API key in a file, because others see a command line; None where no file is named.

    Raises UsageError.
    """
    if path is None:
        return None
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--api-key {path}: {error}") from None
    if not MIN_TOKEN_CHARACTERS <= len(key) <= MAX_API_KEY_CHARACTERS or not key.isprintable() or " " in key:
        raise UsageError(
            f"--api-key {path}: expected one line of {MIN_TOKEN_CHARACTERS} characters or more, and no space"
        )
    return key
