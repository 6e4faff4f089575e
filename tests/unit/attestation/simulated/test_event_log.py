# SPDX-License-Identifier: Apache-2.0
"""The event log replays to the registers in the quote, by a reader that knows only the standard."""

import struct
from dataclasses import replace
from hashlib import sha384

import pytest

from attestation.simulated.event_log import EVENTS, LOG_SIZE, Event, EventLog
from attestation.simulated.tdx_knobs import TDX_KNOBS
from tests.fakes.hardware import td_setting, trust_domain


def replay(log: bytes) -> list[bytes]:
    """RTMR0 to RTMR3 from the bytes of a CCEL area."""
    registers = [bytes(48)] * 4
    _, kind, size = struct.unpack_from("<II20xI", log)
    assert kind == 3
    assert log[32:48] == b"Spec ID Event03\x00"
    offset = 32 + size
    while (index := struct.unpack_from("<I", log, offset)[0]) not in {0, 0xFFFFFFFF}:
        count, algorithm = struct.unpack_from("<IH", log, offset + 8)
        assert (count, algorithm) == (1, 0x0C)
        digest = log[offset + 14 : offset + 62]
        registers[index - 1] = sha384(registers[index - 1] + digest).digest()
        offset += 66 + int(struct.unpack_from("<I", log, offset + 62)[0])
    assert set(log[offset:]) <= {0xFF}
    return registers


def test_replay_gives_the_registers_of_the_quote() -> None:
    domain = trust_domain()
    td = domain.fields.td
    assert len(domain.event_log) == LOG_SIZE
    assert replay(domain.event_log) == [td.rtmr0, td.rtmr1, td.rtmr2, td.rtmr3]
    assert all(any(register) for register in replay(domain.event_log))


@pytest.mark.parametrize(("name", "agrees"), [("kernel", True), ("log-short", False), ("log-changed", False)])
def test_knobs_change_the_start_or_the_log(name: str, agrees: bool) -> None:
    good, spoiled = trust_domain(), trust_domain(TDX_KNOBS[name].change(td_setting()))
    td = spoiled.fields.td
    assert (replay(spoiled.event_log) == [td.rtmr0, td.rtmr1, td.rtmr2, td.rtmr3]) is agrees
    assert (td.rtmr1 == good.fields.td.rtmr1) is not agrees


def test_digest_is_of_the_content_where_nothing_else_was_measured() -> None:
    assert Event(4, 6, b"tag").digest == sha384(b"tag").digest()
    assert replace(EVENTS[3], measured=b"other").digest == sha384(b"other").digest()


def test_empty_log_leaves_the_registers_alone() -> None:
    log = EventLog(())
    assert replay(log.encode()) == list(log.registers()) == [bytes(48)] * 4
