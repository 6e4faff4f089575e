# SPDX-License-Identifier: Apache-2.0
"""What the checks of an SEV-SNP report examine: every part parsed once, the policy, and the time."""

from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TypeAlias

from attestation import x509
from attestation.binding import CACHED, NO_FRESHNESS, ConfigurationHash
from attestation.cache import Cache, content_key
from attestation.case import Part, Unreadable, attempt
from attestation.policy import AMD_ROOTS, Policy
from attestation.snp.certificates import Chain, check_chain, parse_chain
from attestation.snp.report import Report, parse_report
from attestation.verdict import VendorRoot
from attestation.x509 import Certificate, CertificateError, RevocationList


class NoCrl(Enum):
    """Say that there is no revocation list: it is then not evaluated, and the verdict not verified."""

    NO_CRL = "no revocation list"


class NotCompared(Enum):
    """Say that report data is not compared: the verdict is then not verified, for anyone may have asked."""

    NOT_COMPARED = "not compared"


@dataclass(frozen=True, slots=True)
class Commitment:
    """Report data that has to commit to keys and claims, in a form that depends on the chain's root.

    In fresh mode it commits to the root of a tree of session requests too.
    """

    configuration: ConfigurationHash
    mode: int = CACHED
    freshness: bytes = NO_FRESHNESS


ExpectedReportData: TypeAlias = bytes | Commitment | NotCompared


@dataclass(frozen=True, slots=True)
class SnpCaches:
    """Chains and lists whose signatures were found good before; without room unless told otherwise."""

    chains: Cache[Chain] = field(default_factory=lambda: Cache(0))
    revocation_lists: Cache[RevocationList] = field(default_factory=lambda: Cache(0))


@dataclass(frozen=True, slots=True)
class SnpEvidence:
    """A report with the certificates of the key that signed it, leaf first."""

    report: bytes
    chain: tuple[bytes, ...]
    crl: bytes | NoCrl
    report_data: ExpectedReportData


@dataclass(frozen=True, slots=True)
class SnpCase:
    """One appraisal's material. `links` is the chain where every signature in it is good."""

    policy: Policy
    now: int
    report: Part[Report]
    chain: Part[Chain]
    links: Part[Chain]
    revocation_list: Part[RevocationList] | NoCrl
    report_data: ExpectedReportData

    @property
    def vendor_root(self) -> VendorRoot:
        """Whose root the chain names, by its public key. Whether the chain leads there is another check."""
        chain = self.chain.need()
        fingerprint = chain.root.fingerprint
        if fingerprint == AMD_ROOTS[chain.product]:
            return VendorRoot.AMD
        if fingerprint in self.policy.simulated_roots.fingerprints:
            return VendorRoot.SIMULATED
        return VendorRoot.UNKNOWN


def open_snp_case(evidence: SnpEvidence, policy: Policy, now: int, caches: SnpCaches) -> SnpCase:
    """Parse every part; what cannot be read is kept as such."""
    chain, links = _open_chain(evidence.chain, caches.chains)
    return SnpCase(
        policy=policy,
        now=now,
        report=Part("report", attempt(parse_report, evidence.report)),
        chain=chain,
        links=links,
        revocation_list=evidence.crl
        if isinstance(evidence.crl, NoCrl)
        else _open_revocation_list(evidence.crl, chain, caches.revocation_lists),
        report_data=evidence.report_data,
    )


def _open_chain(encoded: tuple[bytes, ...], cache: Cache[Chain]) -> tuple[Part[Chain], Part[Chain]]:
    """The chain as it reads, and the chain as far as its signatures hold."""
    key = content_key(*encoded)
    known = cache.find(key)
    chain = attempt(parse_chain, encoded) if known is None else known
    links = chain
    if known is None and not isinstance(chain, Unreadable):
        links = attempt(_checked_chain, chain)
        if not isinstance(links, Unreadable):
            cache.keep(key, links)
    return Part("certificate chain", chain), Part("certificate chain", links)


def _checked_chain(chain: Chain) -> Chain:
    check_chain(chain)
    return chain


def _open_revocation_list(
    encoded: bytes, chain: Part[Chain], cache: Cache[RevocationList]
) -> Part[RevocationList]:
    """The list, where the chain's root signed it. Without a chain nothing is known about its signer."""
    if isinstance(chain.outcome, Unreadable):
        return Part("revocation list", attempt(x509.parse_revocation_list, encoded))
    root = chain.outcome.root
    key = content_key(encoded, root.signed.content)
    known = cache.find(key)
    revocations = attempt(partial(_checked_list, root), encoded) if known is None else known
    if known is None and not isinstance(revocations, Unreadable):
        cache.keep(key, revocations)
    return Part("revocation list", revocations)


def _checked_list(root: Certificate, encoded: bytes) -> RevocationList:
    revocations = x509.parse_revocation_list(encoded)
    if revocations.issuer.encoded != root.subject.encoded:
        raise CertificateError(f"expected a list of {root.subject.common_name}")
    x509.check_authority(root, x509.CRL_SIGN)
    x509.check_signed_by(revocations.signed, root)
    return revocations
