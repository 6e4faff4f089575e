# SPDX-License-Identifier: Apache-2.0
"""Intel TDX quotes of versions 4 and 5 (Intel TDX DCAP Quoting Library API; attestation.md 4.1, T1).

All numbers are little-endian; signatures are r and s, big-endian, and keys x and y. `parse_quote` gives every
byte a meaning or refuses: only zero bytes may follow a quote, because guests deliver it in a padded buffer.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum, IntFlag
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import Final

from attestation.tdx.pem import PemError, decode_pem


class QuoteError(Exception):
    """The bytes are no TDX quote of a known version."""


class BodyType(IntEnum):
    """What a quote is about. Version 4 does not say, and is always about a TD 1.0."""

    TD_1_0 = 2
    TD_1_5 = 3
    TD_1_5_EXTENDED = 4


class TdAttributes(IntFlag):
    """What the host fixed for a TD at its launch (Intel TDX Module ABI, ATTRIBUTES)."""

    DEBUG = 1 << 0
    HGS_PLUS_PROF = 1 << 4
    PERF_PROF = 1 << 5
    PMT_PROF = 1 << 6
    LASS = 1 << 27
    SEPT_VE_DISABLE = 1 << 28
    MIGRATABLE = 1 << 29
    PKS = 1 << 30
    KL = 1 << 31
    TPA = 1 << 62
    PERFMON = 1 << 63


MAX_QUOTE_SIZE: Final = 64 * 1024
"""attestation.md 7.5 (X7)."""

VERSIONS: Final = (4, 5)
ECDSA_P256: Final = 2
TEE_TDX: Final = 0x81
INTEL_QE_VENDOR: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
CERTIFIED_QE_REPORT: Final = 6
PEM_CHAIN: Final = 5

BODY_SIZES: Final = MappingProxyType(
    {BodyType.TD_1_0: 584, BodyType.TD_1_5: 648, BodyType.TD_1_5_EXTENDED: 885}
)

# version, attestation key type, TEE type, reserved, QE vendor, user data
_HEADER: Final = Struct("<HHI4s16s20s")
_BODY_DESCRIPTOR: Final = Struct("<HI")
# The fields of TdBody, in order.
_TD_1_0: Final = Struct("<16s48s48s8s8s8s48s48s48s48s48s48s48s48s64s")
# The fields of Td15 and of Td15Extended, in order.
_TD_1_5: Final = Struct("<16s48s")
_TD_1_5_EXTENDED: Final = Struct("<1s32s48s48s8s16s16s12s48s8s")
_SIZE: Final = Struct("<I")
_SIGNATURE_HEAD: Final = Struct("<64s64sHI")
_AUTHENTICATION_SIZE: Final = Struct("<H")
_CERTIFICATION_HEAD: Final = Struct("<HI")

QE_REPORT_SIZE: Final = 384
SIGNATURE_SIZE: Final = 64
# cpusvn, miscselect, reserved, extended product, attributes, mrenclave, reserved, mrsigner, reserved,
# config id, product, svn, config svn, reserved, family, report data
_QE_REPORT: Final = Struct("<16s4s12s16s16s32s32s32s32s64sHHH42s16s64s")


@dataclass(frozen=True, slots=True)
class Header:
    """The head of a quote; its reserved bytes are zero."""

    version: int
    attestation_key_type: int
    tee_type: int
    qe_vendor_id: bytes
    user_data: bytes


@dataclass(frozen=True, slots=True)
class Td15:
    """What a TD 1.5 adds: the module's version now, and the service TD bound to this one."""

    tee_tcb_svn2: bytes
    mrservicetd: bytes


@dataclass(frozen=True, slots=True)
class Td15Extended:
    """What the extended body of a TD 1.5 adds. No genuine sample is public."""

    vmid: bytes
    td_id: bytes
    dev_info: bytes
    init_service_td_hash: bytes
    init_service_td_attributes: bytes
    init_cpu_svn: bytes
    init_tee_tcb_svn: bytes
    init_tee_fmspc: bytes
    current_service_td_hash: bytes
    current_service_td_attributes: bytes


