# SPDX-License-Identifier: Apache-2.0
"""Session requests and responses: what is read is what was written, and nothing else (wire.md 6.5)."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire import hpke, ohttp
from wire.session import (
    SUITE,
    SessionId,
    SessionMessageError,
    SessionRequest,
    SessionResponse,
    decode_next_key,
    decode_request,
    decode_response,
    decode_session_id,
    decode_session_keys,
    encode_next_key,
)
from wire.strict_json import Json

few = settings(max_examples=100, deadline=None, derandomize=True)
RAW = bytes(range(16))
KEYS = tuple(
    ohttp.KeyConfiguration(number, hpke.Kem.X_WING, hpke.generate(hpke.Kem.X_WING).public_key, (SUITE,))
    for number in (1, 2, 3)
)
NONCE = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
REQUEST: dict[str, Json] = {"v": 1, "nonce": NONCE, "fresh": True, "n": 4}
RESPONSE: dict[str, Json] = {
    "v": 1,
    "sid": SessionId(RAW).text,
    "keys": "a2V5cw==",
    "ttl": 3600,
    "max": 1024,
    "evidence": {},
}


def spoiled(document: dict[str, Json], **changes: Json) -> bytes:
    return json.dumps(document | changes).encode()


@few
@given(st.binary(min_size=32, max_size=32), st.booleans(), st.integers(1, 16))
def test_requests_are_read_as_written(nonce: bytes, fresh: bool, keys: int) -> None:
    request = SessionRequest(nonce, fresh, keys)
    assert decode_request(request.encode()) == request


def test_the_request_of_the_specification() -> None:
    assert decode_request(json.dumps(REQUEST).encode()) == SessionRequest(b"\1" * 32, True, 4)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b"{" * 4000,
        b"{,}",
        b"{\xff}",
        b"{" * 2000 + b"}" * 2000,
        spoiled(REQUEST) + b"\n",
        spoiled(REQUEST, v=2),
        spoiled(REQUEST, v=True),
        spoiled(REQUEST, v=1.0),
        spoiled(REQUEST, n=0),
        spoiled(REQUEST, n=17),
        spoiled(REQUEST, n=True),
        spoiled(REQUEST, n="4"),
        spoiled(REQUEST, fresh=1),
        spoiled(REQUEST, fresh=None),
        spoiled(REQUEST, more=1),
        spoiled(REQUEST, nonce="AQ"),
        spoiled(REQUEST, nonce=7),
        spoiled(REQUEST, nonce=NONCE[:-1] + "F"),
        spoiled(REQUEST, nonce=NONCE + "="),
        spoiled(REQUEST, nonce="+/EBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"),
        spoiled(REQUEST, nonce="ü" * 43),
        spoiled(REQUEST)[:-1] + b',"n":5}',
        b" " + spoiled(REQUEST),
        spoiled(REQUEST).replace(b"{", b"{" + b" " * 5000),
        spoiled(REQUEST).replace(b"true", b"NaN"),
    ],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(SessionMessageError):
        decode_request(data)


@few
@given(
    st.binary(min_size=16, max_size=16),
    st.binary(max_size=2000),
    st.integers(1, 3600),
    st.integers(1, 1024),
)
def test_responses_are_read_as_written(raw: bytes, keys: bytes, ttl: int, requests: int) -> None:
    response = SessionResponse(SessionId(raw), keys, ttl, requests, b'{"v":1,"path":["YQ=="]}')
    assert decode_response(response.encode()) == response


@pytest.mark.parametrize(
    "data",
    [
        spoiled(RESPONSE, v=2),
        spoiled(RESPONSE, sid="short"),
        spoiled(RESPONSE, sid=SessionId(RAW).text[:-1] + "-"),
        spoiled(RESPONSE, keys="a2V5cw"),
        spoiled(RESPONSE, keys="a2V5cx=="),
        spoiled(RESPONSE, ttl=0),
        spoiled(RESPONSE, ttl=3601),
        spoiled(RESPONSE, max=0),
        spoiled(RESPONSE, max=1025),
        spoiled(RESPONSE, evidence=None),
        spoiled(RESPONSE, evidence="{}"),
        spoiled(RESPONSE, more=1),
        spoiled(RESPONSE, evidence={"v": "x" * (128 * 1024)}),
        spoiled(RESPONSE).replace(b'"evidence": {}', b'"evidence": {"v":1,"v":2}'),
        json.dumps({name: value for name, value in RESPONSE.items() if name != "evidence"}).encode(),
    ],
)
def test_what_is_no_response_is_refused(data: bytes) -> None:
    assert decode_response(spoiled(RESPONSE)).keys == b"keys"
    with pytest.raises(SessionMessageError):
        decode_response(data)


def test_a_session_is_named_by_22_characters() -> None:
    session_id = decode_session_id("AAECAwQFBgcICQoLDA0ODw")
    assert session_id == SessionId(RAW)
    assert session_id.route_tag == bytes((0, 1, 2, 3))
    assert session_id.path == "/.well-known/ohttp-gateway/s/AAECAwQFBgcICQoLDA0ODw"


@pytest.mark.parametrize(
    "text", ["", "AAECAwQFBgcICQoLDA0OD", "AAECAwQFBgcICQoLDA0ODx", "../../etc/passwd/abcdef"]
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(SessionMessageError):
        decode_session_id(text)


def test_the_keys_of_a_session_are_read_as_written() -> None:
    assert decode_session_keys(ohttp.encode_key_list(KEYS), 3) == KEYS
    assert decode_next_key(encode_next_key(KEYS[1]), 2) == KEYS[1]


def changed(
    kem: hpke.Kem = hpke.Kem.X_WING, *, key_id: int = 1, aead: hpke.Aead = hpke.Aead.AES_256_GCM
) -> ohttp.KeyConfiguration:
    public_key = hpke.generate(kem).public_key
    return ohttp.KeyConfiguration(key_id, kem, public_key, ((hpke.Kdf.HKDF_SHA256, aead),))


@pytest.mark.parametrize(
    "keys",
    [
        (),
        KEYS[:2],
        (*KEYS, changed(key_id=4)),
        (KEYS[1], KEYS[0], KEYS[2]),
        (KEYS[0], KEYS[0], KEYS[2]),
        (changed(hpke.Kem.X25519), *KEYS[1:]),
        (changed(aead=hpke.Aead.AES_128_GCM), *KEYS[1:]),
    ],
)
def test_other_keys_than_agreed_are_refused(keys: tuple[ohttp.KeyConfiguration, ...]) -> None:
    with pytest.raises(SessionMessageError):
        decode_session_keys(ohttp.encode_key_list(keys), 3)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "AA==",
        encode_next_key(KEYS[0]),
        encode_next_key(changed(hpke.Kem.X25519, key_id=2)),
        encode_next_key(KEYS[1]) + "=",
        encode_next_key(KEYS[1])[:-4],
    ],
    ids=["nothing", "no key", "other KEM", "other identifier", "other base64", "cut short"],
)
def test_a_next_key_that_does_not_follow_is_refused(value: str) -> None:
    with pytest.raises(SessionMessageError):
        decode_next_key(value, 2)


def test_sixteen_keys_fit_and_evidence_is_in_no_representation() -> None:
    keys = tuple(
        ohttp.KeyConfiguration(number, hpke.Kem.X_WING, KEYS[0].public_key, (SUITE,))
        for number in range(1, 17)
    )
    encoded = ohttp.encode_key_list(keys)
    response = SessionResponse(SessionId(RAW), encoded, 3600, 1024, b'{"secret":1}')
    assert decode_session_keys(decode_response(response.encode()).keys, 16) == keys
    assert "secret" not in repr(response)
