# SPDX-License-Identifier: Apache-2.0
"""The parts of a TDX quote, for `dataclasses.replace` to spoil one (attestation.md 4.1)."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from hashlib import sha256
from types import MappingProxyType
from typing import Final

INTEL_VENDOR: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
TDX: Final = 0x81
ECDSA_P256: Final = 2
PEM_CHAIN: Final = 5
QE_REPORT_DATA: Final = 6

# The TDX module: its own version and generation, and the late microcode of the machine.
TEE_TCB_SVN: Final = bytes((5, 1, 3)).ljust(16, b"\x00")


class BodyType(IntEnum):
    """What a quote of version 5 says its body is; version 4 has the form of TD_1_0 and says nothing."""

    TD_1_0 = 2
    TD_1_5 = 3
    TD_1_5_EXTENDED = 4


class TdAttributes(IntFlag):
    """What a trust domain's owner allows; fixed at launch. Every bit without a name here is reserved."""

    DEBUG = 1 << 0
    TUD_1 = 1 << 1
    TUD_2 = 1 << 2
    TUD_3 = 1 << 3
    HGS_PLUS_PROF = 1 << 4
    PERF_PROF = 1 << 5
    PMT_PROF = 1 << 6
    TUD_7 = 1 << 7
    LASS = 1 << 27
    SEPT_VE_DISABLE = 1 << 28
    MIGRATABLE = 1 << 29
    PKS = 1 << 30
    KEY_LOCKER = 1 << 31
    TPA = 1 << 62
    PERFMON = 1 << 63


# Name and size of the fields in their order, and how many of them each type has.
_BODY: Final = (
    ("tee_tcb_svn", 16),
    ("mrseam", 48),
    ("mrsignerseam", 48),
    ("seam_attributes", 8),
    ("td_attributes", 8),
    ("xfam", 8),
    ("mrtd", 48),
    ("mrconfigid", 48),
    ("mrowner", 48),
    ("mrownerconfig", 48),
    ("rtmr0", 48),
    ("rtmr1", 48),
    ("rtmr2", 48),
    ("rtmr3", 48),
    ("report_data", 64),
    ("tee_tcb_svn2", 16),
    ("mrservicetd", 48),
    ("vmid", 1),
    ("td_id", 32),
    ("dev_info", 48),
    ("init_service_td_hash", 48),
    ("init_service_td_attributes", 8),
    ("init_cpu_svn", 16),
    ("init_tee_tcb_svn", 16),
    ("init_tee_fmspc", 12),
    ("cur_service_td_hash", 48),
    ("cur_service_td_attributes", 8),
)
_FIELD_COUNTS: Final[Mapping[BodyType, int]] = MappingProxyType(
    {BodyType.TD_1_0: 15, BodyType.TD_1_5: 17, BodyType.TD_1_5_EXTENDED: len(_BODY)}
)


