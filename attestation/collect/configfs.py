# SPDX-License-Identifier: Apache-2.0
"""configfs-tsm: the kernel's interface to evidence since Linux 6.7 (attestation.md 6).

Documents: Documentation/ABI/testing/configfs-tsm-report; drivers/virt/coco/guest/report.c, fs/configfs/file.c
A folder made below `tsm/report` is one request. The kernel takes `inblob` only when the file is closed, and
drops whatever goes wrong then: nothing but the generation counter tells whether our bytes are in the report.
"""

import errno
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import Final
from uuid import UUID

from attestation.collect.errors import (
    AccessError,
    BusyError,
    CollectError,
    HostError,
    InvalidRequestError,
    KeyDisabledError,
    Meaning,
    RaceError,
    UnavailableError,
    explain,
)
from attestation.collect.files import Files
from attestation.collect.own_report import REPORT_DATA_SIZE, Collected, Kind
from attestation.collect.patience import Patience

DEFAULT_ROOT: Final = Path("/sys/kernel/config")
REPORTS: Final = Path("tsm") / "report"
MAX_BLOB_BYTES: Final = 32 * 1024  # TSM_REPORT_OUTBLOB_MAX
MAX_VALUE_BYTES: Final = 64  # a number, or the name of a provider
MAX_PRIVILEGE_LEVEL: Final = 3  # TSM_REPORT_PRIVLEVEL_MAX
SVSM: Final = b"svsm"

PROVIDERS: Final = MappingProxyType({"sev_guest": Kind.SEV_SNP, "tdx_guest": Kind.TDX})

FOLDER_ERRORS: Final = MappingProxyType(
    {
        errno.ENOENT: Meaning(
            UnavailableError, "no tsm/report: mount configfs; the kernel must be 6.7 or later"
        ),
        errno.ENXIO: Meaning(UnavailableError, "no provider: load the module sev-guest or tdx-guest"),
        errno.EACCES: Meaning(AccessError, "run as root, or give this user the folder tsm/report"),
        errno.EPERM: Meaning(AccessError, "a security module or container forbids it"),
        errno.EROFS: Meaning(
            AccessError, "configfs is mounted read-only, as in a container; mount it writable"
        ),
        errno.ENOMEM: Meaning(BusyError, "the kernel has no memory"),
        errno.EEXIST: Meaning(RaceError, "somebody made a folder of this random name"),
        errno.EBUSY: Meaning(BusyError, "the folder is in use"),
    }
)
ATTRIBUTE_ERRORS: Final = MappingProxyType(
    {
        errno.EAGAIN: Meaning(RaceError, "the request changed while its report was read"),
        errno.EBUSY: Meaning(BusyError, "an earlier request is still with the host"),
        errno.EINTR: Meaning(BusyError, "interrupted while waiting for the host"),
        errno.ENOMEM: Meaning(BusyError, "the kernel has no memory, or the host's answer exceeds its buffer"),
        errno.ETXTBSY: Meaning(BusyError, "the attribute is being written"),
        errno.ETIMEDOUT: Meaning(
            HostError, "the host did not answer in time; is its quoting service running?"
        ),
        errno.EIO: Meaning(HostError, "the host or its firmware failed; the kernel's log has its code"),
        errno.EOPNOTSUPP: Meaning(UnavailableError, "the host or the kernel does not have this operation"),
        errno.EFBIG: Meaning(
            HostError, f"a blob beyond the kernel's bounds of 64 in and {MAX_BLOB_BYTES} out"
        ),
        errno.ENXIO: Meaning(UnavailableError, "the provider is gone, or the firmware reports an error"),
        errno.EINVAL: Meaning(InvalidRequestError, "a privilege level, service or size the provider refuses"),
        errno.ENOENT: Meaning(UnavailableError, "this provider or kernel does not have the attribute"),
        errno.ENODEV: Meaning(UnavailableError, "the provider's module is being unloaded"),
        errno.EACCES: Meaning(AccessError, "run as root"),
        errno.EPERM: Meaning(AccessError, "a security module or container forbids it"),
        errno.ENOTTY: Meaning(KeyDisabledError, "the key to the security processor is disabled; restart"),
        errno.EBADMSG: Meaning(KeyDisabledError, "the answer was not the security processor's; restart"),
    }
)


class Level(StrEnum):
    """Which privilege level to report for, where it is not a number."""

    OWN = "own"
    """The lowest level this kernel may speak for, which is the one it runs at."""


