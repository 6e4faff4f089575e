# SPDX-License-Identifier: Apache-2.0
"""Which requests were taken already, by the name that the client gave them (wire.md 6.6). No clock.

The host can deliver a request and say that its key is unknown. The client then seals the request anew, to
other keys, and no memory of encapsulated keys sees that it is the same. Its idempotency key does.

A client without a bearer token is somebody else after a new session, so its own 16 random bytes are all
that names it: those are looked up among all such clients. Names of another form are of that session alone.
"""

import hashlib
import re
from collections import OrderedDict

from enclave.api.caller import token_of
from enclave.session import Request
from wire.session import IDEMPOTENCY_FIELD

MAX_PER_IDENTITY = 1 << 16
MAX_IN_ALL = 1 << 18
DIGEST_BYTES = 16

_RANDOM = re.compile("[A-Za-z0-9_-]{22}")


class RepeatedError(Exception):
    """A request of this name was taken before."""


class TakenRequests:
    """The names of the last requests of each client. Of a client that is long silent they go first."""

    def __init__(self, *, per_identity: int = MAX_PER_IDENTITY, in_all: int = MAX_IN_ALL) -> None:
        self._per_identity, self._in_all = per_identity, in_all
        self._names: OrderedDict[bytes, OrderedDict[bytes, None]] = OrderedDict()
        self.size = 0

    def take(self, request: Request) -> None:
        """Remember a request, in one step with looking whether it was there. Raises RepeatedError."""
        name = request.fields.get(IDEMPOTENCY_FIELD)
        identity = None if name is None else _identity(request, name)
        if name is None or identity is None:
            return
        names = self._names.setdefault(identity, OrderedDict())
        self._names.move_to_end(identity)
        digest = _digest(name.encode("latin-1"))
        if digest in names:
            raise RepeatedError
        names[digest] = None
        self.size += 1
        if len(names) > self._per_identity:
            self._forget(identity)
        while self.size > self._in_all:
            self._forget(next(iter(self._names)))

    def _forget(self, identity: bytes) -> None:
        """Forget the oldest name of a client."""
        names = self._names[identity]
        names.popitem(last=False)
        self.size -= 1
        if not names:
            del self._names[identity]


def _identity(request: Request, name: str) -> bytes | None:
    """Among whose requests a name is looked up; None where it could only name this one."""
    token = token_of(request)
    if token:
        return _digest(b"token", token)
    if _RANDOM.fullmatch(name):
        return b"anybody"
    return _digest(b"session", request.session) if request.session else None


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"\0".join(parts)).digest()[:DIGEST_BYTES]
