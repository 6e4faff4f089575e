# SPDX-License-Identifier: Apache-2.0
"""ATTESTATION_REPORT of the SNP Firmware ABI (AMD 56860, versions 2 to 5; attestation.md 3.1).

All numbers are little-endian. The tables below are the document's; `parse_report` reads by them and refuses
any bit that the report's version reserves (S1, S2 and S4 of attestation.md 7.1).
"""

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Final, NewType

from attestation.snp.product import Product, product_of_cpu

Measurement = NewType("Measurement", bytes)
"""The launch digest of a guest: 48 bytes."""

ChipId = NewType("ChipId", bytes)
"""The identity of one processor: 64 bytes, of which Turin uses 8. All zero when the host masks it."""


class ReportError(Exception):
    """The bytes are no attestation report of a known version."""


class GuestPolicy(IntFlag):
    """What the guest's owner allows the host to do; fixed at launch."""

    SMT = 1 << 16
    RESERVED_ONE = 1 << 17
    MIGRATION_AGENT = 1 << 18
    DEBUG = 1 << 19
    SINGLE_SOCKET = 1 << 20
    CXL = 1 << 21
    AES_256_XTS = 1 << 22
    RAPL_DISABLED = 1 << 23
    CIPHERTEXT_HIDING = 1 << 24
    PAGE_SWAP_DISABLED = 1 << 25


class PlatformInfo(IntFlag):
    """How the machine is set up. Bits without a name here occur on genuine machines: kept, not refused."""

    SMT = 1 << 0
    TSME = 1 << 1
    ECC = 1 << 2
    RAPL_DISABLED = 1 << 3
    CIPHERTEXT_HIDING = 1 << 4
    ALIAS_CHECK_COMPLETE = 1 << 5
    IOMMU_WRITE_SAFE = 1 << 6
    TIO = 1 << 7


class SigningKey(IntEnum):
    """Which key of the processor signed: the chip's own, one for a cloud provider, or none."""

    VCEK = 0
    VLEK = 1
    NONE = 7


REPORT_SIZE: Final = 0x4A0
SIGNED_SIZE: Final = 0x2A0
VERSIONS: Final = (2, 3, 4, 5)
ECDSA_P384_SHA384: Final = 1
SCALAR_SIZE: Final = 48
VMPL_HOST: Final = 0xFFFFFFFF

# Offset and size of each field.
LAYOUT: Final = {
    "version": (0x000, 4),
    "guest_svn": (0x004, 4),
    "policy": (0x008, 8),
    "family_id": (0x010, 16),
    "image_id": (0x020, 16),
    "vmpl": (0x030, 4),
    "signature_algorithm": (0x034, 4),
    "current_tcb": (0x038, 8),
    "platform_info": (0x040, 8),
    "key_info": (0x048, 4),
    "report_data": (0x050, 64),
    "measurement": (0x090, 48),
    "host_data": (0x0C0, 32),
    "id_key_digest": (0x0E0, 48),
    "author_key_digest": (0x110, 48),
    "report_id": (0x140, 32),
    "report_id_ma": (0x160, 32),
    "reported_tcb": (0x180, 8),
    "cpuid_family": (0x188, 1),
    "cpuid_model": (0x189, 1),
    "cpuid_stepping": (0x18A, 1),
    "chip_id": (0x1A0, 64),
    "committed_tcb": (0x1E0, 8),
    "current_version": (0x1E8, 3),
    "committed_version": (0x1EC, 3),
    "launch_tcb": (0x1F0, 8),
    "launch_mitigations": (0x1F8, 8),
    "current_mitigations": (0x200, 8),
    "signature_r": (0x2A0, SCALAR_SIZE),
    "signature_s": (0x2E8, SCALAR_SIZE),
}

# Offset, size and versions of bytes that must be zero. What is outside the signed part is here too: whoever
# carries a report could change it, and two reports that differ only there would look different (S4).
RESERVED: Final = (
    (0x04C, 4, VERSIONS),
    (0x188, 3, (2,)),
    (0x18B, 21, VERSIONS),
    (0x1EB, 1, VERSIONS),
    (0x1EF, 1, VERSIONS),
    (0x1F8, 16, (2, 3, 4)),
    (0x208, 152, VERSIONS),
    (0x2D0, 24, VERSIONS),
    (0x318, 24, VERSIONS),
    (0x330, 368, VERSIONS),
)
POLICY_RESERVED: Final = ~((1 << 26) - 1)
KEY_INFO_RESERVED: Final = ~0x1F


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPUID family, model and stepping; reports of version 2 do not say."""

    family: int
    model: int
    stepping: int

    @property
    def product(self) -> Product | None:
        """The processor's generation, where it is known."""
        return product_of_cpu(self.family, self.model)

    def describe(self) -> str:
        """Family and model as AMD's documents write them."""
        return f"CPU family {self.family:#x} model {self.model:#x}"


