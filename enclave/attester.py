# SPDX-License-Identifier: Apache-2.0
"""Evidence for a list of keys: claims, report data, and the hardware's report over them (wire.md 6.3)."""

import errno
from dataclasses import dataclass, replace
from typing import Protocol

from attestation import binding
from attestation.evidence import SEV_SNP, Claims, Evidence
from attestation.snp.report import ReportError, parse_report
from attestation.tdx.quote import QuoteError, parse_quote
from enclave.keys import GRACE_SECONDS, ROTATION_SECONDS, Epoch
from enclave.report_protocol import Signed
from wire.merkle import Leaf, Tree

LIFETIME_SECONDS = ROTATION_SECONDS + GRACE_SECONDS
DEVELOPMENT_RELEASE = bytes(32)  # built from no release manifest


class ReportSource(Protocol):
    """What has report data signed: the reporter process."""

    def signed_report(self, report_data: bytes) -> Signed:
        """A signed report over 64 bytes. Blocks. Raises OSError where the hardware gives none."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """What an enclave says of itself in its claims, for as long as it lives."""

    audience: str
    deployment: str
    configuration: bytes
    model: bytes
    receipt_key: bytes
    release: bytes = DEVELOPMENT_RELEASE


@dataclass(frozen=True, slots=True)
class Attested:
    """An epoch's exact bytes of keys and claims, and the evidence that any client may have.

    `measurement` is what the hardware says this enclave's code is.
    """

    key_list: bytes
    claims: bytes
    document: bytes
    measurement: bytes = b""


class Attester:
    """Makes the evidence document for one epoch after another, and for session requests in between."""

    def __init__(self, source: ReportSource, identity: Identity, octet: binding.TeeOctet) -> None:
        self._source, self._identity, self._octet = source, identity, octet

    @property
    def is_simulated(self) -> bool:
        """Whether reports prove nothing."""
        return self._octet is binding.TeeOctet.SIMULATED

    def attest(self, epoch: Epoch, now: int) -> Attested:
        """Keys, claims and their evidence, at `now` in unix seconds. Raises OSError without a report."""
        claims = self._claims(epoch.number, now).encode()
        evidence = self._evidence(binding.CACHED, epoch.key_list, claims, binding.NO_FRESHNESS)
        return Attested(epoch.key_list, claims, evidence.encode(), _measurement(evidence))

    def attest_leaves(self, current: Attested, leaves: tuple[Leaf, ...]) -> tuple[bytes, ...]:
        """One report for a power of two of session requests; a document for each. Raises OSError."""
        tree = Tree(leaves)
        evidence = self._evidence(binding.FRESH, current.key_list, current.claims, tree.root)
        return tuple(
            replace(evidence, path=tree.path(index), index=index).encode() for index in range(len(leaves))
        )

    def _evidence(self, mode: int, key_list: bytes, claims: bytes, freshness: bytes) -> Evidence:
        """Evidence with a new report over these. Raises OSError."""
        configuration = binding.configuration_hash(key_list, claims)
        signed = self._source.signed_report(binding.report_data(self._octet, mode, configuration, freshness))
        return Evidence(
            signed.tee, mode, signed.report, signed.chain, signed.crl, key_list, claims, signed.collateral
        )

    def _claims(self, epoch: int, now: int) -> Claims:
        identity = self._identity
        return Claims(
            audience=identity.audience,
            configuration=identity.configuration,
            epoch=epoch,
            expires_at=now + LIFETIME_SECONDS,
            issued_at=now,
            model=identity.model,
            minimum_version=1,
            receipt_key=identity.receipt_key,
            release=identity.release,
            deployment=identity.deployment,
        )


def _measurement(evidence: Evidence) -> bytes:
    """What verifiers call the measurement: that of the launch, or a TD's MRTD. Raises OSError."""
    try:
        if evidence.tee == SEV_SNP:
            return parse_report(evidence.report).measurement
        return parse_quote(evidence.report).body.mrtd
    except (ReportError, QuoteError):
        raise OSError(errno.EBADMSG, "what the hardware gave is no report") from None
