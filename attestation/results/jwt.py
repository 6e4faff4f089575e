# SPDX-License-Identifier: Apache-2.0
"""Results as JSON Web Tokens (RFC 7519, compact form), signed with ES256 or EdDSA.

Unsigned tokens have functions of their own, which nothing else calls: whoever reads one believes its bearer.
"""

from typing import Final

from attestation.results import claims
from attestation.results.ear import AttestationResult, ResultError
from attestation.results.keys import SigningKey, VerificationKey, algorithm, sign, verify
from attestation.results.serialization import JSON
from attestation.results.values import (
    Value,
    ValueFormError,
    base64url,
    decode_base64url,
    decode_json,
    encode_json,
)

TYPE: Final = "eat+jwt"  # RFC 9782
NONE: Final = "none"


def encode_jwt(result: AttestationResult, key: SigningKey) -> str:
    """A signed token. Raises ResultError for a key of another kind."""
    content = _content(result, algorithm(key).jose)
    return f"{content}.{base64url(sign(key, content.encode('ascii')))}"


def decode_jwt(token: str, key: VerificationKey) -> AttestationResult:
    """The result in a token that this key signed. Raises ResultError. Its expiry is the caller's to check."""
    content, _, signature = token.rpartition(".")
    _check_header(content, algorithm(key).jose)
    verify(key, content.encode("utf-8", "replace"), _octets(signature))
    return _payload(content)


def encode_unsecured_jwt(result: AttestationResult) -> str:
    """A token that nobody signed (RFC 7519 section 6): for a reader who got it from the verifier itself."""
    return _content(result, NONE) + "."


def decode_unsecured_jwt(token: str) -> AttestationResult:
    """The result in a token that nobody signed. It proves nothing. Raises ResultError."""
    content, _, signature = token.rpartition(".")
    if signature:
        raise ResultError("expected no signature")
    _check_header(content, NONE)
    return _payload(content)


def _content(result: AttestationResult, name: str) -> str:
    header = encode_json({"alg": name, "typ": TYPE})
    return f"{base64url(header)}.{base64url(encode_json(claims.encode(result, JSON)))}"


def _check_header(content: str, name: str) -> None:
    header, dot, _ = content.partition(".")
    if not dot or _json(_octets(header)) != {"alg": name, "typ": TYPE}:
        raise ResultError(f"expected a token of type {TYPE} with the algorithm {name}")


def _payload(content: str) -> AttestationResult:
    return claims.decode(_json(_octets(content.partition(".")[2])), JSON)


def _octets(text: str) -> bytes:
    try:
        return decode_base64url(text)
    except ValueFormError as error:
        raise ResultError(str(error)) from error


def _json(data: bytes) -> Value:
    try:
        return decode_json(data)
    except ValueFormError as error:
        raise ResultError(str(error)) from error
