# SPDX-License-Identifier: Apache-2.0
"""The file in which a client remembers what it was shown: private, locked, and replaced as a whole."""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

from attestation.results.values import Value
from attestation.verify import VerifiedEnclave
from sottovoce.memory import Epoch, Notice, Origin, Release, Seen, observe, shown_by

VERSION: Final = 1
MAX_FILE_BYTES: Final = 1 << 24


class MemoryFileError(Exception):
    """The file cannot be read or written, or is none. It may hold pins, so it is never passed over."""


def default_path() -> Path:
    """The file in this user's data folder. Raises MemoryFileError for a user who has none."""
    try:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    except RuntimeError:
        raise MemoryFileError("this user has no home folder, and XDG_DATA_HOME is not set") from None
    return data / "sottovoce" / "trust.json"


class Memory:
    """The file. Any number of processes may use it at once: each change is one locked, atomic step."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()

    def origins(self) -> dict[str, Origin]:
        """Everything that is remembered. Raises MemoryFileError."""
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise MemoryFileError(f"{self.path}: {error.strerror}") from None
        try:
            return decode(content)
        except (ValueError, RecursionError):
            raise MemoryFileError(f"{self.path} is not a memory of this program; move it away") from None

    def meet(self, address: str, enclave: VerifiedEnclave, now: int) -> tuple[Notice, ...]:
        """Remember what an enclave shows; what to tell. Raises PinnedError and MemoryFileError."""
        notices: tuple[Notice, ...] = ()

        def met(origin: Origin) -> Origin:
            nonlocal notices
            remembered, notices = observe(origin, shown_by(enclave), now)
            return remembered

        self.change(address, met)
        return notices

    def change(self, address: str, how: Callable[[Origin], Origin]) -> None:
        """Change what is remembered of one origin. Raises MemoryFileError, and what `how` raises."""
        with self._locked():
            origins = self.origins()
            origins[address] = how(origins.get(address, Origin()))
            self._write(origins)

    def forget(self, address: str) -> None:
        """Forget an origin. Raises MemoryFileError where nothing is known of it."""
        with self._locked():
            origins = self.origins()
            if origins.pop(address, None) is None:
                raise MemoryFileError(f"nothing is remembered of {address}")
            self._write(origins)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MemoryFileError(f"{self.path.parent}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, origins: dict[str, Origin]) -> None:
        """A new file in the place of the old one: whoever reads sees the one or the other, whole."""
        try:
            descriptor, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".trust-")  # mode 0600
            try:
                with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                    file.write(encode(origins))
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise MemoryFileError(f"{self.path}: {error.strerror}") from None


def encode(origins: dict[str, Origin]) -> bytes:
    """The file's content."""
    members = {address: _members(origin) for address, origin in sorted(origins.items())}
    return json.dumps({"version": VERSION, "origins": members}, indent=1).encode()


def _members(origin: Origin) -> list[Value]:
    releases: list[Value] = [
        [seen.what.measurement, seen.what.model, seen.what.release, seen.first, seen.last, seen.pinned]
        for seen in origin.releases
    ]
    epochs: list[Value] = [[epoch.run, epoch.number, epoch.keys] for epoch in origin.epochs]
    return [origin.lowest_version, releases, epochs]


def decode(content: bytes) -> dict[str, Origin]:
    """Read the file's content. Raises ValueError for another one."""
    document: Value = json.loads(content)
    match document:
        case {"version": int(version), "origins": dict(origins)} if version == VERSION:
            return {str(address): _origin(members) for address, members in origins.items()}
        case _:
            raise ValueError("not a memory of this version")


def _origin(value: Value) -> Origin:
    match value:
        case [int(lowest), list(releases), list(epochs)]:
            return Origin(tuple(map(_seen, releases)), tuple(map(_epoch, epochs)), lowest)
        case _:
            raise ValueError("not an origin")


def _seen(value: Value) -> Seen:
    match value:
        case [str(code), str(model), str(release), int(first), int(last), bool(pinned)]:
            return Seen(Release(_hex(code), _hex(model), _hex(release)), first, last, pinned)
        case _:
            raise ValueError("not a release")


def _epoch(value: Value) -> Epoch:
    match value:
        case [str(run), int(number), str(keys)]:
            return Epoch(_hex(run), number, _hex(keys))
        case _:
            raise ValueError("not an epoch")


def _hex(text: str) -> str:
    return bytes.fromhex(text).hex()
