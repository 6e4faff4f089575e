# SPDX-License-Identifier: Apache-2.0
"""Who asks, as far as the engine needs to know: to be fair, and to share nothing."""

import hashlib
import secrets
from dataclasses import dataclass, field

from enclave.session import Request

IDENTITY_BYTES = 16
BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """`identity` is 16 bytes, under which places are shared out; `session` is 16 bytes or none."""

    identity: bytes = field(repr=False)
    session: bytes = field(default=b"", repr=False)


def caller_of(request: Request) -> Caller:
    """Who asks: whoever has this token, or else this session, or else somebody unknown."""
    authorization = request.fields.get("authorization", "")
    if authorization.lower().startswith(BEARER) and authorization[len(BEARER) :].strip():
        secret = authorization[len(BEARER) :].strip().encode()
    else:
        secret = request.session or secrets.token_bytes(IDENTITY_BYTES)
    return Caller(hashlib.sha256(secret).digest()[:IDENTITY_BYTES], request.session)
