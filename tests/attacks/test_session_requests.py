# SPDX-License-Identifier: Apache-2.0
"""What anyone may post to an enclave, by the numbers of wire.md 7: before anything is authentic.

After each the enclave still answers an honest request, the application was asked nothing, and no key is lost.
"""

import asyncio
import statistics
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave import link
from enclave.keys import GRACE_SECONDS
from enclave.session import OuterAnswer, Refused, RequestReceiver
from enclave.sessions import Sessions, make_session
from tests.fakes.gateway import (
    GATEWAY,
    Answer,
    Gateway,
    code_of,
    head,
    play,
    read,
    request,
    sealed,
)
from wire import hpke, ohttp, varint
from wire.session import (
    KEY_FIELD,
    MAX_TTL_SECONDS,
    SESSION_PATH,
    SessionRequest,
    decode_next_key,
    decode_session_keys,
)

START = ohttp.HEAD_SIZE + hpke.Kem.X_WING.enc_size
REFUSED = (400, "application/problem+json", OuterAnswer.MALFORMED.body)
UNKNOWN = (422, "application/problem+json", OuterAnswer.UNKNOWN_KEY.body)
SOMEWHERE = f"{GATEWAY}/s/AAAAAAAAAAAAAAAAAAAAAA"


def said(answer: Answer) -> tuple[int, str, bytes]:
    """All that an answer says."""
    return answer.status, answer.content_type, answer.body


async def honest(gateway: Gateway) -> None:
    """An honest request is answered, in a session and without one."""
    before = len(gateway.application.calls)
    session = await gateway.open_session(1)
    for path, key in ((GATEWAY, gateway.epoch_keys[0]), (session.path, session.keys[0])):
        _, opened = await gateway.ask(path, key, request())
        assert opened is not None
        assert opened.status == 200
    assert len(gateway.application.calls) == before + 2


