# SPDX-License-Identifier: Apache-2.0
"""The states of a client on its way to a session, and the keys of one."""

import time
from dataclasses import replace

import pytest

from attestation.verify import Caches
from sottovoce.one_time_keys import (
    REFRESH_SECONDS,
    Assurance,
    NoKeyError,
    Session,
    SessionOverError,
)
from sottovoce.opening import Opening, Ready, SessionRefusedError, Start, WrongSessionError
from sottovoce.session import Exchange, TamperedResponse, TruncatedResponse
from tests.fakes import hardware
from tests.fakes.relay import Enclave, guest
from wire import bhttp, hpke, ohttp
from wire.session import KEY_FIELD, SessionMessageError, SessionResponse, decode_request, encode_next_key

MACHINE = guest()
CACHES = Caches()


@pytest.fixture
def enclave() -> Enclave:
    """A new enclave."""
    return Enclave(MACHINE)


def ready(enclave: Enclave, **wish: object) -> Ready:
    """A verified epoch key."""
    assurance = wish.get("assurance", Assurance.FRESH)
    assert isinstance(assurance, Assurance)
    start = Start(hardware.policy(), assurance, caches=CACHES)
    return start.present(enclave.get().body).verify(int(time.time()))


def finished(enclave: Enclave, opening: Opening) -> Session:
    """The session, by an honest host."""
    exchange = opening.exchange
    opening.receive(enclave.post(exchange.gateway_path, exchange.media_type, [exchange.body]).body)
    return opening.end(int(time.time()))


def answered(enclave: Enclave, opening: Opening, status: int, content: bytes) -> Session:
    """The session in an authentic answer that is whatever a test wants."""
    enclave.answered = lambda opened: opened.answer.whole(bhttp.ResponseHead(status, ()), content)  # type: ignore[method-assign]
    return finished(enclave, opening)


def test_a_session_has_its_keys_and_says_how_sure_it_is(enclave: Enclave) -> None:
    fresh = finished(enclave, ready(enclave).open(0.0))
    assert (fresh.keys_left, fresh.assurance) == (4, Assurance.FRESH)
    assert fresh.enclave.evidence.mode == 1
    cached = finished(enclave, ready(enclave, assurance=Assurance.CACHED).open(0.0))
    assert (cached.assurance, cached.enclave.evidence) == (Assurance.CACHED, enclave.evidence)
    assert [level.value for level in Assurance] == ["L0", "L1", "L2"]
    assert all(level.meaning for level in Assurance)


def test_a_session_of_no_assurance_is_not_asked_for() -> None:
    with pytest.raises(RuntimeError, match="more assurance"):
        Start(hardware.policy(), Assurance.KEY_LIST)


def test_evidence_that_has_expired_is_not_current(enclave: Enclave) -> None:
    verified = ready(enclave)
    assert verified.is_current(enclave.claims.expires_at - 1)
    assert not verified.is_current(enclave.claims.expires_at)


def test_session_requests_hold_nothing_of_a_user_and_are_all_alike(enclave: Enclave) -> None:
    verified = ready(enclave)
    bodies = {verified.open(0.0).exchange.body for _ in range(3)}
    assert len(bodies) == 3
    assert {len(body) for body in bodies} == {7 + 1120 + 2 + 1024 + 16 + 1 + 16}


@pytest.mark.parametrize("status", [400, 500, 503, 200])
def test_an_enclave_that_gives_no_session_is_not_a_wrong_one(enclave: Enclave, status: int) -> None:
    with pytest.raises(SessionRefusedError) as raised:
        answered(enclave, ready(enclave).open(0.0), status, b"{}")
    assert raised.value.status == status


@pytest.mark.parametrize("content", [b"", b"{}", b"x" * 200_000])
def test_what_is_no_session_is_a_wrong_one(enclave: Enclave, content: bytes) -> None:
    with pytest.raises(WrongSessionError):
        answered(enclave, ready(enclave).open(0.0), 201, content)


def test_a_name_that_leads_to_another_enclave_is_a_wrong_session(enclave: Enclave) -> None:
    opening = ready(enclave).open(0.0)
    honest = enclave.session

    def elsewhere(opened: object, content: bytes) -> bytes:
        assert decode_request(content).keys == 4
        document = honest(opened, content)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        name = document.split(b'"sid":"')[1][:22]
        return document.replace(name, b"AAAA" + name[4:])

    enclave.session = elsewhere  # type: ignore[method-assign]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(WrongSessionError, match="does not lead"):
        finished(enclave, opening)


