# SPDX-License-Identifier: Apache-2.0
"""What is known of the machine, as claims and back. Bits are written by their names, others as "bit 9"."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attestation.details import Details, SnpDetails, TdxDetails, TdxTcb
from attestation.evidence import SEV_SNP, TDX
from attestation.results.ear import MAX_TIME, ResultError
from attestation.results.members import Claims, Members, one_of
from attestation.results.serialization import Serialization
from attestation.results.values import Value
from attestation.snp.product import TCB_OFFSETS, Product, Tcb
from attestation.snp.report import VMPL_HOST, ChipId, GuestPolicy, PlatformInfo, SigningKey
from attestation.tdx.collateral import TcbStatus
from attestation.tdx.quote import TdAttributes

CHIP_ID_SIZE: Final = 64
MODULE_SIZE: Final = 48
_VERSION: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})")
_ABI: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})")
_BIT: Final = re.compile(r"bit ([0-9]{1,2})")
_POLICY_BITS: Final = MappingProxyType({str(bit.name).lower(): bit.value for bit in GuestPolicy})
_PLATFORM_BITS: Final = MappingProxyType({str(bit.name).lower(): bit.value for bit in PlatformInfo})
_ATTRIBUTES: Final = MappingProxyType({str(bit.name).lower(): bit.value for bit in TdAttributes})
_PRODUCTS: Final = MappingProxyType({product: product.value for product in Product})
_KEYS: Final = MappingProxyType({key: key.name for key in SigningKey})
_STATUSES: Final = MappingProxyType({status: status.value for status in TcbStatus})


def encode_platform(details: Details, form: Serialization) -> Claims:
    """The claims about a machine; `tee` says which kind it is."""
    return _snp(details, form) if isinstance(details, SnpDetails) else _tdx(details, form)


def read_platform(members: Members) -> Details:
    """The machine in some claims. Raises ResultError."""
    match members.text("tee"):
        case "sev-snp":
            details: Details = _read_snp(members)
        case "tdx":
            details = _read_tdx(members)
        case other:
            raise ResultError(f"expected a platform of sev-snp or tdx, found {other[:40]!r}")
    members.end()
    return details


def _snp(details: SnpDetails, form: Serialization) -> Claims:
    return {
        "tee": SEV_SNP,
        "product": details.product.value,
        "report_version": details.report_version,
        "signing_key": details.signing_key.name,
        "provider": details.provider,
        "chip_id": form.digest(details.chip_id),
        "vmpl": details.vmpl,
        "abi": ".".join(map(str, details.abi)),
        "guest_policy": _names(details.guest_policy, _POLICY_BITS),
        "platform_info": _names(details.platform_info, _PLATFORM_BITS),
        "reported_tcb": _tcb(details.reported, details.product),
        "committed_tcb": _tcb(details.committed, details.product),
        "launch_tcb": _tcb(details.launch, details.product),
        "current_tcb": _tcb(details.current, details.product),
        "current_version": version_text(details.current_version),
        "committed_version": version_text(details.committed_version),
    }


def _read_snp(members: Members) -> SnpDetails:
    product = one_of(_PRODUCTS, members.take("product"))
    return SnpDetails(
        product=product,
        report_version=members.integer("report_version"),
        signing_key=one_of(_KEYS, members.take("signing_key")),
        provider=members.text("provider"),
        chip_id=ChipId(members.octets("chip_id", CHIP_ID_SIZE)),
        vmpl=members.number("vmpl", VMPL_HOST),
        abi=_read_abi(members.text("abi")),
        guest_policy=GuestPolicy(_bits(members.texts("guest_policy"), _POLICY_BITS)),
        platform_info=PlatformInfo(_bits(members.texts("platform_info"), _PLATFORM_BITS)),
        reported=_read_tcb(members.inner("reported_tcb"), product),
        committed=_read_tcb(members.inner("committed_tcb"), product),
        launch=_read_tcb(members.inner("launch_tcb"), product),
        current=_read_tcb(members.inner("current_tcb"), product),
        current_version=_read_version(members.text("current_version")),
        committed_version=_read_version(members.text("committed_version")),
    )


def _tdx(details: TdxDetails, form: Serialization) -> Claims:
    claims: Claims = {
        "tee": TDX,
        "quote_version": details.quote_version,
        "body_type": details.body_type,
        "fmspc": form.digest(details.fmspc),
        "pceid": form.digest(details.pceid),
        "ppid": form.digest(details.ppid),
        "tee_tcb_svn": form.digest(details.tee_tcb_svn),
        "mrseam": form.digest(details.mrseam),
        "td_attributes": _names(details.td_attributes, _ATTRIBUTES),
        "xfam": form.digest(details.xfam),
    }
    if details.tcb is not None:
        claims["tcb"] = _opinion(details.tcb)
    return claims


def _opinion(tcb: TdxTcb) -> Claims:
    advisories: list[Value] = list(tcb.advisory_ids)
    return {
        "status": tcb.status.value,
        "launch": tcb.launch.value,
        "platform": tcb.platform.value,
        "module": tcb.module.value,
        "quoting_enclave": tcb.quoting_enclave.value,
        "advisory_ids": advisories,
        "tcb_date": tcb.tcb_date,
        "evaluation_data_number": tcb.evaluation_data_number,
        "issued_at": tcb.issued_at,
        "expires_at": tcb.expires_at,
    }


def _read_tdx(members: Members) -> TdxDetails:
    return TdxDetails(
        quote_version=members.integer("quote_version"),
        body_type=members.integer("body_type"),
        fmspc=members.octets("fmspc", 6),
        pceid=members.octets("pceid", 2),
        ppid=members.octets("ppid", 16),
        tee_tcb_svn=members.octets("tee_tcb_svn", 16),
        mrseam=members.octets("mrseam", MODULE_SIZE),
        td_attributes=_bits(members.texts("td_attributes"), _ATTRIBUTES),
        xfam=members.octets("xfam", 8),
        tcb=_read_opinion(members.inner("tcb")) if members.has("tcb") else None,
    )


def _read_opinion(members: Members) -> TdxTcb:
    status = {
        name: one_of(_STATUSES, members.take(name))
        for name in ("status", "launch", "platform", "module", "quoting_enclave")
    }
    tcb = TdxTcb(
        **status,
        advisory_ids=members.texts("advisory_ids"),
        tcb_date=members.number("tcb_date", MAX_TIME),
        evaluation_data_number=members.number("evaluation_data_number", MAX_TIME),
        issued_at=members.number("issued_at", MAX_TIME),
        expires_at=members.number("expires_at", MAX_TIME),
    )
    members.end()
    return tcb


def _tcb(tcb: Tcb, product: Product) -> Claims:
    """The components that the product has."""
    levels = {
        "fmc": tcb.fmc,
        "bootloader": tcb.bootloader,
        "tee": tcb.tee,
        "snp": tcb.snp,
        "microcode": tcb.microcode,
    }
    return {name: levels[name] for name in TCB_OFFSETS[product]}


def _read_tcb(members: Members, product: Product) -> Tcb:
    levels = {name: members.number(name, 0xFF) for name in TCB_OFFSETS[product]}
    members.end()
    return Tcb(**{"fmc": 0, **levels})


def version_text(encoded: bytes) -> str:
    """Firmware's version as AMD writes it, from its octets in a report: build, minor and major."""
    build, minor, major = encoded
    return f"{major}.{minor}.{build}"


