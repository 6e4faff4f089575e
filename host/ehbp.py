# SPDX-License-Identifier: Apache-2.0
"""What clients of the Encrypted HTTP Body Protocol send and expect, as headers: pure functions (wire.md 8.2).

Two of its headers belong to the encapsulation. The link knows no headers, so they stand before the bodies
there: the encapsulated key before the request's, the nonce before the answer's. Off unless host and enclave
are both configured for it.
"""

import re

from typing_extensions import override

from host import relay
from wire import frames

ENCAPSULATED_KEY_FIELD = "ehbp-encapsulated-key"
NONCE_FIELD = "ehbp-response-nonce"
NONCE_BYTES = 32
KEYS_PATH = "/.well-known/hpke-keys"
LINK_PREFIX = "/ehbp"
_ENCAPSULATED_KEY = re.compile(r"[0-9a-fA-F]{64}")


class Body(relay.Dialect):
    """A request whose body alone is encrypted."""

    def __init__(self, encapsulated_key: str) -> None:
        """Raise DialectError for a header that is not 32 bytes in hexadecimal."""
        if not _ENCAPSULATED_KEY.fullmatch(encapsulated_key):
            raise relay.DialectError(f"{ENCAPSULATED_KEY_FIELD} is not 64 hexadecimal digits")
        self._encapsulated = bytes.fromhex(encapsulated_key)

    @property
    @override
    def opening(self) -> bytes:
        """The encapsulated key goes first."""
        return self._encapsulated

    @override
    def answer_opening(self, head: frames.AnswerHead) -> int:
        """A refusal has no nonce."""
        return 0 if head.content_type == relay.PROBLEM_TYPE else NONCE_BYTES

    @override
    def outgoing(self, head: frames.AnswerHead, opening: bytes) -> relay.Outgoing:
        """The nonce becomes a header."""
        outgoing = super().outgoing(head, opening)
        if not opening:
            return outgoing
        headers = (*outgoing.headers, (NONCE_FIELD, opening.hex()), ("x-accel-buffering", "no"))
        return relay.Outgoing(outgoing.status, headers)
