# SPDX-License-Identifier: Apache-2.0
"""Intel's chain to a platform's key (SGX PCK Certificate and CRL Profile; attestation.md 4.2, T5).

The PCK certificate (leaf) is signed by the Platform or the Processor CA, and that by the root. Another
certificate under the root signs TCB information. `parse_…` reads names and extensions; `check_…` checks that
each is signed by the next.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from attestation import der, x509
from attestation.der import DerError, Element, Reader
from attestation.tdx import p256
from attestation.x509 import Certificate, CertificateError, RevocationList

INTEL_ROOT: Final = bytes.fromhex("a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e")
"""SHA-256 of the public key of the Intel SGX Root CA (attestation.md 2)."""

ROOT_NAME: Final = "Intel SGX Root CA"
PLATFORM_CA_NAME: Final = "Intel SGX PCK Platform CA"
PROCESSOR_CA_NAME: Final = "Intel SGX PCK Processor CA"
LEAF_NAME: Final = "Intel SGX PCK Certificate"
TCB_SIGNING_NAME: Final = "Intel SGX TCB Signing"

SGX_EXTENSION: Final = "1.2.840.113741.1.13.1"
_PPID: Final = f"{SGX_EXTENSION}.1"
_TCB: Final = f"{SGX_EXTENSION}.2"
_PCEID: Final = f"{SGX_EXTENSION}.3"
_FMSPC: Final = f"{SGX_EXTENSION}.4"
_SGX_TYPE: Final = f"{SGX_EXTENSION}.5"
_INSTANCE: Final = f"{SGX_EXTENSION}.6"
_CONFIGURATION: Final = f"{SGX_EXTENSION}.7"
_ALWAYS: Final = frozenset({_PPID, _TCB, _PCEID, _FMSPC, _SGX_TYPE})
_PLATFORM_ONLY: Final = frozenset({_INSTANCE, _CONFIGURATION})

COMPONENTS: Final = 16
_COMPONENT_IDS: Final = tuple(f"{_TCB}.{arc}" for arc in range(1, COMPONENTS + 1))
_PCESVN: Final = f"{_TCB}.17"
_CPUSVN: Final = f"{_TCB}.18"
_ENUMERATED: Final = 0x0A


class SgxType(IntEnum):
    """How a platform protects its memory."""

    STANDARD = 0
    SCALABLE = 1
    SCALABLE_WITH_INTEGRITY = 2


class PlatformFlag(StrEnum):
    """How a platform is set up, as its certificate says."""

    DYNAMIC_PLATFORM = "dynamic platform"
    CACHED_KEYS = "cached keys"
    SMT_ENABLED = "smt enabled"


_FLAGS: Final = {
    f"{_CONFIGURATION}.1": PlatformFlag.DYNAMIC_PLATFORM,
    f"{_CONFIGURATION}.2": PlatformFlag.CACHED_KEYS,
    f"{_CONFIGURATION}.3": PlatformFlag.SMT_ENABLED,
}


@dataclass(frozen=True, slots=True)
class Pck:
    """The certificate of a platform's key, at one TCB of that platform.

    Certificates of the Processor CA name no instance (empty) and no configuration.
    """

    certificate: Certificate
    ppid: bytes
    components: tuple[int, ...]
    pcesvn: int
    cpusvn: bytes
    pceid: bytes
    fmspc: bytes
    sgx_type: SgxType
    platform_instance_id: bytes
    flags: frozenset[PlatformFlag]


@dataclass(frozen=True, slots=True)
class PckChain:
    """A platform's certificate and the two authorities above it, whose names fit."""

    pck: Pck
    intermediate: Certificate
    root: Certificate

    @property
    def certificates(self) -> tuple[Certificate, Certificate, Certificate]:
        """The three, leaf first."""
        return self.pck.certificate, self.intermediate, self.root


@dataclass(frozen=True, slots=True)
class IssuerChain:
    """A certificate right below the root, as it comes with collateral, and the root."""

    issuer: Certificate
    root: Certificate


def parse_chain(chain: tuple[bytes, ...]) -> PckChain:
    """Read leaf, intermediate and root in that order; CertificateError for another count, form or name."""
    if len(chain) != 3:
        raise CertificateError(f"expected leaf, intermediate and root, found {len(chain)} certificates")
    leaf, intermediate, root = (p256.parse_certificate(certificate) for certificate in chain)
    for certificate, names in (
        (leaf, (LEAF_NAME,)),
        (intermediate, (PLATFORM_CA_NAME, PROCESSOR_CA_NAME)),
        (root, (ROOT_NAME,)),
    ):
        _check_name(certificate, names)
    return PckChain(parse_pck(leaf), intermediate, root)


def parse_issuer_chain(chain: tuple[bytes, ...], *names: str) -> IssuerChain:
    """Read an issuer of one of these names, and the root."""
    if len(chain) != 2:
        raise CertificateError(f"expected issuer and root, found {len(chain)} certificates")
    issuer, root = (p256.parse_certificate(certificate) for certificate in chain)
    _check_name(issuer, names)
    _check_name(root, (ROOT_NAME,))
    return IssuerChain(issuer, root)


