# SPDX-License-Identifier: Apache-2.0
"""The firmware's event log, and what it makes of the measurement registers (attestation.md 6 and 7.4, B5).

TCG PC Client Platform Firmware Profile section 10 (crypto-agile log) in the ACPI area CCEL. The first event
is of the old form and says which digests follow; the rest are {register, type, digests, data}. Register 0 is
MRTD, which is not extended; 1 to 4 are RTMR0 to 3. The area is padded with 0xFF or zero bytes.

An event's digest is not always the hash of its data, and then the data is text that its author chose: only
`Event.covers_data` says that the measured digest speaks for what is written beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha384
from struct import Struct
from types import MappingProxyType
from typing import Final

MAX_LOG_SIZE: Final = 1 << 20
"""attestation.md 7.5 (X7)."""

MAX_EVENTS: Final = 4096
"""Genuine logs have up to 90 events."""

REGISTERS: Final = 4
DIGEST_SIZE: Final = 48
SHA384: Final = 0x000C
EV_NO_ACTION: Final = 0x00000003

EVENT_TYPES: Final = MappingProxyType(
    {
        0x00000000: "EV_PREBOOT_CERT",
        0x00000001: "EV_POST_CODE",
        0x00000003: "EV_NO_ACTION",
        0x00000004: "EV_SEPARATOR",
        0x00000005: "EV_ACTION",
        0x00000006: "EV_EVENT_TAG",
        0x00000007: "EV_S_CRTM_CONTENTS",
        0x00000008: "EV_S_CRTM_VERSION",
        0x00000009: "EV_CPU_MICROCODE",
        0x0000000A: "EV_PLATFORM_CONFIG_FLAGS",
        0x0000000B: "EV_TABLE_OF_DEVICES",
        0x0000000C: "EV_COMPACT_HASH",
        0x0000000D: "EV_IPL",
        0x00000012: "EV_NONHOST_INFO",
        0x80000001: "EV_EFI_VARIABLE_DRIVER_CONFIG",
        0x80000002: "EV_EFI_VARIABLE_BOOT",
        0x80000003: "EV_EFI_BOOT_SERVICES_APPLICATION",
        0x80000004: "EV_EFI_BOOT_SERVICES_DRIVER",
        0x80000005: "EV_EFI_RUNTIME_SERVICES_DRIVER",
        0x80000006: "EV_EFI_GPT_EVENT",
        0x80000007: "EV_EFI_ACTION",
        0x80000008: "EV_EFI_PLATFORM_FIRMWARE_BLOB",
        0x80000009: "EV_EFI_HANDOFF_TABLES",
        0x8000000A: "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
        0x8000000B: "EV_EFI_HANDOFF_TABLES2",
        0x8000000C: "EV_EFI_VARIABLE_BOOT2",
        0x800000E0: "EV_EFI_VARIABLE_AUTHORITY",
    }
)

_HEAD: Final = Struct("<II")
_OLD_EVENT: Final = Struct("<II20sI")
_COUNT: Final = Struct("<I")
_ALGORITHM: Final = Struct("<H")
_SPEC_ID: Final = Struct("<16sIBBBBI")
_ALGORITHM_SIZE: Final = Struct("<HH")
_SIGNATURE: Final = b"Spec ID Event03\x00"
_END: Final = b"\xff\xff\xff\xff"


class EventLogError(Exception):
    """The bytes are no event log, or the log does not lead to the quote's registers."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `rtmr` is the register it extends, and MRTD_REGISTER for one that extends none."""

    rtmr: int
    kind: int
    digest: bytes
    data: bytes

    @property
    def name(self) -> str:
        """The event's type by its name, or its number."""
        return EVENT_TYPES.get(self.kind, f"{self.kind:#010x}")

    @property
    def extends(self) -> bool:
        """Whether the event changed a register: informative ones do not."""
        return self.rtmr != MRTD_REGISTER and self.kind != EV_NO_ACTION

    @property
    def covers_data(self) -> bool:
        """Whether the digest is that of the data, so that a matching register vouches for the data."""
        return self.digest == sha384(self.data).digest()


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a register came to its value: the events that extended it, in order, and whether they suffice."""

    rtmr: int
    events: tuple[Event, ...]
    replayed: bytes
    quoted: bytes

    @property
    def complete(self) -> bool:
        """Whether the events lead exactly to the quoted value."""
        return self.replayed == self.quoted


MRTD_REGISTER: Final = -1


class _Cursor:
    """Reads forward through the log; EventLogError where it ends early."""

    __slots__ = ("_data", "offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        end = self.offset + size
        if end > len(self._data):
            raise EventLogError(f"expected {size} bytes at {self.offset} of the log, found {self.left}")
        taken, self.offset = self._data[self.offset : end], end
        return taken

    @property
    def left(self) -> int:
        """How many bytes follow."""
        return len(self._data) - self.offset

    @property
    def padded(self) -> bool:
        """Whether nothing but padding follows: only zero bytes, or a register of 0xFFFFFFFF and anything."""
        rest = self._data[self.offset :]
        return rest.startswith(_END) or not any(rest)


def parse_event_log(data: bytes) -> tuple[Event, ...]:
    """Read the events after the specification, up to the padding; EventLogError for anything else."""
    if len(data) > MAX_LOG_SIZE:
        raise EventLogError(f"log of {len(data)} bytes exceeds {MAX_LOG_SIZE}")
    cursor = _Cursor(data)
    sizes, events = _specification(cursor), list[Event]()
    while not cursor.padded:
        if len(events) == MAX_EVENTS:
            raise EventLogError(f"log of more than {MAX_EVENTS} events")
        events.append(_event(cursor, sizes))
    return tuple(events)


def replay(events: Sequence[Event]) -> dict[int, bytes]:
    """The value of each register after all events: SHA-384 over the value before and the event's digest."""
    registers = dict.fromkeys(range(REGISTERS), bytes(DIGEST_SIZE))
    for event in events:
        if event.extends:
            registers[event.rtmr] = sha384(registers[event.rtmr] + event.digest).digest()
    return registers


