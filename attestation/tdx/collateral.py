# SPDX-License-Identifier: Apache-2.0
"""What Intel states about platforms, so that a quote can be judged (PCS API v4; attestation.md 5).

TCB info and the quoting enclave's identity are signed JSON, and unknown members are refused: the identities
of TDX modules were added to version 3 without a new version, and readers that skipped them accept any module.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from attestation.cache import content_key
from attestation.tdx.documents import (
    DocumentError,
    Members,
    compose_signed,
    read_object,
    read_signed,
)
from attestation.tdx.pem import REVOCATION_LIST, PemError, decode_pem
from attestation.x509 import Signed

TCB_INFO_ID: Final = "TDX"
TCB_INFO_VERSION: Final = 3
TCB_TYPE: Final = 0
QE_IDENTITY_ID: Final = "TD_QE"
QE_IDENTITY_VERSION: Final = 2
COMPONENTS: Final = 16


class CollateralError(Exception):
    """Collateral cannot be read, or is not of the kind that was expected."""


class TcbStatus(StrEnum):
    """What Intel says of a TCB. NOT_SUPPORTED: no level that Intel lists covers it."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    TD_RELAUNCH_ADVISED = "TDRelaunchAdvised"
    TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED = "TDRelaunchAdvisedConfigurationNeeded"
    REVOKED = "Revoked"
    NOT_SUPPORTED = "TCB_NOT_SUPPORTED"


# The statuses that Intel states; the others follow from comparing.
_PLATFORM_STATUSES: Final = frozenset(TcbStatus) - {
    TcbStatus.TD_RELAUNCH_ADVISED,
    TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED,
    TcbStatus.NOT_SUPPORTED,
}
_PART_STATUSES: Final = frozenset({TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE, TcbStatus.REVOKED})


@dataclass(frozen=True, slots=True)
class Collateral:
    """Collateral as delivered. Chains are in DER, issuer first; documents are whole, with their signature."""

    tcb_info: bytes = field(repr=False)
    tcb_info_chain: tuple[bytes, ...] = field(repr=False)
    qe_identity: bytes = field(repr=False)
    qe_identity_chain: tuple[bytes, ...] = field(repr=False)
    pck_crl: bytes = field(repr=False)
    pck_crl_chain: tuple[bytes, ...] = field(repr=False)
    root_crl: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """SHA-256 over every part with its length: equal only for equal collateral."""
        return _digest(self)


@dataclass(frozen=True, slots=True)
class Standing:
    """Intel's opinion of one level: since when, how it stands, and which advisories say why."""

    status: TcbStatus
    date: int
    advisory_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SvnLevel:
    """A level of a TDX module or of the quoting enclave: this security version and later ones."""

    isvsvn: int
    standing: Standing


@dataclass(frozen=True, slots=True)
class PlatformLevel:
    """A level of a platform: these security versions, component by component, and later ones."""

    sgx_components: tuple[int, ...]
    pcesvn: int
    tdx_components: tuple[int, ...]
    standing: Standing


@dataclass(frozen=True, slots=True)
class Module:
    """Who may have signed a TDX module, and the attributes it must have where the mask is set."""

    mrsigner: bytes
    attributes: int
    mask: int
    levels: tuple[SvnLevel, ...] = ()


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """Intel's statement about all platforms of one FMSPC."""

    issued_at: int
    next_update: int
    fmspc: bytes
    pceid: bytes
    evaluation_data_number: int
    module: Module
    module_identities: Mapping[str, Module]
    levels: tuple[PlatformLevel, ...]
    signed: Signed


@dataclass(frozen=True, slots=True)
class QeIdentity:
    """Intel's statement about its quoting enclave for TDs."""

    issued_at: int
    next_update: int
    evaluation_data_number: int
    miscselect: int
    miscselect_mask: int
    attributes: int
    attributes_mask: int
    mrsigner: bytes
    isvprodid: int
    levels: tuple[SvnLevel, ...]
    signed: Signed


def parse_tcb_info(document: bytes) -> TcbInfo:
    """Read {"tcbInfo": …, "signature": …} of TDX, version 3; CollateralError for anything else."""
    return _read_tcb_info(document)