@dataclass(frozen=True, slots=True)
class Report:
    """An attestation report whose bytes all have a meaning. Nothing here is verified yet."""

    version: int
    guest_svn: int
    abi: tuple[int, int]
    policy: GuestPolicy
    family_id: bytes
    image_id: bytes
    vmpl: int
    platform_info: PlatformInfo
    signing_key: SigningKey
    author_key_used: bool
    chip_key_masked: bool
    report_data: bytes
    measurement: Measurement
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: bytes
    current_tcb: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    cpu: Cpu | None
    chip_id: ChipId
    current_version: bytes
    committed_version: bytes
    launch_mitigations: int
    current_mitigations: int
    signed: bytes = field(repr=False)
    signature_r: int
    signature_s: int


def parse_report(data: bytes) -> Report:
    """Read exactly one report.

    1. Its length and version are known (S1).
    2. What its version reserves is zero, and the bit that must be one is (S2).
    3. The rest is a choice this code knows: signature algorithm, signing key, VMPL.
    """
    # 1.
    if len(data) != REPORT_SIZE:
        raise ReportError(f"expected a report of {REPORT_SIZE} bytes, found {len(data)}")
    version = _number(data, "version")
    if version not in VERSIONS:
        raise ReportError(f"expected a report of version 2 to 5, found {version}")
    # 2.
    _check_reserved(data, version)
    policy, key_info = _number(data, "policy"), _number(data, "key_info")
    if policy & POLICY_RESERVED or not policy & GuestPolicy.RESERVED_ONE:
        raise ReportError(f"expected a guest policy with bit 17 and none above 25, found {policy:#x}")
    if key_info & KEY_INFO_RESERVED:
        raise ReportError(f"expected key information of 5 bits, found {key_info:#x}")
    # 3.
    _check_choices(data)
    return _report(data, version, policy, key_info)


def _check_reserved(data: bytes, version: int) -> None:
    for offset, size, versions in RESERVED:
        if version in versions and any(data[offset : offset + size]):
            raise ReportError(f"expected {size} zero bytes at {offset:#05x} in version {version}")


def _check_choices(data: bytes) -> None:
    algorithm, vmpl = _number(data, "signature_algorithm"), _number(data, "vmpl")
    if algorithm != ECDSA_P384_SHA384:
        raise ReportError(f"expected signature algorithm {ECDSA_P384_SHA384}, found {algorithm}")
    if vmpl > 3 and vmpl != VMPL_HOST:
        raise ReportError(f"expected a VMPL of 0 to 3, found {vmpl}")
    key = _number(data, "key_info") >> 2
    if key not in {known.value for known in SigningKey}:
        raise ReportError(f"expected signing key 0, 1 or 7, found {key}")


def _report(data: bytes, version: int, policy: int, key_info: int) -> Report:
    return Report(
        version=version,
        guest_svn=_number(data, "guest_svn"),
        abi=(policy >> 8 & 0xFF, policy & 0xFF),
        policy=GuestPolicy(policy & ~0xFFFF),
        family_id=_bytes(data, "family_id"),
        image_id=_bytes(data, "image_id"),
        vmpl=_number(data, "vmpl"),
        platform_info=PlatformInfo(_number(data, "platform_info")),
        signing_key=SigningKey(key_info >> 2),
        author_key_used=bool(key_info & 1),
        chip_key_masked=bool(key_info & 2),
        report_data=_bytes(data, "report_data"),
        measurement=Measurement(_bytes(data, "measurement")),
        host_data=_bytes(data, "host_data"),
        id_key_digest=_bytes(data, "id_key_digest"),
        author_key_digest=_bytes(data, "author_key_digest"),
        report_id=_bytes(data, "report_id"),
        report_id_ma=_bytes(data, "report_id_ma"),
        reported_tcb=_bytes(data, "reported_tcb"),
        current_tcb=_bytes(data, "current_tcb"),
        committed_tcb=_bytes(data, "committed_tcb"),
        launch_tcb=_bytes(data, "launch_tcb"),
        cpu=_cpu(data) if version > 2 else None,
        chip_id=ChipId(_bytes(data, "chip_id")),
        current_version=_bytes(data, "current_version"),
        committed_version=_bytes(data, "committed_version"),
        launch_mitigations=_number(data, "launch_mitigations"),
        current_mitigations=_number(data, "current_mitigations"),
        signed=data[:SIGNED_SIZE],
        signature_r=_number(data, "signature_r"),
        signature_s=_number(data, "signature_s"),
    )


def _cpu(data: bytes) -> Cpu:
    return Cpu(_number(data, "cpuid_family"), _number(data, "cpuid_model"), _number(data, "cpuid_stepping"))


def _bytes(data: bytes, name: str) -> bytes:
    offset, size = LAYOUT[name]
    return data[offset : offset + size]


def _number(data: bytes, name: str) -> int:
    return int.from_bytes(_bytes(data, name), "little")
