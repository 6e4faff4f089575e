# SPDX-License-Identifier: Apache-2.0
"""Ticks, and what leaves at them."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.reply import SealedReply, wanted_shaping, wants_stream
from enclave.session import HEAD_BYTES, Aborted, AnswerSealer, Request, RequestReceiver
from enclave.shaping import MAX_BACKLOG_BYTES, Ticks
from tests.fakes.courier import chunk_borders, ends
from tests.fakes.gateway import request, sealed
from wire import bhttp, frames, ohttp
from wire.shaping import Buckets, Frames, FrameShaper, Off, Shaping, ShapingError

HONEST = ends()
FAST = Frames(10, 512)
SEALED_FRAME = 2 + 512 + 16
NONCE_BYTES = 32


class Recorder:
    """The host's side: sizes and times of what it gets; it may stop taking anything, or go away."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.times: list[float] = []
        self.open = asyncio.Event()
        self.open.set()
        self.gone = False
        self.start = asyncio.get_running_loop().time()
        self.third = asyncio.Event()

    async def send(self, data: bytes) -> None:
        """Take some bytes."""
        await self.open.wait()
        if self.gone:
            raise ConnectionResetError
        self.sent.append(data)
        if len(self.sent) == 3:
            self.third.set()
        self.times.append(asyncio.get_running_loop().time())


def answer_sealer(form: ohttp.Format = ohttp.Format.CHUNKED) -> tuple[ohttp.RequestSealer, AnswerSealer]:
    """Both ends of one answer."""
    sealer, body = sealed(HONEST.verified.key_configurations[0], request(), form=form)
    receiver = RequestReceiver(HONEST.ring, form.request_media_type)
    receiver.receive(body, 0.0)
    return sealer, receiver.end().answer


Scenario = Callable[[SealedReply, Recorder], Awaitable[None]]


def shaped(
    scenario: Scenario,
    shaping: Shaping = FAST,
    *,
    streamed: bool = True,
    form: ohttp.Format = ohttp.Format.CHUNKED,
) -> tuple[bhttp.ResponseHead, bytes, Recorder]:
    """Play a scenario; what the client reads, and what the host saw."""

    async def run() -> tuple[ohttp.RequestSealer, Recorder]:
        recorder = Recorder()
        sealer, answer = answer_sealer(form)
        reply = SealedReply(recorder.send, answer)
        reply.shape(shaping, streamed=streamed)
        await scenario(reply, recorder)
        await reply.drain()
        await reply.stop()
        return sealer, recorder

    sealer, recorder = asyncio.run(run())
    return *read(sealer, recorder), recorder


def body_of(recorder: Recorder) -> bytes:
    """The outer body."""
    reader = frames.AnswerHeadReader()
    assert reader.receive(b"".join(recorder.sent)) is not None
    return reader.rest


def read(sealer: ohttp.RequestSealer, recorder: Recorder) -> tuple[bhttp.ResponseHead, bytes]:
    """What the client reads."""
    opener, decoder = sealer.response_opener(), bhttp.ResponseDecoder()
    chunks = opener.receive(body_of(recorder)) + opener.end()
    events = [event for chunk in chunks for event in decoder.receive(chunk)] + decoder.end()
    (head,) = [event for event in events if isinstance(event, bhttp.ResponseHead)]
    return head, b"".join(event.data for event in events if isinstance(event, bhttp.Content))


def sizes(recorder: Recorder) -> list[int]:
    """The sizes of the sealed chunks."""
    borders = chunk_borders(body_of(recorder), NONCE_BYTES)
    return [end - start for start, end in itertools.pairwise(borders)]


def without_comments(content: bytes) -> bytes:
    """The events of a stream."""
    return b"".join(
        event + b"\n\n" for event in content.split(b"\n\n") if event and not event.startswith(b":")
    )


