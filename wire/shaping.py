# SPDX-License-Identifier: Apache-2.0
"""What a stream looks like from outside: frames of one size at a fixed tick, or buckets (wire.md 6.7).

    a-ohttp-shaping: frame;ms=50;b=512        the default
    a-ohttp-shaping: bucket;b=256
    a-ohttp-shaping: off

Room that no text needs is filled with comments of server-sent events, which every client skips, and after
the end of the message with zeros, which are Binary HTTP's own padding. So clients need to know nothing of it.
"""

import re
from dataclasses import dataclass
from typing import Final

from wire import bhttp

SHAPING_FIELD: Final = "a-ohttp-shaping"

TICK_MILLISECONDS: Final = 50
FRAME_BYTES: Final = 512
BUCKET_BYTES: Final = 256
# One chunk of eight frames still is one that every receiver takes, and a frame's content has a length of two.
SIZES: Final = frozenset({256, 512, 1024, 2048})
MIN_TICK_MILLISECONDS, MAX_TICK_MILLISECONDS = 10, 1000
MULTIPLES: Final = (1, 2, 4, 8)
FRAMES_PER_GROUP: Final = 16
MAX_BUCKET_CHUNK: Final = 8192

_LENGTH_SIZE: Final = 2  # of the varint before 64 to 16383 bytes
_EVENT_END: Final = b"\n\n"
_SMALLEST_COMMENT: Final = len(b":" + _EVENT_END)
_TERMINATORS: Final = bhttp.encode_end()
_FORM: Final = re.compile(
    "off|frame(;ms=(?P<ms>[0-9]{2,4});b=(?P<frame>[0-9]{3,4}))?|bucket(;b=(?P<bucket>[0-9]{3,4}))?"
)


class ShapingError(Exception):
    """A value of `a-ohttp-shaping` that is none of the forms above."""


@dataclass(frozen=True, slots=True)
class Frames:
    """One frame of a fixed size at each tick."""

    tick_milliseconds: int = TICK_MILLISECONDS
    size_bytes: int = FRAME_BYTES

    @property
    def value(self) -> str:
        """How it is written in the field."""
        return f"frame;ms={self.tick_milliseconds};b={self.size_bytes}"


@dataclass(frozen=True, slots=True)
class Buckets:
    """Everything at once, in multiples of a size: times show, lengths nearly not."""

    size_bytes: int = BUCKET_BYTES

    @property
    def value(self) -> str:
        """How it is written in the field."""
        return f"bucket;b={self.size_bytes}"


@dataclass(frozen=True, slots=True)
class Off:
    """Everything at once, as long as it is."""

    @property
    def value(self) -> str:
        """How it is written in the field."""
        return "off"


Shaping = Frames | Buckets | Off
DEFAULT: Final = Frames()


def parse_shaping(value: str) -> Shaping:
    """Return what a client asks for in the field `a-ohttp-shaping`. Raises ShapingError.

    Sizes are 256, 512, 1024 or 2048 bytes, and a tick takes 10 to 1000 ms.
    """
    form = _FORM.fullmatch(value)
    if form is None:
        raise ShapingError("shaping is none of frame;ms=50;b=512, bucket;b=256 and off")
    if value == "off":
        return Off()
    if value.startswith("bucket"):
        return Buckets(_size(form["bucket"] or str(BUCKET_BYTES)))
    tick = int(form["ms"] or TICK_MILLISECONDS)
    if not MIN_TICK_MILLISECONDS <= tick <= MAX_TICK_MILLISECONDS:
        raise ShapingError(f"a tick takes {MIN_TICK_MILLISECONDS} to {MAX_TICK_MILLISECONDS} ms")
    return Frames(tick, _size(form["frame"] or str(FRAME_BYTES)))


def _size(digits: str) -> int:
    if int(digits) not in SIZES:
        raise ShapingError("a frame or bucket has 256, 512, 1024 or 2048 bytes")
    return int(digits)


