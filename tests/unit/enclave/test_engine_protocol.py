# SPDX-License-Identifier: Apache-2.0
"""Messages between session process and engine process."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.engine.protocol import (
    MAX_MESSAGE_BYTES,
    Begun,
    Cancel,
    Command,
    CommandReader,
    Finished,
    FinishReason,
    Generate,
    ProtocolError,
    Ready,
    Rejected,
    Rejection,
    Report,
    ReportReader,
    Role,
    Sampling,
    Text,
    Turn,
    encode,
)

few = settings(max_examples=100, deadline=None, derandomize=True)
CUTS = st.lists(st.integers(0, 4000), max_size=10)
NUMBERS = st.integers(0, 1 << 40)
SAMPLINGS = st.builds(
    Sampling,
    st.floats(0, 2),
    st.floats(0, 1, exclude_min=True),
    st.integers(0, (1 << 32) - 1),
)
TURNS = st.builds(Turn, st.sampled_from(Role), st.text())
COMMANDS = st.builds(Cancel, NUMBERS) | st.builds(
    Generate, NUMBERS, st.lists(TURNS).map(tuple), SAMPLINGS, NUMBERS, st.lists(st.text()).map(tuple)
)
REPORTS = (
    st.builds(Ready, NUMBERS, NUMBERS, st.text(), st.dictionaries(st.text(), st.text()))
    | st.builds(Begun, NUMBERS, NUMBERS)
    | st.builds(Text, NUMBERS, st.text())
    | st.builds(Finished, NUMBERS, st.sampled_from(FinishReason), NUMBERS)
    | st.builds(Rejected, NUMBERS, st.sampled_from(Rejection), NUMBERS)
)
SAMPLING = Sampling(0.5, 0.9, 7)
GENERATE = Generate(3, (Turn(Role.USER, "a secret"),), SAMPLING, 5, ("secret stop",))


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@few
@given(st.lists(COMMANDS, max_size=5), CUTS)
def test_commands_survive_any_split(commands: list[Command], cuts: list[int]) -> None:
    reader = CommandReader()
    stream = b"".join(map(encode, commands))
    assert [command for piece in split(stream, cuts) for command in reader.receive(piece)] == commands


@few
@given(st.lists(REPORTS, max_size=5), CUTS)
def test_reports_survive_any_split(reports: list[Report], cuts: list[int]) -> None:
    reader = ReportReader()
    stream = b"".join(map(encode, reports))
    assert [report for piece in split(stream, cuts) for report in reader.receive(piece)] == reports


@pytest.mark.parametrize("reader", [CommandReader, ReportReader])
def test_an_announced_length_above_the_limit_is_refused_at_once(
    reader: type[CommandReader | ReportReader],
) -> None:
    with pytest.raises(ProtocolError, match=f"a message of {MAX_MESSAGE_BYTES + 1} bytes exceeds"):
        list(reader().receive((MAX_MESSAGE_BYTES + 1).to_bytes(4, "big")))
    assert list(reader().receive(MAX_MESSAGE_BYTES.to_bytes(4, "big"))) == []


@few
@given(st.binary(max_size=80))
def test_garbage_is_refused(body: bytes) -> None:
    for reader in (CommandReader(), ReportReader()):
        with pytest.raises(ProtocolError, match="not a message of this protocol"):
            list(reader.receive(framed(body)))


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"type": "other"},
        {"type": "cancel"},
        {"type": "cancel", "generation": True},
        {"type": "cancel", "generation": "1"},
        {"type": "cancel", "generation": 1, "more": 1},
        {"type": "text", "generation": 1, "text": "reports are no commands"},
        {"type": "generate", "generation": 1, "turns": [], "sampling": [0.0, 1.0, 0], "max_tokens": 1},
        {
            "type": "generate",
            "generation": 1,
            "turns": [["tool", "x"]],
            "sampling": [0.0, 1.0, 0],
            "max_tokens": 1,
            "stop": [],
        },
        {
            "type": "generate",
            "generation": 1,
            "turns": [],
            "sampling": [2.1, 1.0, 0],
            "max_tokens": 1,
            "stop": [],
        },
        {
            "type": "generate",
            "generation": 1,
            "turns": [],
            "sampling": [1.0, 0.0, 0],
            "max_tokens": 1,
            "stop": [],
        },
        {
            "type": "generate",
            "generation": 1,
            "turns": [],
            "sampling": [1.0, 1.0, 1 << 32],
            "max_tokens": 1,
            "stop": [],
        },
    ],
)
def test_documents_that_are_no_command_are_refused(document: object) -> None:
    with pytest.raises(ProtocolError):
        list(CommandReader().receive(framed(msgspec.msgpack.encode(document))))


def test_commands_are_no_reports() -> None:
    with pytest.raises(ProtocolError):
        list(ReportReader().receive(encode(Cancel(1))))


def test_text_that_is_not_utf8_is_refused() -> None:
    body = encode(Text(1, "ab"))[4:].replace(b"\xa2ab", b"\xa2a\xff")
    assert b"\xff" in body
    with pytest.raises(ProtocolError):
        list(ReportReader().receive(framed(body)))


def test_bytes_behind_a_message_are_refused() -> None:
    with pytest.raises(ProtocolError):
        list(ReportReader().receive(framed(encode(Text(1, "a"))[4:] + b"\xc0")))


def test_what_came_before_garbage_is_given() -> None:
    reports = ReportReader().receive(encode(Begun(1, 2)) + framed(b"\xc1"))
    assert next(reports) == Begun(1, 2)
    with pytest.raises(ProtocolError):
        next(reports)


def test_representations_hold_no_content() -> None:
    shown = (
        repr(GENERATE) + repr(GENERATE.turns) + repr(Text(1, "a secret")) + str([Turn(Role.SYSTEM, "secret")])
    )
    assert "secret" not in shown
    assert "Generate(3)" in shown
    assert "Turn(user)" in shown