def test_a_cut_session_response_is_none(enclave: Enclave) -> None:
    opening = ready(enclave).open(0.0)
    exchange = opening.exchange
    body = enclave.post(exchange.gateway_path, exchange.media_type, [exchange.body]).body
    opening.receive(body[:-1])
    with pytest.raises(TruncatedResponse):
        opening.end(0)
    opening = ready(enclave).open(0.0)
    with pytest.raises(TruncatedResponse):
        opening.end(0)


def session(enclave: Enclave) -> Session:
    """A session of four keys, opened at 0."""
    return finished(enclave, ready(enclave).open(0.0))


def test_keys_are_taken_once_and_then_there_are_none(enclave: Enclave) -> None:
    it = session(enclave)
    taken = [it.take(0.0).spend() for _ in range(4)]
    assert len({key.public_key for key in taken}) == 4
    with pytest.raises(NoKeyError):
        it.take(0.0)
    it.add(taken[0])
    assert it.take(0.0).spend() == taken[0]


def test_a_session_is_stale_before_its_time_or_its_requests_are_over(enclave: Enclave) -> None:
    enclave.session_seconds, enclave.session_requests = 100, 4
    it = session(enclave)
    assert it.seconds_until_stale(0.0) == 75.0
    for _ in range(2):
        it.take(0.0)
    assert it.seconds_until_stale(0.0) == 75.0
    it.take(0.0)
    assert (it.seconds_until_stale(0.0), it.is_over(0.0)) == (0.0, False)
    it.take(0.0)
    assert it.is_over(0.0)


def test_a_session_becomes_stale_and_then_is_over(enclave: Enclave) -> None:
    it = session(enclave)
    times = (0.0, REFRESH_SECONDS - 1, REFRESH_SECONDS, 3599.0, 3600.0)
    assert [it.seconds_until_stale(now) <= 0 for now in times] == [False, False, True, True, True]
    assert [it.is_over(now) for now in times] == [False, False, False, False, True]
    with pytest.raises(SessionOverError):
        it.take(3600.0)


def test_a_session_ends_with_its_last_request(enclave: Enclave) -> None:
    it = session(enclave)
    keys = [it.take(0.0).spend() for _ in range(4)]
    response = SessionResponse(it.identifier, ohttp.encode_key_list(tuple(keys)), 60, 2, b"{}")
    short = Session(it.enclave, Assurance.FRESH, response, tuple(keys), 0.0)
    short.take(0.0)
    short.take(0.0)
    with pytest.raises(SessionOverError):
        short.take(0.0)
    assert short.is_over(0.0)


def test_a_session_that_was_ended_has_no_keys(enclave: Enclave) -> None:
    it = session(enclave)
    it.end()
    assert it.keys_left == 0
    with pytest.raises(SessionOverError):
        it.take(0.0)


def test_an_answer_that_brings_a_key_that_is_none_is_tampered_with(enclave: Enclave) -> None:
    it = session(enclave)
    exchange = Exchange(it.take(0.0), "GET", "/v1/models", content=b"", content_type="")
    start = ohttp.HEAD_SIZE + hpke.Kem.X_WING.enc_size
    head = ohttp.RequestHead.decode(exchange.body[: ohttp.HEAD_SIZE])
    key = enclave.sessions.keys(it.identifier.text).find(head.key_id, 0.0).claim(exchange.encapsulated)
    opener = ohttp.RequestOpener(head, ohttp.Format.CHUNKED, key, exchange.encapsulated)
    opener.receive(exchange.body[start:])
    sealer = opener.response_sealer()
    message = bhttp.encode_response(bhttp.ResponseHead(200, ((KEY_FIELD, "AAAA"),)), b"")
    with pytest.raises(TamperedResponse, match="a key that is none"):
        exchange.receive(sealer.seal(message, last=False))


def test_a_key_is_replaced_by_the_one_of_its_number_alone(enclave: Enclave) -> None:
    it = session(enclave)
    first, second = it.take(0.0), it.take(0.0).spend()
    with pytest.raises(SessionMessageError):
        first.replaced(encode_next_key(second))
    first.replaced(encode_next_key(replace(second, key_id=1)))
    assert it.keys_left == 3
