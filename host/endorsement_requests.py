# SPDX-License-Identifier: Apache-2.0
"""What can be asked of AMD's and Intel's services, as values: which path, what shape of answer.

AMD: 57230 *VCEK Certificate and KDS Interface*. Intel: *PCS API v4*. Nothing here understands a certificate;
`Form` is the outer shape by which an error page is told from an answer.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final, TypeAlias

HOUR, DAY = 3600, 86_400

FMSPC_SIZE: Final = 6
CHIP_ID_SIZE: Final = 64
TURIN_CHIP_ID_SIZE: Final = 8
MAX_PATCH_LEVEL: Final = 255
# Genuine answers take 0.3 to 25 kB; Intel's list of revoked platforms is the only one that can grow.
MAX_CERTIFICATE_BYTES: Final = 16 * 1024
MAX_LIST_BYTES: Final = 1024 * 1024
MAX_JSON_BYTES: Final = 256 * 1024


class RequestValueError(ValueError):
    """There is no such thing to ask for: an identifier of another length, a level out of range."""


class Service(StrEnum):
    """Whom to ask. The address of each is configuration."""

    KDS = "kds"
    PCS = "pcs"
    INTEL_CERTIFICATES = "intel-certificates"


class Product(StrEnum):
    """A generation of AMD's processors, as KDS spells it. Bergamo and Siena are asked for as Genoa."""

    MILAN = "Milan"
    GENOA = "Genoa"
    TURIN = "Turin"


class SigningKey(StrEnum):
    """Which of AMD's two kinds of key signed the report: the chip's own, or the one of a cloud provider."""

    VCEK = "vcek"
    VLEK = "vlek"


class CertificateAuthority(StrEnum):
    """Which of Intel's two authorities issued a platform's certificate."""

    PLATFORM = "platform"
    PROCESSOR = "processor"


class Update(StrEnum):
    """When Intel's collateral of a TCB recovery applies: after the usual months, or at once."""

    STANDARD = "standard"
    EARLY = "early"


@dataclass(frozen=True, slots=True)
class EvaluationNumber:
    """Collateral of one TCB recovery, by its evaluation data number (attestation.md 5)."""

    number: int

    def __post_init__(self) -> None:
        """Refuse what is no number that Intel counts up from 1."""
        if not 0 < self.number < 1 << 16:
            raise RequestValueError(f"expected an evaluation data number from 1, found {self.number}")


Evaluation: TypeAlias = "Update | EvaluationNumber"


@dataclass(frozen=True, slots=True)
class PatchLevels:
    """The reported TCB that a VCEK or VLEK is derived from. Only Turin has `fmc`."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no octet."""
        levels = (self.bootloader, self.tee, self.snp, self.microcode, self.fmc)
        if not all(0 <= level <= MAX_PATCH_LEVEL for level in levels):
            raise RequestValueError(f"expected patch levels from 0 to {MAX_PATCH_LEVEL}, found {levels}")


class Form(Enum):
    """The outer shape of an answer, and the content types that vendors declare for it."""

    DER = frozenset(
        {
            "application/octet-stream",
            "application/pkix-cert",
            "application/pkix-crl",
            "application/x-x509-ca-cert",
            "binary/octet-stream",
        }
    )
    PEM = frozenset({"application/octet-stream", "application/x-pem-file", "text/plain"})
    JSON = frozenset({"application/json"})


@dataclass(frozen=True, slots=True)
class Request:
    """One question. `name` is its file in an offline bundle; `fresh_seconds` is how long an answer is reused.

    `chain_header` is where Intel puts the issuers' certificates; empty where there are none.
    """

    service: Service
    path: str
    query: tuple[tuple[str, str], ...]
    name: str
    form: Form
    max_bytes: int
    fresh_seconds: int
    chain_header: str = field(default="")

    @property
    def key(self) -> str:
        """What identifies the question, wherever the service is."""
        return f"{self.service} {self.target}"

    @property
    def target(self) -> str:
        """Path and query. Values are digits, hexadecimal and our own words: none needs an escape."""
        query = "&".join(f"{name}={value}" for name, value in self.query)
        return f"{self.path}?{query}" if query else self.path


def amd_chain(product: Product, signing_key: SigningKey) -> Request:
    """The certificates above a leaf: ASK or ASVK, then ARK, in PEM. They change once in years."""
    path, name = f"/{signing_key}/v1/{product}/cert_chain", f"amd-{signing_key}-{product}-chain.pem"
    return Request(Service.KDS, path, (), name, Form.PEM, MAX_CERTIFICATE_BYTES, 30 * DAY)


