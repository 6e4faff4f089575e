# SPDX-License-Identifier: Apache-2.0
"""What a client with the key list, or the host between it and the enclave, may do after the first chunk has
opened, by the numbers of wire.md 7; and what is left to steal when a request is over."""

import asyncio
import gc
import itertools
from pathlib import Path

import pytest

from enclave.session import OuterAnswer, Problem
from tests.fakes.courier import chunk_borders
from tests.fakes.gateway import (
    GATEWAY,
    PROMPT,
    Answer,
    Gateway,
    code_of,
    head,
    play,
    read,
    request,
    sealed,
)
from wire import bhttp, hpke, ohttp, varint
from wire.session import KEY_FIELD, decode_next_key

START = ohttp.HEAD_SIZE + hpke.Kem.X_WING.enc_size
CUT = 0
LONG = b'{"messages":[{"role":"user","content":"' + b"please " * 300 + b'"}]}'
NAME = ("idempotency-key", "AAAAAAAAAAAAAAAAAAAAAA")


def pieces(configuration: ohttp.KeyConfiguration) -> tuple[bytes, list[bytes]]:
    """A request in chunks of 512 bytes: what comes before them, and each with its length."""
    _, body = sealed(configuration, request(LONG), chunk_size=512)
    borders = chunk_borders(body, START)
    return body[:START], [body[start:end] for start, end in itertools.pairwise(borders)]


def is_cut(answer: Answer) -> bool:
    """Whether the stream was cut without a word."""
    return (answer.status, answer.body) == (CUT, b"")


def is_refused(answer: Answer) -> bool:
    """Whether it is the one refusal."""
    return (answer.status, answer.body) == (400, OuterAnswer.MALFORMED.body)


