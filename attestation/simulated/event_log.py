# SPDX-License-Identifier: Apache-2.0
"""A CCEL event log of a measured start, and the registers that its replay gives (attestation.md 6).

TCG PC Client Platform Firmware Profile: the first record has the old form with a SHA-1 digest; the others are
crypto-agile. Register 0 of the log is MRTD, which no event extends; 1 to 4 are RTMR0 to RTMR3.
"""

import struct
from dataclasses import dataclass
from hashlib import sha384
from typing import Final

SHA384: Final = 0x000C
DIGEST_SIZE: Final = 48
LOG_SIZE: Final = 65536
RTMR_COUNT: Final = 4

EV_NO_ACTION: Final = 0x03
EV_SEPARATOR: Final = 0x04
EV_EVENT_TAG: Final = 0x06
EV_IPL: Final = 0x0D
EV_EFI_VARIABLE_DRIVER_CONFIG: Final = 0x80000001
EV_EFI_BOOT_SERVICES_APPLICATION: Final = 0x80000003
EV_EFI_ACTION: Final = 0x80000007
EV_EFI_PLATFORM_FIRMWARE_BLOB2: Final = 0x8000000A


@dataclass(frozen=True, slots=True)
class Event:
    """One record. `measured` is what the digest is of, where that is not the record's own content."""

    register: int
    kind: int
    content: bytes
    measured: bytes | None = None

    @property
    def digest(self) -> bytes:
        """SHA-384 of what was measured."""
        return sha384(self.content if self.measured is None else self.measured).digest()

    def encode(self) -> bytes:
        """TCG_PCR_EVENT2 with one digest."""
        head = struct.pack("<IIIH", self.register, self.kind, 1, SHA384)
        return head + self.digest + struct.pack("<I", len(self.content)) + self.content


# A machine that measures firmware, settings, kernel, command line and initial disk, and one event of its own.
EVENTS: Final = (
    Event(
        1, EV_EFI_PLATFORM_FIRMWARE_BLOB2, b"\x08TdxTable".ljust(25, b"\x00"), b"simulated firmware volume"
    ),
    Event(1, EV_EFI_VARIABLE_DRIVER_CONFIG, b"SecureBoot\x00"),
    Event(1, EV_SEPARATOR, bytes(4)),
    Event(2, EV_EFI_BOOT_SERVICES_APPLICATION, b"\\EFI\\BOOT\\BOOTX64.EFI", b"simulated kernel"),
    Event(2, EV_EFI_ACTION, b"Exit Boot Services Invocation"),
    Event(3, EV_EVENT_TAG, b"console=hvc0 root=/dev/vda ro"),
    Event(3, EV_IPL, b"initrd", b"simulated initial disk"),
    Event(4, EV_EVENT_TAG, b"sottovoce configuration"),
)


@dataclass(frozen=True, slots=True)
class EventLog:
    """A log as the firmware leaves it: records, and the rest of its area filled with ones."""

    events: tuple[Event, ...] = EVENTS
    size: int = LOG_SIZE

    def encode(self) -> bytes:
        """The whole area."""
        records = _specification() + b"".join(event.encode() for event in self.events)
        return records.ljust(self.size, b"\xff")

    def registers(self) -> tuple[bytes, bytes, bytes, bytes]:
        """RTMR0 to RTMR3 after these events."""
        values = [bytes(DIGEST_SIZE)] * RTMR_COUNT
        for event in self.events:
            values[event.register - 1] = sha384(values[event.register - 1] + event.digest).digest()
        first, second, third, fourth = values
        return first, second, third, fourth


def _specification() -> bytes:
    """TCG_EfiSpecIDEvent 2.0 with one algorithm, in the record form of TCG 1.2."""
    content = b"Spec ID Event03\x00" + struct.pack("<IBBBB", 0, 0, 2, 0, 2)
    content += struct.pack("<IHH", 1, SHA384, DIGEST_SIZE) + b"\x00"
    return struct.pack("<II", 1, EV_NO_ACTION) + bytes(20) + struct.pack("<I", len(content)) + content
