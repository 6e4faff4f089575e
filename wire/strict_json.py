# SPDX-License-Identifier: Apache-2.0
"""JSON as protocol documents use it: one object, each name once, exactly the names expected.

Python's own reader keeps the last of double names, reads `NaN`, and calls `true` an integer.
"""

import base64
import json
from typing import NoReturn, TypeAlias

# RFC 8785 section 3.2.2.3: beyond this a number has no exact form in every JSON implementation.
MAX_INTEGER = 2**53 - 1

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class StrictJsonError(Exception):
    """A document that is not exactly what was expected."""


def decode_object(data: bytes, names: frozenset[str]) -> dict[str, Json]:
    """Read an object with exactly these names and nothing around it. Raises StrictJsonError."""
    members = decode_any_object(data)
    check_names(members, names)
    return members


def decode_any_object(data: bytes) -> dict[str, Json]:
    """Read an object whose names are looked at later, and nothing around it. Raises StrictJsonError."""
    if data[:1] != b"{" or data[-1:] != b"}":
        raise StrictJsonError("expected a JSON object and nothing around it")
    value = decode_value(data)
    assert isinstance(value, dict)  # nothing else begins and ends like this
    return value


def decode_value(data: bytes) -> Json:
    """Read any JSON, with each name of an object once. Raises StrictJsonError."""
    try:
        value: Json = json.loads(
            data.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_number
        )
    except (ValueError, RecursionError):
        raise StrictJsonError("expected JSON") from None
    return value


def check_names(members: dict[str, Json], names: frozenset[str]) -> None:
    """Refuse an object without exactly these names. Raises StrictJsonError, with no name of the sender's."""
    if members.keys() != names:
        raise StrictJsonError(f"missing or unexpected names, expected exactly {', '.join(sorted(names))}")


def encode_object(members: dict[str, Json]) -> bytes:
    """Return the object without blanks, in ASCII."""
    return json.dumps(members, separators=(",", ":"), allow_nan=False).encode("ascii")


def integer(members: dict[str, Json], name: str, smallest: int, largest: int) -> int:
    """Return a number between these, both included. Raises StrictJsonError."""
    value = members[name]
    # JSON's true is an int to isinstance.
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= largest:
        raise StrictJsonError(f"expected an integer from {smallest} to {largest} as {name}")
    return value


def truth(members: dict[str, Json], name: str) -> bool:
    """Return true or false. Raises StrictJsonError."""
    value = members[name]
    if not isinstance(value, bool):
        raise StrictJsonError(f"expected true or false as {name}")
    return value


def text(members: dict[str, Json], name: str) -> str:
    """Return a string. Raises StrictJsonError."""
    value = members[name]
    if not isinstance(value, str):
        raise StrictJsonError(f"expected a string as {name}")
    return value


def base64_octets(members: dict[str, Json], name: str) -> bytes:
    """Return what a string holds in the one canonical form of RFC 4648 section 4. Raises StrictJsonError."""
    return decode_base64(members[name], name)


def decode_base64(value: Json, name: str) -> bytes:
    """Return what a string holds in the one canonical form of RFC 4648 section 4. Raises StrictJsonError."""
    if not isinstance(value, str):
        raise StrictJsonError(f"expected base64 as {name}")
    try:
        content = base64.b64decode(value, validate=True)
    except ValueError:
        raise StrictJsonError(f"expected base64 as {name}") from None
    if encode_base64(content) != value:
        raise StrictJsonError(f"base64 of {name} is not canonical")
    return content


def encode_base64(content: bytes) -> str:
    """Return base64 with padding."""
    return base64.b64encode(content).decode("ascii")


def base64url_octets(value: str, name: str) -> bytes:
    """Return what a string holds in the one canonical form of RFC 4648 section 5, without padding.

    Raises StrictJsonError.
    """
    try:
        content = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise StrictJsonError(f"expected URL-safe base64 as {name}") from None
    if encode_base64url(content) != value:
        raise StrictJsonError(f"URL-safe base64 of {name} is not canonical")
    return content


def encode_base64url(content: bytes) -> str:
    """Return URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _each_once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise StrictJsonError("a name occurs twice in an object")
    return members


def _no_number(_: str) -> NoReturn:
    raise StrictJsonError("expected a number")
