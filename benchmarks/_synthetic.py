# SPDX-License-Identifier: Apache-2.0
"""Answers without a model: texts as tokens that come at random times, through the real shapers."""

import json
import random
import re
from collections.abc import Iterator

from benchmarks._texts import Text
from benchmarks._traces import Trace
from wire import bhttp
from wire.shaping import Buckets, BucketShaper, Frames, FrameShaper, Off, Shaping

TOKENS_PER_SECOND, MAX_TOKENS = 60, 400
SEALING_BYTES = 18  # of the tag and the length of a chunk
_TOKEN = re.compile(r" ?\w{1,6}| ?[^\w ]+| ")
_EVENT = {"id": "chatcmpl-0123456789abcdef01234567", "object": "chat.completion.chunk", "created": 1767225600}

Events = list[tuple[float, bytes]]


def trace(text: Text, shaping: Shaping, *, seed: int) -> Trace:
    """What is seen of this text as an answer."""
    events = list(_events(text.text, random.Random(seed)))  # noqa: S311 - arrival times, no secret
    times, sizes = zip(*_pieces(events, shaping), strict=True)
    return Trace(times, tuple(size + SEALING_BYTES for size in sizes), text.target)


def _events(text: str, chance: random.Random) -> Iterator[tuple[float, bytes]]:
    """Milliseconds and bytes of the event of each token."""
    now = 0.0
    for token in _TOKEN.findall(text)[:MAX_TOKENS]:
        now += chance.expovariate(TOKENS_PER_SECOND) * 1000
        document = _EVENT | {"model": "model", "choices": [{"index": 0, "delta": {"content": token}}]}
        yield now, f"data: {json.dumps(document, separators=(',', ':'))}\n\n".encode()


def _pieces(events: Events, shaping: Shaping) -> list[tuple[float, int]]:
    match shaping:
        case Frames():
            return _framed(events, shaping)
        case Buckets():
            return _bucketed(events, shaping)
        case Off():
            return [(when, len(bhttp.encode_content(event))) for when, event in events]


def _framed(events: Events, shaping: Frames) -> list[tuple[float, int]]:
    shaper, pieces, tick = FrameShaper(shaping), list[tuple[float, int]](), 0.0
    coming = iter(events)
    event = next(coming, None)
    while not shaper.done:
        tick += shaping.tick_milliseconds
        while event is not None and event[0] <= tick:
            shaper.push(event[1])
            event = next(coming, None)
            if event is None:
                shaper.finish()
        pieces.append((tick, len(shaper.tick())))
    return pieces


def _bucketed(events: Events, shaping: Buckets) -> list[tuple[float, int]]:
    shaper = BucketShaper(shaping)
    pieces = [(when, len(chunk)) for when, event in events for chunk in shaper.push(event)]
    return pieces + [(events[-1][0], len(chunk)) for chunk in shaper.finish()]
