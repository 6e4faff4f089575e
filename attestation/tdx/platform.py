# SPDX-License-Identifier: Apache-2.0
"""What a quote and its collateral prove about a machine (attestation.md 7.3, 11).

Everything here follows from bytes alone: no clock, no policy and no accepted root is looked at. So it may be
kept: the one quoting enclave of a host signs all its quotes, and what is proven about it once stays proven.
Dates, roots and policy are checked against every quote anew.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, ParamSpec, TypeVar

from attestation.cache import Cache, content_key
from attestation.case import NotEvaluatedError, Part, Unreadable
from attestation.tdx import certificates, p256
from attestation.tdx.certificates import IssuerChain, PckChain
from attestation.tdx.collateral import (
    Collateral,
    CollateralError,
    QeIdentity,
    TcbInfo,
    parse_qe_identity,
    parse_tcb_info,
)
from attestation.tdx.quote import Quote, QuoteError
from attestation.tdx.tcb import TcbError
from attestation.x509 import Certificate, CertificateError, RevocationList

# What bytes from outside may raise; anything else is a mistake of ours and is not caught.
DEFECTS: Final = (CertificateError, CollateralError, QuoteError, TcbError)

DEFAULT_CAPACITY: Final = 64

Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")


@dataclass(frozen=True, slots=True)
class Statements:
    """Intel's collateral, each part parsed."""

    tcb_info: Part[TcbInfo]
    tcb_info_chain: Part[IssuerChain]
    qe_identity: Part[QeIdentity]
    qe_identity_chain: Part[IssuerChain]
    pck_crl: Part[RevocationList]
    pck_crl_chain: Part[IssuerChain]
    root_crl: Part[RevocationList]


@dataclass(frozen=True, slots=True)
class Platform:
    """A machine's chain and Intel's statements about it, and for each signature what was found."""

    chain: Part[PckChain]
    statements: Statements
    key_bound: Part[str]
    qe_signed: Part[str]
    chain_signed: Part[str]
    not_revoked: Part[str]
    tcb_info_signed: Part[str]
    qe_identity_signed: Part[str]
    one_root: Part[str]

    @property
    def proven(self) -> bool:
        """Whether nothing is missing, so that it is worth keeping."""
        proofs = (
            self.key_bound,
            self.qe_signed,
            self.chain_signed,
            self.not_revoked,
            self.tcb_info_signed,
            self.qe_identity_signed,
            self.one_root,
        )
        return not any(isinstance(proof.outcome, Unreadable) for proof in proofs)


class VerifiedPlatforms:
    """Platforms that were proven before, found by the bytes of the proof. Bounded; for one thread."""

    __slots__ = ("_proven",)

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._proven = Cache[Platform](capacity)

    def __len__(self) -> int:
        """How many platforms are kept."""
        return len(self._proven)

    def examine(self, quote: Quote, collateral: Collateral) -> Platform:
        """The platform behind a quote, proven now or before. Only a whole proof is kept."""
        key = content_key(
            quote.certification_data,
            quote.qe_report.encoded,
            quote.qe_report_signature,
            quote.qe_authentication,
            quote.attestation_key,
            collateral.digest,
        )
        known = self._proven.find(key)
        if known is not None:
            return known
        platform = examine_platform(quote, collateral)
        if platform.proven:
            self._proven.keep(key, platform)
        return platform


