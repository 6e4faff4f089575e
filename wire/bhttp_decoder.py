# SPDX-License-Identifier: Apache-2.0
"""Reads Binary HTTP as its bytes arrive (RFC 9292, wire.md 2.3, 6.8 and 7.15-7.17).

The steps below are generators that stop where bytes are missing and go on when more have come, so how the
bytes were split cannot change what is read. Content is passed on as it comes; only heads are collected.
"""

from collections.abc import Callable, Generator
from typing import TypeVar

from wire import varint
from wire.http_message import (
    MAX_HEAD_BYTES,
    Content,
    End,
    Event,
    Fields,
    Framing,
    MessageError,
    RequestHead,
    ResponseHead,
    checked_fields,
    checked_request_head,
    checked_response_head,
)

_Result = TypeVar("_Result")
# Yields whenever it needs more bytes, and at last returns its result.
_Step = Generator[None, None, _Result]


class _Source:
    """The bytes that have come and were not read yet."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ended = False
        self._limit = 0
        self.position = 0

    def feed(self, data: bytes, *, ended: bool) -> None:
        self._buffer += data
        self._ended = ended

    def allow(self, size: int) -> None:
        """Let `take` read this many bytes from here on."""
        self._limit = self.position + size

    def end_of(self, size: int) -> int:
        """Return the position behind a section of this size, which must be allowed."""
        if self.position + size > self._limit:
            raise MessageError("section is longer than allowed")
        return self.position + size

    def at_end(self) -> _Step[bool]:
        """Return whether no byte is left. Waits for the next byte or the end."""
        while not self._buffer:
            if self._ended:
                return True
            yield
        return False

    def take(self, size: int) -> _Step[bytes]:
        """Return exactly this many bytes. Whether they are allowed is checked before any is waited for."""
        self.end_of(size)
        while len(self._buffer) < size:
            if self._ended:
                raise MessageError("message ends early")
            yield
        return self._remove(size)

    def some(self, size: int) -> _Step[bytes]:
        """Return the next bytes, at least one and at most this many."""
        if (yield from self.at_end()):
            raise MessageError("message ends early")
        return self._remove(min(size, len(self._buffer)))

    def varint(self) -> _Step[int]:
        if self._buffer and varint.size_of(self._buffer[0]) == 1 and self.position < self._limit:
            return self._remove(1)[0]  # nearly all numbers in a message are of this form
        first = yield from self.take(1)
        rest = yield from self.take(varint.size_of(first[0]) - 1)
        value, _ = varint.decode(first + rest)
        return value

    def text(self) -> _Step[str]:
        size = yield from self.varint()
        encoded = yield from self.take(size)
        return encoded.decode("latin-1")

    def _remove(self, size: int) -> bytes:
        removed = bytes(self._buffer[:size])
        del self._buffer[:size]
        self.position += size
        return removed


# Reads up to the content; returns the head, and whether the sections announce their lengths.
_ReadHead = Callable[[_Source], _Step[tuple[Event, bool]]]


class _Decoder:
    """Drives the steps of one message."""

    def __init__(self, read_head: _ReadHead) -> None:
        self._source = _Source()
        self._events: list[Event] = []
        self._steps = self._message(read_head)
        self._spent = False

    def advance(self, data: bytes, *, ended: bool) -> list[Event]:
        if self._spent:
            raise RuntimeError("decoder used after its end or after an error")
        # Only success before the end takes this back.
        self._spent = True
        self._source.feed(data, ended=ended)
        next(self._steps, None)
        self._spent = ended
        events, self._events = self._events, []
        return events

    def _message(self, read_head: _ReadHead) -> _Step[None]:
        source = self._source
        source.allow(MAX_HEAD_BYTES)
        head, known = yield from read_head(source)
        self._events.append(head)
        yield from self._known_content() if known else self._open_content()
        source.allow(MAX_HEAD_BYTES)
        trailers = yield from _fields(source, known=known)
        self._events.append(End(trailers))
        while not (yield from source.at_end()):
            if (yield from source.some(MAX_HEAD_BYTES)).strip(b"\0"):
                raise MessageError("padding is not zero")

    def _known_content(self) -> _Step[None]:
        self._source.allow(varint.MAX_SIZE)
        yield from self._content((yield from _known_size(self._source)))

    def _open_content(self) -> _Step[None]:
        self._source.allow(varint.MAX_SIZE)
        while size := (yield from self._source.varint()):
            yield from self._content(size)
            self._source.allow(varint.MAX_SIZE)

    def _content(self, size: int) -> _Step[None]:
        while size:
            data = yield from self._source.some(size)
            self._events.append(Content(data))
            size -= len(data)


class RequestDecoder:
    """Reads one request, in either framing."""

    def __init__(self) -> None:
        self._decoder = _Decoder(_request_head)

    def receive(self, data: bytes) -> list[Event]:
        """Return what these bytes complete. Raises MessageError, and RuntimeError when called after that."""
        return self._decoder.advance(data, ended=False)

    def end(self) -> list[Event]:
        """Return what the end of the bytes completes. Raises MessageError when the message ends early."""
        return self._decoder.advance(b"", ended=True)


class ResponseDecoder:
    """Reads one response, in either framing. Informational ones before it are checked and dropped."""

    def __init__(self) -> None:
        self._decoder = _Decoder(_response_head)

    def receive(self, data: bytes) -> list[Event]:
        """Return what these bytes complete. Raises MessageError, and RuntimeError when called after that."""
        return self._decoder.advance(data, ended=False)

    def end(self) -> list[Event]:
        """Return what the end of the bytes completes. Raises MessageError when the message ends early."""
        return self._decoder.advance(b"", ended=True)


def _request_head(source: _Source) -> _Step[tuple[Event, bool]]:
    framing = yield from source.varint()
    if framing not in (Framing.KNOWN_REQUEST, Framing.OPEN_REQUEST):
        raise MessageError(f"framing {framing} is not that of a request")
    known = framing == Framing.KNOWN_REQUEST
    method = yield from source.text()
    scheme = yield from source.text()
    authority = yield from source.text()
    path = yield from source.text()
    fields = yield from _fields(source, known=known)
    return checked_request_head(RequestHead(method, scheme, authority, path, fields)), known


def _response_head(source: _Source) -> _Step[tuple[Event, bool]]:
    framing = yield from source.varint()
    if framing not in (Framing.KNOWN_RESPONSE, Framing.OPEN_RESPONSE):
        raise MessageError(f"framing {framing} is not that of a response")
    known = framing == Framing.KNOWN_RESPONSE
    # All heads together stay within the limit of one, so the number of informational ones is bounded too.
    status = yield from source.varint()
    while 100 <= status < 200:
        yield from _fields(source, known=known)
        status = yield from source.varint()
    fields = yield from _fields(source, known=known)
    return checked_response_head(ResponseHead(status, fields)), known


def _fields(source: _Source, *, known: bool) -> _Step[Fields]:
    fields = yield from _known_fields(source) if known else _open_fields(source)
    return checked_fields(fields)


def _known_fields(source: _Source) -> _Step[Fields]:
    end = source.end_of((yield from _known_size(source)))
    fields: list[tuple[str, str]] = []
    while source.position < end:
        name_size = yield from source.varint()
        fields.append((yield from _field(source, name_size)))
    if source.position > end:
        raise MessageError("field runs past the end of its section")
    return tuple(fields)


def _open_fields(source: _Source) -> _Step[Fields]:
    fields: list[tuple[str, str]] = []
    while name_size := (yield from source.varint()):
        fields.append((yield from _field(source, name_size)))
    return tuple(fields)


def _field(source: _Source, name_size: int) -> _Step[tuple[str, str]]:
    name = yield from source.take(name_size)
    value = yield from source.text()
    return name.decode("latin-1"), value


def _known_size(source: _Source) -> _Step[int]:
    # RFC 9292 section 3.8: empty sections at the end may be left out.
    if (yield from source.at_end()):
        return 0
    return (yield from source.varint())
