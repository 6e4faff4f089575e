# SPDX-License-Identifier: Apache-2.0
"""Which machine an evidence document is about, so that the right endorsements can be asked for.

The host reads a few fields at their places in AMD's report and Intel's quote (attestation.md 3.1, 4.1, 4.2).
It checks no signature: who lies here is sent another machine's endorsements, which clients then refuse.
"""

import base64
import json
from dataclasses import dataclass
from typing import Final, TypeAlias

from host import endorsement_requests as requests
from host.endorsement_forms import FormError, certificates
from host.endorsement_requests import (
    CHIP_ID_SIZE,
    FMSPC_SIZE,
    TURIN_CHIP_ID_SIZE,
    CertificateAuthority,
    PatchLevels,
    Product,
    Request,
    SigningKey,
    Update,
)

REPORT_SIZE: Final = 1184
KEY_INFO, REPORTED_TCB, CPU_FAMILY, CPU_MODEL, CHIP_ID = 0x048, 0x180, 0x188, 0x189, 0x1A0
FIRST_VERSION_WITH_CPU: Final = 3
CPU_MODELS: Final = (
    (0x19, 0x00, 0x0F, Product.MILAN),
    (0x19, 0x10, 0x1F, Product.GENOA),
    (0x19, 0xA0, 0xAF, Product.GENOA),
    (0x1A, 0x00, 0x11, Product.TURIN),
)
SIGNING_KEYS: Final = {0: SigningKey.VCEK, 1: SigningKey.VLEK}

PEM: Final = b"-----BEGIN CERTIFICATE-----"
PEM_END: Final = b"-----END CERTIFICATE-----"
# The extension 1.2.840.113741.1.13.1.4 (FMSPC) in DER: its identifier, then an OCTET STRING of 6 bytes.
FMSPC_IN_DER: Final = bytes.fromhex("060a2a864886f84d010d01040406")
AUTHORITIES: Final = {
    b"Intel SGX PCK Platform CA": CertificateAuthority.PLATFORM,
    b"Intel SGX PCK Processor CA": CertificateAuthority.PROCESSOR,
}
COMPLETE_CHAIN: Final = 3


class SubjectError(Exception):
    """The document does not say which machine it is about, or nothing can be asked about that machine."""


@dataclass(frozen=True, slots=True)
class SnpSubject:
    """A chip, or a provider's key, at one TCB. `leaf` is the certificate that came with the report."""

    product: Product
    signing_key: SigningKey
    chip_id: bytes
    levels: PatchLevels
    leaf: bytes = b""


@dataclass(frozen=True, slots=True)
class TdxSubject:
    """A family of Intel's platforms, and who issued the platform's certificate."""

    fmspc: bytes
    authority: CertificateAuthority


Subject: TypeAlias = SnpSubject | TdxSubject
Document: TypeAlias = "dict[str, str | int | list[str]]"


def subject_of(document: bytes, product: Product | None = None) -> Subject | None:
    """The machine of an evidence document; None where it brings its endorsements. Raises SubjectError.

    Reports of version 2 do not name their product: then it is `product`, the operator's word.
    """
    try:
        members: Document = json.loads(document)
        tee, report = members["tee"], _octets(members["report"])
        if tee == "tdx":
            return None if members.get("collateral") else _tdx(report)
        if tee != "sev-snp":
            raise SubjectError(f"expected evidence of sev-snp or tdx, found {tee!r}")
        chain = members["chain"]
        if not isinstance(chain, list):
            raise SubjectError("expected a list as chain")
        if len(chain) == COMPLETE_CHAIN and members.get("crl"):
            return None
        leaf = _octets(chain[0]) if chain else b""
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SubjectError("expected an evidence document") from error
    return _snp(report, leaf, product)


def questions(subject: Subject) -> tuple[Request, ...]:
    """Everything to ask about a machine. Raises RequestValueError, as where the chip id is masked."""
    match subject:
        case SnpSubject(product, signing_key, chip_id, levels, leaf):
            asked = (requests.amd_chain(product, signing_key), requests.amd_revocations(product, signing_key))
            if leaf:
                return asked
            own = (
                requests.vcek(product, chip_id, levels)
                if signing_key is SigningKey.VCEK
                else requests.vlek(product, levels)
            )
            return (*asked, own)
        case TdxSubject(fmspc, authority):
            return (
                requests.tcb_info(fmspc, Update.STANDARD),
                requests.qe_identity(Update.STANDARD),
                requests.pck_revocations(authority),
                requests.intel_root_revocations(),
            )


def _snp(report: bytes, leaf: bytes, named: Product | None) -> SnpSubject:
    if len(report) != REPORT_SIZE:
        raise SubjectError(f"expected a report of {REPORT_SIZE} bytes, found {len(report)}")
    version = int.from_bytes(report[:4], "little")
    product = _product(report[CPU_FAMILY], report[CPU_MODEL]) if version >= FIRST_VERSION_WITH_CPU else named
    if product is None:
        raise SubjectError(
            "a report of version 2 does not name its product: set it in [endorsements]"
            if version < FIRST_VERSION_WITH_CPU
            else f"no product known for CPU family {report[CPU_FAMILY]:#x} model {report[CPU_MODEL]:#x}"
        )
    signing_key = SIGNING_KEYS.get(report[KEY_INFO] >> 2 & 0b111)
    if signing_key is None:
        raise SubjectError("the report is signed by no key of AMD")
    size = TURIN_CHIP_ID_SIZE if product is Product.TURIN else CHIP_ID_SIZE
    chip_id = report[CHIP_ID : CHIP_ID + size]
    return SnpSubject(
        product, signing_key, chip_id, _levels(report[REPORTED_TCB : REPORTED_TCB + 8], product), leaf
    )


def _product(family: int, model: int) -> Product | None:
    for known, first, last, product in CPU_MODELS:
        if family == known and first <= model <= last:
            return product
    return None


def _levels(tcb: bytes, product: Product) -> PatchLevels:
    """The components in the product's layout (attestation.md 3.1)."""
    if product is Product.TURIN:
        return PatchLevels(bootloader=tcb[1], tee=tcb[2], snp=tcb[3], microcode=tcb[7], fmc=tcb[0])
    return PatchLevels(bootloader=tcb[0], tee=tcb[1], snp=tcb[6], microcode=tcb[7])


def _tdx(quote: bytes) -> TdxSubject:
    """The first certificate in the quote is the platform's."""
    start = quote.find(PEM)
    end = quote.find(PEM_END, start) + len(PEM_END)
    try:
        (leaf,) = certificates(quote[start:end]) if start >= 0 else (b"",)
    except FormError as error:
        raise SubjectError(f"the platform's certificate in the quote: {error}") from error
    place = leaf.find(FMSPC_IN_DER) + len(FMSPC_IN_DER)
    authority = next((found for name, found in AUTHORITIES.items() if name in leaf), None)
    if place < len(FMSPC_IN_DER) or authority is None:
        raise SubjectError("expected a quote with the certificate of a platform, found none of Intel's form")
    return TdxSubject(leaf[place : place + FMSPC_SIZE], authority)


def _octets(value: str | int | list[str]) -> bytes:
    if not isinstance(value, str):
        raise SubjectError("expected base64")
    return base64.b64decode(value, validate=True)