async def stream(reply: SealedReply, events: tuple[bytes, ...], pause: float = 0.0) -> None:
    """Answer with these events."""
    await reply.begin(200, "text/event-stream")
    for event in events:
        await asyncio.sleep(pause)
        await reply.write(event)
    await reply.end()


@settings(max_examples=200, deadline=None)
@given(
    st.floats(0, 1e6),
    st.sampled_from([0.01, 0.05, 1.0]),
    st.lists(st.floats(0, 5), min_size=1, max_size=30),
)
def test_ticks_never_drift_and_none_is_given_twice(start: float, period: float, delays: list[float]) -> None:
    ticks, now, before = Ticks(start, period), start, start
    for delay in delays:
        now += delay
        tick = ticks.following(now)
        number = round((tick - start) / period)
        assert tick == start + number * period
        assert tick > before
        assert tick >= now - period * 1e-6
        assert tick - max(now, before) <= period * (1 + 1e-6)
        before = now = max(tick, now)


@pytest.mark.parametrize(
    ("events", "pause"),
    [
        ((b"data: a\n\n", b"data: [DONE]\n\n"), 0.0),
        ((b"data: " + b"b" * 130 + b"\n\n",) * 3, 0.015),
        ((), 0.0),
    ],
)
def test_an_answer_leaves_in_frames_at_ticks_whatever_it_says(
    events: tuple[bytes, ...], pause: float
) -> None:
    head, content, recorder = shaped(lambda reply, _: stream(reply, events, pause))
    assert head.status == 200
    assert without_comments(content) == b"".join(events)
    assert sizes(recorder) == [2 + HEAD_BYTES + 16, *[SEALED_FRAME] * 16, 1 + 16]
    # None leaves before its tick; the empty last chunk follows the last frame at once.
    ticks = [(time - recorder.start) / 0.01 for time in recorder.times[:-1]]
    assert all(tick >= number + 0.9 for number, tick in enumerate(ticks))


def test_an_error_looks_like_a_short_stream() -> None:
    error = b'{"error":{"message":"no such model"}}'
    head, content, refused = shaped(lambda reply, _: reply.whole(404, "application/json", error))
    assert (head.status, content) == (404, error)
    busy_head, _, busy = shaped(
        lambda reply, _: reply.whole(429, "application/json", b"{}", retry_after_seconds=1)
    )
    assert dict(busy_head.fields)["retry-after"] == "1"
    _, _, answered = shaped(lambda reply, _: stream(reply, (b"data: a\n\n",)))
    assert sizes(refused) == sizes(busy) == sizes(answered)


