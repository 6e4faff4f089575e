# SPDX-License-Identifier: Apache-2.0
"""Results as CBOR Web Tokens (RFC 8392) in COSE_Sign1 (RFC 9052 section 4.2), with ES256 or EdDSA.

```
18([ protected: bstr .cbor {1: algorithm}, unprotected: {}, payload: bstr .cbor claims, signature: bstr ])
signed: ["Signature1", protected, external_aad: h'', payload]
```
"""

from typing import Final

from attestation.results import claims
from attestation.results.ear import AttestationResult, ResultError
from attestation.results.keys import SigningKey, VerificationKey, algorithm, sign, verify
from attestation.results.serialization import CBOR
from attestation.results.values import Value, ValueFormError, decode_cbor, encode_cbor

COSE_SIGN1: Final = b"\xd2"  # tag 18
ALGORITHM: Final = 1
CONTEXT: Final = "Signature1"


def encode_cwt(result: AttestationResult, key: SigningKey) -> bytes:
    """A signed token. Raises ResultError for a key of another kind."""
    protected = encode_cbor({ALGORITHM: algorithm(key).cose})
    payload = encode_cbor(claims.encode(result, CBOR))
    signature = sign(key, _signed(protected, payload))
    return COSE_SIGN1 + encode_cbor([protected, {}, payload, signature])


def decode_cwt(token: bytes, key: VerificationKey) -> AttestationResult:
    """The result in a token that this key signed. Raises ResultError. Its expiry is the caller's to check."""
    if token[:1] != COSE_SIGN1:
        raise ResultError("expected COSE_Sign1")
    match _cbor(token[1:]):
        case [bytes(protected), dict(unprotected), bytes(payload), bytes(signature)] if not unprotected:
            if _cbor(protected) != {ALGORITHM: algorithm(key).cose}:
                raise ResultError(f"expected the algorithm {algorithm(key).jose} and no other header")
            verify(key, _signed(protected, payload), signature)
            return claims.decode(_cbor(payload), CBOR)
        case _:
            raise ResultError("expected protected headers, no others, a payload and a signature")


def encode_claims(result: AttestationResult) -> bytes:
    """The claims alone, unsigned (RFC 9781): for an envelope that protects them."""
    return encode_cbor(claims.encode(result, CBOR))


def decode_claims(data: bytes) -> AttestationResult:
    """The result in claims that nobody signed. It proves nothing by itself. Raises ResultError."""
    return claims.decode(_cbor(data), CBOR)


def _signed(protected: bytes, payload: bytes) -> bytes:
    return encode_cbor([CONTEXT, protected, b"", payload])


def _cbor(data: bytes) -> Value:
    try:
        return decode_cbor(data)
    except ValueFormError as error:
        raise ResultError(str(error)) from error
