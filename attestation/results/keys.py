# SPDX-License-Identifier: Apache-2.0
"""The two signature algorithms of results. Each belongs to a kind of key, so no token can choose another."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from attestation.results.ear import ResultError

SigningKey: TypeAlias = ec.EllipticCurvePrivateKey | Ed25519PrivateKey
VerificationKey: TypeAlias = ec.EllipticCurvePublicKey | Ed25519PublicKey

SIGNATURE_SIZE: Final = 64


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An algorithm by its name in JOSE (RFC 7518, RFC 8037) and its number in COSE (RFC 9053)."""

    jose: str
    cose: int


ES256: Final = Algorithm("ES256", -7)
EDDSA: Final = Algorithm("EdDSA", -8)


def algorithm(key: SigningKey | VerificationKey) -> Algorithm:
    """The algorithm of a key. Raises ResultError for a curve other than P-256."""
    match key:
        case Ed25519PrivateKey() | Ed25519PublicKey():
            return EDDSA
        case _ if isinstance(key.curve, ec.SECP256R1):
            return ES256
        case _:
            raise ResultError(f"expected a key on P-256 or Ed25519, found {key.curve.name}")


def sign(key: SigningKey, message: bytes) -> bytes:
    """A signature of 64 bytes, the same each time: for P-256 r then s, after RFC 6979."""
    match key:
        case Ed25519PrivateKey():
            return key.sign(message)
        case _:
            algorithm(key)
            der = key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
            r, s = decode_dss_signature(der)
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def verify(key: VerificationKey, message: bytes, signature: bytes) -> None:
    """Raise ResultError unless the key signed the message."""
    algorithm(key)
    if len(signature) != SIGNATURE_SIZE:
        raise ResultError(f"expected a signature of {SIGNATURE_SIZE} bytes, found {len(signature)}")
    try:
        match key:
            case Ed25519PublicKey():
                key.verify(signature, message)
            case _:
                r, s = (int.from_bytes(signature[start : start + 32], "big") for start in (0, 32))
                key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise ResultError("the signature is not by this key") from error
