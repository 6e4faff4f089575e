# SPDX-License-Identifier: Apache-2.0
"""A Linux kernel with confidential hardware below it: configfs-tsm, /dev/sev-guest and /dev/tdx_guest.

State machines after drivers/virt/coco/guest/report.c, fs/configfs/file.c, sev-guest.c and tdx-guest.c: the
same attributes, counters and error numbers, including what these drivers do not report.
"""

import ctypes
import errno
import os
import struct
from base64 import b64encode
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha512
from pathlib import Path

from attestation.collect.device import Device
from attestation.collect.patience import Patience
from attestation.snp.report import REPORT_SIZE
from tests.fakes.azure import snp_report, tdreport

ROOT = Path("/sys/kernel/config")
REPORT_DATA = bytes(range(64))
MANIFEST = b"the services below"
KEY_LOST = {errno.EIO, errno.EBADMSG, errno.ETIMEDOUT, errno.ENOSR}
"""Failures after a message was numbered: the SNP driver throws its key away."""

WRITE_ONLY = {"inblob", "privlevel", "service_provider", "service_guid", "service_manifest_version"}
SERVICES = {"service_provider", "service_guid", "service_manifest_version", "manifestblob"}


def failure(number: int) -> OSError:
    """What a system call raises."""
    return OSError(number, os.strerror(number))


