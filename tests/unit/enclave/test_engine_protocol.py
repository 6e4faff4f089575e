# SPDX-License-Identifier: Apache-2.0
"""Messages between session process and engine process."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.engine.protocol import (
    MAX_CHOICES,
    MAX_MESSAGE_BYTES,
    MAX_TOP_LOGPROBS,
    Begun,
    Cancel,
    Command,
    CommandReader,
    Conversation,
    Embed,
    Embedded,
    Finished,
    FinishReason,
    Generate,
    Order,
    PlainText,
    ProtocolError,
    Ready,
    Rejected,
    Rejection,
    Report,
    ReportReader,
    Role,
    Sampling,
    Shape,
    Text,
    TokenList,
    TokenLogprob,
    Tool,
    ToolCall,
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
    logit_bias=st.lists(st.tuples(st.integers(0, 99), st.floats(-100, 100))).map(tuple),
)
IDENTITIES = st.binary(min_size=16, max_size=16)
CALLS = st.lists(st.builds(ToolCall, st.text(), st.text(), st.text()), max_size=2).map(tuple)
TURNS = st.builds(Turn, st.sampled_from(Role), st.text(), CALLS, st.text())
TEXTS = st.builds(PlainText, st.text()) | st.builds(
    TokenList, st.lists(st.integers(0, (1 << 31) - 1)).map(tuple)
)
TOOLS = st.lists(st.builds(Tool, st.text(), st.text(), st.text()), max_size=2).map(tuple)
PROMPTS = TEXTS | st.builds(Conversation, st.lists(TURNS, max_size=3).map(tuple), TOOLS)
ORDERS = st.builds(
    Order,
    identity=IDENTITIES,
    session=st.just(b"") | IDENTITIES,
    prompt=PROMPTS,
    sampling=SAMPLINGS,
    max_tokens=st.integers(1, 1 << 20),
    stop=st.lists(st.text(), max_size=4).map(tuple),
    choices=st.integers(1, MAX_CHOICES),
    top_logprobs=st.none() | st.integers(0, MAX_TOP_LOGPROBS),
    shape=st.none() | st.builds(Shape, st.text(), st.text(), st.text()),
    limit_seconds=st.floats(0.1, 1e6),
)
COMMANDS = (
    st.builds(Cancel, NUMBERS)
    | st.builds(Generate, NUMBERS, ORDERS)
    | st.builds(Embed, NUMBERS, IDENTITIES, st.lists(TEXTS, min_size=1, max_size=3).map(tuple))
)
WORDS = st.dictionaries(st.text(), st.text())
TOPS = st.lists(st.tuples(st.binary(), st.floats(-99, 0)), max_size=3).map(tuple)
LOGPROBS = st.lists(st.builds(TokenLogprob, st.binary(), st.floats(-99, 0), TOPS), max_size=3).map(tuple)
REPORTS = (
    st.builds(Ready, NUMBERS, NUMBERS, st.text(), WORDS, WORDS, NUMBERS, st.booleans())
    | st.builds(Begun, NUMBERS, NUMBERS, NUMBERS)
    | st.builds(Text, NUMBERS, st.text(), NUMBERS, LOGPROBS)
    | st.builds(Finished, NUMBERS, st.sampled_from(FinishReason), NUMBERS, NUMBERS)
    | st.builds(Rejected, NUMBERS, st.sampled_from(Rejection), NUMBERS, NUMBERS)
    | st.builds(Embedded, NUMBERS, st.lists(st.binary(), max_size=3).map(tuple), NUMBERS)
)
SECRET_TURN = Turn(Role.USER, "a secret", (ToolCall("secret", "secret", "secret"),), "secret")
ORDER = Order(
    identity=bytes(16),
    prompt=Conversation((SECRET_TURN,), (Tool("secret", "secret", "secret"),)),
    sampling=Sampling(0.5, 0.9, 7),
    max_tokens=5,
    stop=("secret stop",),
    shape=Shape("secret"),
)
GENERATE = Generate(3, ORDER)
GOOD = {
    "identity": bytes(16),
    "prompt": {"type": "text", "text": "?"},
    "sampling": [1.0, 1.0, 0],
    "max_tokens": 1,
}


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
        {"type": "generate", "generation": 1},
        {"type": "embed", "generation": 1, "identity": bytes(16), "texts": []},
        {"type": "embed", "generation": 1, "identity": bytes(15), "texts": [{"type": "text", "text": "a"}]},
        *(
            {"type": "generate", "generation": 1, "order": GOOD | bad}
            for bad in (
                {"identity": b"short"},
                {"session": bytes(17)},
                {"prompt": {"type": "other"}},
                {"prompt": {"type": "tokens", "tokens": [-1]}},
                {"prompt": {"type": "conversation", "turns": [["stranger", "x"]]}},
                {"sampling": [2.1, 1.0, 0]},
                {"sampling": [1.0, 0.0, 0]},
                {"sampling": [1.0, 1.0, 1 << 32]},
                {"sampling": [1.0, 1.0, 0, -1]},
                {"sampling": [1.0, 1.0, 0, 0, 1.1]},
                {"sampling": [1.0, 1.0, 0, 0, 0.0, 2.1]},
                {"sampling": [1.0, 1.0, 0, 0, 0.0, 0.0, 0.0, 0.0]},
                {"sampling": [1.0, 1.0, 0, 0, 0.0, 0.0, 0.0, 1.0, [[1, 101.0]]]},
                {"max_tokens": 0},
                {"choices": 0},
                {"choices": MAX_CHOICES + 1},
                {"top_logprobs": MAX_TOP_LOGPROBS + 1},
                {"limit_seconds": 0.0},
                {"more": 1},
            )
        ),
    ],
)
def test_documents_that_are_no_command_are_refused(document: object) -> None:
    with pytest.raises(ProtocolError):
        list(CommandReader().receive(framed(msgspec.msgpack.encode(document))))


def test_the_document_that_those_were_made_of_is_a_command() -> None:
    document = {"type": "generate", "generation": 1, "order": GOOD}
    (command,) = CommandReader().receive(framed(msgspec.msgpack.encode(document)))
    assert isinstance(command, Generate)
    assert command.order.choices == 1


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
        repr(GENERATE)
        + repr(ORDER)
        + repr([ORDER.prompt, ORDER.sampling, ORDER.shape, SECRET_TURN, PlainText("secret"), TokenList((1,))])
        + repr(Conversation((SECRET_TURN,)).turns[0].tool_calls)
        + repr([Tool("secret", "secret", "secret"), Text(1, "a secret"), TokenLogprob(b"secret", 0.0)])
        + repr([Embed(4, bytes(16), (PlainText("secret"),)), Embedded(4, (b"secret",), 1)])
    )
    assert "secret" not in shown
    assert "generation=3" in shown
    assert "Turn(user)" in shown
