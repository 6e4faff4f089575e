# SPDX-License-Identifier: Apache-2.0
"""Sessions and their one-time keys: states, bounds, and their end."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from enclave.keys import UnknownKeyError
from enclave.session import Opened, OuterAnswer, Refused, Request, RequestReceiver
from enclave.sessions import OneTimeKey, Session, SessionKeys, Sessions, make_session
from tests.fakes.gateway import PROMPT, request, sealed
from wire import bhttp, ohttp
from wire.session import (
    KEY_FIELD,
    MAX_SESSION_REQUESTS,
    MAX_TTL_SECONDS,
    decode_next_key,
    decode_session_id,
    decode_session_keys,
)

TAG = b"rout"


def opened_session(sessions: Sessions, count: int = 1, now: float = 0.0) -> Session:
    """A session in force."""
    session = make_session(TAG, count)
    sessions.add(session, now)
    return session


def keys_of(sessions: Sessions, session: Session) -> SessionKeys:
    """Its keys, as its outer path leads to them."""
    return sessions.keys(session.identifier.text)


def exchange(keys: SessionKeys, body: bytes, now: float = 0.0) -> Opened:
    """What comes of a body."""
    receiver = RequestReceiver(keys, ohttp.CHUNKED_REQUEST)
    try:
        receiver.receive(body, now)
        return receiver.end()
    finally:
        receiver.abandon()


def refusal(keys: SessionKeys, body: bytes, now: float = 0.0) -> OuterAnswer:
    """How a body is refused."""
    with pytest.raises(Refused) as refused:
        exchange(keys, body, now)
    return refused.value.answer


def claimed(keys: SessionKeys, key_id: int = 1, now: float = 0.0) -> OneTimeKey:
    """A key in a request."""
    key = keys.find(key_id, now)
    key.claim(b"")
    return key


def test_a_name_begins_with_the_route_tag_and_the_rest_is_random() -> None:
    first, second = make_session(TAG, 1), make_session(TAG, 1)
    assert first.identifier.route_tag == second.identifier.route_tag == TAG
    assert first.identifier != second.identifier
    assert decode_session_id(first.identifier.text) == first.identifier


def test_a_key_opens_one_request_and_the_answer_brings_the_next_one() -> None:
    sessions = Sessions()
    session = opened_session(sessions, 2)
    keys = keys_of(sessions, session)
    (first, second) = decode_session_keys(session.key_list, 2)
    for number in range(3):
        sealer, body = sealed(first, request())
        opened = exchange(keys, body)
        assert isinstance(opened.request, Request)
        assert (opened.request.content, opened.request.session) == (PROMPT, session.identifier.raw)
        assert refusal(keys, body) is OuterAnswer.MALFORMED  # the refilled key does not open it
        answer = opened.answer.whole(_ok(), b"yes")
        first = decode_next_key(_fields(sealer, answer)[KEY_FIELD], 1)
        assert session.opened == number + 1
    assert isinstance(exchange(keys, sealed(second, request())[1]).request, Request)


def test_garbage_burns_no_key() -> None:
    sessions = Sessions()
    session = opened_session(sessions)
    keys = keys_of(sessions, session)
    (configuration,) = decode_session_keys(session.key_list, 1)
    body = sealed(configuration, request())[1]
    for position in (10, 500, 1130, 1140, 1500):
        spoiled = bytearray(body)
        spoiled[position] ^= 4
        assert refusal(keys, bytes(spoiled)) is OuterAnswer.MALFORMED
    assert refusal(keys, body[:1200]) is OuterAnswer.MALFORMED
    assert isinstance(exchange(keys, body).request, Request)


def test_a_claimed_key_is_in_no_table_and_comes_back_when_its_request_is_abandoned() -> None:
    sessions = Sessions()
    session = opened_session(sessions)
    keys = keys_of(sessions, session)
    second = keys.find(1, 0.0)
    key = claimed(keys)
    with pytest.raises(UnknownKeyError):
        keys.find(1, 0.0)
    with pytest.raises(UnknownKeyError):
        second.claim(b"")
    key.abandon()
    key.abandon()
    assert claimed(keys).session == session.identifier.raw


def test_a_key_that_opened_does_not_come_back() -> None:
    sessions = Sessions()
    keys = keys_of(sessions, opened_session(sessions))
    key = claimed(keys)
    key.opened()
    key.abandon()
    with pytest.raises(UnknownKeyError):
        keys.find(1, 0.0)


def test_an_evicted_session_takes_no_key_back() -> None:
    sessions = Sessions(max_sessions=1)
    evicted = opened_session(sessions)
    key = claimed(keys_of(sessions, evicted))
    opened_session(sessions)
    key.abandon()
    assert not evicted.live
    other = Sessions(max_sessions=1)
    session = opened_session(other)
    key = claimed(keys_of(other, session))
    opened_session(other)
    key.opened()  # it was authentic when it was claimed
    assert key.next_key(0.0) is None


def test_the_longest_idle_session_is_evicted() -> None:
    sessions = Sessions(max_sessions=3)
    first, second, third = (opened_session(sessions) for _ in range(3))
    claimed(keys_of(sessions, first)).opened()
    claimed(keys_of(sessions, third)).abandon()  # garbage does not keep a session
    opened_session(sessions)
    assert [session.ended for session in (first, second, third)] == [False, True, False]
    opened_session(sessions)
    assert [session.ended for session in (first, second, third)] == [False, True, True]


def test_keys_are_bounded_too() -> None:
    sessions = Sessions(max_live_keys=10)
    opened_session(sessions, 6)
    opened_session(sessions, 4)
    assert (sessions.size, sessions.most_live_keys) == (2, 10)
    opened_session(sessions, 1)
    assert (sessions.size, sessions.most_live_keys) == (2, 5)


def test_a_session_ends_at_its_lifetime() -> None:
    sessions = Sessions()
    session = opened_session(sessions, now=5.0)
    keys = keys_of(sessions, session)
    keys.find(1, 4.9 + MAX_TTL_SECONDS)
    with pytest.raises(UnknownKeyError):
        keys.find(1, 5.0 + MAX_TTL_SECONDS)
    assert (session.live, sessions.size, sessions.most_live_keys) == ({}, 0, 0)
    late = opened_session(sessions, now=10.0)
    sessions.expire(10.0 + MAX_TTL_SECONDS)
    assert late.ended


def test_a_session_ends_after_its_last_request() -> None:
    sessions = Sessions()
    session = opened_session(sessions, 2)
    keys = keys_of(sessions, session)
    for _ in range(MAX_SESSION_REQUESTS - 1):
        key = claimed(keys)
        key.opened()
        assert key.next_key(0.0) is not None
    last, more = keys.find(1, 0.0), keys.find(2, 0.0)
    last.claim(b"")
    with pytest.raises(UnknownKeyError):
        more.claim(b"")
    last.opened()
    assert last.next_key(0.0) is None
    assert session.ended
    with pytest.raises(UnknownKeyError):
        keys.find(2, 0.0)


@pytest.mark.parametrize("name", ["", "x", "A" * 22, "A" * 23, "=" * 22, "../../../etc/passwd"])
def test_a_name_that_names_nothing_leads_to_no_key(name: str) -> None:
    sessions = Sessions()
    opened_session(sessions)
    with pytest.raises(UnknownKeyError):
        sessions.keys(name).find(1, 0.0)


def test_a_key_does_not_show_itself() -> None:
    sessions = Sessions()
    session = opened_session(sessions)
    claimed(keys_of(sessions, session))
    assert "PrivateKey" not in repr(session)
    assert "XWing" not in repr(session)


class Machine(RuleBasedStateMachine):
    """Sessions under requests in any order: bounds hold, and no key opens twice."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sessions = Sessions(max_sessions=3, max_live_keys=5)
        self.made: list[Session] = []
        self.held: list[OneTimeKey] = []

    @rule(count=st.integers(1, 2))
    def open(self, count: int) -> None:
        """A client opens a session."""
        self.made.append(opened_session(self.sessions, count, self.now))

    @rule(seconds=st.sampled_from([1.0, 1800.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.sessions.expire(self.now)

    @rule(which=st.integers(0, 5), key_id=st.integers(0, 3))
    def claim(self, which: int, key_id: int) -> None:
        """A request arrives."""
        if which < len(self.made):
            try:
                self.held.append(claimed(keys_of(self.sessions, self.made[-1 - which]), key_id, self.now))
            except UnknownKeyError:
                return

    @rule(opens=st.booleans())
    def finish(self, opens: bool) -> None:
        """A request opens, or does not."""
        if self.held:
            key = self.held.pop(0)
            if opens:
                key.opened()
                key.next_key(self.now)
            key.abandon()

    @invariant()
    def bounded(self) -> None:
        """No more sessions and keys than allowed; what is not in the table has no key."""
        living = [session for session in self.made if not session.ended]
        assert len(living) == self.sessions.size <= 3
        assert self.sessions.most_live_keys == sum(session.count for session in living) <= 5
        for session in self.made:
            held = sum(key.session == session.identifier.raw for key in self.held)
            assert session.claimed == held
            assert len(session.live) + held <= session.count or session.ended
            assert not (session.ended and session.live)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def _ok() -> bhttp.ResponseHead:
    return bhttp.ResponseHead(200, ())


def _fields(sealer: ohttp.RequestSealer, answer: bytes) -> dict[str, str]:
    opener, decoder = sealer.response_opener(), bhttp.ResponseDecoder()
    chunks = opener.receive(answer) + opener.end()
    events = [event for chunk in chunks for event in decoder.receive(chunk)]
    (head,) = [event for event in events if isinstance(event, bhttp.ResponseHead)]
    return dict(head.fields)
