# SPDX-License-Identifier: Apache-2.0
"""What an HTTP message inside the encryption may hold (wire.md 6.8, 7.16). Both ends check the same rules.

The characters allowed are those that no later reader could take for the end of a line or for another part.
"""

import re
from dataclasses import dataclass, field
from enum import IntEnum

MAX_HEAD_BYTES = 16 * 1024
MAX_FIELDS = 100
MAX_PATH_BYTES = 8 * 1024
METHODS = frozenset({"GET", "POST", "DELETE"})

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_VISIBLE = re.compile(r"[!-~]*")
# A token of RFC 9110 section 5.6.2. It has no colon, so no field is ever named like `:path`.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# No line break, zero, or anything beyond Latin-1; no blank at an end.
_VALUE = re.compile(
    r"(?:[\x01-\x08\v\f\x0e-\x1f!-\xff](?:[\x01-\t\v\f\x0e-\xff]*[\x01-\x08\v\f\x0e-\x1f!-\xff])?)?"
)

Fields = tuple[tuple[str, str], ...]


class MessageError(Exception):
    """A message that is not Binary HTTP, or holds what this profile does not allow."""


class Framing(IntEnum):
    """The framing indicators (RFC 9292 section 3.3)."""

    KNOWN_REQUEST = 0
    KNOWN_RESPONSE = 1
    OPEN_REQUEST = 2
    OPEN_RESPONSE = 3


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a request. Field names are lower case."""

    method: str
    scheme: str
    authority: str
    path: str
    fields: Fields = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The head of a final response. Field names are lower case."""

    status: int
    fields: Fields = field(repr=False)


@dataclass(frozen=True, slots=True)
class Content:
    """A piece of content, as it came."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class End:
    """The message is complete, but for padding."""

    trailers: Fields = field(repr=False)


Event = RequestHead | ResponseHead | Content | End


def checked_request_head(head: RequestHead) -> RequestHead:
    """Return the head with field names in lower case. Raises MessageError when something is not allowed."""
    if head.method not in METHODS:
        raise MessageError("method is not GET, POST or DELETE")
    if not _SCHEME.fullmatch(head.scheme):
        raise MessageError("scheme is not a scheme")
    if not _VISIBLE.fullmatch(head.authority):
        raise MessageError("authority holds something other than visible ASCII")
    if not head.path.startswith("/") or not _VISIBLE.fullmatch(head.path):
        raise MessageError("path does not begin with a slash or holds something other than visible ASCII")
    if len(head.path) > MAX_PATH_BYTES:
        raise MessageError(f"path of {len(head.path)} bytes exceeds {MAX_PATH_BYTES}")
    return RequestHead(head.method, head.scheme, head.authority, head.path, checked_fields(head.fields))


def checked_response_head(head: ResponseHead) -> ResponseHead:
    """Return the head with field names in lower case. Raises MessageError when something is not allowed."""
    if not 200 <= head.status <= 599:
        raise MessageError(f"status {head.status} is not one from 200 to 599")
    return ResponseHead(head.status, checked_fields(head.fields))


def checked_fields(fields: Fields) -> Fields:
    """Return the fields with names in lower case. Raises MessageError when something is not allowed."""
    if len(fields) > MAX_FIELDS:
        raise MessageError(f"more than {MAX_FIELDS} fields")
    for name, value in fields:
        if not _NAME.fullmatch(name):
            raise MessageError("field name is not a token")
        if not _VALUE.fullmatch(value):
            raise MessageError("field value holds a line break or zero, or blanks at an end")
    return tuple((name.lower(), value) for name, value in fields)