@dataclass(frozen=True, slots=True)
class TdBody:
    """What the TDX module says about a TD and about itself."""

    tee_tcb_svn: bytes
    mrseam: bytes
    mrsignerseam: bytes
    seam_attributes: bytes
    td_attributes: bytes
    xfam: bytes
    mrtd: bytes
    mrconfigid: bytes
    mrowner: bytes
    mrownerconfig: bytes
    rtmr0: bytes
    rtmr1: bytes
    rtmr2: bytes
    rtmr3: bytes
    report_data: bytes
    td15: Td15 | None = None
    extended: Td15Extended | None = None

    @property
    def attributes(self) -> int:
        """The TD's attributes as a number whose bits are TdAttributes."""
        return int.from_bytes(self.td_attributes, "little")

    @property
    def rtmrs(self) -> tuple[bytes, bytes, bytes, bytes]:
        """The runtime measurement registers by their index."""
        return self.rtmr0, self.rtmr1, self.rtmr2, self.rtmr3


@dataclass(frozen=True, slots=True)
class QeReport:
    """The SGX report of the quoting enclave. `encoded` is what the platform's key signs."""

    cpusvn: bytes
    miscselect: bytes
    attributes: bytes
    mrenclave: bytes
    mrsigner: bytes
    isvprodid: int
    isvsvn: int
    report_data: bytes
    encoded: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote whose bytes all have a meaning. Nothing here is verified yet.

    `signed` is exactly what the attestation key signs. `certificates` are leaf, intermediate and root in DER.
    """

    header: Header
    body_type: BodyType
    body: TdBody
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    attestation_key: bytes
    qe_report: QeReport
    qe_report_signature: bytes = field(repr=False)
    qe_authentication: bytes
    certification_data_type: int
    certification_data: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    size: int
    padding: int


def parse_quote(data: bytes) -> Quote:
    """Read one quote; QuoteError for anything else.

    1. The size is bounded, and the header is of a known version, key type, TEE and vendor.
    2. The body has the size of its type.
    3. The signature data fills exactly the size it states, down to the certificates.
    4. What follows the quote is zero.
    """
    # 1.
    if len(data) > MAX_QUOTE_SIZE:
        raise QuoteError(f"quote of {len(data)} bytes exceeds {MAX_QUOTE_SIZE}")
    header = _header(data)
    # 2.
    body_type, body_start = _body_type(data, header.version)
    body_end = body_start + BODY_SIZES[body_type]
    body = _body(_take(data, body_start, body_end, "body"), body_type)
    # 3.
    signature_start = body_end + _SIZE.size
    (signature_size,) = _SIZE.unpack(_take(data, body_end, signature_start, "signature size"))
    size = signature_start + signature_size
    content = _take(data, signature_start, size, "signature data")
    signature, attestation_key, certified = _signature(content)
    report, report_signature, authentication, certificates = _certified_report(certified)
    # 4.
    if any(data[size:]):
        raise QuoteError(f"expected zero bytes after the quote of {size} bytes, found others")
    return Quote(
        header=header,
        body_type=body_type,
        body=body,
        signed=data[:body_end],
        signature=signature,
        attestation_key=attestation_key,
        qe_report=_qe_report(report),
        qe_report_signature=report_signature,
        qe_authentication=authentication,
        certification_data_type=PEM_CHAIN,
        certification_data=certificates,
        certificates=_certificates(certificates),
        size=size,
        padding=len(data) - size,
    )


def _take(data: bytes, start: int, end: int, name: str) -> bytes:
    """The bytes of one part; a size that a quote states is never believed beyond the bytes there are."""
    if end > len(data):
        raise QuoteError(f"expected a {name} of {end - start} bytes, found {max(len(data) - start, 0)}")
    return data[start:end]


def _header(data: bytes) -> Header:
    version, key_type, tee_type, reserved, vendor, user_data = _HEADER.unpack(
        _take(data, 0, _HEADER.size, "header")
    )
    if version not in VERSIONS:
        raise QuoteError(f"expected a quote of version 4 or 5, found {version}")
    if key_type != ECDSA_P256:
        raise QuoteError(f"expected attestation key type {ECDSA_P256}, found {key_type}")
    if tee_type != TEE_TDX:
        raise QuoteError(f"expected TEE type {TEE_TDX:#x}, found {tee_type:#x}")
    if any(reserved):
        raise QuoteError(f"expected 4 zero bytes at 8, found {reserved.hex()}")
    if vendor != INTEL_QE_VENDOR:
        raise QuoteError(f"expected the quoting enclave vendor {INTEL_QE_VENDOR.hex()}, found {vendor.hex()}")
    return Header(version, key_type, tee_type, vendor, user_data)


def _body_type(data: bytes, version: int) -> tuple[BodyType, int]:
    """The type of the body, and where it begins: version 5 states both type and size."""
    if version == 4:
        return BodyType.TD_1_0, _HEADER.size
    end = _HEADER.size + _BODY_DESCRIPTOR.size
    number, size = _BODY_DESCRIPTOR.unpack(_take(data, _HEADER.size, end, "body descriptor"))
    if number not in {known.value for known in BodyType}:
        raise QuoteError(f"expected a body of type 2, 3 or 4, found {number}")
    body_type = BodyType(number)
    if size != BODY_SIZES[body_type]:
        raise QuoteError(f"expected a body of {BODY_SIZES[body_type]} bytes of type {number}, found {size}")
    return body_type, end


def _body(data: bytes, body_type: BodyType) -> TdBody:
    body = TdBody(*_TD_1_0.unpack_from(data))
    if body_type is BodyType.TD_1_0:
        return body
    body = replace(body, td15=Td15(*_TD_1_5.unpack_from(data, _TD_1_0.size)))
    if body_type is BodyType.TD_1_5:
        return body
    extended = Td15Extended(*_TD_1_5_EXTENDED.unpack_from(data, _TD_1_0.size + _TD_1_5.size))
    return replace(body, extended=extended)


def _signature(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Signature, attestation key and the certified report of the quoting enclave."""
    head = _take(data, 0, _SIGNATURE_HEAD.size, "signature")
    signature, attestation_key, kind, size = _SIGNATURE_HEAD.unpack(head)
    if kind != CERTIFIED_QE_REPORT:
        raise QuoteError(f"expected certification data of type {CERTIFIED_QE_REPORT}, found {kind}")
    return signature, attestation_key, _rest(data, len(head), size, "certified report")


