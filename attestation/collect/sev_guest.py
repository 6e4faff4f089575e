# SPDX-License-Identifier: Apache-2.0
"""/dev/sev-guest: the older path to SNP reports (attestation.md 6).

Documents: include/uapi/linux/sev-guest.h, Documentation/virt/coco/sev-guest.rst; the driver's source for what
an error means. Messages to the security processor are numbered and encrypted, and the driver throws the key
away after any failure that could have it use a number twice: until the next start, no report can be made.
So requests are made one at a time, and only those are repeated that the driver says were never sent.
"""

import ctypes
import errno
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from types import MappingProxyType
from typing import Final

from attestation.collect.certificate_table import MAX_TABLE_BYTES
from attestation.collect.device import Device, OpenDevice
from attestation.collect.errors import (
    AccessError,
    BusyError,
    CollectError,
    HostError,
    InvalidRequestError,
    KeyDisabledError,
    Meaning,
    UnavailableError,
    explain,
)
from attestation.collect.own_report import REPORT_DATA_SIZE, Collected, Kind
from attestation.collect.patience import Patience
from attestation.snp.report import REPORT_SIZE

DEFAULT_PATH: Final = Path("/dev/sev-guest")

SNP_GET_REPORT: Final = 0xC0205300
SNP_GET_EXT_REPORT: Final = 0xC0205302
MESSAGE_VERSION: Final = 1
VMM_INVALID_LENGTH: Final = 1
VMM_BUSY: Final = 2
FIRMWARE_INVALID_PARAMETER: Final = 0x16
FIRMWARE_INVALID_KEY: Final = 0x27

PAGE_SIZE: Final = 4096
FIRST_TABLE_BYTES: Final = 16 * 1024  # SEV_FW_BLOB_MAX_SIZE: drivers so far take no more
MAX_LEVEL: Final = 3

# snp_guest_request_ioctl: version, request, response, firmware's error, host's error
REQUEST: Final = Struct("<B7xQQII")
# snp_report_req: user data, VMPL, reserved
REPORT_REQUEST: Final = Struct("<64sI28x")
# snp_ext_report_req: the same, then where the certificates go
EXTENDED_REQUEST: Final = Struct("<64sI28xQI4x")
_LENGTH_OFFSET: Final = 104
# snp_report_resp: status and size, reserved, the report
RESPONSE_SIZE: Final = 4000
_RESPONSE_HEAD: Final = Struct("<II24x")

OPEN_ERRORS: Final = MappingProxyType(
    {
        errno.ENOENT: Meaning(
            UnavailableError, "no such device: no SNP guest, or the module sev-guest is missing"
        ),
        errno.ENXIO: Meaning(UnavailableError, "the driver behind the device is gone"),
        errno.ENODEV: Meaning(UnavailableError, "the driver behind the device is gone"),
        errno.EACCES: Meaning(AccessError, "run as root, or give this user the device"),
        errno.EPERM: Meaning(AccessError, "the container does not pass the device on"),
        errno.EAGAIN: Meaning(BusyError, "another process uses the device"),
        errno.EBUSY: Meaning(BusyError, "another process uses the device"),
    }
)
_DISABLED: Final = "the driver has disabled its key (VMPCK); restart the machine"
REQUEST_ERRORS: Final = MappingProxyType(
    {
        errno.ENOTTY: Meaning(KeyDisabledError, f"no key: {_DISABLED}"),
        errno.EIO: Meaning(
            KeyDisabledError, f"the host or the firmware failed, or messages ran out; {_DISABLED}"
        ),
        errno.EBADMSG: Meaning(KeyDisabledError, f"the answer was not the security processor's; {_DISABLED}"),
        errno.ETIMEDOUT: Meaning(KeyDisabledError, f"the host throttled for a minute; {_DISABLED}"),
        errno.ENOSR: Meaning(KeyDisabledError, f"messages ran out; {_DISABLED}"),
        errno.EAGAIN: Meaning(BusyError, "the host throttles"),
        errno.EBUSY: Meaning(BusyError, "the host throttles"),
        errno.EINTR: Meaning(BusyError, "interrupted before the request was sent"),
        errno.ENOMEM: Meaning(BusyError, "the kernel has no memory"),
        errno.ENOSPC: Meaning(HostError, "the host's certificates exceed the space for them"),
        errno.EINVAL: Meaning(
            InvalidRequestError, "a message version or certificate size the driver refuses"
        ),
        errno.EFAULT: Meaning(InvalidRequestError, "a buffer that the driver cannot reach"),
    }
)


class _TableTooLargeError(CollectError):
    """The host has more certificates than there was space for. `needed_bytes` is its word."""

    def __init__(self, needed_bytes: int) -> None:
        super().__init__(f"the host's certificates need {needed_bytes} bytes")
        self.needed_bytes = needed_bytes