def parse_qe_identity(document: bytes) -> QeIdentity:
    """Read {"enclaveIdentity": …, "signature": …} of TDX's quoting enclave, version 2; or refuse."""
    return _read_qe_identity(document)


def decode_collateral(document: bytes) -> Collateral:
    """Read collateral in the JSON form of Intel's quote verification library.

    Chains are PEM. Lists and signatures are hexadecimal or base64, lists also PEM. The two signed values are
    JSON texts without their signature, whose bytes are kept as they are.
    """
    try:
        source = read_object(document, "collateral")
        collateral = Collateral(
            tcb_info=_signed_document(source, "tcbInfo", "tcb_info"),
            tcb_info_chain=_chain(source, "tcb_info_issuer_chain"),
            qe_identity=_signed_document(source, "enclaveIdentity", "qe_identity"),
            qe_identity_chain=_chain(source, "qe_identity_issuer_chain"),
            pck_crl=_binary(source.text("pck_crl")),
            pck_crl_chain=_chain(source, "pck_crl_issuer_chain"),
            root_crl=_binary(source.text("root_ca_crl")),
        )
        source.end()
    except (DocumentError, PemError) as error:
        raise CollateralError(f"collateral: {error}") from error
    return collateral


@lru_cache(maxsize=16)
def _digest(collateral: Collateral) -> bytes:
    """The same collateral serves every quote of a kind of platform for weeks."""
    chains = (collateral.tcb_info_chain, collateral.qe_identity_chain, collateral.pck_crl_chain)
    return content_key(
        collateral.tcb_info,
        collateral.qe_identity,
        collateral.pck_crl,
        collateral.root_crl,
        *(content_key(*chain) for chain in chains),
    )


@lru_cache(maxsize=16)
def _read_tcb_info(document: bytes) -> TcbInfo:
    """One statement serves every platform of a kind for weeks."""
    try:
        source = read_signed(document, "tcbInfo")
        return _tcb_info(source.members, source.signed)
    except DocumentError as error:
        raise CollateralError(f"tcb info: {error}") from error


@lru_cache(maxsize=16)
def _read_qe_identity(document: bytes) -> QeIdentity:
    """One statement serves every platform for weeks."""
    try:
        source = read_signed(document, "enclaveIdentity")
        return _qe_identity(source.members, source.signed)
    except DocumentError as error:
        raise CollateralError(f"qe identity: {error}") from error


def _tcb_info(source: Members, signed: Signed) -> TcbInfo:
    _expect(source.text("id"), TCB_INFO_ID, "id")
    _expect(source.number("version", 0xFF), TCB_INFO_VERSION, "version")
    _expect(source.number("tcbType", 0xFF), TCB_TYPE, "tcbType")
    issued_at, next_update = _period(source)
    info = TcbInfo(
        issued_at=issued_at,
        next_update=next_update,
        fmspc=source.octets("fmspc", 6),
        pceid=source.octets("pceId", 2),
        evaluation_data_number=source.number("tcbEvaluationDataNumber", 0xFFFFFFFF),
        module=_module(source.object("tdxModule"), has_levels=False),
        module_identities=_module_identities(source),
        levels=tuple(_platform_level(level) for level in source.objects("tcbLevels")),
        signed=signed,
    )
    source.end()
    return info


def _qe_identity(source: Members, signed: Signed) -> QeIdentity:
    _expect(source.text("id"), QE_IDENTITY_ID, "id")
    _expect(source.number("version", 0xFF), QE_IDENTITY_VERSION, "version")
    issued_at, next_update = _period(source)
    identity = QeIdentity(
        issued_at=issued_at,
        next_update=next_update,
        evaluation_data_number=source.number("tcbEvaluationDataNumber", 0xFFFFFFFF),
        miscselect=_bits(source.octets("miscselect", 4)),
        miscselect_mask=_bits(source.octets("miscselectMask", 4)),
        attributes=_bits(source.octets("attributes", 16)),
        attributes_mask=_bits(source.octets("attributesMask", 16)),
        mrsigner=source.octets("mrsigner", 32),
        isvprodid=source.number("isvprodid", 0xFFFF),
        levels=_svn_levels(source),
        signed=signed,
    )
    source.end()
    return identity


