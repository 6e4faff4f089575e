# SPDX-License-Identifier: Apache-2.0
"""How a client asks for a session, and what it is given (wire.md 6.5): the messages, and the session's name.

The request travels under an epoch key, the response under the request. Neither holds anything of a user.
"""

from dataclasses import dataclass, field
from typing import Final

from wire import strict_json
from wire.aead import Aead
from wire.hpke import Kdf
from wire.kem import Kem
from wire.key_configuration import (
    KeyConfiguration,
    KeyListError,
    decode_configuration,
    decode_key_list,
)
from wire.merkle import NONCE_SIZE
from wire.strict_json import Json, StrictJsonError

SESSION_PATH: Final = "/.well-known/attested-ohttp/session"
"""The inner path of a session request."""

GATEWAY_PREFIX: Final = "/.well-known/ohttp-gateway/s/"
"""What stands before a session's name in the outer path."""

KEY_FIELD: Final = "a-ohttp-key"
"""The field of an inner response that holds the next one-time key."""

IDEMPOTENCY_FIELD: Final = "idempotency-key"
IDEMPOTENCY_KEY_SIZE: Final = 16
MIN_TOKEN_CHARACTERS: Final = 22  # 128 random bits in base64url: a shorter token may be that of many

SESSION_VERSION: Final = 1
MAX_KEYS: Final = 16
MAX_TTL_SECONDS: Final = 3600
MAX_SESSION_REQUESTS: Final = 1024
MAX_REQUEST_BYTES: Final = 4096
MAX_RESPONSE_BYTES: Final = 128 * 1024  # evidence has up to 64 KiB, and 16 keys in base64 have 26 kB
MAX_KEY_LIST_BYTES: Final = 32 * 1024

SUITE: Final = (Kdf.HKDF_SHA256, Aead.AES_256_GCM)
"""The only suite of a one-time key."""

ROUTE_TAG_SIZE: Final = 4
RANDOM_SIZE: Final = 12
ID_SIZE: Final = ROUTE_TAG_SIZE + RANDOM_SIZE

_REQUEST_NAMES: Final = frozenset({"v", "nonce", "fresh", "n"})
_RESPONSE_NAMES: Final = frozenset({"v", "sid", "keys", "ttl", "max", "evidence"})


class SessionMessageError(Exception):
    """A session's request, response, name or key that is not exactly what the format allows."""


@dataclass(frozen=True, slots=True)
class SessionId:
    """The name of a session: a tag by which the host finds the enclave, and 12 random bytes. No secret."""

    raw: bytes

    def __post_init__(self) -> None:
        """Refuse another size than 16 bytes."""
        if len(self.raw) != ID_SIZE:
            raise SessionMessageError(f"session identifier of {len(self.raw)} bytes, not {ID_SIZE}")

    @property
    def route_tag(self) -> bytes:
        """The first 4 bytes of the enclave's claim `rct`."""
        return self.raw[:ROUTE_TAG_SIZE]

    @property
    def path(self) -> str:
        """The outer path of requests in this session."""
        return GATEWAY_PREFIX + self.text

    @property
    def text(self) -> str:
        """The name as it is written, 22 characters."""
        return strict_json.encode_base64url(self.raw)