def settle(
    prove: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Value | Unreadable:
    """What `prove` returns, or what was wrong."""
    try:
        return prove(*args, **kwargs)
    except (*DEFECTS, NotEvaluatedError) as error:
        return Unreadable(error)


def examine_platform(quote: Quote, collateral: Collateral) -> Platform:
    """Parse and prove everything about the machine behind a quote."""
    return _platform(quote, _statements(collateral))


def examine_quote_alone(quote: Quote) -> Platform:
    """The platform where there is no collateral: everything that needs it is not evaluated."""
    return _platform(quote, missing_statements("there is no collateral"))


def unreadable_platform() -> Platform:
    """The platform where even the quote cannot be read."""
    reason = "the quote cannot be read"
    missing = Unreadable(NotEvaluatedError(reason))
    chain: Part[PckChain] = Part("certificate chain", missing)
    proof: Part[str] = Part("proof", missing)
    return Platform(chain, missing_statements(reason), proof, proof, proof, proof, proof, proof, proof)


def missing_statements(reason: str) -> Statements:
    """Collateral that is not there."""
    missing = Unreadable(NotEvaluatedError(reason))
    return Statements(
        Part("TCB info", missing),
        Part("TCB info's chain", missing),
        Part("quoting enclave identity", missing),
        Part("quoting enclave identity's chain", missing),
        Part("PCK revocation list", missing),
        Part("PCK revocation list's chain", missing),
        Part("root revocation list", missing),
    )


def _statements(collateral: Collateral) -> Statements:
    signing = certificates.TCB_SIGNING_NAME
    authorities = (certificates.PLATFORM_CA_NAME, certificates.PROCESSOR_CA_NAME)
    parse_list, parse_issuer = p256.parse_revocation_list, certificates.parse_issuer_chain
    return Statements(
        Part("TCB info", settle(parse_tcb_info, collateral.tcb_info)),
        Part("TCB info's chain", settle(parse_issuer, collateral.tcb_info_chain, signing)),
        Part("quoting enclave identity", settle(parse_qe_identity, collateral.qe_identity)),
        Part("quoting enclave identity's chain", settle(parse_issuer, collateral.qe_identity_chain, signing)),
        Part("PCK revocation list", settle(parse_list, collateral.pck_crl)),
        Part("PCK revocation list's chain", settle(parse_issuer, collateral.pck_crl_chain, *authorities)),
        Part("root revocation list", settle(parse_list, collateral.root_crl)),
    )


def _platform(quote: Quote, statements: Statements) -> Platform:
    chain = Part("certificate chain", settle(certificates.parse_chain, quote.certificates))
    tcb_info, qe_identity = statements.tcb_info, statements.qe_identity
    return Platform(
        chain=chain,
        statements=statements,
        key_bound=Part("attestation key", settle(_key_bound, quote)),
        qe_signed=Part("quoting enclave report", settle(_qe_signed, quote, chain)),
        chain_signed=Part("certificate chain", settle(_chain_signed, chain)),
        not_revoked=Part("revocation lists", settle(_not_revoked, chain, statements)),
        tcb_info_signed=Part(
            "TCB info", settle(_statement_signed, tcb_info, statements.tcb_info_chain, chain)
        ),
        qe_identity_signed=Part(
            "quoting enclave identity",
            settle(_statement_signed, qe_identity, statements.qe_identity_chain, chain),
        ),
        one_root=Part("collateral", settle(_one_root, chain, statements)),
    )


def _key_bound(quote: Quote) -> str:
    """T3. The quoting enclave's report commits to the key that signs quotes."""
    expected = sha256(quote.attestation_key + quote.qe_authentication).digest() + bytes(32)
    found = quote.qe_report.report_data
    if not hmac.compare_digest(expected, found):
        raise QuoteError(f"the quoting enclave commits to {found.hex()}, the key gives {expected.hex()}")
    return f"attestation key with digest {expected[:32].hex()}"


def _qe_signed(quote: Quote, chain: Part[PckChain]) -> str:
    """T4. The platform's key signs the quoting enclave's report."""
    leaf = chain.need().pck.certificate
    p256.verify_raw(
        p256.point(leaf), quote.qe_report_signature, quote.qe_report.encoded, certificates.LEAF_NAME
    )
    return "signed by the key of the platform's certificate"


def _chain_signed(chain: Part[PckChain]) -> str:
    """T5. Each certificate is signed by the next."""
    certificates.check_chain(chain.examine())
    return " signed by ".join(item.subject.common_name for item in chain.need().certificates)


def _not_revoked(chain: Part[PckChain], statements: Statements) -> str:
    """T6. Both lists are signed by the authority they are of, and name nothing that is used here.

    1. The lists are signed, the one by the root and the other by the authority above the leaf.
    2. The leaf is not on the latter.
    3. Nothing that the root issued is on the former.
    """
    pck_crl, root_crl, known = statements.pck_crl.examine(), statements.root_crl.examine(), chain.need()
    # 1.
    certificates.check_list(root_crl, known.root)
    certificates.check_list(pck_crl, known.intermediate)
    # 2.
    _check_listed(pck_crl, known.pck.certificate)
    # 3.
    for certificate in (known.intermediate, known.root, *_issuers(statements)):
        _check_listed(root_crl, certificate)
    return f"nothing used here among {len(pck_crl.serials)} and {len(root_crl.serials)} revoked"


def _issuers(statements: Statements) -> tuple[Certificate, ...]:
    chains = (statements.tcb_info_chain, statements.qe_identity_chain, statements.pck_crl_chain)
    return tuple(chain.need().issuer for chain in chains)


def _check_listed(revocations: RevocationList, certificate: Certificate) -> None:
    """A list speaks of what its own authority issued, and of others only by their issuer's name."""
    if revocations.names(certificate):
        raise CertificateError(f"{certificate.subject.common_name} revoked")


def _statement_signed(
    statement: Part[TcbInfo] | Part[QeIdentity], issuers: Part[IssuerChain], chain: Part[PckChain]
) -> str:
    """T7, T8. The TCB signing certificate, issued by the platform's own root, signs the exact bytes."""
    signed, issuer = statement.examine().signed, issuers.examine().issuer
    p256.check_signer(issuer)
    certificates.check_issued(issuer, chain.need().root)
    p256.check_statement(signed, issuer)
    return f"signed by {issuer.subject.common_name}"


def _one_root(chain: Part[PckChain], statements: Statements) -> str:
    """T14. All collateral is under the root of the platform, and the PCK list's issuer is the platform's."""
    known = chain.need()
    chains = (statements.tcb_info_chain, statements.qe_identity_chain, statements.pck_crl_chain)
    for part in chains:
        issuers = part.need()
        if issuers.root.public_key_der != known.root.public_key_der:
            raise CertificateError(f"the {part.name} ends in another root than the platform's")
        certificates.check_issued(issuers.root, known.root)
        certificates.check_issued(issuers.issuer, known.root)
    if statements.pck_crl_chain.need().issuer.public_key_der != known.intermediate.public_key_der:
        raise CertificateError("the PCK revocation list comes with another issuer than the platform's")
    return "all collateral under the platform's root"
