# SPDX-License-Identifier: Apache-2.0
"""Who asks, as far as the engine needs to know: to be fair, and to share nothing."""

import hashlib
import secrets
from dataclasses import dataclass, field

from enclave.session import Request
from wire.session import MIN_TOKEN_CHARACTERS

IDENTITY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Caller:
    """`identity` is 16 bytes, under which places are shared out; `session` is 16 bytes or none."""

    identity: bytes = field(repr=False)
    session: bytes = field(default=b"", repr=False)


def token_of(request: Request) -> bytes:
    """The bearer token; empty where there is none.

    A short one is none: OpenAI's clients want some API key, and those who write "-" are not one person.
    """
    scheme, _, token = request.fields.get("authorization", "").partition(" ")
    named = scheme.lower() == "bearer" and len(token.strip()) >= MIN_TOKEN_CHARACTERS
    return token.strip().encode() if named else b""


def caller_of(request: Request) -> Caller:
    """Who asks: whoever has this token, or else this session, or else somebody unknown."""
    secret = token_of(request) or request.session or secrets.token_bytes(IDENTITY_BYTES)
    return Caller(hashlib.sha256(secret).digest()[:IDENTITY_BYTES], request.session)
