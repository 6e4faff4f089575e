# SPDX-License-Identifier: Apache-2.0
"""The event log of dstack's guest agent: a JSON list of {imr, event_type, digest, event, event_payload}.

Firmware events carry the digest that was measured, and no data to compare it with. An application event's
digest follows from its name and payload, so it is computed here and never believed.
"""

from hashlib import sha384
from typing import Final

from attestation.tdx.documents import DocumentError, Members, read_list
from attestation.tdx.event_log import DIGEST_SIZE, MAX_EVENTS, REGISTERS, Event, EventLogError

APPLICATION_EVENT: Final = 0x08000001
MAX_PAYLOAD_SIZE: Final = 1 << 16


def parse_dstack_log(document: bytes) -> tuple[Event, ...]:
    """Read the log; EventLogError for anything else, a stated application digest that is wrong included."""
    try:
        items = read_list(document, "event log")
        if len(items) > MAX_EVENTS:
            raise EventLogError(f"log of {len(items)} events exceeds {MAX_EVENTS}")
        return tuple(_event(item) for item in items)
    except DocumentError as error:
        raise EventLogError(f"dstack log: {error}") from error


def application_digest(name: str, payload: bytes) -> bytes:
    """What dstack extends RTMR3 with for an event of an application."""
    return sha384(b":".join((APPLICATION_EVENT.to_bytes(4, "little"), name.encode(), payload))).digest()


def _event(item: Members) -> Event:
    register, kind = item.number("imr", REGISTERS - 1), item.number("event_type", 0xFFFFFFFF)
    name, digest = item.text("event"), _hexadecimal(item.text("digest"))
    payload = _hexadecimal(item.text("event_payload"))
    item.end()
    if kind == APPLICATION_EVENT:
        computed = application_digest(name, payload)
        if digest not in (b"", computed):
            raise EventLogError(f"event {name!r} states digest {digest.hex()}, it has {computed.hex()}")
        return Event(register, kind, computed, payload)
    if len(digest) != DIGEST_SIZE:
        raise EventLogError(f"expected a digest of {DIGEST_SIZE} bytes, found {len(digest)}")
    return Event(register, kind, digest, payload)


def _hexadecimal(text: str) -> bytes:
    if len(text) > 2 * MAX_PAYLOAD_SIZE or not set(text) <= set("0123456789abcdef") or len(text) % 2:
        raise DocumentError("expected lower case hexadecimal digits")
    return bytes.fromhex(text)