@dataclass(frozen=True, slots=True)
class Service:
    """Ask the SVSM, which runs below the kernel, about its services. The zero GUID means all of them."""

    guid: UUID = field(default=UUID(int=0))
    manifest_version: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask. `report_data` is exactly what the report must contain."""

    report_data: bytes
    level: int | Level = Level.OWN
    service: Service | None = None


@dataclass(frozen=True, slots=True)
class Configfs:
    """The interface below `root`. Each request makes a folder of its own and removes it."""

    files: Files
    root: Path = DEFAULT_ROOT
    patience: Patience = field(default_factory=Patience)
    random_name: Callable[[], str] = field(default=lambda: f"sottovoce-{token_hex(16)}", repr=False)

    def provider(self) -> Kind:
        """Which hardware answers here. Makes a folder and removes it, as there is no other way to know."""
        with self._folder() as folder:
            return self._kind(folder)

    def collect(self, question: Question) -> Collected:
        """A report that answers the question. Raises CollectError."""
        if len(question.report_data) != REPORT_DATA_SIZE:
            raise InvalidRequestError(f"expected 64 bytes of report data, found {len(question.report_data)}")
        collected = self.patience.repeat(lambda: self._attempt(question), (RaceError, BusyError))
        collected.check()
        return collected

    def _attempt(self, question: Question) -> Collected:
        """One request.

        1. Note the generation before.
        2. Write the question; every write moves the generation by one.
        3. Read all parts of the answer.
        4. The generation moved by our writes alone, so the parts answer our question, all of them.
        """
        with self._folder() as folder:
            kind = self._kind(folder)
            # 1.
            before = self._number(folder, "generation")
            # 2.
            writes = self._writes(folder, kind, question)
            for name, value in writes:
                self._write(folder, name, value)
            # 3.
            report = self._read(folder, "outblob", MAX_BLOB_BYTES)
            certificates = self._optional(folder, "auxblob")
            manifest = self._read(folder, "manifestblob", MAX_BLOB_BYTES) if question.service else b""
            # 4.
            moved = self._number(folder, "generation") - before
            if moved != len(writes):
                raise RaceError(
                    f"expected {len(writes)} writes to the request, found {moved}: another writer"
                )
        level = next((int(value) for name, value in writes if name == "privlevel"), 0)
        return Collected(kind, question.report_data, report, certificates, manifest, level)

    def _writes(self, folder: Path, kind: Kind, question: Question) -> list[tuple[str, bytes]]:
        """Attributes and values in the order to write them; the report data come last."""
        question_data = [("inblob", question.report_data)]
        if kind is Kind.TDX:
            if question.level is not Level.OWN or question.service:
                raise InvalidRequestError(
                    "tdx_guest knows neither privilege levels nor services; leave them out"
                )
            return question_data
        if service := question.service:
            return [
                ("service_provider", SVSM),
                ("service_guid", str(service.guid).encode()),
                ("service_manifest_version", str(service.manifest_version).encode()),
                *question_data,
            ]
        return [("privlevel", str(self._level(folder, question.level)).encode()), *question_data]

    def _level(self, folder: Path, level: int | Level) -> int:
        floor = self._number(folder, "privlevel_floor")
        if level is Level.OWN:
            return floor
        if not floor <= level <= MAX_PRIVILEGE_LEVEL:
            raise InvalidRequestError(
                f"expected a privilege level of {floor} to {MAX_PRIVILEGE_LEVEL}, found {level}"
            )
        return level

    def _kind(self, folder: Path) -> Kind:
        name = self._text(folder, "provider")
        if name not in PROVIDERS:
            raise UnavailableError(f"expected the provider {' or '.join(PROVIDERS)}, found {name!r}")
        return PROVIDERS[name]

    def _number(self, folder: Path, name: str) -> int:
        text = self._text(folder, name)
        if not text.isdecimal():
            raise HostError(f"{name}: expected a number, found {text!r}")
        return int(text)

    def _text(self, folder: Path, name: str) -> str:
        return self._read(folder, name, MAX_VALUE_BYTES).decode("ascii", "replace").removesuffix("\n")

    def _optional(self, folder: Path, name: str) -> bytes:
        """Empty where the provider has no such attribute."""
        return self._read(folder, name, MAX_BLOB_BYTES) if self.files.exists(folder / name) else b""

    def _read(self, folder: Path, name: str, limit_bytes: int) -> bytes:
        try:
            content = self.files.read(folder / name, limit_bytes)
        except OSError as error:
            raise explain(error, ATTRIBUTE_ERRORS, f"reading {name}") from error
        if len(content) > limit_bytes:
            raise HostError(f"{name}: expected at most {limit_bytes} bytes, found more")
        return content

    def _write(self, folder: Path, name: str, value: bytes) -> None:
        try:
            self.files.write(folder / name, value)
        except OSError as error:
            raise explain(error, ATTRIBUTE_ERRORS, f"writing {name}") from error

    @contextmanager
    def _folder(self) -> Generator[Path]:
        """A folder for one request, removed whatever happens: each one left behind holds kernel memory."""
        folder = self.root / REPORTS / self.random_name()
        try:
            self.files.make_folder(folder)
        except OSError as error:
            raise explain(error, FOLDER_ERRORS, "making a request's folder") from error
        try:
            yield folder
        except BaseException:
            with suppress(OSError):  # what went wrong before is what matters
                self.files.remove_folder(folder)
            raise
        self._remove(folder)

    def _remove(self, folder: Path) -> None:
        try:
            self.files.remove_folder(folder)
        except OSError as error:
            raise CollectError(f"cannot remove {folder}: {error.strerror}; remove it by hand") from error