@dataclass(frozen=True, slots=True)
class TdFields:
    """What the TDX module says of a trust domain; numbers are little-endian."""

    mrtd: bytes = bytes(range(48))
    report_data: bytes = bytes(64)
    tee_tcb_svn: bytes = TEE_TCB_SVN
    mrseam: bytes = bytes([0x5E]) * 48
    mrsignerseam: bytes = bytes(48)
    seam_attributes: int = 0
    td_attributes: int = TdAttributes.SEPT_VE_DISABLE
    xfam: int = 0x602E7
    mrconfigid: bytes = bytes(48)
    mrowner: bytes = bytes(48)
    mrownerconfig: bytes = bytes(48)
    rtmr0: bytes = bytes(48)
    rtmr1: bytes = bytes(48)
    rtmr2: bytes = bytes(48)
    rtmr3: bytes = bytes(48)
    tee_tcb_svn2: bytes = TEE_TCB_SVN
    mrservicetd: bytes = bytes(48)
    vmid: int = 0
    td_id: bytes = bytes(32)
    dev_info: bytes = bytes(48)
    init_service_td_hash: bytes = bytes(48)
    init_service_td_attributes: int = 0
    init_cpu_svn: bytes = bytes(16)
    init_tee_tcb_svn: bytes = bytes(16)
    init_tee_fmspc: bytes = bytes(12)
    cur_service_td_hash: bytes = bytes(48)
    cur_service_td_attributes: int = 0

    def encode(self, body_type: BodyType) -> bytes:
        """The body of a quote: 584, 648 or 885 bytes."""
        parts = list[bytes]()
        for name, size in _BODY[: _FIELD_COUNTS[body_type]]:
            value: int | bytes = getattr(self, name)
            encoded = value.to_bytes(size, "little") if isinstance(value, int) else value
            assert len(encoded) == size, f"{name} takes {size} bytes"
            parts.append(encoded)
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class QuoteFields:
    """A quote's head, body and framing: what the attestation key can sign, and what nobody signs.

    `body_size` and `signature_size` are None where the quote tells the truth about itself. `patches` are
    offsets and bytes put over the signed quote, `cut` bytes are missing at its end, `trailing` follows it.
    """

    td: TdFields = TdFields()
    version: int = 4
    body_type: BodyType = BodyType.TD_1_0
    attestation_key_type: int = ECDSA_P256
    tee_type: int = TDX
    reserved: bytes = bytes(4)
    vendor_id: bytes = INTEL_VENDOR
    user_data: bytes = bytes(20)
    body_size: int | None = None
    signature_size: int | None = None
    certification_type: int = QE_REPORT_DATA
    chain_type: int = PEM_CHAIN
    patches: tuple[tuple[int, bytes], ...] = ()
    cut: int = 0
    trailing: bytes = b""

    def signed(self) -> bytes:
        """What the attestation key signs."""
        head = struct.pack("<HHI", self.version, self.attestation_key_type, self.tee_type)
        header = head + self.reserved + self.vendor_id + self.user_data
        body = self.td.encode(self.body_type)
        if self.version < 5:
            return header + body
        size = len(body) if self.body_size is None else self.body_size
        return header + struct.pack("<HI", self.body_type, size) + body


@dataclass(frozen=True, slots=True)
class QeFields:
    """The report of Intel's quoting enclave (SGX REPORT, 384 bytes), which commits to the attestation key.

    `commitment` is None for the honest value: SHA-256 of key and `authentication`.
    """

    cpu_svn: bytes = bytes.fromhex("0404191b04ff00060000000000000000")
    misc_select: int = 0
    attributes: bytes = bytes.fromhex("1500000000000000e700000000000000")
    mrenclave: bytes = bytes([0x0E]) * 32
    mrsigner: bytes = bytes([0x51]) * 32
    product_id: int = 2
    svn: int = 8
    commitment: bytes | None = None
    after_commitment: bytes = bytes(32)
    authentication: bytes = bytes(range(32))

    def encode(self, attestation_key: bytes) -> bytes:
        """The report over a public key of 64 bytes."""
        honest = sha256(attestation_key + self.authentication).digest()
        return b"".join(
            (
                self.cpu_svn + self.misc_select.to_bytes(4, "little") + bytes(28) + self.attributes,
                self.mrenclave + bytes(32) + self.mrsigner + bytes(96),
                struct.pack("<HH", self.product_id, self.svn) + bytes(60),
                (honest if self.commitment is None else self.commitment) + self.after_commitment,
            )
        )


@dataclass(frozen=True, slots=True)
class Certification:
    """What is the same in every quote of a machine: the QE's report, its signature and the PCK chain."""

    qe_report: bytes
    qe_report_signature: bytes = field(repr=False)
    authentication: bytes
    chain_pem: bytes

    def encode(self, fields: QuoteFields) -> bytes:
        """Type 6 around type 5, each with its length."""
        inner = _typed(fields.chain_type, self.chain_pem)
        authentication = struct.pack("<H", len(self.authentication)) + self.authentication
        outer = self.qe_report + self.qe_report_signature + authentication + inner
        return _typed(fields.certification_type, outer)


def encode_quote(fields: QuoteFields, key: bytes, signature: bytes, certification: Certification) -> bytes:
    """The whole quote: what is signed, then the signature data with its length, then what follows it."""
    signature_data = signature + key + certification.encode(fields)
    size = len(signature_data) if fields.signature_size is None else fields.signature_size
    quote = bytearray(fields.signed() + struct.pack("<I", size) + signature_data)
    for offset, content in fields.patches:
        quote[offset : offset + len(content)] = content
    return bytes(quote)[: len(quote) - fields.cut] + fields.trailing


def _typed(kind: int, content: bytes) -> bytes:
    return struct.pack("<HI", kind, len(content)) + content