def decode_session_id(text: str) -> SessionId:
    """Return the session that these 22 characters name. Raises SessionMessageError."""
    try:
        return SessionId(strict_json.base64url_octets(text, "sid"))
    except StrictJsonError as error:
        raise SessionMessageError(str(error)) from error


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What a client asks for: whether evidence over its nonce of 32 bytes, and how many keys, 1 to 16."""

    nonce: bytes
    fresh: bool
    keys: int

    def encode(self) -> bytes:
        """Return the JSON document."""
        members: dict[str, Json] = {
            "v": SESSION_VERSION,
            "nonce": strict_json.encode_base64url(self.nonce),
            "fresh": self.fresh,
            "n": self.keys,
        }
        return strict_json.encode_object(members)


def decode_request(data: bytes) -> SessionRequest:
    """Read a session request of up to 4 KiB. Raises SessionMessageError."""
    if len(data) > MAX_REQUEST_BYTES:
        raise SessionMessageError(f"session request of {len(data)} bytes exceeds {MAX_REQUEST_BYTES}")
    try:
        members = strict_json.decode_object(data, _REQUEST_NAMES)
        strict_json.integer(members, "v", SESSION_VERSION, SESSION_VERSION)
        nonce = strict_json.base64url_octets(strict_json.text(members, "nonce"), "nonce")
        fresh = strict_json.truth(members, "fresh")
        keys = strict_json.integer(members, "n", 1, MAX_KEYS)
    except StrictJsonError as error:
        raise SessionMessageError(str(error)) from error
    if len(nonce) != NONCE_SIZE:
        raise SessionMessageError(f"nonce of {len(nonce)} bytes, not {NONCE_SIZE}")
    return SessionRequest(nonce, fresh, keys)


@dataclass(frozen=True, slots=True)
class SessionResponse:
    """What a client gets. `keys` and `evidence` are exact bytes: the one is hashed, the other a document.

    A session without fresh evidence carries the document of the epoch in force.
    """

    session_id: SessionId
    keys: bytes
    ttl_seconds: int
    max_requests: int
    evidence: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return the JSON document."""
        members: dict[str, Json] = {
            "v": SESSION_VERSION,
            "sid": self.session_id.text,
            "keys": strict_json.encode_base64(self.keys),
            "ttl": self.ttl_seconds,
            "max": self.max_requests,
        }
        return strict_json.encode_object(members)[:-1] + b',"evidence":' + self.evidence + b"}"


def decode_response(data: bytes) -> SessionResponse:
    """Read a session response of up to 128 KiB. Raises SessionMessageError.

    The evidence is only known to be a JSON object; who uses it decodes and verifies it.
    """
    if len(data) > MAX_RESPONSE_BYTES:
        raise SessionMessageError(f"session response of {len(data)} bytes exceeds {MAX_RESPONSE_BYTES}")
    try:
        members = strict_json.decode_object(data, _RESPONSE_NAMES)
        strict_json.integer(members, "v", SESSION_VERSION, SESSION_VERSION)
        session_id = decode_session_id(strict_json.text(members, "sid"))
        keys = strict_json.base64_octets(members, "keys")
        ttl = strict_json.integer(members, "ttl", 1, MAX_TTL_SECONDS)
        requests = strict_json.integer(members, "max", 1, MAX_SESSION_REQUESTS)
    except StrictJsonError as error:
        raise SessionMessageError(str(error)) from error
    evidence = members["evidence"]
    if not isinstance(evidence, dict):
        raise SessionMessageError("expected an object as evidence")
    return SessionResponse(session_id, keys, ttl, requests, strict_json.encode_object(evidence))


def decode_session_keys(keys: bytes, count: int) -> tuple[KeyConfiguration, ...]:
    """Return the one-time keys of a new session: exactly this many, named 1, 2, 3 and so on.

    Raises SessionMessageError for another number, name, algorithm or order.
    """
    try:
        configurations = decode_key_list(keys, limit=MAX_KEY_LIST_BYTES)
    except KeyListError as error:
        raise SessionMessageError(str(error)) from error
    for configuration in configurations:
        _check_one_time_key(configuration)
    if [configuration.key_id for configuration in configurations] != list(range(1, count + 1)):
        raise SessionMessageError(f"expected the one-time keys 1 to {count}")
    return configurations


def encode_next_key(configuration: KeyConfiguration) -> str:
    """Return the value of the field `a-ohttp-key`."""
    return strict_json.encode_base64(configuration.encode())


def decode_next_key(value: str, key_id: int) -> KeyConfiguration:
    """Return the key that replaces the one with this identifier. Raises SessionMessageError."""
    try:
        configuration = decode_configuration(strict_json.decode_base64(value, "key"))
    except (StrictJsonError, KeyListError) as error:
        raise SessionMessageError(str(error)) from error
    _check_one_time_key(configuration)
    if configuration.key_id != key_id:
        raise SessionMessageError(f"next key is named {configuration.key_id}, not {key_id}")
    return configuration


def _check_one_time_key(configuration: KeyConfiguration) -> None:
    if configuration.kem is not Kem.X_WING or configuration.suites != (SUITE,):
        raise SessionMessageError("a one-time key is not X-Wing with HKDF-SHA256 and AES-256-GCM alone")
