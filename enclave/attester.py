# SPDX-License-Identifier: Apache-2.0
"""Evidence for a list of keys: claims, report data, and the hardware's report over them (wire.md 6.3)."""

from dataclasses import dataclass, replace
from typing import Protocol

from attestation import binding
from attestation.evidence import SEV_SNP, Claims, Evidence
from attestation.snp.report import parse_report
from enclave.keys import GRACE_SECONDS, ROTATION_SECONDS, Epoch
from wire.merkle import Leaf, Tree

LIFETIME_SECONDS = ROTATION_SECONDS + GRACE_SECONDS
DEVELOPMENT_RELEASE = bytes(32)  # built from no release manifest


class ReportSource(Protocol):
    """What signs report data: the security processor, or the simulated one."""

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Certificates in DER, the one that signs reports first."""
        ...

    @property
    def crl(self) -> bytes:
        """The vendor's revocation list, in DER."""
        ...

    def evidence_report(self, report_data: bytes) -> bytes:
        """A signed report over 64 bytes. Raises OSError where the hardware gives none."""
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

    def attest(self, epoch: Epoch, now: int) -> Attested:
        """Keys, claims and their evidence, at `now` in unix seconds. Raises OSError without a report."""
        claims = self._claims(epoch.number, now).encode()
        report = self._report(binding.CACHED, epoch.key_list, claims, binding.NO_FRESHNESS)
        evidence = self._evidence(binding.CACHED, report, epoch.key_list, claims)
        return Attested(epoch.key_list, claims, evidence.encode(), parse_report(report).measurement)

    def attest_leaves(self, current: Attested, leaves: tuple[Leaf, ...]) -> tuple[bytes, ...]:
        """One report for a power of two of session requests; a document for each. Raises OSError."""
        tree = Tree(leaves)
        report = self._report(binding.FRESH, current.key_list, current.claims, tree.root)
        evidence = self._evidence(binding.FRESH, report, current.key_list, current.claims)
        return tuple(
            replace(evidence, path=tree.path(index), index=index).encode() for index in range(len(leaves))
        )

    def _report(self, mode: int, key_list: bytes, claims: bytes, root: bytes) -> bytes:
        configuration = binding.configuration_hash(key_list, claims)
        return self._source.evidence_report(binding.report_data(self._octet, mode, configuration, root))

    def _evidence(self, mode: int, report: bytes, key_list: bytes, claims: bytes) -> Evidence:
        return Evidence(SEV_SNP, mode, report, self._source.chain, self._source.crl, key_list, claims)

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
