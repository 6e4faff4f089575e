# SPDX-License-Identifier: Apache-2.0
"""Key lists: what is published is read back, and nothing else is read at all."""

import json

import pytest

from tests.unit.wire.support import SUITES, VECTORS, new_key
from wire import ohttp
from wire.hpke import Aead, Kdf, Kem

THREE = (
    (Kdf.HKDF_SHA256, Aead.AES_256_GCM),
    (Kdf.HKDF_SHA256, Aead.AES_128_GCM),
    (Kdf.HKDF_SHA256, Aead.CHACHA20_POLY1305),
)
PUBLIC_KEY = bytes([9]) + bytes(31)


def encoded_configuration(
    key_id: int = 1,
    kem: int = 0x0020,
    public_key: bytes = PUBLIC_KEY,
    suites: bytes = b"\0\1\0\2",
    announced: int | None = None,
) -> bytes:
    size = len(suites) if announced is None else announced
    return bytes([key_id]) + kem.to_bytes(2, "big") + public_key + size.to_bytes(2, "big") + suites


def listed(*configurations: bytes) -> bytes:
    return b"".join(len(encoded).to_bytes(2, "big") + encoded for encoded in configurations)


def test_epoch_list_has_the_size_of_the_specification() -> None:
    """wire.md 6.2: 1,286 bytes, X-Wing first."""
    _, hybrid = new_key(Kem.X_WING, THREE)
    _, classical = new_key(Kem.X25519, THREE)
    configurations = (hybrid, ohttp.KeyConfiguration(0x87, Kem.X25519, classical.public_key, THREE))
    encoded = ohttp.encode_key_list(configurations)
    assert len(encoded) == 1286
    assert ohttp.decode_key_list(encoded) == configurations


def test_bare_configuration_round_trip() -> None:
    """wire.md 6.5: a replacement key has 1,225 bytes."""
    _, configuration = new_key(Kem.X_WING, SUITES[:1])
    encoded = configuration.encode()
    assert len(encoded) == 1225
    assert ohttp.decode_configuration(encoded) == configuration


@pytest.mark.parametrize("name", ["rfc9458.json", "chunked-ohttp-08.json"])
def test_published_configuration(name: str) -> None:
    vector: dict[str, str] = json.loads((VECTORS / name).read_text())
    encoded = bytes.fromhex(vector["key_configuration"])
    configuration = ohttp.decode_configuration(encoded)
    assert (configuration.key_id, configuration.kem) == (1, Kem.X25519)
    assert [aead for _, aead in configuration.suites] == [Aead.AES_128_GCM, Aead.CHACHA20_POLY1305]
    assert configuration.encode() == encoded
    assert ohttp.decode_key_list(listed(encoded)) == (configuration,)


def test_what_the_refused_lists_are_made_of_is_accepted() -> None:
    assert len(ohttp.decode_key_list(listed(encoded_configuration(), encoded_configuration(2)))) == 2


REFUSED = {
    "empty": b"",
    "one byte": b"\0",
    "empty configuration": listed(b""),
    "unknown kem": listed(encoded_configuration(kem=0x0010)),
    "unknown kem beside a known one": listed(encoded_configuration(), encoded_configuration(2, kem=0x0A0A)),
    "unknown kdf": listed(encoded_configuration(suites=b"\0\2\0\2")),
    "unknown aead": listed(encoded_configuration(suites=b"\0\1\0\2\0\1\0\4")),
    "export-only aead": listed(encoded_configuration(suites=b"\0\1\xff\xff")),
    "no suite": listed(encoded_configuration(suites=b"")),
    "half a suite": listed(encoded_configuration(suites=b"\0\1\0\2\0\1")),
    "more suites announced": listed(encoded_configuration(announced=8)),
    "byte behind the suites": listed(encoded_configuration() + b"\0"),
    "key cut": listed(encoded_configuration()[:20]),
    "no suite length": listed(encoded_configuration()[:35]),
    "key of low order": listed(encoded_configuration(public_key=bytes(32))),
    "x-wing key not reduced": listed(encoded_configuration(kem=0x647A, public_key=b"\xff" * 1216)),
    "same key_id twice": listed(encoded_configuration(), encoded_configuration(suites=b"\0\1\0\1")),
    "trailing byte": listed(encoded_configuration()) + b"\0",
    "last entry cut": listed(encoded_configuration())[:-1],
    "bare configuration": encoded_configuration(),
    "bare configuration with key_id 0": encoded_configuration(0),
    "bare x-wing configuration": new_key(Kem.X_WING)[1].encode(),
    "too long": listed(*(encoded_configuration(key_id, suites=b"\0\1\0\2" * 20) for key_id in range(80))),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_refused_list(data: bytes) -> None:
    with pytest.raises(ohttp.KeyListError):
        ohttp.decode_key_list(data)


def test_every_cut_of_a_list_is_refused() -> None:
    encoded = ohttp.encode_key_list((new_key()[1],))
    for size in range(len(encoded)):
        with pytest.raises(ohttp.KeyListError):
            ohttp.decode_key_list(encoded[:size])