def _read_version(text: str) -> bytes:
    found = _VERSION.fullmatch(text)
    if found is None or any(int(part) > 0xFF for part in found.groups()):
        raise ResultError("expected a version of firmware")
    return bytes(int(part) for part in reversed(found.groups()))


def _read_abi(text: str) -> tuple[int, int]:
    found = _ABI.fullmatch(text)
    if found is None:
        raise ResultError("expected a version of the interface")
    return int(found[1]), int(found[2])


def bit_names(bits: int, known: Mapping[str, int]) -> list[str]:
    """The names of the bits that are set, from the lowest."""
    names = {bit: name for name, bit in known.items()}
    return [names.get(1 << place, f"bit {place}") for place in range(bits.bit_length()) if bits >> place & 1]


def _names(bits: int, known: Mapping[str, int]) -> list[Value]:
    return list(bit_names(bits, known))


def _bits(names: tuple[str, ...], known: Mapping[str, int]) -> int:
    bits = 0
    for name in names:
        unnamed = _BIT.fullmatch(name)
        bit = known.get(name, 0) if unnamed is None else 1 << int(unnamed[1])
        if not 0 < bit < 2**64 or bit_names(bit, known) != [name]:
            raise ResultError(f"{name[:40]!r} is no name of a bit")
        bits |= bit
    return bits