class Clock:
    """Time that passes only where somebody sleeps, or by `step` at each look."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        """Seconds since the start."""
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def patience(self, attempts: int = 4) -> Patience:
        """Patience by this clock."""
        return Patience(attempts=attempts, monotonic=self.monotonic, sleep=self.sleep)


def td_quote(report_data: bytes) -> bytes:
    """A quote that nobody signed, over the values of `tests.fakes.azure.tdreport`."""
    head = struct.pack(
        "<HHI4s16s20s", 4, 2, 0x81, b"", bytes.fromhex("939a7233f79c4ca9940a0db3957f0607"), b""
    )
    report = tdreport(report_data)
    body = report[264:280] + report[280:384] + report[512:912] + report_data
    chain = b"-----BEGIN CERTIFICATE-----\n" + b64encode(b"no certificate") + b"\n-----END CERTIFICATE-----\n"
    certified = bytes(384 + 64) + struct.pack("<HHI", 0, 5, len(chain)) + chain
    signature = bytes(128) + struct.pack("<HI", 6, len(certified)) + certified
    return head + body + struct.pack("<I", len(signature)) + signature


@dataclass
class Item:
    """One request in configfs."""

    written: int = 0
    answered: int = 0
    inblob: bytes = b""
    level: int = 0
    service: bytes = b""
    blobs: dict[str, bytes] = field(default_factory=dict)


Reporter = Callable[[Item], dict[str, bytes]]


def sev_reporter(item: Item) -> dict[str, bytes]:
    """sev_report_new and sev_svsm_report_new."""
    if len(item.inblob) != 64 or item.service not in {b"", b"svsm"}:
        raise failure(errno.EINVAL)
    if item.service:
        bound = sha512(item.inblob + MANIFEST).digest()
        return {"outblob": snp_report(bound), "manifestblob": MANIFEST}
    return {"outblob": snp_report(item.inblob, item.level), "auxblob": b"the host's table"}


def tdx_reporter(item: Item) -> dict[str, bytes]:
    """tdx_report_new."""
    if len(item.inblob) != 64:
        raise failure(errno.EINVAL)
    return {"outblob": td_quote(item.inblob)}


@dataclass
class FakeConfigfs:
    """configfs as a `Files`. `spoil` runs before each access, and may raise or change the request.

    `shown` replaces what attributes show.
    """

    provider: str | None = "sev_guest"
    reporter: Reporter = sev_reporter
    floor: int = 0
    below_svsm: bool = False
    mounted: bool = True
    spoil: Callable[[str, str, Item | None], None] = field(default=lambda _operation, _name, _item: None)
    shown: dict[str, bytes] = field(default_factory=dict)
    items: dict[Path, Item] = field(default_factory=dict)
    made: int = 0
    root: Path = ROOT

    def exists(self, path: Path) -> bool:
        """Whether the attribute is visible."""
        return path.parent in self.items and self._visible(path.name)

    def make_folder(self, path: Path) -> None:
        """tsm_report_make_item."""
        self.spoil("mkdir", "", None)
        if not self.mounted or path.parent != self.root / "tsm" / "report":
            raise failure(errno.ENOENT)
        if path in self.items:
            raise failure(errno.EEXIST)
        if self.provider is None:
            raise failure(errno.ENXIO)
        self.items[path] = Item()
        self.made += 1

    def remove_folder(self, path: Path) -> None:
        """tsm_report_drop_item."""
        self.spoil("rmdir", "", self.items.get(path))
        del self.items[path]

    def read(self, path: Path, limit_bytes: int) -> bytes:
        """An attribute, shown or generated."""
        item = self._open(path)
        self.spoil("read", path.name, item)
        if path.name in WRITE_ONLY:
            raise failure(errno.EACCES)
        if path.name in self.shown:
            return self.shown[path.name]
        if path.name == "generation":
            return b"%d\n" % item.written
        if self.provider is None:
            raise failure(errno.ENXIO)
        if path.name == "provider":
            return self.provider.encode() + b"\n"
        if path.name == "privlevel_floor":
            return b"%d\n" % self.floor
        return self._blob(item, path.name)[: limit_bytes + 1]

    def write(self, path: Path, content: bytes) -> None:
        """Store an attribute."""
        item, name = self._open(path), path.name
        self.spoil("write", name, item)
        if name not in WRITE_ONLY:
            raise failure(errno.EACCES)
        if name == "inblob":
            self._write_inblob(item, content)
            return
        if name == "privlevel" and not self.floor <= int(content) <= 3:
            raise failure(errno.EINVAL)
        self._advance(item)
        if name == "privlevel":
            item.level = int(content)
        elif name == "service_provider":
            item.service = content

    def _write_inblob(self, item: Item, content: bytes) -> None:
        """Beyond 64 bytes the write fails; what fails when the file is closed, nobody hears of."""
        if len(content) > 64:
            raise failure(errno.EFBIG)
        try:
            self._advance(item)
        except OSError:
            return
        item.inblob = content

    def _advance(self, item: Item) -> None:
        """try_advance_write_generation. A counter of 64 bits; `answered` may be set to let it wrap."""
        if item.written == item.answered - 1:
            raise failure(errno.EBUSY)
        item.written += 1

    def _blob(self, item: Item, name: str) -> bytes:
        """tsm_report_read: the cached answer, or a new one."""
        if not item.inblob:
            raise failure(errno.EINVAL)
        if not item.blobs or item.answered != item.written:
            item.blobs = {}
            item.blobs = self.reporter(item)
            item.answered = item.written
        blob = item.blobs.get(name, b"")
        if len(blob) > 32 * 1024:
            raise failure(errno.EFBIG)
        return blob

    def _open(self, path: Path) -> Item:
        if path.parent not in self.items or not self._visible(path.name):
            raise failure(errno.ENOENT)
        return self.items[path.parent]

    def _visible(self, name: str) -> bool:
        if self.provider == "tdx_guest":
            return name in {"generation", "provider", "inblob", "outblob"}
        return name not in SERVICES or self.below_svsm


@dataclass
class FakeSevGuest:
    """The SNP driver and what is below it. `outcomes` are what the host does with the next requests."""

    table: bytes = b""
    most_space: int = 16 * 1024
    outcomes: list[tuple[int, int, int]] = field(default_factory=list)
    """Error number, firmware's and host's error, each in turn; (0, 0, 0) is success."""
    response: Callable[[bytes, int], bytes] = field(
        default=lambda data, level: struct.pack("<II24x", 0, REPORT_SIZE) + snp_report(data, level)
    )
    disabled: bool = False
    requests: int = 0

    def control(self, request: int, argument: bytearray) -> None:
        """snp_guest_ioctl: errors are written back, success writes nothing."""
        version, asked, answered, _, _ = struct.unpack("<B7xQQII", argument)
        try:
            firmware, host = self._serve(request, version, asked, answered)
        except RefusedError as refused:
            argument[24:32] = struct.pack("<II", refused.firmware, refused.host)
            raise failure(refused.number) from refused
        if firmware or host:
            argument[24:32] = struct.pack("<II", firmware, host)

    def _serve(self, request: int, version: int, asked: int, answered: int) -> tuple[int, int]:
        if not version or not asked or not answered:
            raise RefusedError(errno.EINVAL)
        if request not in {0xC0205300, 0xC0205302}:
            raise RefusedError(errno.ENOTTY)
        data, level = struct.unpack("<64sI28x", ctypes.string_at(asked, 96))
        place = space = 0
        if request == 0xC0205302:
            place, space = struct.unpack("<QI4x", ctypes.string_at(asked + 96, 16))
        if space > self.most_space or space % 4096:
            raise RefusedError(errno.EINVAL)
        if self.disabled:
            raise RefusedError(errno.ENOTTY)
        return self._send(data, level, asked, answered, (place, space))

    def _send(
        self, data: bytes, level: int, asked: int, answered: int, certificates: tuple[int, int]
    ) -> tuple[int, int]:
        self.requests += 1
        place, space = certificates
        number, firmware, host = self.outcomes.pop(0) if self.outcomes else (0, 0, 0)
        if number:
            # Drivers that do not know a throttling host yet leave their key as it was.
            self.disabled = number in KEY_LOST and host != 2
            raise RefusedError(number, firmware, host)
        if space and len(self.table) > space:
            needed = -(-len(self.table) // 4096) * 4096
            ctypes.memmove(asked + 104, needed.to_bytes(4, "little"), 4)
            raise RefusedError(errno.EIO, 0, 1)
        if space:
            ctypes.memmove(place, self.table.ljust(space, b"\0"), space)
        ctypes.memmove(answered, self.response(data, level).ljust(4000, b"\0"), 4000)
        return firmware, host


class RefusedError(Exception):
    """The driver's answer to a request that failed."""

    def __init__(self, number: int, firmware: int = 0xFF, host: int = 0) -> None:
        super().__init__(number)
        self.number, self.firmware, self.host = number, firmware, host


@dataclass
class FakeTdxGuest:
    """The TDX driver. `errors` are the numbers with which the next requests fail."""

    errors: list[int] = field(default_factory=list)
    module: Callable[[bytes], bytes] = tdreport

    def control(self, request: int, argument: bytearray) -> None:
        """tdx_guest_ioctl."""
        if self.errors:
            raise failure(self.errors.pop(0))
        if request != 0xC4405401:
            raise failure(errno.ENOTTY)
        argument[64:] = self.module(bytes(argument[:64]))


@dataclass
class Devices:
    """/dev. `errors` are the numbers with which opening fails, each in turn."""

    present: dict[Path, Device] = field(default_factory=dict)
    errors: list[int] = field(default_factory=list)
    open: int = 0

    @contextmanager
    def open_device(self, path: Path) -> Generator[Device]:
        """Open a device for one user."""
        if self.errors:
            raise failure(self.errors.pop(0))
        if path not in self.present:
            raise failure(errno.ENOENT)
        if self.open:
            raise failure(errno.EAGAIN)
        self.open += 1
        try:
            yield self.present[path]
        finally:
            self.open -= 1
