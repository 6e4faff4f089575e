# SPDX-License-Identifier: Apache-2.0
"""Frames and buckets: sizes that tell nothing, and the same text whatever the sizes (wire.md 6.7)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire import bhttp
from wire.shaping import (
    DEFAULT,
    Buckets,
    BucketShaper,
    Frames,
    FrameShaper,
    Off,
    Shaping,
    ShapingError,
    parse_shaping,
)

few = settings(max_examples=200, deadline=None, derandomize=True)
HEAD = bhttp.encode_response_head(bhttp.ResponseHead(200, (("content-type", "text/event-stream"),)))
# A size is often just below what fills a frame of 510 bytes of content.
EVENT = st.one_of(st.integers(0, 1200), st.integers(490, 512)).map(
    lambda size: b"data: " + b"x" * size + b"\n\n"
)
# What each tick finds ready.
SCHEDULE = st.lists(st.lists(EVENT, max_size=4), max_size=24)
SIZES = st.sampled_from([256, 512, 1024, 2048])


def content_of(chunks: list[bytes]) -> bytes:
    """What a client reads from the chunks, which must be a complete message with padding."""
    decoder = bhttp.ResponseDecoder()
    events = decoder.receive(HEAD)
    for chunk in chunks:
        events += decoder.receive(chunk)
    events += decoder.end()
    assert isinstance(events[-1], bhttp.End)
    return b"".join(event.data for event in events if isinstance(event, bhttp.Content))


def without_comments(content: bytes) -> bytes:
    """The events that are none; every block must be a whole event or a whole comment."""
    *blocks, rest = content.split(b"\n\n")
    assert rest == b""
    assert all(block.startswith((b"data: ", b":")) for block in blocks)
    return b"".join(block + b"\n\n" for block in blocks if not block.startswith(b":"))


def framed(schedule: list[list[bytes]], size: int = 512) -> list[bytes]:
    shaper = FrameShaper(Frames(50, size))
    chunks: list[bytes] = []
    for events in schedule:
        for event in events:
            shaper.push(event)
        chunks.append(shaper.tick())
    shaper.finish()
    while not shaper.done:
        chunks.append(shaper.tick())
    return chunks


@pytest.mark.parametrize(
    ("value", "shaping"),
    [
        ("frame;ms=50;b=512", Frames()),
        ("frame", DEFAULT),
        ("frame;ms=1000;b=2048", Frames(1000, 2048)),
        ("bucket;b=256", Buckets()),
        ("bucket", Buckets(256)),
        ("off", Off()),
    ],
)
def test_the_field_is_read_and_written(value: str, shaping: Shaping) -> None:
    assert parse_shaping(value) == shaping
    assert parse_shaping(shaping.value) == shaping


@pytest.mark.parametrize(
    "value",
    [
        "",
        "none",
        "Frame",
        "frame;",
        "frame;ms=50",
        "frame;b=512;ms=50",
        "frame; ms=50; b=512",
        "frame;ms=50;b=513",
        "frame;ms=50;b=4096",
        "frame;ms=5;b=512",
        "frame;ms=09;b=512",
        "frame;ms=1001;b=512",
        "bucket;b=255",
        "off;b=256",
        "off\n",
    ],
)
def test_other_values_are_refused(value: str) -> None:
    with pytest.raises(ShapingError):
        parse_shaping(value)


@few
@given(SCHEDULE, SIZES)
def test_frames_hold_the_same_text_in_a_few_sizes(schedule: list[list[bytes]], size: int) -> None:
    chunks = framed(schedule, size)
    assert {len(chunk) for chunk in chunks} <= {size, 2 * size, 4 * size, 8 * size}
    assert len(chunks) % 16 == 0
    assert without_comments(content_of(chunks)) == b"".join(event for events in schedule for event in events)


@few
@given(SCHEDULE)
def test_each_tick_delivers_what_was_ready_as_far_as_it_fits(schedule: list[list[bytes]]) -> None:
    shaper, chunks = FrameShaper(), list[bytes]()
    decoder, received, pushed = bhttp.ResponseDecoder(), b"", b""
    decoder.receive(HEAD)
    for events in schedule:
        for event in events:
            shaper.push(event)
            pushed += event
        chunks.append(shaper.tick())
        received += b"".join(
            event.data for event in decoder.receive(chunks[-1]) if isinstance(event, bhttp.Content)
        )
        if shaper.backlog <= 2:  # the end of a comment at most
            blocks = (received + b"\n\n").split(b"\n\n")
            assert b"".join(block + b"\n\n" for block in blocks if block.startswith(b"data")) == pushed
        else:
            assert len(chunks[-1]) == 8 * 512


def test_a_frame_does_not_depend_on_the_length_of_what_it_holds() -> None:
    sizes = [
        [len(chunk) for chunk in framed([[b"data: " + b"x" * length + b"\n\n"]] * 20)]
        for length in (0, 1, 100, 400, 502)
    ]
    assert sizes == [[512] * 32] * 5


@pytest.mark.parametrize("left", range(6))
def test_room_of_any_size_is_filled(left: int) -> None:
    event = b"data: " + b"x" * (510 - 8 - left) + b"\n\n"
    chunks = framed([[event], [], [event], []])
    assert len(chunks[0]) == 512
    assert without_comments(content_of(chunks)) == event * 2


@pytest.mark.parametrize("left", range(6))
def test_the_end_fits_into_room_of_any_size(left: int) -> None:
    event = b"data: " + b"x" * (510 - 8 - left) + b"\n\n"
    shaper = FrameShaper()
    shaper.push(event)
    shaper.finish()
    chunks = [shaper.tick() for _ in range(2)]
    assert shaper.complete
    chunks += [shaper.tick() for _ in range(14)]
    assert shaper.done
    assert content_of(chunks) == event
    with pytest.raises(RuntimeError):
        shaper.tick()
    with pytest.raises(RuntimeError):
        shaper.push(event)


def test_an_event_in_pieces_waits_for_its_end() -> None:
    shaper = FrameShaper()
    shaper.push(b"data: one\n\ndata: t")
    chunks = [shaper.tick()]
    shaper.push(b"wo\n")
    chunks.append(shaper.tick())
    shaper.push(b"\n")
    chunks.append(shaper.tick())
    assert [b"two" in chunk for chunk in chunks] == [False, False, True]
    shaper.push(b"data: cut off")
    shaper.finish()
    while not shaper.done:
        chunks.append(shaper.tick())
    assert content_of(chunks).endswith(b"data: cut off")


def test_an_answer_without_text_has_a_group_of_frames_too() -> None:
    assert [len(chunk) for chunk in framed([])] == [512] * 16


@few
@given(SCHEDULE, SIZES)
def test_buckets_hold_the_same_text_in_multiples(schedule: list[list[bytes]], size: int) -> None:
    shaper, chunks = BucketShaper(Buckets(size)), list[bytes]()
    for events in schedule:
        pushed = b"".join(events)
        sent = shaper.push(pushed)
        assert bool(sent) == bool(pushed)
        chunks += sent
    chunks += shaper.finish()
    assert all(0 < len(chunk) <= 8192 and len(chunk) % size == 0 for chunk in chunks)
    assert without_comments(content_of(chunks)) == b"".join(event for events in schedule for event in events)
