# SPDX-License-Identifier: Apache-2.0
"""What clients of TNG's protocol expect around standard chunked OHTTP: pure functions (wire.md 8.1).

They ask for the key list by a POST of their own, and put in clear, before each request, which key they took.
The host answers the first and takes the second away, so the enclave sees what every client sends. Off unless
the configuration names it.
"""

import base64
import json
from enum import Enum

from typing_extensions import override

from host import relay

API_FIELD = "x-tng-ohttp-api"
MAX_METADATA_BYTES = 8192  # a public key and little else
_LENGTH_BYTES = 4


class Api(Enum):
    """What a POST to the root means."""

    KEY_CONFIG = "/tng/key-config"
    TUNNEL = "/tng/tunnel"


def key_config(key_list: bytes, expires_at: int) -> bytes:
    """Answer a request for keys, which are the enclave's own list. There is no attestation of this kind."""
    configuration = {
        "expire_timestamp": expires_at,
        "encoded_key_config_list": base64.b64encode(key_list).decode(),
    }
    return json.dumps({"hpke_key_config": configuration, "attest_response": {"Ok": None}}).encode()


class Tunnel(relay.Dialect):
    """A request with its metadata before it."""

    def __init__(self) -> None:
        self._buffer: bytes | None = b""

    @override
    def upload(self, data: bytes) -> bytes:
        """Take the metadata away. Raises DialectError when it is too long."""
        if self._buffer is None:
            return data
        self._buffer += data
        size = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
        if len(self._buffer) < _LENGTH_BYTES:
            return b""
        if size > MAX_METADATA_BYTES:
            raise relay.DialectError(f"metadata of {size} bytes exceeds {MAX_METADATA_BYTES}")
        if len(self._buffer) < _LENGTH_BYTES + size:
            return b""
        rest, self._buffer = self._buffer[_LENGTH_BYTES + size :], None
        return rest
