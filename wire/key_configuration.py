# SPDX-License-Identifier: Apache-2.0
"""OHTTP key configurations and their lists (RFC 9458 sections 3.1 and 3.2, wire.md 2.1 and 6.2)."""

import struct
from dataclasses import dataclass

from wire.aead import Aead
from wire.hpke import Kdf
from wire.kem import Kem, PublicKeyError, check_public_key

MAX_KEY_LIST_BYTES = 8192

_HEAD = struct.Struct(">BH")
_LENGTH = struct.Struct(">H")
_SUITE = struct.Struct(">HH")


class KeyListError(Exception):
    """A key list, or one configuration of it, that is not exactly what the format allows."""


@dataclass(frozen=True, slots=True)
class KeyConfiguration:
    """A public key with its name, and the symmetric algorithms offered with it in order of preference."""

    key_id: int
    kem: Kem
    public_key: bytes
    suites: tuple[tuple[Kdf, Aead], ...]

    def encode(self) -> bytes:
        """Return the bare configuration, as in the field `a-ohttp-key`."""
        suites = b"".join(_SUITE.pack(kdf, aead) for kdf, aead in self.suites)
        return _HEAD.pack(self.key_id, self.kem) + self.public_key + _LENGTH.pack(len(suites)) + suites


def encode_key_list(configurations: tuple[KeyConfiguration, ...]) -> bytes:
    """Return the content of `application/ohttp-keys`."""
    encoded = (configuration.encode() for configuration in configurations)
    return b"".join(_LENGTH.pack(len(configuration)) + configuration for configuration in encoded)


def decode_key_list(data: bytes, *, limit: int = MAX_KEY_LIST_BYTES) -> tuple[KeyConfiguration, ...]:
    """Return the configurations of a list.

    Raises KeyListError for a list that is empty or longer than the limit, holds anything unknown, unusable,
    twice or besides, or is a bare configuration. RFC 9458 lets a client skip what it does not know. Here the
    list is part of the evidence (wire.md 6.3), so there is nothing in it that was not meant for this client.
    """
    if not 0 < len(data) <= limit:
        raise KeyListError(f"key list of {len(data)} bytes is not one of 1 to {limit}")
    configurations: list[KeyConfiguration] = []
    rest = data
    while rest:
        prefix, rest = _take(rest, _LENGTH.size)
        encoded, rest = _take(rest, int.from_bytes(prefix, "big"))
        configurations.append(decode_configuration(encoded))
    if len({configuration.key_id for configuration in configurations}) != len(configurations):
        raise KeyListError("key list has one key identifier twice")
    return tuple(configurations)


def decode_configuration(data: bytes) -> KeyConfiguration:
    """Return one bare configuration, as in the field `a-ohttp-key`. Raises KeyListError as for a list."""
    head, rest = _take(data, _HEAD.size)
    try:
        kem = Kem(int.from_bytes(head[1:], "big"))
        public_key, rest = _take(rest, kem.public_key_size)
        check_public_key(kem, public_key)
    except (ValueError, PublicKeyError) as error:
        raise KeyListError("key configuration has a key that cannot be used") from error
    return KeyConfiguration(head[0], kem, public_key, _decode_suites(rest))


def _decode_suites(data: bytes) -> tuple[tuple[Kdf, Aead], ...]:
    prefix, suites = _take(data, _LENGTH.size)
    size = int.from_bytes(prefix, "big")
    if size == 0 or size != len(suites) or size % _SUITE.size:
        raise KeyListError(f"key configuration announces {size} bytes of suites and has {len(suites)}")
    try:
        return tuple((Kdf(kdf), Aead(aead)) for kdf, aead in struct.iter_unpack(_SUITE.format, suites))
    except ValueError as error:
        raise KeyListError("key configuration has an unknown suite") from error


def _take(data: bytes, size: int) -> tuple[bytes, bytes]:
    if len(data) < size:
        raise KeyListError(f"key list ends {size - len(data)} bytes early")
    return data[:size], data[size:]