@dataclass(frozen=True, slots=True)
class SevGuest:
    """The device. Use it where configfs is not there."""

    open_device: OpenDevice
    path: Path = DEFAULT_PATH
    patience: Patience = field(default_factory=Patience)

    def collect(self, report_data: bytes, level: int = 0, *, with_certificates: bool = True) -> Collected:
        """A report that answers the request, with the host's certificates if wanted. Raises CollectError."""
        if len(report_data) != REPORT_DATA_SIZE:
            raise InvalidRequestError(f"expected 64 bytes of report data, found {len(report_data)}")
        if not 0 <= level <= MAX_LEVEL:
            raise InvalidRequestError(f"expected a privilege level of 0 to {MAX_LEVEL}, found {level}")
        space = FIRST_TABLE_BYTES if with_certificates else 0
        report, certificates = self.patience.repeat(
            lambda: self._with_device(report_data, level, space), (BusyError,)
        )
        collected = Collected(Kind.SEV_SNP, report_data, report, certificates, level=level)
        collected.check()
        return collected

    def _with_device(self, report_data: bytes, level: int, space: int) -> tuple[bytes, bytes]:
        try:
            with self.open_device(self.path) as device:
                return _ask(device, report_data, level, space)
        except CollectError:
            raise
        except OSError as error:
            raise explain(error, OPEN_ERRORS, f"opening {self.path}") from error


def _ask(device: Device, report_data: bytes, level: int, space: int) -> tuple[bytes, bytes]:
    """Ask once, and once more if the host names the space it needs. The driver answers that in good order."""
    try:
        return _report(device, report_data, level, space)
    except _TableTooLargeError as error:
        needed = -(-error.needed_bytes // PAGE_SIZE) * PAGE_SIZE
        if not space < needed <= MAX_TABLE_BYTES:
            raise HostError(
                f"expected certificates of up to {MAX_TABLE_BYTES} bytes, found {needed}"
            ) from error
        try:
            return _report(device, report_data, level, needed)
        except _TableTooLargeError as again:
            raise HostError(
                f"{again}, after asking for {needed}: the host keeps changing its mind"
            ) from again


def _report(device: Device, report_data: bytes, level: int, space: int) -> tuple[bytes, bytes]:
    """One request, plain without space for certificates. All buffers live until the driver is done."""
    certificates = ctypes.create_string_buffer(max(space, 1))
    response = ctypes.create_string_buffer(RESPONSE_SIZE)
    content = (
        EXTENDED_REQUEST.pack(report_data, level, ctypes.addressof(certificates), space)
        if space
        else REPORT_REQUEST.pack(report_data, level)
    )
    request = ctypes.create_string_buffer(content, len(content))
    argument = bytearray(
        REQUEST.pack(MESSAGE_VERSION, ctypes.addressof(request), ctypes.addressof(response), 0, 0)
    )
    try:
        device.control(SNP_GET_EXT_REPORT if space else SNP_GET_REPORT, argument)
    except OSError as error:
        raise _failure(error, argument, request.raw) from error
    _, _, _, firmware_error, host_error = REQUEST.unpack(argument)
    if firmware_error or host_error:
        raise HostError(f"expected no error with success, found {_codes(firmware_error, host_error)}")
    return _answer(response.raw), certificates.raw if space else b""


def _failure(error: OSError, argument: bytearray, request: bytes) -> CollectError:
    _, _, _, firmware_error, host_error = REQUEST.unpack(argument)
    if host_error == VMM_INVALID_LENGTH and len(request) == EXTENDED_REQUEST.size:
        return _TableTooLargeError(int.from_bytes(request[_LENGTH_OFFSET : _LENGTH_OFFSET + 4], "little"))
    if host_error == VMM_BUSY and error.errno != errno.ENOTTY:
        return BusyError("asking for a report: the host throttles")
    action = f"asking for a report ({_codes(firmware_error, host_error)})"
    return explain(error, REQUEST_ERRORS, action)


def _codes(firmware_error: int, host_error: int) -> str:
    return f"firmware {firmware_error:#x}, host {host_error:#x}"


def _answer(response: bytes) -> bytes:
    """The report in MSG_REPORT_RSP (AMD 56860 table 25)."""
    status, size = _RESPONSE_HEAD.unpack_from(response)
    if status in (FIRMWARE_INVALID_PARAMETER, FIRMWARE_INVALID_KEY):
        raise InvalidRequestError(
            f"the firmware refuses the request ({status:#x}): is the level this kernel's?"
        )
    if status or size != REPORT_SIZE:
        raise HostError(
            f"expected status 0 and {REPORT_SIZE} bytes, found status {status:#x} and {size} bytes"
        )
    return response[_RESPONSE_HEAD.size : _RESPONSE_HEAD.size + REPORT_SIZE]
