# SPDX-License-Identifier: Apache-2.0
"""Binary HTTP messages (RFC 9292, wire.md 2.3 and 6.8): what they hold, and how they are written.

Framing 0 and 1 are requests and responses whose sections announce their lengths; 2 and 3 those whose
sections end with a zero. How messages are read is in `bhttp_decoder`, offered here too.
"""

from wire import varint
from wire.bhttp_decoder import RequestDecoder, ResponseDecoder
from wire.http_message import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_PATH_BYTES,
    METHODS,
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

__all__ = [
    "MAX_FIELDS",
    "MAX_HEAD_BYTES",
    "MAX_PATH_BYTES",
    "METHODS",
    "Content",
    "End",
    "Event",
    "Fields",
    "MessageError",
    "RequestDecoder",
    "RequestHead",
    "ResponseDecoder",
    "ResponseHead",
    "encode_content",
    "encode_end",
    "encode_request",
    "encode_request_head",
    "encode_response",
    "encode_response_head",
]

_NOTHING = varint.encode(0)


def encode_request(head: RequestHead, content: bytes, *, padded_size: int = 0) -> bytes:
    """Return a whole request in the known-length form, with zeros up to the padded size.

    Raises MessageError for a head that a decoder would refuse.
    """
    head = checked_request_head(head)
    message = _checked_size(_control(Framing.KNOWN_REQUEST, head) + _section(_lines(head.fields)))
    return _padded(message + _section(content) + _NOTHING, padded_size)


def encode_response(head: ResponseHead, content: bytes, *, padded_size: int = 0) -> bytes:
    """Return a whole response in the known-length form, with zeros up to the padded size.

    Raises MessageError for a head that a decoder would refuse.
    """
    head = checked_response_head(head)
    message = _checked_size(_status(Framing.KNOWN_RESPONSE, head) + _section(_lines(head.fields)))
    return _padded(message + _section(content) + _NOTHING, padded_size)


def encode_request_head(head: RequestHead) -> bytes:
    """Return the beginning of a request whose content follows in pieces. Raises MessageError."""
    head = checked_request_head(head)
    return _checked_size(_control(Framing.OPEN_REQUEST, head) + _lines(head.fields) + _NOTHING)


def encode_response_head(head: ResponseHead) -> bytes:
    """Return the beginning of a response whose content follows in pieces. Raises MessageError."""
    head = checked_response_head(head)
    return _checked_size(_status(Framing.OPEN_RESPONSE, head) + _lines(head.fields) + _NOTHING)


def encode_content(data: bytes) -> bytes:
    """Return one piece of content. For no data it is nothing, since a zero length would end the content."""
    return _section(data) if data else b""


def encode_end(trailers: Fields = ()) -> bytes:
    """Return the end of a message whose content went in pieces. Raises MessageError."""
    return _NOTHING + _checked_size(_lines(checked_fields(trailers)) + _NOTHING)


def _control(framing: Framing, head: RequestHead) -> bytes:
    parts = (head.method, head.scheme, head.authority, head.path)
    return varint.encode(framing) + b"".join(_section(part.encode("ascii")) for part in parts)


def _status(framing: Framing, head: ResponseHead) -> bytes:
    return varint.encode(framing) + varint.encode(head.status)


def _lines(fields: Fields) -> bytes:
    return b"".join(_section(part.encode("latin-1")) for field in fields for part in field)


def _section(data: bytes) -> bytes:
    return varint.encode(len(data)) + data


def _padded(message: bytes, size: int) -> bytes:
    return message.ljust(size, b"\0")


def _checked_size(head: bytes) -> bytes:
    if len(head) > MAX_HEAD_BYTES:
        raise MessageError(f"head or trailers of {len(head)} bytes exceed {MAX_HEAD_BYTES}")
    return head
