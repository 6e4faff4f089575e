# SPDX-License-Identifier: Apache-2.0
"""OHTTP exchanges that go well: published ones, and any others."""

import json
from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.support import VECTORS, few, new_key, open_request, open_response, seal
from wire import ohttp
from wire.hpke import Aead, Kdf, Kem, Suite, encapsulation_for_vectors, private_key_from_bytes
from wire.ohttp import Format

CUTS = st.lists(st.integers(0, 10_000), max_size=8)
CHUNKS = st.tuples(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.binary(max_size=300))
ALL = tuple((Kdf.HKDF_SHA256, aead) for aead in Aead)


class Vector(TypedDict):
    skR: str
    key_configuration: str
    skE: str
    enc: str
    format: str
    request_chunks: list[str]
    encapsulated_request: str
    response_nonce: str
    response_chunks: list[str]
    encapsulated_response: str


@pytest.mark.parametrize("name", ["rfc9458.json", "chunked-ohttp-08.json"])
def test_published_exchange_byte_for_byte(name: str) -> None:
    vector: Vector = json.loads((VECTORS / name).read_text())
    form = Format[vector["format"]]
    private_key = private_key_from_bytes(Kem.X25519, bytes.fromhex(vector["skR"]))
    configuration = ohttp.decode_configuration(bytes.fromhex(vector["key_configuration"]))
    assert configuration.public_key == private_key.public_key

    encapsulate = encapsulation_for_vectors(bytes.fromhex(vector["skE"]))
    suite = (Kdf.HKDF_SHA256, Aead.AES_128_GCM)
    sealer = ohttp.RequestSealer(configuration, suite, form, encapsulate=encapsulate)
    request = [bytes.fromhex(chunk) for chunk in vector["request_chunks"]]
    body = b"".join(seal(sealer, request))
    assert sealer.encapsulated.hex() == vector["enc"]
    assert body.hex() == vector["encapsulated_request"]

    opener, opened = open_request(body, private_key, form)
    assert opened == request

    def published_nonce(size: int) -> bytes:
        nonce = bytes.fromhex(vector["response_nonce"])
        assert len(nonce) == size
        return nonce

    response = [bytes.fromhex(chunk) for chunk in vector["response_chunks"]]
    answer = b"".join(seal(opener.response_sealer(random_bytes=published_nonce), response))
    assert answer.hex() == vector["encapsulated_response"]
    assert open_response(answer, sealer.response_opener()) == response


@few
@given(st.sampled_from(Kem), st.sampled_from(ALL), CHUNKS, CHUNKS, CUTS, CUTS)
def test_chunked_exchange_survives_any_split(
    kem: Kem,
    suite: tuple[Kdf, Aead],
    request: tuple[list[bytes], bytes],
    response: tuple[list[bytes], bytes],
    request_cuts: list[int],
    response_cuts: list[int],
) -> None:
    private_key, configuration = new_key(kem, ALL)
    sealer = ohttp.RequestSealer(configuration, suite)
    sent, answered = [*request[0], request[1]], [*response[0], response[1]]
    opener, opened = open_request(b"".join(seal(sealer, sent)), private_key, cuts=request_cuts)
    assert opened == sent
    answer = b"".join(seal(opener.response_sealer(), answered))
    assert open_response(answer, sealer.response_opener(), response_cuts) == answered


@few
@given(st.sampled_from(Kem), st.sampled_from(ALL), st.binary(max_size=500), st.binary(max_size=500), CUTS)
def test_whole_exchange_survives_any_split(
    kem: Kem, suite: tuple[Kdf, Aead], request: bytes, response: bytes, cuts: list[int]
) -> None:
    private_key, configuration = new_key(kem, ALL)
    sealer = ohttp.RequestSealer(configuration, suite, Format.WHOLE)
    opener, opened = open_request(sealer.seal(request, last=True), private_key, Format.WHOLE, cuts)
    assert opened == [request]
    answer = opener.response_sealer().seal(response, last=True)
    assert open_response(answer, sealer.response_opener(), cuts) == [response]


