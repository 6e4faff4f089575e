# SPDX-License-Identifier: Apache-2.0
"""Evidence for a list of keys: claims, report data, and the hardware's report over them (wire.md 6.3)."""

from dataclasses import dataclass
from typing import Protocol

from attestation import binding
from attestation.evidence import Claims, Evidence
from enclave.keys import GRACE_SECONDS, ROTATION_SECONDS, Epoch
from enclave.report_protocol import Signed

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


class Attester:
    """Makes the evidence document for one epoch after another."""

    def __init__(self, source: ReportSource, identity: Identity, octet: binding.TeeOctet) -> None:
        self._source, self._identity, self._octet = source, identity, octet

    def evidence(self, epoch: Epoch, now: int) -> bytes:
        """The evidence document for these keys, at `now` in unix seconds. Raises OSError without a report."""
        claims = self._claims(epoch.number, now).encode()
        configuration = binding.configuration_hash(epoch.key_list, claims)
        report_data = binding.report_data(self._octet, binding.CACHED, configuration, binding.NO_FRESHNESS)
        signed = self._source.signed_report(report_data)
        return Evidence(
            signed.tee,
            binding.CACHED,
            signed.report,
            signed.chain,
            signed.crl,
            epoch.key_list,
            claims,
            signed.collateral,
        ).encode()

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