def test_10_chunks_are_swapped_repeated_or_dropped(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        key = gateway.epoch_keys[0]
        for change in ("swap", "repeat", "drop"):
            begin, chunks = pieces(key)
            if change == "swap":
                chunks[1], chunks[2] = chunks[2], chunks[1]
            elif change == "repeat":
                chunks.insert(1, chunks[1])
            else:
                del chunks[2]
            assert is_cut(await gateway.post(GATEWAY, begin + b"".join(chunks)))
        assert (gateway.application.calls, gateway.application.problems) == ([], [])

    play(tmp_path, scenario)


def test_11_a_request_is_cut_anywhere(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        key = gateway.epoch_keys[0]
        begin, chunks = pieces(key)
        first = START + len(chunks[0])
        size = len(begin) + sum(map(len, chunks))
        inside = (START, START + 1, START + 2, START + 300, first - 1)
        for end in inside:  # before the first chunk is complete
            begin, chunks = pieces(key)
            assert is_refused(await gateway.post(GATEWAY, (begin + b"".join(chunks))[:end]))
        for end in (first, first + 1, first + 2, first + 200, size - 17, size - 16, size - 1):
            begin, chunks = pieces(key)
            assert is_cut(await gateway.post(GATEWAY, (begin + b"".join(chunks))[:end]))
        assert (gateway.application.calls, gateway.application.problems) == ([], [])

    play(tmp_path, scenario)


def test_11_the_last_chunk_is_not_marked_as_the_last(tmp_path: Path) -> None:
    """A middle chunk in the place of the last one: authentic, but for its additional data."""

    async def scenario(gateway: Gateway) -> None:
        key = gateway.epoch_keys[0]
        sealer = ohttp.RequestSealer(key, key.suites[0])
        body = sealer.seal(request(), last=False)
        middle = sealer.seal(b"\0" * 40, last=False)
        _, length = varint.decode(middle)
        assert is_cut(await gateway.post(GATEWAY, body + b"\0" + middle[length:]))
        assert gateway.application.calls == []

    play(tmp_path, scenario)


def test_12_something_follows_the_last_chunk(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        key = gateway.epoch_keys[0]
        for rest in (b"\0", b"x" * 40, b"\0" + bytes(16), None):
            _, body = sealed(key, request())
            body = body + body[-17:] if rest is None else body + rest
            assert is_cut(await gateway.post(GATEWAY, body))
        _, body = sealed(key, request())
        assert is_cut(await gateway.post(GATEWAY, body[:-16]))  # the mark of the last chunk, and no chunk
        assert gateway.application.calls == []

    play(tmp_path, scenario)


def long_varint(value: int) -> bytes:
    """A number in the longest form."""
    return ((3 << 62) | value).to_bytes(8, "big")


def test_15_numbers_in_longer_forms_than_needed_are_accepted(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        parts = (b"POST", b"https", b"llm.example", b"/v1/x")
        section = long_varint(2) + b"te" + long_varint(1) + b"x"
        message = (
            long_varint(0)
            + b"".join(long_varint(len(part)) + part for part in parts)
            + long_varint(len(section))
            + section
            + long_varint(len(PROMPT))
            + PROMPT
            + long_varint(0)
        )
        key = gateway.epoch_keys[0]
        sealer, body = sealed(key, message)
        last_chunk = body[-16:]
        longer = body[: -len(last_chunk) - 1] + long_varint(0) + last_chunk
        answer = await gateway.post(GATEWAY, longer)
        assert read(sealer, answer).content == PROMPT
        assert gateway.application.calls[0].fields == {}

    play(tmp_path, scenario)


def message(
    *fields: tuple[bytes, bytes],
    method: bytes = b"POST",
    path: bytes = b"/v1/x",
    framing: int = 0,
    content: bytes = PROMPT,
) -> bytes:
    """A request that our own encoder would refuse to write."""

    def section(data: bytes) -> bytes:
        return varint.encode(len(data)) + data

    control = b"".join(section(part) for part in (method, b"https", b"llm.example", path))
    lines = b"".join(section(part) for line in fields for part in line)
    return varint.encode(framing) + control + section(lines) + section(content) + b"\0"


MALFORMED = [
    message(framing=1),
    message(framing=3),
    message(framing=4),
    message(framing=1 << 30),
    message(method=b"PUT"),
    message(method=b"post"),
    message(method=b"POST "),
    message(path=b"/v1\r\nx: y"),
    message(path=b"/v1\0"),
    message(path=b"/v1 x"),
    message(path=b"v1"),
    message((b"x", b"a\r\nb: c")),
    message((b"x", b"a\0")),
    message((b"x y", b"a")),
    message((b":path", b"/v1/chat/completions")),
    message((b"transfer-encoding", b"chunked")),
    message((b"content-length", b"5")),
    message((b"host", b"other.example")),
    message((b"X", b"a"), (b"x", b"b")),
    message() + b"\1",
    message() + bytes(500) + b"x",
    message()[:-20] + b"x",
    b"\0",
    b"",
]


@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_16_17_messages_that_two_readers_could_read_in_two_ways(tmp_path: Path, number: int) -> None:
    async def scenario(gateway: Gateway) -> None:
        key = gateway.epoch_keys[0]
        sealer = ohttp.RequestSealer(key, key.suites[0])
        inner = MALFORMED[number]
        body = (sealer.seal(inner, last=False) if inner else b"") + sealer.seal(b"", last=True)
        answer = await gateway.post(GATEWAY, body)
        assert read(sealer, answer).status == 400
        assert (gateway.application.calls, gateway.application.problems) == ([], [Problem.MALFORMED_MESSAGE])

    play(tmp_path, scenario)


def test_16_names_in_upper_case_and_fields_of_one_hop(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        hop = (b"connection", b"keep-alive, x"), (b"TE", b"trailers"), (b"Accept-Encoding", b"gzip, br")
        inner = message((b"Content-Type", b"application/json"), *hop)
        _, opened = await gateway.ask(GATEWAY, gateway.epoch_keys[0], inner)
        assert opened is not None
        assert opened.status == 200
        assert gateway.application.calls[0].fields == {"content-type": "application/json"}

    play(tmp_path, scenario)


def test_18_content_is_compressed(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        inner = message((b"content-encoding", b"gzip"))
        _, opened = await gateway.ask(GATEWAY, gateway.epoch_keys[0], inner)
        assert opened is not None
        assert opened.status == 415
        assert (gateway.application.calls, gateway.application.problems) == ([], [Problem.CONTENT_ENCODING])

    play(tmp_path, scenario)


def test_30_every_refusal_has_the_same_bytes(tmp_path: Path) -> None:
    """Of a head, of a decapsulation, of a chunk, of a replay, of a key of the wrong kind, of a link head."""

    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        answers: list[Answer] = []
        for path, key in ((GATEWAY, gateway.epoch_keys[0]), (session.path, session.keys[0])):
            _, body = sealed(key, request())
            answers += [
                await gateway.post(path, body[:size]) for size in (0, 1, 7, 100, START, len(body) - 20)
            ]
            for position in (2, 5, 9, START - 1, START + 5, START + 300):
                spoiled = body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]
                answers.append(await gateway.post(path, spoiled))
        _, body = sealed(gateway.epoch_keys[0], request())
        assert (await gateway.post(GATEWAY, body)).status == 200
        answers.append(await gateway.post(GATEWAY, body))
        answers.append(await gateway.exchange(b"\0\0\0\4junk", []))
        assert {(answer.status, answer.content_type, answer.body) for answer in answers} == {
            (400, "application/problem+json", OuterAnswer.MALFORMED.body)
        }

    play(tmp_path, scenario)


def test_31_a_request_that_was_delivered_is_sealed_anew(tmp_path: Path) -> None:
    """The host delivers, answers 422 itself, and the client comes again: with a new session, or without."""

    async def scenario(gateway: Gateway) -> None:
        first, second = await gateway.open_session(1), await gateway.open_session(1)
        _, opened = await gateway.ask(first.path, first.keys[0], request(PROMPT, NAME))
        assert opened is not None
        assert opened.status == 200
        for path, key in (
            (second.path, second.keys[0]),
            (GATEWAY, gateway.epoch_keys[0]),
            (GATEWAY, gateway.epoch_keys[1]),
        ):
            _, again = await gateway.ask(path, key, request(PROMPT, NAME))
            assert again is not None
            assert (again.status, code_of(again)) == (409, "repeated_request")
        assert len(gateway.application.calls) == 1

    play(tmp_path, scenario)


def test_31_two_copies_of_one_name_at_the_same_time(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(8)
        asked = [gateway.ask(session.path, key, request(PROMPT, NAME)) for key in session.keys]
        statuses = [opened.status for _, opened in await asyncio.gather(*asked) if opened]
        assert sorted(statuses) == [200, *[409] * 7]
        assert len(gateway.application.calls) == 1

    play(tmp_path, scenario)


def test_32_segments_are_split_at_every_border(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        (key,) = session.keys
        for position in range(0, 2300, 61):
            sealer, body = sealed(key, request(LONG[:200]), chunk_size=300)
            answer = await gateway.exchange(
                head("POST", session.path), [body[:position], body[position:]], seconds_between=0.001
            )
            opened = read(sealer, answer)
            assert (opened.status, opened.content) == (200, LONG[:200])
            key = decode_next_key(opened.fields[KEY_FIELD], 1)

    play(tmp_path, scenario)


def test_32_sessions_of_two_clients_are_swapped(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        first, second = await gateway.open_session(2), await gateway.open_session(2)
        one, body_of_one = sealed(first.keys[0], request())
        other, body_of_other = sealed(second.keys[0], request())
        assert is_refused(await gateway.post(second.path, body_of_one))
        assert is_refused(await gateway.post(first.path, body_of_other))
        assert gateway.application.calls == []
        assert read(one, await gateway.post(first.path, body_of_one)).status == 200
        assert read(other, await gateway.post(second.path, body_of_other)).status == 200

    play(tmp_path, scenario)


def test_host_reorders_parallel_requests(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(16)
        asked = [(key, f'{{"number":{key.key_id}}}'.encode()) for key in session.keys]
        exchanges = [gateway.ask(session.path, key, request(content)) for key, content in reversed(asked)]
        for (_, opened), (key, content) in zip(
            await asyncio.gather(*exchanges), reversed(asked), strict=True
        ):
            assert opened is not None
            assert opened.content == content
            assert decode_next_key(opened.fields[KEY_FIELD], key.key_id).key_id == key.key_id

    play(tmp_path, scenario)


def test_a_session_is_for_the_origin_in_the_claims(tmp_path: Path) -> None:
    """Under an epoch key other OHTTP clients may name what they reached it by; in a session nobody does."""

    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        other = request(authority="127.0.0.1:8080")
        _, opened = await gateway.ask(session.path, session.keys[0], other)
        assert opened is not None
        assert (opened.status, code_of(opened)) == (400, "wrong_origin")
        assert gateway.application.calls == []
        _, opened = await gateway.ask(GATEWAY, gateway.epoch_keys[1], other)
        assert opened is not None
        assert opened.status == 200

    play(tmp_path, scenario)


def living_keys() -> list[hpke.PrivateKey]:
    """Every private key that this process holds, wherever it is."""
    gc.unfreeze()
    gc.collect()
    kinds = tuple(type(hpke.generate(kem)) for kem in hpke.Kem)
    return [held for held in gc.get_objects() if isinstance(held, kinds)]


def opens(key: hpke.PrivateKey, body: bytes) -> bool:
    """Whether a private key opens a recorded request."""
    suite = ohttp.RequestHead.decode(body[: ohttp.HEAD_SIZE])
    end = ohttp.HEAD_SIZE + suite.suite.kem.enc_size
    try:
        opener = ohttp.RequestOpener(suite, ohttp.Format.CHUNKED, key, body[ohttp.HEAD_SIZE : end])
        plain = b"".join(opener.receive(body[end:]))
    except hpke.OpenError:
        return False
    assert bhttp.RequestDecoder().receive(plain)
    return True


def test_keys_stolen_after_a_request_do_not_open_what_was_recorded(tmp_path: Path) -> None:
    """All keys that the process has then: of epochs, of sessions, and any that something still refers to."""

    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(2)
        key, recorded = session.keys[0], list[bytes]()
        for _ in range(3):
            sealer, body = sealed(key, request())
            # A thief who comes before the request can read it: the search below finds keys, and tries them.
            assert any(opens(stolen, body) for stolen in living_keys())
            answer = await gateway.post(session.path, body)
            recorded.append(body)
            key = decode_next_key(read(sealer, answer).fields[KEY_FIELD], 1)
        _, without_session = sealed(gateway.epoch_keys[0], request())
        assert (await gateway.post(GATEWAY, without_session)).status == 200
        stolen = living_keys()
        assert len(stolen) >= 2 + 2
        assert any(opens(held, without_session) for held in stolen)  # an epoch key lives for minutes
        assert not any(opens(held, body) for held in stolen for body in recorded)

    play(tmp_path, scenario)


def test_keys_of_an_ended_session_are_gone(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(4)
        _, body = sealed(session.keys[3], request())
        assert any(opens(stolen, body) for stolen in living_keys())
        gateway.keys.sessions.expire(1e9)
        assert not any(opens(stolen, body) for stolen in living_keys())

    play(tmp_path, scenario)
