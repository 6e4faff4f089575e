# SPDX-License-Identifier: Apache-2.0
"""Events in an authenticated stream, wherever its pieces end."""

import itertools
import json
from collections.abc import Generator, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attestation.policy import default_policy
from sottovoce.chat import ApiError, Turn, deltas, texts
from sottovoce.session import AnswerError, Content, Event, Head, TruncatedResponse
from sottovoce.transport import Connection, UnreachableError

few = settings(max_examples=100, deadline=None, derandomize=True)
CUTS = st.lists(st.integers(0, 2000), max_size=12)
OK = Head(200, {"content-type": "text/event-stream"})


def event(document: object) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def delta(**members: str | None) -> bytes:
    return event({"choices": [{"index": 0, "delta": members, "finish_reason": None}]})


def split(data: bytes, cuts: list[int]) -> Iterator[Event]:
    yield OK
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, end in itertools.pairwise(places):
        yield Content(data[start:end])


@few
@given(st.lists(st.text(), max_size=6), CUTS)
def test_any_split_of_a_stream_gives_the_same_texts(texts: list[str], cuts: list[int]) -> None:
    stream = delta(role="assistant", content="") + b"".join(delta(content=text) for text in texts)
    stream += b": still there\n\n" + delta() + event({"choices": [], "usage": {}}) + b"data: [DONE]\n\n"
    assert list(deltas(split(stream, cuts))) == [text for text in texts if text]


def test_texts_come_as_soon_as_their_event_is_complete() -> None:
    def events() -> Iterator[Event]:
        yield OK
        yield Content(delta(content="one") + delta(content="two")[:-1])
        reached.append("second piece")
        yield Content(b"\n")

    reached: list[str] = []
    texts = deltas(events())
    assert next(texts) == "one"
    assert reached == []
    assert list(texts) == ["two"]


def test_content_that_is_null_or_missing_is_no_text() -> None:
    assert list(deltas(split(delta(content=None) + delta() + delta(content="x"), []))) == ["x"]


@few
@given(CUTS)
def test_an_error_in_the_stream_ends_it(cuts: list[int]) -> None:
    stream = (
        delta(content="begun") + event({"error": {"message": "the engine stopped"}}) + delta(content="no")
    )
    texts = deltas(split(stream, cuts))
    assert next(texts) == "begun"
    with pytest.raises(ApiError, match=r"the engine stopped \(500\)"):
        next(texts)


@pytest.mark.parametrize("error", [ApiError, TruncatedResponse, None])
def test_an_exchange_is_over_when_its_texts_are(error: type[Exception] | None) -> None:
    """It is not left to the garbage collector."""
    ended: list[bool] = []

    def events() -> Generator[Event]:
        try:
            yield OK
            yield Content(delta(content="begun"))
            if error is TruncatedResponse:
                raise TruncatedResponse
            yield Content(event({"error": {"message": "the engine stopped"}}))
        finally:
            ended.append(True)

    reading = texts(events())
    assert next(reading) == "begun"
    if error is None:
        reading.close()
    else:
        with pytest.raises(error) as raised:  # it has a traceback, which keeps all that was open alive
            next(reading)
        assert not isinstance(raised.value, AnswerError) or raised.value.partial == "begun"
    assert ended == [True]


def test_an_error_in_place_of_a_stream_has_its_status_and_sentence() -> None:
    body = json.dumps({"error": {"message": "too many requests wait"}}).encode()
    with pytest.raises(ApiError, match=r"too many requests wait \(429\)") as raised:
        list(deltas(iter((Head(429, {}), Content(body[:9]), Content(body[9:])))))
    assert raised.value.status == 429


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"error": 7}', b"\xff"])
def test_an_error_without_a_sentence_is_an_error_all_the_same(body: bytes) -> None:
    with pytest.raises(ApiError, match=r"the enclave refused \(400\)"):
        list(deltas(iter((Head(400, {}), Content(body)))))


def test_what_was_said_is_in_no_representation() -> None:
    assert "secret" not in repr(Turn("user", "secret")) + repr(Content(b"secret"))


def test_an_impossible_address_cannot_be_reached() -> None:
    with pytest.raises(UnreachableError, match="there can be no host at"):
        Connection("http://[::1::]", default_policy())


@pytest.mark.parametrize("url", ["http://a..b", f"http://{'a' * 70}.example"])
def test_a_name_that_no_host_can_have_cannot_be_reached(url: str) -> None:
    with Connection(url, default_policy()) as connection, pytest.raises(UnreachableError):
        connection.verify()
