# SPDX-License-Identifier: Apache-2.0
"""Reports for the enclave: what `enclave.attester` calls a report source."""

from dataclasses import dataclass, field

from attestation.collect.certificate_table import chain_of, parse_certificate_table
from attestation.collect.detect import Collect
from attestation.collect.own_report import Collected


@dataclass(frozen=True, slots=True)
class HardwareSource:
    """The hardware of this machine, with certificates and a revocation list that somebody fetched before."""

    collect: Collect = field(repr=False)
    chain: tuple[bytes, ...] = field(repr=False)
    crl: bytes = field(repr=False)

    def evidence_report(self, report_data: bytes) -> bytes:
        """A signed report over 64 bytes, which it contains. Raises CollectError, an OSError."""
        return self.collect(report_data).report


def host_chain(collected: Collected) -> tuple[bytes, ...]:
    """Leaf, intermediate and root as the host sent them with an SNP report. Raises CertificateTableError."""
    return chain_of(parse_certificate_table(collected.certificates))
