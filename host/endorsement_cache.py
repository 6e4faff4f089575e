# SPDX-License-Identifier: Apache-2.0
"""Answers of vendors on disk: one file for each question, replaced as a whole, readable by this user alone.

A file holds one line of JSON (question, time, digest, issuer chain) and then the answer's octets. What is
damaged, or answers another question, is no answer. Nothing here is trusted: clients verify what they get.
"""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VERSION: Final = 1
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_FILE_BYTES: Final = 2 * 1024 * 1024
MAX_TIME: Final = 2**53 - 1
# A host asks for about ten things per machine; a provider's host that serves many machines has room too.
DEFAULT_MAX_ENTRIES: Final = 512
DEFAULT_MAX_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer, the PEM of its issuers if the service gives it, and when it was fetched."""

    content: bytes
    chain: bytes
    fetched_at: int


class Cache:
    """A folder of answers with bounds on their number and size. The oldest go first."""

    def __init__(
        self, folder: Path, *, max_entries: int = DEFAULT_MAX_ENTRIES, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> None:
        """Make the folder, for this user alone. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._max_entries, self._max_bytes = folder, max_entries, max_bytes

    def get(self, key: str) -> Entry | None:
        """The answer to a question; None where there is none that can be read. How old it is, is its word."""
        try:
            # Never through a link that somebody planted, and never more than was ever written.
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                return _decode(file.read(MAX_FILE_BYTES + 1), key)
        except OSError:
            return None

    def put(self, key: str, entry: Entry) -> None:
        """Keep an answer in place of an older one. Raises OSError; then the older one is still whole."""
        data = _encode(entry, key)
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".new-")  # mode 0600
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path(key))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._make_room()

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode("utf-8")).hexdigest()

    def _make_room(self) -> None:
        files = sorted(self._files(), reverse=True)
        total = 0
        for number, (_, size, path) in enumerate(files):
            total += size
            if number >= self._max_entries or total > self._max_bytes:
                path.unlink(missing_ok=True)

    def _files(self) -> list[tuple[int, int, Path]]:
        found: list[tuple[int, int, Path]] = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                status = path.lstat()
                found.append((status.st_mtime_ns, status.st_size, path))
        return found


def _encode(entry: Entry, key: str) -> bytes:
    head = {
        "v": VERSION,
        "request": key,
        "fetched_at": entry.fetched_at,
        "sha256": _digest(entry),
        "chain": entry.chain.decode("ascii"),
    }
    return json.dumps(head, ensure_ascii=True).encode("ascii") + b"\n" + entry.content


def _decode(data: bytes, key: str) -> Entry | None:
    end = data.find(b"\n", 0, MAX_HEAD_BYTES)
    if end < 0 or len(data) > MAX_FILE_BYTES:
        return None
    try:
        head: dict[str, int | str] = json.loads(data[:end])
        match head:
            case {
                "v": 1,
                "request": str(request),
                "fetched_at": int(at),
                "sha256": str(digest),
                "chain": str(chain),
            }:
                entry = Entry(data[end + 1 :], chain.encode("ascii"), at)
            case _:
                return None
    except (ValueError, RecursionError):
        return None
    whole = request == key and 0 <= at <= MAX_TIME and digest == _digest(entry)
    return entry if whole else None


def _digest(entry: Entry) -> str:
    """Over time, chain and content, so that a file damaged anywhere is a miss."""
    numbers = entry.fetched_at.to_bytes(8, "big", signed=True) + len(entry.chain).to_bytes(8, "big")
    return hashlib.sha256(numbers + entry.chain + entry.content).hexdigest()
