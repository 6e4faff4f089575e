# SPDX-License-Identifier: Apache-2.0
"""A simulated SEV-SNP machine: signs reports of version 3 byte for byte as a Genoa (attestation.md 12)."""

from dataclasses import dataclass, field, replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from attestation.snp.report import LAYOUT, REPORT_SIZE, SIGNED_SIZE, ChipId, GuestPolicy, PlatformInfo

# Patch levels seen on a genuine Genoa machine: bootloader 10, tee 0, snp 25, microcode 84.
TCB: Final = bytes.fromhex("0a00000000001954")


@dataclass(frozen=True, slots=True)
class ReportFields:
    """The fields of a report as numbers and bytes, for `dataclasses.replace` to spoil one of them."""

    measurement: bytes
    chip_id: bytes
    report_data: bytes = bytes(64)
    version: int = 3
    guest_svn: int = 0
    policy: int = GuestPolicy.SMT | GuestPolicy.RESERVED_ONE
    family_id: bytes = bytes(16)
    image_id: bytes = bytes(16)
    vmpl: int = 0
    signature_algorithm: int = 1
    current_tcb: bytes = TCB
    platform_info: int = PlatformInfo.SMT | PlatformInfo.ECC | PlatformInfo.ALIAS_CHECK_COMPLETE
    key_info: int = 0
    host_data: bytes = bytes(32)
    id_key_digest: bytes = bytes(48)
    author_key_digest: bytes = bytes(48)
    report_id: bytes = bytes(32)
    report_id_ma: bytes = bytes([0xFF]) * 32
    reported_tcb: bytes = TCB
    cpuid_family: int = 0x19
    cpuid_model: int = 0x11
    cpuid_stepping: int = 1
    committed_tcb: bytes = TCB
    current_version: bytes = bytes((43, 55, 1))
    committed_version: bytes = bytes((43, 55, 1))
    launch_tcb: bytes = TCB
    launch_mitigations: int = 0
    current_mitigations: int = 0

    def encode(self) -> bytes:
        """The part of the report that is signed."""
        report = bytearray(SIGNED_SIZE)
        for name, (offset, size) in LAYOUT.items():
            if offset < SIGNED_SIZE:
                value: int | bytes = getattr(self, name)
                report[offset : offset + size] = (
                    value.to_bytes(size, "little") if isinstance(value, int) else value.ljust(size, b"\x00")
                )
        return bytes(report)


@dataclass(frozen=True, slots=True)
class SimulatedGuest:
    """A guest on a simulated machine that is switched on. It holds the chip's key alone."""

    chain: tuple[bytes, ...]
    crl: bytes
    chip_id: ChipId
    fields: ReportFields
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    def evidence_report(self, report_data: bytes) -> bytes:
        """The report of this guest over 64 bytes of its choice."""
        return self.sign(replace(self.fields, report_data=report_data))

    def sign(self, fields: ReportFields) -> bytes:
        """A properly signed report with any fields at all."""
        signed = fields.encode()
        report = bytearray(signed.ljust(REPORT_SIZE, b"\x00"))
        r, s = decode_dss_signature(self.key.sign(signed, ec.ECDSA(SHA384())))
        for name, scalar in (("signature_r", r), ("signature_s", s)):
            offset, size = LAYOUT[name]
            report[offset : offset + size] = scalar.to_bytes(size, "little")
        return bytes(report)
