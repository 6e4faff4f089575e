# SPDX-License-Identifier: Apache-2.0
"""A simulated SEV-SNP machine: signs reports of versions 2 to 5, byte for byte (attestation.md 12)."""

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from attestation.simulated import seed as seeds
from attestation.snp.product import Product
from attestation.snp.report import (
    LAYOUT,
    REPORT_SIZE,
    SIGNED_SIZE,
    ChipId,
    GuestPolicy,
    PlatformInfo,
    SigningKey,
)

# Patch levels seen on genuine machines, each in its product's layout.
TCBS: Final = MappingProxyType(
    {
        Product.MILAN: bytes.fromhex("04000000000018db"),
        Product.GENOA: bytes.fromhex("0a00000000001954"),
        Product.TURIN: bytes.fromhex("0101010400000051"),
    }
)
TCB: Final = TCBS[Product.GENOA]

# CPUID family, model and stepping, which reports carry from version 3 on.
CPUS: Final = MappingProxyType(
    {Product.MILAN: (0x19, 0x01, 1), Product.GENOA: (0x19, 0x11, 1), Product.TURIN: (0x1A, 0x02, 1)}
)
FIRST_VERSION_WITH_CPU: Final = 3
FIRST_VERSION_WITH_MITIGATIONS: Final = 5
MITIGATIONS: Final = 0x01


@dataclass(frozen=True, slots=True)
class ReportFields:
    """The fields of a report as numbers and bytes, for `dataclasses.replace` to spoil one of them.

    `patches` are offsets and bytes put over the finished fields: before the signature where they lie in the
    signed part, after it elsewhere. `trailing` follows the report, and `cut` bytes are missing at its end.
    """

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
    patches: tuple[tuple[int, bytes], ...] = ()
    trailing: bytes = b""
    cut: int = 0

    def encode(self) -> bytes:
        """The part of the report that is signed."""
        report = bytearray(SIGNED_SIZE)
        for name, (offset, size) in LAYOUT.items():
            if offset < SIGNED_SIZE:
                value: int | bytes = getattr(self, name)
                report[offset : offset + size] = (
                    value.to_bytes(size, "little") if isinstance(value, int) else value.ljust(size, b"\x00")
                )
        for offset, content in self.patches:
            if offset < SIGNED_SIZE:
                report[offset : offset + len(content)] = content
        return bytes(report)


def of_product(fields: ReportFields, product: Product, version: int, signing_key: SigningKey) -> ReportFields:
    """The same guest on a machine of this product, whose firmware writes this version of the report."""
    tcb = TCBS[product]
    family, model, stepping = CPUS[product] if version >= FIRST_VERSION_WITH_CPU else (0, 0, 0)
    mitigations = MITIGATIONS if version >= FIRST_VERSION_WITH_MITIGATIONS else 0
    return replace(
        fields,
        version=version,
        key_info=signing_key << 2,
        cpuid_family=family,
        cpuid_model=model,
        cpuid_stepping=stepping,
        reported_tcb=tcb,
        current_tcb=tcb,
        committed_tcb=tcb,
        launch_tcb=tcb,
        launch_mitigations=mitigations,
        current_mitigations=mitigations,
    )


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
        """A properly signed report with any fields at all. RFC 6979: the same fields give the same bytes."""
        signed = fields.encode()
        report = bytearray(signed.ljust(REPORT_SIZE, b"\x00"))
        r, s = decode_dss_signature(self.key.sign(signed, seeds.deterministic(SHA384())))
        for name, scalar in (("signature_r", r), ("signature_s", s)):
            offset, size = LAYOUT[name]
            report[offset : offset + size] = scalar.to_bytes(size, "little")
        for offset, content in fields.patches:
            if offset >= SIGNED_SIZE:
                report[offset : offset + len(content)] = content
        return bytes(report)[: REPORT_SIZE - fields.cut] + fields.trailing
