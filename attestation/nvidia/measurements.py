# SPDX-License-Identifier: Apache-2.0
"""The report of a GPU: SPDM 1.1 GET_MEASUREMENTS and its answer (DMTF DSP0274 section 10.11).

Numbers are little-endian, r and s of the signature big-endian. The signature covers request and answer.

offset  size
     0    37  request: 11 e0, signature wanted, all measurements, nonce of 32, slot
    37     8  answer: 11 60, 2 bytes, number of blocks, size of all blocks (24 bits)
    45     -  blocks: index, 01 (DMTF), size of the rest, then type, size of the value, value
     -    32  nonce of the GPU
     -     -  size (16 bits) and opaque data: NVIDIA's fields of type, size, value
     -    96  signature: r, s
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct
from types import MappingProxyType
from typing import Final

from attestation.nvidia.p384 import SIGNATURE_SIZE

MAX_REPORT_BYTES: Final = 64 * 1024  # genuine reports have about 4,100 bytes
NONCE_SIZE: Final = 32
VALUE_SIZE: Final = 48
REQUEST_HEAD: Final = bytes.fromhex("11e001ff")
ANSWER_HEAD: Final = bytes.fromhex("1160")
DMTF: Final = 1

DRIVER_VERSION: Final = 3
VBIOS_VERSION: Final = 6
FIRMWARE_ID: Final = 20
REQUEST_SIZE: Final = 37
_BLOCK: Final = Struct("<BBHBH")
_FIELD: Final = Struct("<HH")


class GpuReportError(Exception):
    """The bytes are no report of a GPU."""


@dataclass(frozen=True, slots=True)
class GpuReport:
    """A report whose bytes all have a meaning. Nothing here is verified yet.

    `measurements` are values of 48 bytes by their index; `opaque` are NVIDIA's fields by their number.
    """

    nonce: bytes
    measurements: Mapping[int, bytes]
    opaque: Mapping[int, bytes]
    padding: int
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def text(self, number: int) -> str:
        """A field that is text with a zero byte behind it; empty where it is something else."""
        value = self.opaque.get(number, b"").removesuffix(b"\x00")
        return value.decode("ascii") if value.isascii() and value.decode("ascii").isprintable() else ""


class _Cursor:
    """Reads a report from front to back; GpuReportError where it ends too early."""

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes) -> None:
        self._data, self.position = data, 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self._data):
            found = len(self._data) - self.position
            raise GpuReportError(f"expected {size} bytes at {self.position}, found {found}")
        taken, self.position = self._data[self.position : end], end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    @property
    def finished(self) -> bool:
        return self.position == len(self._data)


def parse_report(data: bytes) -> GpuReport:
    """Read exactly one report, and zero bytes behind it, which genuine tools leave there."""
    if len(data) > MAX_REPORT_BYTES:
        raise GpuReportError(f"report of {len(data)} bytes exceeds {MAX_REPORT_BYTES}")
    cursor = _Cursor(data)
    if (head := cursor.take(len(REQUEST_HEAD))) != REQUEST_HEAD:
        raise GpuReportError(f"expected a request for signed measurements of SPDM 1.1, found {head.hex()}")
    nonce = cursor.take(NONCE_SIZE)
    cursor.take(1)
    if (head := cursor.take(len(ANSWER_HEAD))) != ANSWER_HEAD:
        raise GpuReportError(f"expected measurements of SPDM 1.1, found {head.hex()}")
    cursor.take(2)
    count = cursor.number(1)
    measurements = _blocks(cursor.take(cursor.number(3)), count)
    cursor.take(NONCE_SIZE)
    opaque = _fields(cursor.take(cursor.number(2)))
    signed = data[: cursor.position]
    signature, rest = cursor.take(SIGNATURE_SIZE), data[cursor.position :]
    if any(rest):
        raise GpuReportError(f"expected nothing but zero bytes after the signature, found {len(rest)} bytes")
    return GpuReport(nonce, measurements, opaque, len(rest), signed, signature)


def _blocks(data: bytes, count: int) -> Mapping[int, bytes]:
    cursor, found = _Cursor(data), dict[int, bytes]()
    while not cursor.finished:
        index, specification, size, _, value_size = _BLOCK.unpack(cursor.take(_BLOCK.size))
        if specification != DMTF or value_size != VALUE_SIZE or size != VALUE_SIZE + 3:
            raise GpuReportError(f"expected a measurement of {VALUE_SIZE} bytes in the form of DMTF")
        if index in found:
            raise GpuReportError(f"measurement {index} occurs twice")
        found[index] = cursor.take(value_size)
    if len(found) != count or not count:
        raise GpuReportError(f"expected {count} measurements, found {len(found)}")
    return MappingProxyType(found)


def _fields(data: bytes) -> Mapping[int, bytes]:
    cursor, found = _Cursor(data), dict[int, bytes]()
    while not cursor.finished:
        number, size = _FIELD.unpack(cursor.take(_FIELD.size))
        if number in found:
            raise GpuReportError(f"field {number} of the opaque data occurs twice")
        found[number] = cursor.take(size)
    return MappingProxyType(found)