def amd_revocations(product: Product, signing_key: SigningKey) -> Request:
    """The list of revoked certificates, in DER."""
    path, name = f"/{signing_key}/v1/{product}/crl", f"amd-{signing_key}-{product}.crl"
    return Request(Service.KDS, path, (), name, Form.DER, MAX_LIST_BYTES, DAY)


def vcek(product: Product, chip_id: bytes, levels: PatchLevels) -> Request:
    """The certificate of one chip at one TCB: 64 octets of chip id, on Turin 8. Raises RequestValueError.

    The key never changes, and AMD limits how often one may ask (attestation.md 3.2): it is kept for long.
    """
    expected = TURIN_CHIP_ID_SIZE if product is Product.TURIN else CHIP_ID_SIZE
    if len(chip_id) != expected:
        raise RequestValueError(f"expected a chip id of {expected} bytes for {product}, found {len(chip_id)}")
    if not any(chip_id):
        raise RequestValueError("the chip id is masked: there is nothing to ask for")
    query = _levels(product, levels)
    digits = "-".join(value for _, value in query)
    path, name = f"/vcek/v1/{product}/{chip_id.hex()}", f"amd-vcek-{product}-{chip_id.hex()}-{digits}.der"
    return Request(Service.KDS, path, query, name, Form.DER, MAX_CERTIFICATE_BYTES, 30 * DAY)


def vlek(product: Product, levels: PatchLevels) -> Request:
    """The certificate of a cloud provider's key at one TCB.

    AMD answers this to the provider alone, so it is useful behind a provider's own mirror; elsewhere a VLEK
    comes with the report. It lives for one year.
    """
    query = _levels(product, levels)
    digits = "-".join(value for _, value in query)
    path, name = f"/vlek/v1/{product}/cert", f"amd-vlek-{product}-{digits}.der"
    return Request(Service.KDS, path, query, name, Form.DER, MAX_CERTIFICATE_BYTES, DAY)


def tcb_info(fmspc: bytes, evaluation: Evaluation) -> Request:
    """Intel's judgement of a platform family's patch levels for TDX. Raises RequestValueError."""
    if len(fmspc) != FMSPC_SIZE:
        raise RequestValueError(f"expected an FMSPC of {FMSPC_SIZE} bytes, found {len(fmspc)}")
    family = fmspc.hex().upper()
    return Request(
        Service.PCS,
        "/tdx/certification/v4/tcb",
        (("fmspc", family), _evaluation(evaluation)),
        f"intel-tdx-tcb-{family}-{_evaluation(evaluation)[1]}.json",
        Form.JSON,
        MAX_JSON_BYTES,
        DAY,
        "TCB-Info-Issuer-Chain",
    )


def qe_identity(evaluation: Evaluation) -> Request:
    """Intel's description of the enclave that signs quotes for TDX."""
    return Request(
        Service.PCS,
        "/tdx/certification/v4/qe/identity",
        (_evaluation(evaluation),),
        f"intel-tdx-qe-identity-{_evaluation(evaluation)[1]}.json",
        Form.JSON,
        MAX_JSON_BYTES,
        DAY,
        "SGX-Enclave-Identity-Issuer-Chain",
    )


def pck_revocations(authority: CertificateAuthority) -> Request:
    """The platforms' certificates that one of Intel's authorities has revoked, in DER."""
    return Request(
        Service.PCS,
        "/sgx/certification/v4/pckcrl",
        (("ca", authority), ("encoding", "der")),
        f"intel-pck-{authority}.crl",
        Form.DER,
        MAX_LIST_BYTES,
        DAY,
        "SGX-PCK-CRL-Issuer-Chain",
    )


def intel_root_revocations() -> Request:
    """What Intel's root has revoked, in DER."""
    path, name = "/IntelSGXRootCA.der", "intel-root-ca.crl"
    return Request(Service.INTEL_CERTIFICATES, path, (), name, Form.DER, MAX_LIST_BYTES, DAY)


def is_bundle_name(name: str) -> bool:
    """Whether a name is a plain file name, as those above are."""
    return re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z.-]{0,250}", name) is not None


def _evaluation(evaluation: Evaluation) -> tuple[str, str]:
    """PCS takes one or the other, never both."""
    match evaluation:
        case Update():
            return "update", str(evaluation)
        case EvaluationNumber(number):
            return "tcbEvaluationDataNumber", str(number)


def _levels(product: Product, levels: PatchLevels) -> tuple[tuple[str, str], ...]:
    fmc = (("fmcSPL", str(levels.fmc)),) if product is Product.TURIN else ()
    if not fmc and levels.fmc:
        raise RequestValueError(f"{product} has no patch level of an FMC")
    return (
        *fmc,
        ("blSPL", str(levels.bootloader)),
        ("teeSPL", str(levels.tee)),
        ("snpSPL", str(levels.snp)),
        ("ucodeSPL", str(levels.microcode)),
    )