def explain(events: Sequence[Event], rtmrs: Sequence[bytes]) -> tuple[Explanation, ...]:
    """For each register of a quote the events behind it."""
    if len(rtmrs) != REGISTERS:
        raise EventLogError(f"expected {REGISTERS} registers, found {len(rtmrs)}")
    replayed = replay(events)
    return tuple(
        Explanation(
            index,
            tuple(event for event in events if event.extends and event.rtmr == index),
            replayed[index],
            rtmrs[index],
        )
        for index in range(REGISTERS)
    )


def check_replay(events: Sequence[Event], rtmrs: Sequence[bytes]) -> tuple[Explanation, ...]:
    """Refuse a log that does not lead exactly to the quote's registers (B5)."""
    explanations = explain(events, rtmrs)
    for item in explanations:
        if not item.complete:
            raise EventLogError(
                f"expected RTMR{item.rtmr} {item.quoted.hex()} as quoted, "
                f"the log leads to {item.replayed.hex()}"
            )
    return explanations


def _specification(cursor: _Cursor) -> Mapping[int, int]:
    """The first event: the size of each algorithm's digest."""
    register, kind, digest, size = _OLD_EVENT.unpack(cursor.take(_OLD_EVENT.size))
    data = cursor.take(size)
    if register not in (0, 1) or kind != EV_NO_ACTION or any(digest):
        raise EventLogError("expected a log that begins with its specification")
    inside = _Cursor(data)
    signature, _, minor, major, _, _, count = _SPEC_ID.unpack(inside.take(_SPEC_ID.size))
    if signature != _SIGNATURE or (major, minor) != (2, 0):
        raise EventLogError(
            f"expected a crypto-agile log of version 2.0, found {signature!r} {major}.{minor}"
        )
    sizes = dict[int, int]()
    for _ in range(min(count, inside.left)):
        algorithm, digest_size = _ALGORITHM_SIZE.unpack(inside.take(_ALGORITHM_SIZE.size))
        sizes[algorithm] = digest_size
    vendor_size = inside.take(1)[0]
    inside.take(vendor_size)
    if inside.left or sizes.get(SHA384) != DIGEST_SIZE:
        raise EventLogError("expected a log with SHA-384 digests and nothing after its specification")
    return sizes


def _event(cursor: _Cursor, sizes: Mapping[int, int]) -> Event:
    register, kind = _HEAD.unpack(cursor.take(_HEAD.size))
    if register > REGISTERS:
        raise EventLogError(f"expected a register of 0 to {REGISTERS}, found {register}")
    digest = _digest(cursor, sizes)
    (size,) = _COUNT.unpack(cursor.take(_COUNT.size))
    return Event(register - 1, kind, digest, cursor.take(size))


def _digest(cursor: _Cursor, sizes: Mapping[int, int]) -> bytes:
    """The SHA-384 digest among the event's digests, of which each algorithm has one."""
    digests = dict[int, bytes]()
    (count,) = _COUNT.unpack(cursor.take(_COUNT.size))
    if count > len(sizes):
        raise EventLogError(f"expected up to {len(sizes)} digests, found {count}")
    for _ in range(count):
        (algorithm,) = _ALGORITHM.unpack(cursor.take(_ALGORITHM.size))
        if algorithm not in sizes or algorithm in digests:
            raise EventLogError(f"expected one digest of each algorithm, found {algorithm:#06x}")
        digests[algorithm] = cursor.take(sizes[algorithm])
    if SHA384 not in digests:
        raise EventLogError("expected a SHA-384 digest")
    return digests[SHA384]