def test_01_bodies_that_are_no_request(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        for path, key in ((GATEWAY, gateway.epoch_keys[0]), (session.path, session.keys[0])):
            body = sealed(key, request())[1]
            for size in range(ohttp.HEAD_SIZE + 1):
                assert said(await gateway.post(path, body[:size])) == REFUSED
        assert gateway.application.calls == []
        await honest(gateway)

    play(tmp_path, scenario)


def test_02_keys_that_nobody_has_any_more(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        old = gateway.epoch_keys[0]
        session = await gateway.open_session(1)
        _, body = sealed(old, request())
        answers = [
            await gateway.post(SOMEWHERE, body),
            await gateway.post(f"{GATEWAY}/s/", body),
            await gateway.post(session.path, b"\x07" + body[1:]),
            await gateway.post(GATEWAY, bytes([old.key_id ^ 0x40]) + body[1:]),
        ]
        for _ in range(2):
            await gateway.rotation.rotate()  # the first keys are retired by the first, erased by the second
        answers.append(await gateway.post(GATEWAY, body))
        gateway.keys.sessions.expire(time.monotonic() + MAX_TTL_SECONDS)
        answers.append(await gateway.post(session.path, sealed(session.keys[0], request())[1]))
        assert [said(answer) for answer in answers] == [UNKNOWN] * len(answers)
        assert gateway.application.calls == []
        await honest(gateway)

    play(tmp_path, scenario)


def test_02_retired_keys_open_what_was_on_its_way_and_then_nothing(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        old = gateway.epoch_keys[0]
        await gateway.rotation.rotate()
        _, opened = await gateway.ask(GATEWAY, old, request())
        assert opened is not None
        gateway.keys.ring.expire(time.monotonic() + GRACE_SECONDS)
        assert said(await gateway.post(GATEWAY, sealed(old, request())[1])) == UNKNOWN

    play(tmp_path, scenario)


def test_03_algorithms_are_edited(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        for path, key in ((GATEWAY, gateway.epoch_keys[0]), (session.path, session.keys[0])):
            _, body = sealed(key, request())
            for position in range(1, ohttp.HEAD_SIZE):
                for value in {0, 1, 2, 3, 0x20, 0x64, 0x7A, 0xFF} - {body[position]}:
                    edited = body[:position] + bytes([value]) + body[position + 1 :]
                    assert said(await gateway.post(path, edited)) == REFUSED
        assert gateway.application.calls == []
        await honest(gateway)

    play(tmp_path, scenario)


def encapsulations(good: bytes, kem: hpke.Kem) -> list[bytes]:
    """Encapsulated keys that are not what the client made."""
    point = kem.enc_size - 32
    ones = b"\x01" + bytes(31)
    field_prime = (2**255 - 19).to_bytes(32, "little")
    spoiled = [good[:point] + other for other in (bytes(32), ones, field_prime, b"\xff" * 32)]
    top_bit = good[:-1] + bytes([good[-1] ^ 0x80])
    return [*spoiled, top_bit, bytes(kem.enc_size), good[:1] + bytes([good[1] ^ 0x55]) + good[2:]]


def test_04_encapsulated_keys_are_spoiled(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        hybrid, classical = gateway.epoch_keys
        places = ((GATEWAY, hybrid), (GATEWAY, classical), (session.path, session.keys[0]))
        for path, key in places:
            _, body = sealed(key, request())
            end = ohttp.HEAD_SIZE + key.kem.enc_size
            begin, good, rest = body[: ohttp.HEAD_SIZE], body[ohttp.HEAD_SIZE : end], body[end:]
            for bad in [*encapsulations(good, key.kem), good[:-1], good + b"\0", good[:16]]:
                assert said(await gateway.post(path, begin + bad + rest)) == REFUSED
        assert gateway.application.calls == []
        await honest(gateway)

    play(tmp_path, scenario)


SESSIONS = Sessions()
SESSION = make_session(b"rout", 1)
SESSIONS.add(SESSION, 0.0)
ONE_TIME_BODY = sealed(decode_session_keys(SESSION.key_list, 1)[0], request())[1]


@settings(max_examples=300, deadline=None)
@given(st.integers(1, len(ONE_TIME_BODY) - 18), st.integers(0, 7), st.integers(1, 3000))
def test_05_first_chunk_bit_flips_burn_no_one_time_key(position: int, bit: int, cut: int) -> None:
    """At every position up to the end of the first chunk; the length before it is not authenticated."""
    spoiled = bytearray(ONE_TIME_BODY)
    spoiled[position] ^= 1 << bit
    receiver = RequestReceiver(SESSIONS.keys(SESSION.identifier.text), ohttp.CHUNKED_REQUEST)
    with pytest.raises(Refused) as refused:
        feed(receiver, bytes(spoiled), cut)
    receiver.abandon()
    assert refused.value.answer is OuterAnswer.MALFORMED
    assert (list(SESSION.live), SESSION.claimed, SESSION.opened) == ([1], 0, 0)


def feed(receiver: RequestReceiver, body: bytes, cut: int) -> None:
    """Give a body in two pieces."""
    receiver.receive(body[:cut], 0.0)
    receiver.receive(body[cut:], 0.0)
    receiver.end()


def test_05_the_key_opens_its_request_after_a_flip_at_every_byte(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        sealer, body = sealed(session.keys[0], request())
        for position in range(1, len(body) - 17):
            receiver = RequestReceiver(
                gateway.keys.sessions.keys(session.response.session_id.text), ohttp.CHUNKED_REQUEST
            )
            with pytest.raises(Refused):
                feed(receiver, body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :], 2000)
            receiver.abandon()
        answer = await gateway.post(session.path, body)
        assert read(sealer, answer).status == 200

    play(tmp_path, scenario)


def test_06_one_request_fifty_times_at_once_and_one_after_another(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        for key in gateway.epoch_keys:
            gateway.application.calls.clear()
            _, body = sealed(key, request())
            answers = await asyncio.gather(*(gateway.post(GATEWAY, body) for _ in range(50)))
            answers += [await gateway.post(GATEWAY, body) for _ in range(3)]
            assert [answer.status for answer in answers].count(200) == 1
            assert {said(answer) for answer in answers if answer.status != 200} == {REFUSED}
            assert len(gateway.application.calls) == 1

    play(tmp_path, scenario)


def test_07_replay_to_a_one_time_key_and_to_the_key_that_replaced_it(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(2)
        sealer, body = sealed(session.keys[0], request())
        copies = await asyncio.gather(*(gateway.post(session.path, body) for _ in range(20)))
        copies += [await gateway.post(session.path, body) for _ in range(3)]
        good = [answer for answer in copies if answer.status == 200]
        assert len(good) == len(gateway.application.calls) == 1
        assert {said(answer) for answer in copies if answer.status != 200} <= {REFUSED, UNKNOWN}
        assert "a-ohttp-key" in read(sealer, good[0]).fields
        other = await gateway.open_session(2)
        assert said(await gateway.post(other.path, body)) == REFUSED
        assert said(await gateway.post(GATEWAY, body))[0] in {400, 422}

    play(tmp_path, scenario)


def test_08_replay_after_a_restart(tmp_path: Path) -> None:
    recorded: list[tuple[str, bytes]] = []

    async def before(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        recorded.append((session.path, sealed(session.keys[0], request())[1]))
        for _ in range(60):  # epoch numbers begin at random; this is as if the new one began elsewhere
            gateway.keys.ring.make_epoch(0.0)
        await gateway.rotation.rotate()
        recorded.append((GATEWAY, sealed(gateway.epoch_keys[0], request())[1]))

    async def after(gateway: Gateway) -> None:
        for path, body in recorded:
            assert said(await gateway.post(path, body)) == UNKNOWN
        assert gateway.application.calls == []

    play(tmp_path, before)
    play(tmp_path, after)


def test_09_a_request_for_one_replica_is_sent_to_another(tmp_path: Path) -> None:
    """Both begin with the same epoch number, so that the key identifier is known to both."""
    recorded: list[tuple[str, bytes]] = []

    async def one(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        recorded.append((session.path, sealed(session.keys[0], request())[1]))
        recorded.append((GATEWAY, sealed(gateway.epoch_keys[0], request())[1]))

    async def other(gateway: Gateway) -> None:
        assert [said(await gateway.post(*sent)) for sent in recorded] == [UNKNOWN, REFUSED]
        assert gateway.application.calls == []

    play(tmp_path, one)
    play(tmp_path, other)


def test_13_chunks_of_no_or_too_great_length(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        _, body = sealed(session.keys[0], request())
        lengths = (1, 15, 16, ohttp.MAX_CHUNK_CIPHERTEXT + 1, 1 << 30, (1 << 62) - 1)
        for length in lengths:
            for rest in (b"", bytes(20), bytes(40_000)):
                answer = await gateway.post(session.path, body[:START] + varint.encode(length) + rest)
                assert said(answer) == REFUSED
        assert gateway.application.calls == []
        assert (await gateway.post(session.path, body)).status == 200

    play(tmp_path, scenario)


def test_14_media_types_and_formats_are_swapped(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        key = gateway.epoch_keys[0]
        _, chunked = sealed(key, request())
        _, whole = sealed(key, request(), form=ohttp.Format.WHOLE)
        assert said(await gateway.post(GATEWAY, chunked, ohttp.REQUEST)) == REFUSED
        assert said(await gateway.post(GATEWAY, whole, ohttp.CHUNKED_REQUEST)) == REFUSED
        for content_type in (
            "",
            ohttp.CHUNKED_RESPONSE,
            f"{ohttp.CHUNKED_REQUEST}; a=b",
            f"{ohttp.CHUNKED_REQUEST}, {ohttp.CHUNKED_REQUEST}",
            f" {ohttp.REQUEST}",
        ):
            assert (await gateway.post(GATEWAY, chunked, content_type)).status == 415
        assert gateway.application.calls == []
        assert (await gateway.post(GATEWAY, whole, ohttp.REQUEST)).content_type == ohttp.RESPONSE
        assert (await gateway.post(GATEWAY, chunked)).content_type == ohttp.CHUNKED_RESPONSE

    play(tmp_path, scenario)


def test_19_one_byte_per_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scaled down by fifty, with the link's limit on the first chunk scaled as much."""
    monkeypatch.setattr(link, "FIRST_CHUNK_SECONDS", 0.2)
    monkeypatch.setattr(link, "REQUEST_SECONDS", 0.6)

    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        _, body = sealed(session.keys[0], request(), chunk_size=512)
        begin = head("POST", session.path)
        second_chunk = START + 2 + 512 + 16
        for known in (3, 200, START + 2, START + 300):  # in the head, in enc, in the first chunk
            pieces = [body[:known], *(body[at : at + 1] for at in range(known, known + 60))]
            answer = await gateway.exchange(begin, pieces, seconds_between=0.02)
            assert said(answer) == REFUSED
        slow = [body[:second_chunk], *(body[at : at + 1] for at in range(second_chunk, second_chunk + 60))]
        assert (await gateway.exchange(begin, slow, seconds_between=0.02)).status == 0
        assert gateway.application.calls == []
        await honest(gateway)

    play(tmp_path, scenario)


@pytest.mark.alone
def test_19_a_client_that_vanishes_stops_the_generation_within_a_tick(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        gateway.application.pause = 5.0
        _, body = sealed(gateway.epoch_keys[0], request(b'{"stream":true}'))
        reader, writer = await gateway.connect(head("POST", GATEWAY), body)
        assert await reader.read(1)
        gone = time.monotonic()
        writer.transport.abort()
        await gateway.application.cancelled.wait()
        assert time.monotonic() - gone < 1.0  # 50 ms, and what a busy machine adds

    play(tmp_path, scenario)


@pytest.mark.alone
def test_20_garbage_in_a_flood(tmp_path: Path) -> None:
    """As fast as this machine can for two seconds, with honest requests among it."""

    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        key = gateway.epoch_keys[0]
        garbage = [
            bytearray(sealed(key, request())[1]),
            bytearray(sealed(session.keys[0], request())[1]),
            bytearray(sealed(key, request())[1]),
        ]
        for body in garbage:
            body[START + 40] ^= 1
        garbage[2] = bytearray(b"\xff" * 3000)
        deadline, posted = time.monotonic() + 2.0, 0

        async def flood(number: int) -> None:
            nonlocal posted
            path = session.path if number % 3 == 1 else GATEWAY
            while time.monotonic() < deadline:
                assert (await gateway.post(path, bytes(garbage[number % 3]))).status in {400, 422}
                posted += 1

        flooding = [asyncio.ensure_future(flood(number)) for number in range(6)]
        honest_seconds: list[float] = []
        while time.monotonic() < deadline:
            start = time.monotonic()
            shaping = ("a-ohttp-shaping", "off")
            assert (await gateway.ask(GATEWAY, key, request(b"{}", shaping)))[0].status == 200
            honest_seconds.append(time.monotonic() - start)
        await asyncio.gather(*flooding)
        epoch = gateway.keys.ring.find(key.key_id, time.monotonic()).epoch
        assert epoch.remembered == 1 + len(honest_seconds)  # the session request is one
        assert len(gateway.application.calls) == len(honest_seconds)
        assert posted > 200
        assert statistics.quantiles(honest_seconds, n=100)[98] < 1.0
        assert (await gateway.post(session.path, sealed(session.keys[0], request())[1])).status == 200

    play(tmp_path, scenario)


def bad_session_requests() -> list[bytes]:
    """Documents that are no session request."""
    good = SessionRequest(bytes(32), fresh=True, keys=4).encode()
    nonce = good[good.index(b'"nonce":"') + 9 :].partition(b'"')[0]
    return [
        b"",
        b"[]",
        SessionRequest(bytes(31), fresh=True, keys=4).encode(),
        SessionRequest(bytes(32), fresh=True, keys=0).encode(),
        SessionRequest(bytes(32), fresh=True, keys=17).encode(),
        good.replace(b'"v":1', b'"v":2'),
        good.replace(b'"v":1', b'"v":true'),
        good[:-1] + b',"also":1}',
        good[:-1] + b',"v":1}',
        good.replace(b"true", b"1"),
        good.replace(nonce, nonce[:-1] + b"B"),  # bits that no byte has
        good + b" " * 5000,
    ]


@pytest.mark.parametrize("number", range(len(bad_session_requests())))
def test_21_session_requests_that_are_not_exactly_one(tmp_path: Path, number: int) -> None:
    async def scenario(gateway: Gateway) -> None:
        message = request(bad_session_requests()[number], path=SESSION_PATH)
        _, opened = await gateway.ask(GATEWAY, gateway.epoch_keys[0], message)
        assert opened is not None
        assert (opened.status, code_of(opened)) == (400, "invalid_session_request")
        assert (gateway.keys.sessions.size, gateway.application.calls) == (0, [])

    play(tmp_path, scenario)


def test_21_a_session_is_not_opened_under_a_classical_key_or_in_a_session(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(2)
        good = SessionRequest(bytes(32), fresh=True, keys=4).encode()
        message = request(good, path=SESSION_PATH)
        for path, key in ((GATEWAY, gateway.epoch_keys[1]), (session.path, session.keys[0])):
            _, opened = await gateway.ask(path, key, message)
            assert opened is not None
            assert (opened.status, code_of(opened)) == (400, "wrong_key")
        _, opened = await gateway.ask(
            GATEWAY, gateway.epoch_keys[0], request(b"", path=SESSION_PATH, method="GET")
        )
        assert opened is not None
        assert opened.status == 405
        assert gateway.keys.sessions.size == 1

    play(tmp_path, scenario)


def test_22_more_sessions_than_there_is_room_for(tmp_path: Path) -> None:
    """The cap is 1,024 in an enclave; here it is 20, and 100 are opened."""

    async def scenario(gateway: Gateway) -> None:
        first, kept = await gateway.open_session(1), await gateway.open_session(1)
        (key,) = kept.keys
        for number in range(98):
            await gateway.open_session(1, fresh=False)
            assert gateway.keys.sessions.size == gateway.keys.sessions.most_live_keys <= 20
            if number % 10 == 0:  # whoever uses a session keeps it
                _, opened = await gateway.ask(kept.path, key, request())
                assert opened is not None
                key = decode_next_key(opened.fields[KEY_FIELD], 1)
        assert said(await gateway.post(first.path, sealed(first.keys[0], request())[1])) == UNKNOWN
        assert (await gateway.post(kept.path, sealed(key, request())[1])).status == 200
        await honest(gateway)  # and who was evicted opens another one

    play(tmp_path, scenario, sessions=Sessions(max_sessions=20))