def _expect(found: str | int, expected: str | int, name: str) -> None:
    if found != expected:
        raise DocumentError(f"expected {name} {expected}, found {found}")


def _period(source: Members) -> tuple[int, int]:
    return source.time("issueDate"), source.time("nextUpdate")


def _bits(octets: bytes) -> int:
    """Masks and what they apply to, read alike on both sides: the quote's bytes in their order."""
    return int.from_bytes(octets, "big")


def _module_identities(source: Members) -> Mapping[str, Module]:
    identities = dict[str, Module]()
    if not source.has("tdxModuleIdentities"):
        return MappingProxyType(identities)
    for item in source.objects("tdxModuleIdentities"):
        name = item.text("id")
        if name in identities:
            raise DocumentError(f"module identity {name} occurs twice")
        identities[name] = _module(item, has_levels=True)
    return MappingProxyType(identities)


def _module(source: Members, *, has_levels: bool) -> Module:
    module = Module(
        source.octets("mrsigner", 48),
        _bits(source.octets("attributes", 8)),
        _bits(source.octets("attributesMask", 8)),
        _svn_levels(source) if has_levels else (),
    )
    source.end()
    return module


def _svn_levels(source: Members) -> tuple[SvnLevel, ...]:
    return tuple(_svn_level(level) for level in source.objects("tcbLevels"))


def _svn_level(source: Members) -> SvnLevel:
    tcb = source.object("tcb")
    level = SvnLevel(tcb.number("isvsvn", 0xFFFF), _standing(source, _PART_STATUSES))
    tcb.end()
    source.end()
    return level


def _platform_level(source: Members) -> PlatformLevel:
    tcb = source.object("tcb")
    level = PlatformLevel(
        _components(tcb, "sgxtcbcomponents"),
        tcb.number("pcesvn", 0xFFFF),
        _components(tcb, "tdxtcbcomponents"),
        _standing(source, _PLATFORM_STATUSES),
    )
    tcb.end()
    source.end()
    return level


def _components(source: Members, name: str) -> tuple[int, ...]:
    components = tuple(_component(component) for component in source.objects(name))
    if len(components) != COMPONENTS:
        raise DocumentError(f"expected {COMPONENTS} components as {name}, found {len(components)}")
    return components


def _component(source: Members) -> int:
    """A component's version; what Intel writes beside it is for people."""
    svn = source.number("svn", 0xFF)
    for note in ("category", "type"):
        if source.has(note):
            source.text(note)
    source.end()
    return svn


def _standing(source: Members, known: frozenset[TcbStatus]) -> Standing:
    status = source.text("tcbStatus")
    if status not in known:
        raise DocumentError(f"expected a TCB status, found {status!r}")
    advisory_ids = source.texts("advisoryIDs") if source.has("advisoryIDs") else ()
    return Standing(TcbStatus(status), source.time("tcbDate"), advisory_ids)


def _signed_document(source: Members, name: str, member: str) -> bytes:
    """The parts put together again as Intel serves them; the bytes of the signed value do not change."""
    signature = _binary(source.text(f"{member}_signature"))
    return compose_signed(name, source.text(member), signature.hex())


def _chain(source: Members, name: str) -> tuple[bytes, ...]:
    return decode_pem(source.text(name).encode())


def _binary(text: str) -> bytes:
    """Hexadecimal, PEM of a revocation list, or base64: hexadecimal comes first, as it is base64 as well."""
    if text.startswith("-----"):
        lists = decode_pem(text.encode(), REVOCATION_LIST)
        if len(lists) != 1:
            raise DocumentError(f"expected one revocation list, found {len(lists)}")
        return lists[0]
    try:
        return (
            bytes.fromhex(text)
            if text.isalnum() and _is_hexadecimal(text)
            else b64decode(text, validate=True)
        )
    except (Base64Error, ValueError) as error:
        raise DocumentError("expected hexadecimal digits or base64") from error


def _is_hexadecimal(text: str) -> bool:
    return len(text) % 2 == 0 and set(text) <= set("0123456789abcdefABCDEF")