def parse_pck(certificate: Certificate) -> Pck:
    """Read the SGX extension: exactly the known fields, each canonical."""
    if SGX_EXTENSION not in certificate.extensions:
        raise CertificateError(f"{LEAF_NAME}: expected the SGX extension")
    try:
        return _pck(certificate, certificate.extensions[SGX_EXTENSION].value)
    except DerError as error:
        raise CertificateError(f"{LEAF_NAME}: {error}") from error


def check_chain(chain: PckChain) -> None:
    """Check that names, rights and signatures lead from the leaf to the root, which signs itself (T5)."""
    leaf, intermediate, root = chain.certificates
    p256.check_signer(leaf)
    for certificate, issuer in ((leaf, intermediate), (intermediate, root), (root, root)):
        check_issued(certificate, issuer)


def check_issued(certificate: Certificate, issuer: Certificate) -> None:
    """Check that an authority issued and signed a certificate."""
    if certificate.issuer.encoded != issuer.subject.encoded:
        raise CertificateError(
            f"{certificate.subject.common_name}: expected the issuer {issuer.subject.common_name}, "
            f"found {certificate.issuer.common_name}"
        )
    x509.check_authority(issuer, x509.KEY_CERT_SIGN)
    p256.check_signed_by(certificate.signed, issuer)


def check_list(revocations: RevocationList, issuer: Certificate) -> None:
    """Check that an authority issued and signed a revocation list (T6)."""
    if revocations.issuer.encoded != issuer.subject.encoded:
        raise CertificateError(
            f"expected a revocation list of {issuer.subject.common_name}, "
            f"found one of {revocations.issuer.common_name}"
        )
    x509.check_authority(issuer, x509.CRL_SIGN)
    p256.check_signed_by(revocations.signed, issuer)


def _check_name(certificate: Certificate, names: tuple[str, ...]) -> None:
    if certificate.subject.common_name not in names:
        raise CertificateError(f"expected {' or '.join(names)}, found {certificate.subject.common_name}")


def _pck(certificate: Certificate, extension: bytes) -> Pck:
    fields = _pairs(extension)
    if fields.keys() not in (_ALWAYS, _ALWAYS | _PLATFORM_ONLY):
        raise DerError(f"expected the fields of the SGX extension, found {', '.join(sorted(fields))}")
    tcb = _pairs(fields[_TCB].encoded)
    if tcb.keys() != {*_COMPONENT_IDS, _PCESVN, _CPUSVN}:
        raise DerError(f"expected the fields of a TCB, found {', '.join(sorted(tcb))}")
    platform = _INSTANCE in fields
    return Pck(
        certificate,
        ppid=_octets(fields[_PPID], 16),
        components=tuple(_number(tcb[identifier], 0xFF) for identifier in _COMPONENT_IDS),
        pcesvn=_number(tcb[_PCESVN], 0xFFFF),
        cpusvn=_octets(tcb[_CPUSVN], 16),
        pceid=_octets(fields[_PCEID], 2),
        fmspc=_octets(fields[_FMSPC], 6),
        sgx_type=_sgx_type(fields[_SGX_TYPE]),
        platform_instance_id=_octets(fields[_INSTANCE], 16) if platform else b"",
        flags=_flags(fields[_CONFIGURATION]) if platform else frozenset(),
    )


def _pairs(encoded: bytes) -> dict[str, Element]:
    """SEQUENCE OF SEQUENCE { identifier, value }, with each identifier once."""
    pairs = dict[str, Element]()
    items = Reader(der.sole(encoded, der.SEQUENCE).content)
    while not items.finished:
        item = items.enter(der.SEQUENCE)
        identifier = der.object_identifier(item.read(der.OBJECT_IDENTIFIER))
        if identifier in pairs:
            raise DerError(f"field {identifier} occurs twice")
        pairs[identifier] = item.read(der.OCTET_STRING, der.INTEGER, der.SEQUENCE, _ENUMERATED, der.BOOLEAN)
        item.end()
    return pairs


def _octets(element: Element, size: int) -> bytes:
    if element.tag != der.OCTET_STRING or len(element.content) != size:
        raise DerError(f"expected {size} octets, found {element.encoded.hex()}")
    return element.content


def _number(element: Element, greatest: int) -> int:
    if element.tag != der.INTEGER or (number := der.integer(element)) > greatest:
        raise DerError(f"expected a number up to {greatest}, found {element.encoded.hex()}")
    return number


def _sgx_type(element: Element) -> SgxType:
    known = {bytes([kind]): kind for kind in SgxType}
    if element.tag != _ENUMERATED or element.content not in known:
        raise DerError(f"expected an SGX type of 0 to 2, found {element.encoded.hex()}")
    return known[element.content]


def _flags(element: Element) -> frozenset[PlatformFlag]:
    pairs = _pairs(element.encoded)
    if unknown := pairs.keys() - _FLAGS.keys():
        raise DerError(f"expected the fields of a configuration, found {', '.join(sorted(unknown))}")
    if any(value.tag != der.BOOLEAN for value in pairs.values()):
        raise DerError("expected booleans in a configuration")
    return frozenset(_FLAGS[identifier] for identifier, value in pairs.items() if der.boolean(value))
