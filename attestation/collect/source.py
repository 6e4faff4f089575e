# SPDX-License-Identifier: Apache-2.0
"""The hardware of this machine as a source of reports, each checked before anybody sees it."""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from attestation.collect.certificate_table import CertificateTableError, chain_of, parse_certificate_table
from attestation.collect.detect import Offer, Survey
from attestation.collect.errors import HostError
from attestation.collect.own_report import Collected, Kind
from attestation.snp.certificates import parse_leaf
from attestation.snp.report import parse_report
from attestation.x509 import CertificateError, parse_certificate


@dataclass(frozen=True, slots=True)
class HardwareReport:
    """A report that answers the request, and the host's certificates (DER, leaf first) where they fit it."""

    kind: Kind
    report: bytes
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class HardwareSource:
    """One path to evidence, chosen at the start and kept: a machine does not change its processor."""

    offer: Offer
    kind: Kind

    @staticmethod
    def of(found: Survey) -> "HardwareSource":
        """The first path that can be tried. Raises UnavailableError with every path's reason."""
        offer = found.need()
        assert offer.kind is not None, "what can be collected has a kind"
        return HardwareSource(offer, offer.kind)

    def report(self, report_data: bytes) -> HardwareReport:
        """A signed report over 64 bytes, which it contains. Raises CollectError, an OSError."""
        collect = self.offer.collect
        assert collect is not None, "an offer that was chosen can be tried"
        collected = collect(report_data)
        if collected.kind is not self.kind:
            raise HostError(f"expected evidence of {self.kind}, found {collected.kind}")
        return HardwareReport(collected.kind, collected.report, host_chain(collected))


def host_chain(collected: Collected) -> tuple[bytes, ...]:
    """Leaf, intermediate and root as the host sent them; nothing where they are not this report's.

    A host's table is often out of date, after new firmware for example. A leaf is passed on only if its key
    signed this very report, and what is not passed on can be fetched by anyone. Nothing else is checked here.
    """
    if collected.kind is not Kind.SEV_SNP:
        return ()
    try:
        chain = chain_of(parse_certificate_table(collected.certificates))
        key = parse_leaf(parse_certificate(chain[0])).key
        report = parse_report(collected.report)
        signature = encode_dss_signature(report.signature_r, report.signature_s)
        key.verify(signature, report.signed, ec.ECDSA(SHA384()))
    except (CertificateTableError, CertificateError, InvalidSignature):
        return ()
    return chain