class FrameShaper:
    """Gives the plaintext of each tick, between a response's head and the empty last chunk.

    Each is one chunk of 1, 2, 4 or 8 times the frame's size, and their number is a multiple of 16. After
    `finish`, text that is still there goes first, then zeros.
    """

    def __init__(self, frames: Frames = DEFAULT) -> None:
        self._size = frames.size_bytes
        self._text = _Text()
        self._ticks = 0

    @property
    def backlog(self) -> int:
        """How many bytes of text wait, for a sender to stop at some number."""
        return self._text.waiting

    @property
    def complete(self) -> bool:
        """Whether the end of the message has left: a client that goes away now has all of it."""
        return self._text.complete

    @property
    def done(self) -> bool:
        """Whether the message is complete and the last group too: now the empty last chunk follows."""
        return self._text.complete and self._ticks % FRAMES_PER_GROUP == 0

    def push(self, events: bytes) -> None:
        """Take text of server-sent events. What follows the last blank line waits for its event."""
        self._text.push(events)

    def finish(self) -> None:
        """No more text will come."""
        self._text.finish()

    def tick(self) -> bytes:
        """Return the plaintext of the next chunk. Raises RuntimeError when done."""
        if self.done:
            raise RuntimeError("tick after the last frame")
        self._ticks += 1
        fitting = (k for k in MULTIPLES if k * self._size - _LENGTH_SIZE >= self._text.ready)
        return self._text.take(self._size * next(fitting, MULTIPLES[-1]))


class BucketShaper:
    """Gives the plaintext of the chunks that hold some text, each a multiple of the bucket's size."""

    def __init__(self, buckets: Buckets | None = None) -> None:
        self._size = (buckets or Buckets()).size_bytes
        self._text = _Text()

    def push(self, events: bytes) -> list[bytes]:
        """Return the chunks for what is complete now, up to the last blank line."""
        self._text.push(events)
        return self._take_ready()

    def finish(self) -> list[bytes]:
        """Return the last chunks, with the end of the message; the empty last chunk follows them."""
        self._text.finish()
        chunks = self._take_ready()
        while not self._text.complete:
            chunks.append(self._text.take(self._size))
        return chunks

    def _take_ready(self) -> list[bytes]:
        chunks: list[bytes] = []
        while self._text.fresh:
            needed = min(self._text.ready + _LENGTH_SIZE, MAX_BUCKET_CHUNK)
            chunks.append(self._text.take(-(-needed // self._size) * self._size))
        return chunks


class _Text:
    """Text of events on its way out, in pieces of exactly the sizes asked for."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._carried = 0
        self._zeros = 0
        self._ended = False
        self.ready = 0

    @property
    def waiting(self) -> int:
        """How many bytes have not left yet."""
        return len(self._buffer)

    @property
    def fresh(self) -> int:
        """How many bytes may leave, but for the end of a comment."""
        return self.ready - self._carried

    @property
    def complete(self) -> bool:
        """Whether all text has left, and the terminators of the message behind it."""
        return self._ended and not self._buffer and self._zeros >= len(_TERMINATORS)

    def push(self, events: bytes) -> None:
        if self._ended:
            raise RuntimeError("text after the end")
        start = max(len(self._buffer) - 1, self.ready)
        self._buffer += events
        end = self._buffer.rfind(_EVENT_END, start)
        if end >= 0:
            self.ready = end + len(_EVENT_END)

    def finish(self) -> None:
        """A last event that is not complete leaves as it is; what follows it is zeros, not a comment."""
        self._ended = True
        self.ready = len(self._buffer)

    def take(self, size: int) -> bytes:
        """Return exactly this many bytes of Binary HTTP: one piece of content, or its end, or both."""
        content = bytes(self._buffer[: min(self.ready, size - _LENGTH_SIZE)])
        del self._buffer[: len(content)]
        self.ready -= len(content)
        self._carried = 0
        if self._ended and not self._buffer:
            # The terminators are zeros like the padding, so a frame may end between or before them.
            message = bhttp.encode_content(content)
            self._zeros += size - len(message)
            return message.ljust(size, b"\0")
        return bhttp.encode_content(content + self._comment(size - _LENGTH_SIZE - len(content)))

    def _comment(self, size: int) -> bytes:
        """A comment of this size; one too small to end here ends at the beginning of the next piece."""
        if size >= _SMALLEST_COMMENT or size == 0:
            return (b":".ljust(size - len(_EVENT_END)) + _EVENT_END) if size else b""
        self._buffer[:0] = _EVENT_END
        self._carried = len(_EVENT_END)
        self.ready += self._carried
        return b":".ljust(size)
