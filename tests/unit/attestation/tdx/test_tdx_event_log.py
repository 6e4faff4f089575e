# SPDX-License-Identifier: Apache-2.0
"""Event logs: read to the last byte, replayed exactly, and believed only as far as a register goes."""

import json
import struct
from dataclasses import replace
from hashlib import sha384

import pytest

from attestation.simulated.event_log import EVENTS, EventLog
from attestation.tdx.dstack_log import APPLICATION_EVENT, application_digest, parse_dstack_log
from attestation.tdx.event_log import (
    MAX_EVENTS,
    MAX_LOG_SIZE,
    MRTD_REGISTER,
    Event,
    EventLogError,
    check_replay,
    explain,
    parse_event_log,
    replay,
)

LOG = EventLog().encode()
HEAD_SIZE = 32
RTMRS = EventLog().registers()


def specification(
    *, register: int = 1, kind: int = 3, digest: bytes = bytes(20), content: bytes | None = None
) -> bytes:
    inside = specified() if content is None else content
    return struct.pack("<II", register, kind) + digest + struct.pack("<I", len(inside)) + inside


def specified(*algorithms: tuple[int, int], major: int = 2, vendor: bytes = b"\x00") -> bytes:
    sizes = algorithms or ((0x0C, 48),)
    return (
        b"Spec ID Event03\x00"
        + struct.pack("<IBBBBI", 0, 0, major, 0, 2, len(sizes))
        + b"".join(struct.pack("<HH", *item) for item in sizes)
        + vendor
    )


def event(
    *,
    register: int = 1,
    kind: int = 4,
    data: bytes = b"",
    digests: tuple[tuple[int, bytes], ...] | None = None,
) -> bytes:
    listed = ((0x0C, sha384(data).digest()),) if digests is None else digests
    return (
        struct.pack("<III", register, kind, len(listed))
        + b"".join(struct.pack("<H", algorithm) + digest for algorithm, digest in listed)
        + struct.pack("<I", len(data))
        + data
    )


def test_log_is_explained() -> None:
    events = parse_event_log(LOG)
    assert [item.rtmr for item in events] == [item.register - 1 for item in EVENTS]
    assert [item.covers_data for item in events] == [item.measured is None for item in EVENTS]
    assert events[2].name == "EV_SEPARATOR"
    explanations = check_replay(events, RTMRS)
    assert [len(item.events) for item in explanations] == [3, 2, 2, 1]


@pytest.mark.parametrize("padding", [b"", bytes(100), b"\xff" * 100])
def test_padding_ends_a_log(padding: bytes) -> None:
    (only,) = parse_event_log(specification() + event(data=b"x") + padding)
    assert (only.rtmr, only.kind, only.data) == (0, 4, b"x")


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (b"", "expected 32 bytes at 0"),
        (specification(register=2), "begins with its specification"),
        (specification(kind=4), "begins with its specification"),
        (specification(digest=b"\x01" * 20), "begins with its specification"),
        (specification(content=specified(major=1)), "version 2.0"),
        (specification(content=specified().replace(b"03", b"02")), "version 2.0"),
        (specification(content=specified((0x0B, 32))), "SHA-384 digests"),
        (specification(content=specified((0x0C, 47))), "SHA-384 digests"),
        (specification(content=specified(vendor=b"\x00\x00")), "SHA-384 digests and nothing after"),
        (specification(content=specified(vendor=b"\x02\x00")), "expected 2 bytes"),
        (specification() + event(register=5), "register of 0 to 4, found 5"),
        (specification() + event(digests=()), "expected a SHA-384 digest"),
        (specification() + event(digests=((0x0B, bytes(32)),)), "found 0x000b"),
        (specification() + event(digests=((0x0C, bytes(48)),) * 2), "up to 1 digests, found 2"),
        (specification() + event(data=b"abc")[:-1], "expected 3 bytes"),
        (specification() + b"\x01", "expected 8 bytes"),
        (bytes(MAX_LOG_SIZE + 1), "exceeds"),
        (specification() + event() * (MAX_EVENTS + 1), "more than 4096 events"),
    ],
)
def test_other_log_is_refused(log: bytes, words: str) -> None:
    with pytest.raises(EventLogError, match=words):
        parse_event_log(log)


def test_one_digest_of_each_algorithm() -> None:
    both = specification(content=specified((0x0B, 32), (0x0C, 48)))
    digests = ((0x0B, bytes(32)), (0x0C, b"\x01" * 48))
    assert parse_event_log(both + event(digests=digests))[0].digest == b"\x01" * 48
    with pytest.raises(EventLogError, match="one digest of each"):
        parse_event_log(both + event(digests=((0x0C, bytes(48)),) * 2))


def test_some_events_change_nothing() -> None:
    quiet = (Event(MRTD_REGISTER, 4, b"\x01" * 48, b""), Event(0, 3, b"\x01" * 48, b""))
    assert replay(quiet) == dict.fromkeys(range(4), bytes(48))
    assert Event(0, 0x12345678, bytes(48), b"").name == "0x12345678"


def test_log_that_leaves_something_out_is_refused() -> None:
    with pytest.raises(EventLogError, match="expected RTMR3"):
        check_replay(parse_event_log(LOG)[:-1], RTMRS)


def test_log_that_adds_something_is_refused() -> None:
    events = parse_event_log(LOG)
    with pytest.raises(EventLogError, match="expected RTMR3"):
        check_replay((*events, events[-1]), RTMRS)


def test_changed_data_is_not_vouched_for() -> None:
    """The digest still leads to the register, so only `covers_data` tells."""
    last = parse_event_log(LOG)[-1]
    assert last.covers_data
    assert not replace(last, data=b"harmless").covers_data


def test_quote_has_four_registers() -> None:
    with pytest.raises(EventLogError, match="expected 4 registers, found 3"):
        explain((), RTMRS[:3])


def dstack(**changes: str | int) -> bytes:
    item = {
        "imr": 3,
        "event_type": APPLICATION_EVENT,
        "digest": "",
        "event": "app-id",
        "event_payload": "00ff",
        **changes,
    }
    return json.dumps([item]).encode()


def test_application_digest_is_computed() -> None:
    digest = application_digest("app-id", b"\x00\xff")
    assert digest == sha384(b"\x01\x00\x00\x08:app-id:\x00\xff").digest()
    for document in (dstack(), dstack(digest=digest.hex())):
        assert parse_dstack_log(document) == (Event(3, APPLICATION_EVENT, digest, b"\x00\xff"),)


def test_firmware_digest_is_stated() -> None:
    assert parse_dstack_log(dstack(imr=0, event_type=4, digest="01" * 48))[0].digest == b"\x01" * 48


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (dstack(digest="01" * 48), "states digest"),
        (dstack(event_type=4), "digest of 48 bytes, found 0"),
        (dstack(imr=4), "number up to 3"),
        (dstack(event_payload="0"), "hexadecimal"),
        (dstack(event_payload="zz"), "hexadecimal"),
        (dstack(event_payload="00" * 65537), "hexadecimal"),
        (dstack(more=1), "unknown members more"),
        (b"{}", "expected a list"),
        (json.dumps([{}] * (MAX_EVENTS + 1)).encode(), "exceeds 4096"),
    ],
)
def test_other_dstack_log_is_refused(document: bytes, words: str) -> None:
    with pytest.raises(EventLogError, match=words):
        parse_dstack_log(document)