def test_bodies_fed_byte_by_byte() -> None:
    private_key, configuration = new_key()
    sealer = ohttp.RequestSealer(configuration, configuration.suites[0])
    chunks = [b"a" * 70, b"b", b"end"]
    body = b"".join(seal(sealer, chunks))
    opener, opened = open_request(body, private_key, cuts=range(len(body)))
    assert opened == chunks
    answer = b"".join(seal(opener.response_sealer(), chunks))
    assert open_response(answer, sealer.response_opener(), range(len(answer))) == chunks


def test_chunks_are_handed_out_as_soon_as_they_are_complete() -> None:
    private_key, configuration = new_key()
    sealer = ohttp.RequestSealer(configuration, configuration.suites[0])
    first, second = sealer.seal(b"first", last=False), sealer.seal(b"second", last=True)
    start = ohttp.HEAD_SIZE + Kem.X25519.enc_size
    head = ohttp.RequestHead.decode(first[: ohttp.HEAD_SIZE])
    opener = ohttp.RequestOpener(head, Format.CHUNKED, private_key, sealer.encapsulated)
    assert first[ohttp.HEAD_SIZE : start] == sealer.encapsulated
    assert (opener.receive(first[start:-1]), opener.authenticated) == ([], False)
    assert (opener.receive(first[-1:]), opener.authenticated) == ([b"first"], True)
    # The response may begin before the request has ended.
    answer = opener.response_sealer().seal(b"early", last=False)
    assert sealer.response_opener().receive(answer) == [b"early"]
    assert opener.receive(b"") == []
    assert opener.receive(second) == []
    assert opener.end() == [b"second"]


def test_only_the_last_chunk_tells_whether_a_whole_request_is_authentic() -> None:
    private_key, configuration = new_key()
    sealer = ohttp.RequestSealer(configuration, configuration.suites[0], Format.WHOLE)
    body = sealer.seal(b"all", last=True)[ohttp.HEAD_SIZE + Kem.X25519.enc_size :]
    head = ohttp.RequestHead(7, Suite(Kem.X25519, *configuration.suites[0]))
    opener = ohttp.RequestOpener(head, Format.WHOLE, private_key, sealer.encapsulated)
    assert (opener.receive(body), opener.authenticated) == ([], False)
    with pytest.raises(RuntimeError, match="before the request is authenticated"):
        opener.response_sealer()
    assert (opener.end(), opener.authenticated) == ([b"all"], True)


def test_two_requests_or_responses_never_look_alike() -> None:
    private_key, configuration = new_key()
    sealers = [ohttp.RequestSealer(configuration, configuration.suites[0]) for _ in range(2)]
    bodies = [sealer.seal(b"same", last=True) for sealer in sealers]
    assert bodies[0] != bodies[1]
    opener, _ = open_request(bodies[0], private_key)
    answers = [opener.response_sealer().seal(b"same", last=True) for _ in range(2)]
    assert answers[0] != answers[1]


def test_largest_chunk_and_largest_whole_request() -> None:
    private_key, configuration = new_key()
    sealer = ohttp.RequestSealer(configuration, configuration.suites[0])
    chunks = [bytes(ohttp.MAX_CHUNK_PLAINTEXT)] * 2
    assert open_request(b"".join(seal(sealer, chunks)), private_key)[1] == chunks
    sealer = ohttp.RequestSealer(configuration, configuration.suites[0], Format.WHOLE)
    message = bytes(ohttp.MAX_BODY_BYTES - 200)
    assert open_request(sealer.seal(message, last=True), private_key, Format.WHOLE)[1] == [message]


@pytest.mark.parametrize("kem", Kem)
def test_head_round_trip(kem: Kem) -> None:
    head = ohttp.RequestHead(255, Suite(kem, Kdf.HKDF_SHA256, Aead.CHACHA20_POLY1305))
    assert len(head.encode()) == ohttp.HEAD_SIZE == 7
    assert ohttp.RequestHead.decode(head.encode()) == head


def test_media_types_belong_to_their_formats() -> None:
    types = {
        form: (form.request_media_type, form.response_media_type, form.request_label, form.response_label)
        for form in Format
    }
    assert types == {
        Format.WHOLE: (
            ohttp.REQUEST,
            ohttp.RESPONSE,
            b"message/bhttp request",
            b"message/bhttp response",
        ),
        Format.CHUNKED: (
            ohttp.CHUNKED_REQUEST,
            ohttp.CHUNKED_RESPONSE,
            b"message/bhttp chunked request",
            b"message/bhttp chunked response",
        ),
    }