def test_a_backlog_changes_sizes_by_multiples_alone() -> None:
    events = tuple(b"data: " + b"x" * 150 + b"\n\n" for _ in range(60))
    _, content, recorder = shaped(lambda reply, _: stream(reply, events))
    assert without_comments(content) == b"".join(events)
    inside = sizes(recorder)[1:-1]
    assert {(size - 18) // 512 for size in inside} <= {1, 2, 4, 8}
    assert all((size - 18) % 512 == 0 for size in inside)
    assert len(inside) % 16 == 0


def test_an_answer_in_one_piece_leaves_at_a_tick() -> None:
    async def answer(reply: SealedReply, recorder: Recorder) -> None:
        start = asyncio.get_running_loop().time()
        await reply.whole(200, "application/json", b"{}")
        assert recorder.times[0] - start >= 0.15

    head, content, recorder = shaped(answer, Frames(200, 512), streamed=False)
    assert (head.status, content) == (200, b"{}")
    assert len(recorder.sent) == 1


def test_buckets_hide_lengths_and_off_hides_nothing() -> None:
    events = (b"data: a\n\n", b"data: " + b"b" * 100 + b"\n\n", b"data: " + b"c" * 300 + b"\n\n")
    _, content, recorder = shaped(lambda reply, _: stream(reply, events), Buckets(256))
    assert without_comments(content) == b"".join(events)
    assert sizes(recorder)[1:4] == [256 + 18, 256 + 18, 512 + 18]
    _, content, recorder = shaped(lambda reply, _: stream(reply, events), Off())
    assert content == b"".join(events)
    assert len(set(sizes(recorder)[1:4])) == 3


def test_an_unchunked_answer_is_kept_back_and_padded() -> None:
    _, content, recorder = shaped(lambda reply, _: stream(reply, (b"data: a\n\n",)), form=ohttp.Format.WHOLE)
    assert content == b"data: a\n\n"
    assert len(recorder.sent) == 1
    assert len(body_of(recorder)) == NONCE_BYTES + 1024 + 16


def test_a_client_that_takes_nothing_stops_the_writer_and_not_the_memory() -> None:
    async def answer(reply: SealedReply, recorder: Recorder) -> None:
        await reply.begin(200, "text/event-stream")
        recorder.open.clear()
        written = 0

        async def write() -> None:
            nonlocal written
            for _ in range(200):
                await reply.write(b"data: " + b"x" * 990 + b"\n\n")
                written += 998

        writing = asyncio.ensure_future(write())
        await asyncio.sleep(0.1)
        assert MAX_BACKLOG_BYTES - 2 * 998 <= written <= MAX_BACKLOG_BYTES
        recorder.open.set()
        await writing
        await reply.end()

    _, content, _ = shaped(answer)
    assert len(without_comments(content)) == 200 * 998


async def stream_on(reply: SealedReply) -> None:
    """Write more than may wait."""
    for _ in range(100):
        await reply.write(b"data: " + b"x" * 990 + b"\n\n")


def test_a_client_that_went_away_stops_the_writer() -> None:
    async def run() -> None:
        recorder = Recorder()
        reply = SealedReply(recorder.send, answer_sealer()[1])
        reply.shape(FAST, streamed=True)
        await reply.begin(200, "text/event-stream")
        recorder.gone = True
        with pytest.raises(ConnectionResetError):
            await stream_on(reply)
        assert not reply.complete
        await reply.stop()

    asyncio.run(run())


def test_an_answer_is_complete_before_its_last_zeros() -> None:
    async def answer(reply: SealedReply, recorder: Recorder) -> None:
        await stream(reply, (b"data: a\n\n",))
        assert not reply.complete
        await recorder.third.wait()
        assert reply.complete

    shaped(answer)


def test_a_stream_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enclave.reply.MAX_STREAM_BYTES", 10)

    async def answer(reply: SealedReply, _: Recorder) -> None:
        await reply.begin(200, "text/event-stream")
        with pytest.raises(Aborted):
            await reply.write(b"data: more\n\n")
        await reply.end()

    shaped(answer)


def test_only_events_are_shaped() -> None:
    async def answer(reply: SealedReply, _: Recorder) -> None:
        with pytest.raises(RuntimeError):
            await reply.write(b"early")
        with pytest.raises(RuntimeError):
            await reply.begin(200, "audio/mpeg")
        await stream(reply, ())

    shaped(answer)


def asked(content: bytes, **fields: str) -> Request:
    """A request with these fields."""
    return Request("POST", "/", {name.replace("_", "-"): value for name, value in fields.items()}, content)


@pytest.mark.parametrize(
    ("content", "streamed"),
    [
        (b'{"stream":true}', True),
        (b'{"stream":false}', False),
        (b'{"messages":["stream"]}', False),
        (b'{"stream":"yes"}', False),
        (b"{", False),
        (b"\xff", False),
        (b"", False),
    ],
)
def test_a_stream_is_what_the_body_asks_for(content: bytes, streamed: bool) -> None:
    assert wants_stream(asked(content)) is streamed


def test_frames_are_what_a_client_gets_that_asks_for_nothing() -> None:
    assert wanted_shaping(asked(b"")) == Frames(50, 512)
    assert wanted_shaping(asked(b"", a_ohttp_shaping="off")) == Off()
    with pytest.raises(ShapingError):
        wanted_shaping(asked(b"", a_ohttp_shaping="none"))
    assert FrameShaper().complete is False
