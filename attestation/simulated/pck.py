# SPDX-License-Identifier: Apache-2.0
"""What Intel certifies of one platform: the SGX extension of its PCK certificate (attestation.md 4.2)."""

from dataclasses import dataclass
from typing import Final

SGX_EXTENSION: Final = "1.2.840.113741.1.13.1"
_ARC: Final = bytes.fromhex("2a864886f84d010d01")
_COMPONENTS: Final = 16

_BOOLEAN: Final = 0x01
_INTEGER: Final = 0x02
_OCTET_STRING: Final = 0x04
_OBJECT_IDENTIFIER: Final = 0x06
_ENUMERATED: Final = 0x0A
_SEQUENCE: Final = 0x30


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform: its identity, and the security versions its key was certified at."""

    components: bytes = bytes.fromhex("09030202040100050000000000000000")
    pce_svn: int = 13
    pce_id: bytes = bytes(2)
    fmspc: bytes = bytes.fromhex("90c06f000000")
    ppid: bytes = bytes([0x70]) * 16
    sgx_type: int = 1
    platform_instance_id: bytes = bytes([0x71]) * 16
    dynamic_platform: bool = True
    cached_keys: bool = True
    smt: bool = True

    def extension(self) -> bytes:
        """The extension's value, field for field as on the genuine certificate."""
        return _tlv(
            _SEQUENCE,
            _item((1,), _tlv(_OCTET_STRING, self.ppid)),
            _item((2,), self._tcb()),
            _item((3,), _tlv(_OCTET_STRING, self.pce_id)),
            _item((4,), _tlv(_OCTET_STRING, self.fmspc)),
            _item((5,), _tlv(_ENUMERATED, bytes((self.sgx_type,)))),
            _item((6,), _tlv(_OCTET_STRING, self.platform_instance_id)),
            _item((7,), self._configuration()),
        )

    def _tcb(self) -> bytes:
        assert len(self.components) == _COMPONENTS
        levels = (_item((2, arc), _integer(svn)) for arc, svn in enumerate(self.components, start=1))
        pce_svn = _item((2, _COMPONENTS + 1), _integer(self.pce_svn))
        return _tlv(
            _SEQUENCE, *levels, pce_svn, _item((2, _COMPONENTS + 2), _tlv(_OCTET_STRING, self.components))
        )

    def _configuration(self) -> bytes:
        flags = (self.dynamic_platform, self.cached_keys, self.smt)
        return _tlv(
            _SEQUENCE,
            *(
                _item((7, arc), _tlv(_BOOLEAN, b"\xff" if flag else b"\x00"))
                for arc, flag in enumerate(flags, 1)
            ),
        )


def _item(arcs: tuple[int, ...], value: bytes) -> bytes:
    """An identifier below Intel's arc, and its value. Every arc is below 128, so each takes one byte."""
    return _tlv(_SEQUENCE, _tlv(_OBJECT_IDENTIFIER, _ARC + bytes(arcs)), value)


def _integer(value: int) -> bytes:
    return _tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
