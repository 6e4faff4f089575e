# SPDX-License-Identifier: Apache-2.0
"""A good receipt with its evidence, made by the enclave's own code, of which each test spoils one thing."""

from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.evidence import Claims
from enclave.api.account import Account
from enclave.attester import Attested, Identity
from enclave.engine.protocol import Sampling
from enclave.receipts import Receipts
from enclave.rotation import Published
from sottovoce.receipt_form import from_text
from tests.fakes import hardware
from wire.receipt import ContentDigest, Wish

REQUEST = b'{"model":"m","messages":[{"role":"user","content":"is it malignant?"}]}'
ANSWER = b'data: {"choices":[{"delta":{"content":"No."}}]}\n\n'
TEXT = b"No."
NONCE = bytes(range(32))
MINUTE = hardware.NOW - hardware.NOW % 60
ACCOUNT = Account(Sampling(0.7, 0.9, 42), 256, 31, 2, "stop", sha256(TEXT).digest())


@dataclass(frozen=True, slots=True)
class Run:
    """One start of an enclave."""

    receipts: Receipts
    claims: Claims

    def receipt(self, *, time: int = MINUTE, measurement: bytes = hardware.MEASUREMENT) -> bytes:
        """A receipt for REQUEST and ANSWER."""
        digest = ContentDigest(stream=True)
        digest.update(ANSWER)
        issuer = replace(self.receipts.issuer(Wish(time, NONCE), REQUEST), measurement=measurement)
        return from_text(issuer.issue(digest.digest(), ACCOUNT))

    def document(self, claims: Claims | None = None) -> bytes:
        """The evidence document of this run."""
        return hardware.evidence(claims=claims or self.claims).encode()


def seed_bytes(seed: int) -> bytes:
    """The private key of a start."""
    return bytes([seed]) * 32


@cache
def run(seed: int = 1, *, model: bytes = hardware.MODEL) -> Run:
    """A start of the enclave; another seed is another start."""
    key = Ed25519PrivateKey.from_private_bytes(seed_bytes(seed))
    public = sha256(key.public_key().public_bytes_raw()).digest()
    claims = replace(hardware.CLAIMS, receipt_key=public, model=model)
    identity = Identity(
        claims.audience, claims.deployment, claims.configuration, model, public, claims.release
    )
    published = Published(Attested(hardware.KEYS, claims.encode(), b"{}", hardware.MEASUREMENT))
    return Run(Receipts(key, identity, published), claims)
