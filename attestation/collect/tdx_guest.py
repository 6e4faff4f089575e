# SPDX-License-Identifier: Apache-2.0
"""/dev/tdx_guest: a TDREPORT, which a quoting service turns into a quote (attestation.md 6).

Documents: include/uapi/linux/tdx-guest.h, arch/x86/coco/tdx/tdx.c.
"""

import errno
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from attestation.azure.tdreport import TDREPORT_SIZE, TdReportError, check_hashes, parse_tdreport
from attestation.collect.device import OpenDevice
from attestation.collect.errors import (
    AccessError,
    BusyError,
    HostError,
    InvalidRequestError,
    Meaning,
    OwnReportError,
    UnavailableError,
    explain,
)
from attestation.collect.own_report import REPORT_DATA_SIZE, Collected, Kind
from attestation.collect.patience import Patience

DEFAULT_PATH: Final = Path("/dev/tdx_guest")
TDX_CMD_GET_REPORT0: Final = 0xC4405401

ERRORS: Final = MappingProxyType(
    {
        errno.ENOENT: Meaning(UnavailableError, "no such device: no TD, or the module tdx-guest is missing"),
        errno.ENODEV: Meaning(UnavailableError, "the driver behind the device is gone"),
        errno.EACCES: Meaning(AccessError, "run as root, or give this user the device"),
        errno.EPERM: Meaning(AccessError, "the container does not pass the device on"),
        errno.EAGAIN: Meaning(BusyError, "another process uses the device"),
        errno.EBUSY: Meaning(BusyError, "another request is being made"),
        errno.EINTR: Meaning(BusyError, "interrupted"),
        errno.ENOMEM: Meaning(BusyError, "the kernel has no memory"),
        errno.ENOTTY: Meaning(
            UnavailableError, "the driver has no GET_REPORT0: an old one from outside Linux"
        ),
        errno.ENXIO: Meaning(InvalidRequestError, "the TDX module refuses the request as wrong"),
        errno.EINVAL: Meaning(InvalidRequestError, "the driver refuses the request as wrong"),
        errno.EFAULT: Meaning(InvalidRequestError, "a buffer that the driver cannot reach"),
        errno.EIO: Meaning(HostError, "the TDX module failed"),
    }
)


class Quoter(Protocol):
    """Turns a TDREPORT into a quote."""

    def quote(self, tdreport: bytes) -> bytes:
        """The quote. Raises CollectError."""
        ...


@dataclass(frozen=True, slots=True)
class TdxGuest:
    """The device, and who makes quotes of its reports."""

    open_device: OpenDevice
    quoter: Quoter
    path: Path = DEFAULT_PATH
    patience: Patience = field(default_factory=Patience)

    def collect(self, report_data: bytes) -> Collected:
        """A quote that answers the request. Raises CollectError."""
        quote = self.quoter.quote(self.tdreport(report_data))
        collected = Collected(Kind.TDX, report_data, quote)
        collected.check()
        return collected

    def tdreport(self, report_data: bytes) -> bytes:
        """A TDREPORT that answers the request; only this very machine can check its MAC."""
        if len(report_data) != REPORT_DATA_SIZE:
            raise InvalidRequestError(f"expected 64 bytes of report data, found {len(report_data)}")
        encoded = self.patience.repeat(lambda: self._ask(report_data), (BusyError,))
        try:
            report = parse_tdreport(encoded)
            check_hashes(report)
        except TdReportError as error:
            raise OwnReportError(f"the TDX module's report is none: {error}") from error
        if not hmac.compare_digest(report.body.report_data, report_data):
            raise OwnReportError(
                "expected a TDREPORT with the requested report data, found one with other data"
            )
        return encoded

    def _ask(self, report_data: bytes) -> bytes:
        argument = bytearray(report_data + bytes(TDREPORT_SIZE))
        try:
            with self.open_device(self.path) as device:
                device.control(TDX_CMD_GET_REPORT0, argument)
        except OSError as error:
            raise explain(error, ERRORS, f"asking {self.path}") from error
        return bytes(argument[REPORT_DATA_SIZE:])