def _certified_report(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Report and signature, the authentication data that the report binds, and the certificates."""
    report_end = QE_REPORT_SIZE + SIGNATURE_SIZE
    report = _take(data, 0, report_end, "quoting enclave report")
    start = report_end + _AUTHENTICATION_SIZE.size
    (size,) = _AUTHENTICATION_SIZE.unpack(_take(data, report_end, start, "authentication size"))
    end = start + size
    authentication = _take(data, start, end, "authentication data")
    certificates_start = end + _CERTIFICATION_HEAD.size
    kind, size = _CERTIFICATION_HEAD.unpack(_take(data, end, certificates_start, "certification head"))
    if kind != PEM_CHAIN:
        raise QuoteError(f"expected a certificate chain (type {PEM_CHAIN}), found type {kind}")
    certificates = _rest(data, certificates_start, size, "certificate chain")
    return report[:QE_REPORT_SIZE], report[QE_REPORT_SIZE:], authentication, certificates


def _rest(data: bytes, start: int, size: int, name: str) -> bytes:
    if size != len(data) - start:
        raise QuoteError(f"expected a {name} of {len(data) - start} bytes, found {size}")
    return data[start:]


def _qe_report(encoded: bytes) -> QeReport:
    fields = _QE_REPORT.unpack(encoded)
    cpusvn, miscselect, reserved_1, _, attributes, mrenclave, reserved_2, mrsigner = fields[:8]
    reserved_3, _, isvprodid, isvsvn, _, reserved_4, _, report_data = fields[8:]
    if any(reserved_1 + reserved_2 + reserved_3 + reserved_4):
        raise QuoteError("expected zero bytes in the reserved parts of the quoting enclave's report")
    return QeReport(
        cpusvn, miscselect, attributes, mrenclave, mrsigner, isvprodid, isvsvn, report_data, encoded
    )


@lru_cache(maxsize=64)
def _certificates(certification_data: bytes) -> tuple[bytes, ...]:
    """All quotes of a machine have the same."""
    try:
        return decode_pem(certification_data)
    except PemError as error:
        raise QuoteError(f"certificate chain: {error}") from error
